"""The engine: one event loop in a thread of its own and one request limiter per model, fed by all open batches."""

import asyncio
import gc
import heapq
import itertools
import resource
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, TypeVar

from flows.cards import turn_of
from flows.recorder import Asked

T = TypeVar("T")

MANY_FILES = 65_536


class Engine:
    """Runs coroutines from any thread. Use as a context manager; leaving it cancels what still runs."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="interlake-engine", daemon=True)
        self._gates: dict[str, Gate] = {}

    def __enter__(self) -> "Engine":
        gc.freeze()  # what was imported stays: collecting garbage need not look through it again and again
        _allow_many_files()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
        self.submit(self._loop.shutdown_default_executor()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        gc.unfreeze()

    def cancel(self) -> None:
        """Cancel all that runs, and wait until it has ended."""
        self.submit(_cancel_all()).result()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the engine's loop; its result or error arrives in the future."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def ask(self, model: Asked, send: Callable[[], Awaitable[T]], *, turn: int = 0) -> T:
        """Send one request when the model has room for it, and the card that it may share.

        Of all that wait, those of the lowest turn come first, in the order in which they came.
        """
        gate = self._gates.setdefault(model.identity.name, Gate(model))
        async with gate.passing(turn), turn_of(model):
            return await send()


class Gate:
    """Lets as many through as the model bears at a time, a number that may change.

    The others wait: by their turn, and within it in the order in which they came. With the number of the batch as the
    turn this is the list schedule in the order of the plan: what was begun first is ended first, and a later batch has
    what an earlier one leaves it. None waits for ever, since a batch asks only so much.
    """

    def __init__(self, model: Asked) -> None:
        self._model = model
        self._inside = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._came = itertools.count()

    @asynccontextmanager
    async def passing(self, turn: int) -> AsyncIterator[None]:
        """Wait to be let in, and be inside."""
        place = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (turn, next(self._came), place))
        self._admit()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._leave()  # let in and cancelled in the same moment
            raise
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        self._inside -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._inside < max(1, self._model.at_once):
            _, _, place = heapq.heappop(self._waiting)
            if not place.done():
                place.set_result(None)
                self._inside += 1


def _allow_many_files() -> None:
    """As many as this user may have open: each batch under way has a spool, each request a connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, MANY_FILES)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))


async def _cancel_all() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
