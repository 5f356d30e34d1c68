"""A recorder that records nothing: it asks as the real one does, checks what it hears, and hands that straight on."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from flows.hearing import refuse_another_size, refuse_broken, refuse_unfit, refuse_unsafe
from flows.recorder import Address, Answer, Asked, Question, Recorder
from models.chat import ChatModel, ChatReply, ChatRequest
from models.drawing import Drawing, DrawRequest, TextToImage
from models.embedding import EmbedRequest, Encoder, Vector
from storage.spool import RecordedCall

T = TypeVar("T")
EMPTY = Answer(response={})


@dataclass(slots=True)
class Passing(Generic[T]):
    """What a model said, passed by the desk that only knows answers."""

    said: list[T] = field(default_factory=list)

    def asked(self, model: Asked, ask: Callable[[], Awaitable[T]]) -> Question:
        """A question without a canonical form; what is said to it last counts."""

        async def send() -> Answer:
            self.said.append(await ask())
            return EMPTY

        return Question(request=None, seed=None, model=model, send=send)


class NoTape:
    """A tape on which nothing is."""

    def find(self, at: Address, request_key: str) -> RecordedCall | None:  # noqa: ARG002
        return None

    async def keep(self, call: RecordedCall) -> None:
        pass


class Unrecorded(Recorder):
    """Keeps the gates, the patience and the checks of a recorder, and nothing that it hears."""

    async def chat(self, model: ChatModel, at: Address, request: ChatRequest) -> ChatReply:  # noqa: ARG002
        async def ask() -> ChatReply:
            reply = await model.chat(request)
            refuse_unsafe(reply.text)
            return reply

        return await self._hear(model, ask)

    async def draw(self, model: TextToImage, at: Address, request: DrawRequest) -> Drawing:  # noqa: ARG002
        async def ask() -> Drawing:
            drawing = await model.draw(request)
            await asyncio.to_thread(refuse_broken, drawing.picture)
            refuse_another_size(drawing.picture, request)
            return drawing

        return await self._hear(model, ask)

    async def embed(self, model: Encoder, at: Address, request: EmbedRequest) -> Vector:  # noqa: ARG002
        async def ask() -> Vector:
            embedding = await model.embed(request)
            refuse_unfit(embedding.vector, model.dims)
            return embedding.vector

        return await self._hear(model, ask)

    async def _hear(self, model: Asked, ask: Callable[[], Awaitable[T]]) -> T:
        passing = Passing[T]()
        await self._send_until_answered(passing.asked(model, ask))
        return passing.said[-1]
