"""The engine: one event loop in a thread of its own and one request limiter per model, fed by all open batches."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

from flows.recorder import Answer, Asked

T = TypeVar("T")


class Engine:
    """Runs coroutines from any thread. Use as a context manager; leaving it cancels what still runs."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="interlake-engine", daemon=True)
        self._limits: dict[str, asyncio.Semaphore] = {}

    def __enter__(self) -> "Engine":
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

    def cancel(self) -> None:
        """Cancel all that runs, and wait until it has ended."""
        self.submit(_cancel_all()).result()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the engine's loop; its result or error arrives in the future."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def ask(self, model: Asked, send: Callable[[], Awaitable[Answer]]) -> Answer:
        """Send one request when the model has room for it."""
        limit = self._limits.setdefault(model.identity.name, asyncio.Semaphore(model.at_once))
        async with limit:
            return await send()


async def _cancel_all() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
