"""Asking a model again what it was asked: repeated with patience like any call, and written nowhere."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeAlias, cast, runtime_checkable

from flows.engine import Gate
from flows.recorder import Address, Answer, Asked, Desk, Recorder
from flows.regenerate.choosing import PLACE
from flows.regenerate.reading import Ready
from models.chat import ChatModel, ChatRequest
from models.drawing import DrawRequest, TextToImage
from models.embedding import Encoder
from models.errors import ContentError, TransientError
from models.identity import ModelIdentity
from storage.spool import RecordedCall

Model: TypeAlias = ChatModel | TextToImage | Encoder
Heard: TypeAlias = RecordedCall | str
"""What came, or why nothing did."""
Send: TypeAlias = Callable[[], Awaitable[Answer]]

RUN_ID = "regenerate"
CALLS_READ = (64, 512)
"""How many calls are held in memory at least and at most; between these, as many as the model answers at a time."""


@runtime_checkable
class Gathering(Protocol):
    """A model that answers requests in batches, of a size that can be set."""

    def gather(self, batch: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A model that is to be asked so many requests at a time, whatever it bears."""

    identity: ModelIdentity
    at_once: int


class Ear:
    """The tape of one question: nothing was heard before, and what is heard is kept in memory."""

    def __init__(self) -> None:
        self.heard: RecordedCall | None = None

    def find(self, at: Address, request_key: str) -> RecordedCall | None:  # noqa: ARG002
        return None

    async def keep(self, call: RecordedCall) -> None:
        self.heard = call


class GivenUp(Exception):
    """The model was away for longer than our patience; nothing more is asked of it."""


class Asking:
    """Asks one model. After a request that was repeated in vain, all others are told that it was given up."""

    def __init__(self, model: Model, *, at_once: int | None, patience: float) -> None:
        self._model = model
        self._patience = patience
        self._gate = Gate(Room(identity=model.identity, at_once=at_once) if at_once else model)
        self._given_up: str | None = None
        fewest, most = CALLS_READ
        self.calls_read = min(max(fewest, at_once or model.at_once), most)

    async def ask_each(self, calls: Sequence[Ready]) -> list[Heard]:
        """Ask calls that no company is known of: as many at a time as there is room for, each computed alone."""
        self._gather(1)
        return list(await asyncio.gather(*(self._ask(call, self._through_the_gate) for call in calls)))

    async def ask_together(self, calls: Sequence[Ready]) -> list[Heard]:
        """Ask calls as one batch, in their order."""
        self._gather(len(calls))
        return list(await asyncio.gather(*(self._ask(call, self._straight) for call in calls)))

    def _gather(self, batch: int) -> None:
        if isinstance(self._model, Gathering):
            self._model.gather(batch)

    async def _ask(self, ready: Ready, desk: Desk) -> Heard:
        ear = Ear()
        recorder = Recorder(tape=ear, desk=desk, run_id=RUN_ID, patience=self._patience)
        try:
            with suppress(ContentError):  # the ear has heard the refusal
                await self._send(recorder, ready)
        except TransientError as error:
            self._given_up = f"{self._model.identity.name} does not answer: {error}"
            return self._given_up
        except GivenUp as error:
            return str(error)
        except Exception as error:  # whatever it is, it did not happen then
            return f"{type(error).__name__}: {error}"
        assert ear.heard is not None, "an answer or a refusal is kept before it is handed on"
        return ear.heard

    async def _send(self, recorder: Recorder, ready: Ready) -> None:
        row, request = ready.call.row, ready.request
        at = Address(**{name: getattr(row, name) for name in PLACE})
        match request:
            case ChatRequest():
                await recorder.chat(cast("ChatModel", self._model), at, request)
            case DrawRequest():
                await recorder.draw(cast("TextToImage", self._model), at, request)
            case _:
                await recorder.embed(cast("Encoder", self._model), at, request)

    async def _through_the_gate(self, model: Asked, send: Send) -> Answer:
        async with self._gate.passing(0):
            return await self._straight(model, send)

    async def _straight(self, model: Asked, send: Send) -> Answer:  # noqa: ARG002
        if self._given_up:
            raise GivenUp(self._given_up)
        return await send()
