"""Asking on behalf of one slot: seeds from ids, attempts until a reply can be used, and failure with evidence."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from flows.recorder import Address, Recorder
from flows.seir.replies import BadReply, Reply, parse_reply, schema_of
from flows.settings import (
    BatchedChat,
    CriticSettings,
    EmbeddedChat,
    GenerationSettings,
    PainterSettings,
    SamplingSettings,
    ServedChat,
    ViewerSettings,
    WriterSettings,
)
from flows.studio import Cast
from models.chat import ChatModel, ChatRequest, Message, Sampling
from models.drawing import Drawing, DrawRequest, TextToImage
from models.embedding import EmbedRequest, Vector
from models.errors import ContentError
from models.picture import Picture
from storage.canonical import Json, derive_seed

P = TypeVar("P", bound=Reply)
T = TypeVar("T")

NO_SAMPLING = SamplingSettings(temperature=0, top_p=1, top_k=0, min_p=0, repeat_penalty=1)


class SlotFailedError(Exception):
    """Content that could not be made in all attempts; `evidence` says where and what came instead."""

    def __init__(self, *, stage: str, reason: str, evidence: Json) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage = stage
        self.reason = reason
        self.evidence = evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a slot's story something is asked."""

    turn: int
    stage: str
    round: int
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Asks the cast for one slot. `retry` counts its earlier failures; each one allows as many attempts again."""

    cast: Cast
    recorder: Recorder
    settings: GenerationSettings
    slot_id: str
    sample_id: str
    retry: int

    async def write(self, place: Place, messages: Sequence[Message], reply: type[P], max_tokens: int) -> P:
        """Have the writer reply in the shape of `reply`; SlotFailedError after the last unusable reply."""
        sampling = sampling_of(self.settings.writer, max_tokens)
        return await self._chat(self.cast.writer, sampling, place, messages, reply)

    async def criticise(
        self, critic: ChatModel, place: Place, messages: Sequence[Message], reply: type[P], max_tokens: int
    ) -> P:
        """Have the text critic reply; errors as for `write`."""
        return await self._chat(critic, sampling_of(self.settings.critic, max_tokens), place, messages, reply)

    async def view(self, place: Place, messages: Sequence[Message], reply: type[P], max_tokens: int) -> P:
        """Have the image critic reply; errors as for `write`."""
        sampling = sampling_of(self.settings.viewer, max_tokens)
        return await self._chat(self.cast.viewer, sampling, place, messages, reply)

    async def draw(self, place: Place, caption: str) -> Drawing:
        """Have the caption drawn; errors as for `write`."""
        painter, wanted = self.cast.painter, self.settings.painter

        async def attempt(seed: int, at: Address) -> Drawing:
            return await self.recorder.draw(painter, at, draw_request(painter, wanted, caption, seed))

        return await self._attempts(place, attempt)

    async def embed(self, place: Place, subject: Picture | str) -> Vector:
        """The vector of a picture or a text; SlotFailedError when it cannot be embedded."""
        encoder = self.cast.encoder
        identity = encoder.identity

        async def attempt(_seed: int, at: Address) -> Vector:
            request = EmbedRequest(model=identity.name, revision=identity.revision, subject=subject)
            return await self.recorder.embed(encoder, at, request)

        return await self._attempts(place, attempt, at_a_time=1)

    async def _chat(
        self,
        model: ChatModel,
        sampling: Sampling,
        place: Place,
        messages: Sequence[Message],
        reply: type[P],
    ) -> P:
        async def attempt(seed: int, at: Address) -> P:
            heard = await self.recorder.chat(model, at, chat_request(model, messages, sampling, reply, seed))
            return parse_reply(reply, heard.text, heard.finish_reason)

        return await self._attempts(place, attempt)

    async def _attempts(
        self, place: Place, attempt: Callable[[int, Address], Awaitable[T]], *, at_a_time: int | None = None
    ) -> T:
        """Try until content comes; as often as the settings say, or `at_a_time` where a seed changes nothing."""
        limit = (at_a_time or self.settings.attempts) * (self.retry + 1)
        problems: list[Json] = []
        reason = ""
        for number in range(limit):
            seed = derive_seed(self.slot_id, place.turn, place.stage, place.round, place.purpose, number)
            at = Address(
                sample_id=self.sample_id,
                turn=place.turn,
                stage=place.stage,
                round=place.round,
                purpose=place.purpose,
                attempt=number,
            )
            try:
                return await attempt(seed, at)
            except (BadReply, ContentError) as error:
                reason = error.reason
                message = str(error).encode(errors="backslashreplace").decode()
                problems.append({"call_id": at.call_id(), "reason": error.reason, "message": message})
        raise SlotFailedError(
            stage=place.stage,
            reason=reason,
            evidence={"turn": place.turn, "round": place.round, "purpose": place.purpose, "attempts": problems},
        )


def chat_request(
    model: ChatModel, messages: Sequence[Message], sampling: Sampling, reply: type[Reply], seed: int
) -> ChatRequest:
    """A question to a model whose reply is to have the shape of `reply`."""
    return ChatRequest(
        model=model.identity.name,
        revision=model.identity.revision,
        messages=tuple(messages),
        sampling=sampling,
        schema=schema_of(reply),
        seed=seed,
    )


def draw_request(painter: TextToImage, wanted: PainterSettings, caption: str, seed: int) -> DrawRequest:
    """A caption to be drawn as the settings want it."""
    return DrawRequest(
        model=painter.identity.name,
        revision=painter.identity.revision,
        caption=caption,
        width=wanted.width,
        height=wanted.height,
        steps=wanted.steps,
        guidance=wanted.guidance,
        seed=seed,
    )


def sampling_of(settings: WriterSettings | CriticSettings | ViewerSettings, max_tokens: int) -> Sampling:
    """The sampling of a chat model; those that know of none are asked with what is neutral."""
    sampling = settings.sampling if isinstance(settings, EmbeddedChat | ServedChat | BatchedChat) else NO_SAMPLING
    return Sampling(**sampling.model_dump(), max_tokens=max_tokens)
