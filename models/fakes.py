"""Stand-ins that ship: a chat, a painter and an encoder that need no model, for tests and for trying out the machine.

They hold to the same contract as the real adapters; what they answer depends on nothing but the request.
"""

import asyncio
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from models.chat import ChatReply, ChatRequest, TextPart, Token
from models.drawing import Drawing, DrawRequest
from models.embedding import Embedding, EmbedRequest, Vector
from models.identity import ModelIdentity
from models.minimal_json import minimal_json, short_sentence
from models.picture import ALGORITHMIC, Picture
from models.refusal import refuse_another_model

__all__ = ["FakeChat", "FakeEncoder", "FakePainter", "minimal_json"]

_FAKES_AT_ONCE = 1024
_DRAWN_AT_ONCE = 16  # as few as a painter bears: how many samples are begun goes by what models bear
_GRID = 8  # blocks a side of a fake picture


class FakeChat:
    """A `ChatModel` whose replies follow from the request's key.

    With a schema it replies minimal JSON that satisfies it (see `minimal_json`), else a short sentence. Asked for
    log-probabilities, it tells those of `fake_tokens`. `script` writes the replies instead; `failures` may return an
    error to be raised for a request; `latency` is in seconds.
    """

    def __init__(
        self,
        *,
        script: Callable[[ChatRequest], str] | None = None,
        failures: Callable[[ChatRequest], Exception | None] | None = None,
        latency: float = 0.0,
        name: str = "fake-chat",
    ) -> None:
        self._identity = ModelIdentity(name=name, revision="1", licence="Apache-2.0")
        self._script = script
        self._failures = failures
        self._latency = latency
        self._active = 0

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    @property
    def at_once(self) -> int:
        return _FAKES_AT_ONCE

    @property
    def active(self) -> int:
        """How many requests are being answered right now."""
        return self._active

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The reply, after `latency`; TerminalError for another model, or what `failures` says."""
        refuse_another_model(request.model, request.revision, self._identity)
        self._active += 1
        try:
            await asyncio.sleep(self._latency)
        finally:
            self._active -= 1
        error = self._failures(request) if self._failures else None
        if error is not None:
            raise error
        text = self._script(request) if self._script else _reply(request)
        asked = [part.text for message in request.messages for part in message.parts if isinstance(part, TextPart)]
        return ChatReply(
            text=text,
            finish_reason="stop",
            prompt_tokens=sum(len(each.split()) for each in asked),
            completion_tokens=len(text.split()),
            tokens=None if request.top_logprobs is None else fake_tokens(text, request.top_logprobs),
        )


class FakePainter:
    """A `TextToImage` that draws coloured blocks; they follow from the whole request, seed and caption included."""

    def __init__(
        self, *, latency: float = 0.0, failures: Callable[[DrawRequest], Exception | None] | None = None
    ) -> None:
        self._identity = ModelIdentity(name="fake-painter", revision="1", licence="CC0-1.0")
        self._latency = latency
        self._failures = failures

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    @property
    def at_once(self) -> int:
        return _DRAWN_AT_ONCE

    async def draw(self, request: DrawRequest) -> Drawing:
        """The picture, after `latency` seconds; TerminalError for another model, or what `failures` says."""
        refuse_another_model(request.model, request.revision, self._identity)
        await asyncio.sleep(self._latency)
        error = self._failures(request) if self._failures else None
        if error is not None:
            raise error
        blocks = _stream(request.key(), _GRID * _GRID * 3).reshape(_GRID, _GRID, 3)
        rows = np.arange(request.height) * _GRID // request.height
        columns = np.arange(request.width) * _GRID // request.width
        marks = {"Software": "interlake fake painter 1", "Description": request.caption}
        picture = Picture.from_pixels(blocks[rows][:, columns], source=ALGORITHMIC, marks=marks)
        return Drawing(picture=picture, licence=self._identity.licence)


class FakeEncoder:
    """An `Encoder` whose vectors follow from the sha256 of the subject; unlike subjects are nearly orthogonal.

    `vectors` gives chosen ones, by the text itself or by a picture's sha256; each must be of unit norm.
    """

    def __init__(self, *, dims: int = 32, vectors: Mapping[str, Vector] | None = None) -> None:
        self._identity = ModelIdentity(name="fake-encoder", revision="1", licence="Apache-2.0")
        self._dims = dims
        self._vectors = dict(vectors or {})

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    @property
    def at_once(self) -> int:
        return _FAKES_AT_ONCE

    @property
    def dims(self) -> int:
        return self._dims

    async def embed(self, request: EmbedRequest) -> Embedding:
        """The vector at once; TerminalError for another model."""
        refuse_another_model(request.model, request.revision, self._identity)
        subject = request.subject
        key = subject if isinstance(subject, str) else subject.sha256
        if key in self._vectors:
            return Embedding(vector=self._vectors[key])
        values = _stream(hashlib.sha256(key.encode()).hexdigest(), self._dims).astype(np.float64) - 127.5
        return Embedding(vector=(values / np.sqrt(np.sum(values * values))).astype(np.float32))


def fake_tokens(text: str, most: int) -> tuple[Token, ...]:
    """Each digit is a token, and what stands between digits is one.

    A digit has a probability of 0.6, the one above it 0.25, the one below it 0.1; all else is certain.
    """
    return tuple(_fake_token(piece, most) for piece in re.findall(r"\d|\D+", text))


def _fake_token(piece: str, most: int) -> Token:
    if not piece.isdigit():
        return Token(piece, 0.0, ((piece, 0.0),))
    shares = {int(piece): 0.6, int(piece) + 1: 0.25, int(piece) - 1: 0.1}
    likeliest = tuple((str(digit), math.log(share)) for digit, share in shares.items() if 0 <= digit <= 9)
    return Token(piece, likeliest[0][1], likeliest[:most])


def _reply(request: ChatRequest) -> str:
    if request.schema is None:
        return short_sentence(request.key())
    reply = minimal_json(request.schema, request.key())
    if isinstance(reply, dict) and "subject" in reply:
        reply["subject"] = _longest_word(request)
    return json.dumps(reply, ensure_ascii=False, sort_keys=True)


def _longest_word(request: ChatRequest) -> str:
    """What a question is about, as far as a stand-in can tell: the longest word of what was said last."""
    said = " ".join(part.text for part in request.messages[-1].parts if isinstance(part, TextPart))
    words = "".join(sign if sign.isalpha() else " " for sign in said).split()
    return max(words, key=len, default="nothing")


def _stream(key: str, length: int) -> NDArray[np.uint8]:
    """`length` bytes that follow from `key`."""
    blocks = [hashlib.sha256(f"{key}:{block}".encode()).digest() for block in range(-(-length // 32))]
    return np.frombuffer(b"".join(blocks), dtype=np.uint8)[:length]
