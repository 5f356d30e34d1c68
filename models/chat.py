"""Asking for text: messages of text and pictures in, one reply out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from models.identity import Json, ModelIdentity, canonical_sha256
from models.picture import Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Every parameter that shapes the choice of tokens, so that none is left to a backend's default."""

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repeat_penalty: float
    max_tokens: int

    def canonical(self) -> Json:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class TextPart:
    text: str

    def canonical(self) -> Json:
        return {"text": self.text}


@dataclass(frozen=True, slots=True)
class ImagePart:
    """A picture in a message. A `bare` one is named by its own hash, and sent as its pixels without any mark."""

    picture: Picture
    bare: bool = False

    def canonical(self) -> Json:
        told: dict[str, Json] = {"image_sha256": self.picture.sha256}
        return told | {"bare": True} if self.bare else told

    def data(self) -> bytes:
        """The PNG as it is sent to a model."""
        return self.picture.bare_data() if self.bare else self.picture.data


Part: TypeAlias = TextPart | ImagePart


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant"]
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, role: Literal["system", "user", "assistant"], text: str) -> "Message":
        """A message of text alone."""
        return cls(role, (TextPart(text),))

    def canonical(self) -> Json:
        return {"role": self.role, "parts": [part.canonical() for part in self.parts]}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One question to a chat model. `schema` is a JSON schema that the reply must satisfy, or None for free text.

    With `top_logprobs`, the reply tells the log-probabilities of its tokens and of so many likeliest ones at each
    place; a model that tells none raises TerminalError.
    """

    model: str
    revision: str
    messages: tuple[Message, ...]
    sampling: Sampling
    schema: Json
    seed: int
    top_logprobs: int | None = None

    def canonical(self) -> Json:
        """The request as recorded: pictures by hash, every effective parameter named; what is not asked for is not."""
        asked: dict[str, Json] = {} if self.top_logprobs is None else {"top_logprobs": self.top_logprobs}
        return asked | {
            "kind": "chat",
            "model": self.model,
            "revision": self.revision,
            "messages": [message.canonical() for message in self.messages],
            "sampling": self.sampling.canonical(),
            "schema": self.schema,
            "seed": self.seed,
        }

    def key(self) -> str:
        return canonical_sha256(self.canonical())


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a reply with its natural log-probability; `likeliest` are those that could have stood in its place."""

    text: str
    logprob: float
    likeliest: tuple[tuple[str, float], ...]

    def canonical(self) -> Json:
        return [self.text, self.logprob, [list(each) for each in self.likeliest]]

    @classmethod
    def from_canonical(cls, told: Any) -> "Token":
        """The token of its canonical form, in which 1.0 is 1."""
        text, logprob, likeliest = told
        return cls(text, float(logprob), tuple((other, float(number)) for other, number in likeliest))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """What came back. `finish_reason` is `stop` or `length`; token counts are the backend's own.

    `tokens` are there where they were asked for (`top_logprobs`), and None else.
    `backend` is what it told of this answer alone (fingerprint, which server): recorded, never compared.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    backend: Mapping[str, Json] = field(default_factory=dict)
    tokens: tuple[Token, ...] | None = None


class ChatModel(Protocol):
    """Anything that answers chats; raises the errors of `models.errors`."""

    @property
    def identity(self) -> ModelIdentity: ...

    @property
    def at_once(self) -> int:
        """How many requests it can answer at a time; more would only wait inside it. May change as it goes."""
        ...

    async def chat(self, request: ChatRequest) -> ChatReply: ...
