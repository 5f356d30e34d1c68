"""Turns are had in the order in which they were asked for, however long each takes to get ready, and whoever leaves."""

import asyncio
from collections.abc import Sequence

from models.arrivals import Arrivals


def order_of(ready: Sequence[int], leaving: frozenset[int] = frozenset()) -> list[int]:
    """The order of the turns of some who ask one after another and are ready in this order; some leave before."""

    async def run() -> list[int]:
        arrivals, had = Arrivals(), list[int]()
        gates = [asyncio.Event() for _ in ready]

        async def come(number: int) -> None:
            with arrivals.next() as arrival:
                await gates[number].wait()
                await arrival.turn()
                had.append(number)

        tasks = [asyncio.create_task(come(number)) for number in range(len(ready))]
        await asyncio.sleep(0)
        for number in leaving:
            tasks[number].cancel()
        for number in ready:
            gates[number].set()
            await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
        return had

    return asyncio.run(run())


def test_who_is_ready_first_waits_for_those_who_came_before() -> None:
    assert order_of([0, 1, 2, 3]) == [0, 1, 2, 3]
    assert order_of([3, 1, 2, 0]) == [0, 1, 2, 3]


def test_nobody_waits_for_one_who_left() -> None:
    assert order_of([3, 2, 1, 0], leaving=frozenset({0, 2})) == [1, 3]


def test_turns_go_on_in_another_event_loop() -> None:
    arrivals = Arrivals()

    async def come() -> None:
        with arrivals.next() as arrival:
            await arrival.turn()

    for _ in range(2):
        asyncio.run(asyncio.wait_for(come(), 60))
