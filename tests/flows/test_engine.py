"""The engine's gates: as many requests at a time as a model bears now, in their order, and no place is lost."""

import asyncio

from flows.engine import Gate
from models.fakes import FakeChat


class Adapting(FakeChat):
    """Bears as many requests as it is told."""

    room = 1

    @property
    def at_once(self) -> int:
        return self.room


async def enter(gate: Gate, entered: list[int], number: int, leave: asyncio.Event) -> None:
    async with gate.passing(0):
        entered.append(number)
        await leave.wait()


def start(gate: Gate, count: int) -> tuple[list[int], list[asyncio.Event], list[asyncio.Task[None]]]:
    entered: list[int] = []
    leaves = [asyncio.Event() for _ in range(count)]
    tasks = [asyncio.create_task(enter(gate, entered, number, leave)) for number, leave in enumerate(leaves)]
    return entered, leaves, tasks


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_gate_follows_what_the_model_bears() -> None:
    async def run() -> list[list[int]]:
        model = Adapting()
        entered, leaves, tasks = start(Gate(model), 6)
        await settle()
        steps = [list(entered)]
        model.room = 3
        leaves[0].set()
        await settle()
        steps.append(list(entered))
        model.room = 1
        leaves[1].set()
        await settle()
        steps.append(list(entered))
        for leave in leaves:
            leave.set()
        await asyncio.gather(*tasks)
        return [*steps, entered]

    assert asyncio.run(run()) == [[0], [0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3, 4, 5]]


def test_who_is_cancelled_while_waiting_or_just_let_in_takes_no_place() -> None:
    async def run() -> list[int]:
        entered, leaves, tasks = start(Gate(Adapting()), 4)
        await settle()
        tasks[2].cancel()
        leaves[0].set()
        await asyncio.sleep(0)  # the first leaves and lets the second in, which is cancelled before it runs
        tasks[1].cancel()
        await settle()
        assert not tasks[3].done()
        leaves[3].set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return entered

    entered = asyncio.run(run())
    assert entered[0] == 0
    assert entered[-1] == 3
    assert 2 not in entered


def test_what_waits_is_let_in_by_its_turn_then_as_it_came() -> None:
    async def run() -> list[str]:
        gate, entered = Gate(Adapting()), list[str]()

        async def enter(name: str, turn: int) -> None:
            async with gate.passing(turn):
                entered.append(name)
                await asyncio.sleep(0)

        wanted = [("first", 7), ("late", 3), ("early", 1), ("late too", 3), ("early too", 1)]
        await asyncio.gather(*(enter(name, turn) for name, turn in wanted))
        return entered

    assert asyncio.run(run()) == ["first", "early", "early too", "late", "late too"]
