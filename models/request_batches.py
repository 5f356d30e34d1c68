"""Gathers requests into batches for a worker that does one batch at a time; knows nothing of pictures or models."""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Generic, TypeAlias, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
Work: TypeAlias = Callable[[Sequence[Asked], Event], asyncio.Future[Sequence[Answer | Exception]]]


@dataclass(slots=True, eq=False, kw_only=True)
class Waiting(Generic[Asked, Answer]):
    """A request that waits or is worked on; at `due`, on the loop's clock, it goes even without company."""

    asked: Asked
    kind: Hashable
    due: float
    answer: "asyncio.Future[Answer]"


class RequestBatches(Generic[Asked, Answer]):
    """Hands requests of one kind to `work` together, as many as `size()` says at that moment; in one event loop only.

    A request goes when its batch is full or `window` seconds after it came, whichever is first; with a size of one it
    never waits for company. Of the batches that may go, that of the oldest request goes first, so that no kind starves.

    `work` starts a batch and returns the future of its answers, in order, an exception for each request that failed;
    it sets nothing of its own on the event it is given: that is set when nobody waits for any of the answers any more.
    Nothing here is a task: what runs is the worker's future and at most one timer.
    """

    def __init__(
        self,
        work: Work[Asked, Answer],
        *,
        kind: Callable[[Asked], Hashable],
        size: Callable[[], int],
        window: float,
    ) -> None:
        self._work = work
        self._kind = kind
        self._size = size
        self._window = window
        self._queue: list[Waiting[Asked, Answer]] = []
        self._running: Sequence[Waiting[Asked, Answer]] = ()
        self._abandoned = Event()
        self._timer: asyncio.TimerHandle | None = None

    async def ask(self, asked: Asked) -> Answer:
        """The answer, or what was raised in its place; when cancelled, the request leaves the queue."""
        loop = asyncio.get_running_loop()
        window = self._window if self._size() > 1 else 0.0
        waiting = Waiting[Asked, Answer](
            asked=asked, kind=self._kind(asked), due=loop.time() + window, answer=loop.create_future()
        )
        self._queue.append(waiting)
        self._start_next()
        try:
            return await waiting.answer
        finally:
            self._forget(waiting)

    def refuse_all(self, error: Callable[[], Exception]) -> None:
        """Answer all that wait, and all that are being worked on, with errors."""
        self._abandoned.set()
        for waiting in (*self._running, *self._queue):
            if not waiting.answer.done():
                waiting.answer.set_exception(error())
        self._queue.clear()

    def _forget(self, waiting: Waiting[Asked, Answer]) -> None:
        if waiting in self._queue:
            self._queue.remove(waiting)
        elif waiting in self._running and all(each.answer.done() for each in self._running):
            self._abandoned.set()

    def _start_next(self) -> None:
        """Start the batch that is to go now, or see to it that this is asked again when one is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running or not self._queue:
            return
        loop = asyncio.get_running_loop()
        batch = self._take_batch(loop.time())
        if batch:
            self._running = batch
            self._abandoned = Event()
            self._work([each.asked for each in batch], self._abandoned).add_done_callback(self._finish)
        else:
            self._timer = loop.call_at(min(each.due for each in self._queue), self._start_next)

    def _take_batch(self, now: float) -> Sequence[Waiting[Asked, Answer]]:
        size = self._size()
        for kind in dict.fromkeys(each.kind for each in self._queue):
            group = [each for each in self._queue if each.kind == kind][:size]
            if len(group) == size or group[0].due <= now:
                self._queue = [each for each in self._queue if each not in group]
                return group
        return ()

    def _finish(self, done: "asyncio.Future[Sequence[Answer | Exception]]") -> None:
        batch, self._running = self._running, ()
        error = done.exception()
        answers = done.result() if error is None else [error] * len(batch)
        for waiting, answer in zip(batch, answers, strict=True):
            if waiting.answer.done():
                continue
            if isinstance(answer, BaseException):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)
        self._start_next()
