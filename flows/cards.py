"""A card that several models share: one of them computes at a time, and gives its memory back before the next one does.

Phases come about by themselves: as long as the model whose turn it is has work, the others wait, so that of a large
batch all texts are written first, then all pictures drawn, then all of them looked at. Knows nothing of samples.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from contextvars import ContextVar
from typing import Protocol, runtime_checkable

from models.chat import ChatModel, ChatReply, ChatRequest
from models.drawing import Drawing, DrawRequest, TextToImage
from models.errors import NobodyThere
from models.identity import ModelIdentity

LINGER_SECONDS = 2.0
"""How long a model that has no request keeps the card: whoever got an answer asks again in a moment, mostly."""

LONGEST_SECONDS = 1800.0
"""How long it keeps the card at most while others wait for it."""

_having = ContextVar[frozenset[str]]("_having", default=frozenset())
logger = logging.getLogger("interlake.flows.cards")


class Sleeper(Protocol):
    """A model that can give its memory on a card back. Both may come twice in a row."""

    async def sleep(self) -> None: ...

    async def wake(self) -> None: ...


class Named(Protocol):
    """A model of any kind."""

    @property
    def identity(self) -> ModelIdentity: ...


class Card:
    """Gives turns to models by their names; in one event loop.

    All sleep but the one whose turn it is. It keeps its turn while it has requests, and `linger` seconds more, but no
    longer than `longest` seconds while another one waits. Then comes the model whose oldest request has waited longest.
    """

    def __init__(self, *, linger: float = LINGER_SECONDS, longest: float = LONGEST_SECONDS) -> None:
        self._linger = linger
        self._longest = longest
        self._sleepers: dict[str, Sleeper] = {}
        self._awake: set[str] = set()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._holder: str | None = None
        self._inside = 0
        self._since = self._idle_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._switching: asyncio.Task[None] | None = None

    def add(self, name: str, sleeper: Sleeper) -> None:
        """Have one more model share the card; it may be awake."""
        self._sleepers[name] = sleeper
        self._awake.add(name)

    async def rest(self) -> None:
        """Have all of them sleep, while none has a turn or waits for one: before another is loaded, and at the end."""
        for name in sorted(self._awake):
            await self._put_to_sleep(name)
        self._holder = None

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """A block in which this model, and no other, may compute. What it raises on waking is raised here."""
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, deque()).append(place)
        self._advance()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._leave()  # let in and cancelled in the same moment
            else:
                self._forget(name, place)
            raise
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        self._inside -= 1
        self._idle_since = asyncio.get_running_loop().time()
        self._advance()

    def _forget(self, name: str, place: "asyncio.Future[None]") -> None:
        if place in (places := self._waiting.get(name, deque())):
            places.remove(place)
            if not places:
                del self._waiting[name]
            self._advance()

    def _advance(self) -> None:
        """Let in whom the turn allows; begin to switch when it is at its end, or see to it that this is asked then."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._switching is not None:
            return
        now, next_one = asyncio.get_running_loop().time(), self._next()
        is_overdue = now - self._since >= self._longest
        if self._holder is not None and not (is_overdue and next_one):
            self._admit(self._holder)
        if next_one is None or self._inside:
            return
        end = min(self._idle_since + self._linger, self._since + self._longest)
        if self._holder is None or now >= end:
            self._switching = asyncio.get_running_loop().create_task(self._switch(next_one))
        else:
            self._timer = asyncio.get_running_loop().call_at(end, self._advance)

    def _next(self) -> str | None:
        """The other model that has waited longest; those that begin to wait go to the end of the dict."""
        return next((name for name in self._waiting if name != self._holder), None)

    def _admit(self, name: str) -> None:
        for place in self._waiting.pop(name, ()):
            if not place.done():
                place.set_result(None)
                self._inside += 1

    async def _switch(self, name: str) -> None:
        logger.info("%s has the card now", name)
        self._holder = None
        try:
            for other in sorted(self._awake - {name}):
                await self._put_to_sleep(other)
            await self._sleepers[name].wake()
            self._awake.add(name)
        except Exception as error:
            for place in self._waiting.pop(name, ()):
                if not place.done():
                    place.set_exception(error)
        else:
            self._holder = name
            self._since = self._idle_since = asyncio.get_running_loop().time()
        finally:
            self._switching = None
        self._advance()

    async def _put_to_sleep(self, name: str) -> None:
        try:
            await self._sleepers[name].sleep()
        except NobodyThere as error:  # and so nobody who holds memory
            logger.warning("%s does not sleep: %s", name, error)
        self._awake.discard(name)


@runtime_checkable
class OnCard(Protocol):
    """A model that shares a card."""

    def turn(self) -> AbstractAsyncContextManager[None]: ...


def turn_of(model: object) -> AbstractAsyncContextManager[None]:
    """The turn of a model of any kind: at once where it shares no card."""
    return model.turn() if isinstance(model, OnCard) else nullcontext()


class _Shared:
    """What both share: who the model is, and its turn, which whoever has it need not wait for again."""

    def __init__(self, model: ChatModel | TextToImage, card: Card) -> None:
        self._any = model
        self._card = card

    @property
    def identity(self) -> ModelIdentity:
        return self._any.identity

    @property
    def at_once(self) -> int:
        return self._any.at_once

    def gather(self, batch: int) -> None:
        """Set the size of batches, of a model that has any."""
        if (set_it := getattr(self._any, "gather", None)) is not None:
            set_it(batch)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        name = self.identity.name
        if name in _having.get():
            yield
            return
        async with self._card.turn(name):
            had = _having.set(_having.get() | {name})
            try:
                yield
            finally:
                _having.reset(had)


class SharedChat(_Shared):
    """A `ChatModel` that answers in its turn."""

    def __init__(self, model: ChatModel, card: Card) -> None:
        super().__init__(model, card)
        self._model = model

    async def chat(self, request: ChatRequest) -> ChatReply:
        async with self.turn():
            return await self._model.chat(request)


class SharedPainter(_Shared):
    """A `TextToImage` that draws in its turn."""

    def __init__(self, model: TextToImage, card: Card) -> None:
        super().__init__(model, card)
        self._model = model

    async def draw(self, request: DrawRequest) -> Drawing:
        async with self.turn():
            return await self._model.draw(request)
