"""Gathering requests into batches: fullness, windows, kinds, order, cancellation; the worker is a list of futures."""

import asyncio
from collections.abc import Coroutine, Sequence
from threading import Event
from typing import Any

import pytest

from models.errors import TransientError
from models.request_batches import RequestBatches

LONG = 3600.0  # seconds that no test waits


class Worker:
    """Keeps each batch until the test answers it."""

    def __init__(self) -> None:
        self.batches: list[Sequence[str]] = []
        self.abandoned: list[Event] = []
        self.futures: list[asyncio.Future[Sequence[str | Exception]]] = []

    def work(self, asked: Sequence[str], abandoned: Event) -> "asyncio.Future[Sequence[str | Exception]]":
        self.batches.append(asked)
        self.abandoned.append(abandoned)
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]

    def answer(self, *answers: str | Exception) -> None:
        """Answer the newest batch; in capitals where nothing else is said."""
        self.futures[-1].set_result(answers or [asked.upper() for asked in self.batches[-1]])


def gather(worker: Worker, *, size: int, window: float = LONG) -> RequestBatches[str, str]:
    return RequestBatches(worker.work, kind=lambda asked: asked[0], size=lambda: size, window=window)


def start(asking: Coroutine[Any, Any, str]) -> "asyncio.Task[str]":
    return asyncio.get_running_loop().create_task(asking)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_full_batch_goes_at_once_and_each_gets_its_own_answer() -> None:
    async def run() -> None:
        worker = Worker()
        batches = gather(worker, size=2)
        first, second = start(batches.ask("a1")), start(batches.ask("a2"))
        await settle()
        assert worker.batches == [["a1", "a2"]]
        worker.answer()
        assert [await first, await second] == ["A1", "A2"]

    asyncio.run(run())


def test_a_batch_that_does_not_fill_goes_when_its_window_ends() -> None:
    async def run() -> None:
        worker = Worker()
        batches = gather(worker, size=2, window=0.01)
        asking = start(batches.ask("a1"))
        await settle()
        assert worker.batches == []
        while not worker.batches:
            await asyncio.sleep(0.01)
        worker.answer()
        assert await asking == "A1"

    asyncio.run(run())


def test_with_a_size_of_one_nobody_waits_for_company() -> None:
    async def run() -> None:
        worker = Worker()
        batches = gather(worker, size=1)
        first, second = start(batches.ask("a1")), start(batches.ask("a2"))
        await settle()
        assert worker.batches == [["a1"]]
        worker.answer()
        await settle()
        worker.answer()
        assert [await first, await second] == ["A1", "A2"]

    asyncio.run(run())


def test_kinds_do_not_mix_and_the_oldest_of_those_that_may_go_is_first() -> None:
    async def run() -> None:
        worker = Worker()
        batches = gather(worker, size=2, window=0.0)
        tasks = [start(batches.ask(asked)) for asked in ("a1", "b1", "a2", "b2", "b3")]
        for _ in range(4):
            await settle()
            if not worker.futures[-1].done():
                worker.answer()
        assert await asyncio.gather(*tasks) == ["A1", "B1", "A2", "B2", "B3"]
        assert worker.batches == [["a1"], ["b1", "b2"], ["a2"], ["b3"]]

    asyncio.run(run())


def test_a_cancelled_request_that_waits_leaves_the_queue() -> None:
    async def run() -> None:
        worker = Worker()
        batches = gather(worker, size=2)
        tasks = [start(batches.ask(asked)) for asked in ("a1", "b1")]
        await settle()
        tasks[0].cancel()
        await settle()
        tasks += [start(batches.ask(asked)) for asked in ("a2", "b2")]
        await settle()
        assert worker.batches == [["b1", "b2"]]
        assert tasks[0].cancelled()
        batches.refuse_all(lambda: TransientError("closed"))
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


def test_a_batch_is_abandoned_when_the_last_of_it_is_cancelled_and_the_next_one_goes_on() -> None:
    async def run() -> None:
        worker = Worker()
        batches = gather(worker, size=2)
        tasks = [start(batches.ask(asked)) for asked in ("a1", "a2", "b1", "b2")]
        await settle()
        tasks[0].cancel()
        await settle()
        assert not worker.abandoned[0].is_set()
        tasks[1].cancel()
        await settle()
        assert worker.abandoned[0].is_set()
        worker.futures[0].set_exception(RuntimeError("stopped half way"))
        await settle()
        worker.answer()
        assert await asyncio.gather(*tasks[2:]) == ["B1", "B2"]

    asyncio.run(run())


def test_an_error_in_place_of_an_answer_is_its_requests_alone() -> None:
    async def run() -> list[str | BaseException]:
        worker = Worker()
        batches = gather(worker, size=2)
        tasks = [start(batches.ask(asked)) for asked in ("a1", "a2")]
        await settle()
        worker.answer(ValueError("blank"), "A2")
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second = asyncio.run(run())
    assert isinstance(first, ValueError)
    assert second == "A2"


def test_refusing_all_answers_those_that_wait_and_those_worked_on() -> None:
    async def run() -> None:
        worker = Worker()
        batches = gather(worker, size=1)
        tasks = [start(batches.ask(asked)) for asked in ("a1", "a2")]
        await settle()
        batches.refuse_all(lambda: TransientError("closed"))
        for task in tasks:
            with pytest.raises(TransientError, match="closed"):
                await task
        assert worker.abandoned[0].is_set()
        assert worker.batches == [["a1"]]

    asyncio.run(run())
