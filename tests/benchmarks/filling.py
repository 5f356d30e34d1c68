"""Fills many slots at a time with the shipped stand-ins, recorded or not, and measures what that takes; to be run in a
fresh process."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.engine import Engine
from flows.filling import fill_slot, known_templates
from flows.plan import PlannedSlot
from flows.recorder import Answer, Asked, Recorder
from flows.settings import GenerationSettings, default_settings, parse_settings
from flows.studio import Cast
from flows.syncing import sync_often
from flows.tape import BatchTape, SpoolShelf
from flows.topics.catalogue import read_catalogue
from models.fakes import FakeChat, FakeEncoder, FakePainter
from storage.canonical import derive_id
from storage.spool import Spool
from tests.benchmarks.measuring import forget_peak, resident
from tests.benchmarks.unrecorded import NoTape, Unrecorded

SIDE = 64
"""Pixels of a picture's side."""
TURNS = 2
PATIENCE = 300.0
RUN_ID = "0" * 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """So many samples, so many of them in flight; `batch` of them share a spool. Others before warm the process up."""

    recorded: bool
    samples: int
    in_flight: int
    batch: int
    warm_up: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a trial took, in seconds (`cpu` of all threads together) and bytes; `read_back` is no part of the others.

    `memory` is how much more than before it took at most, `held` how many calls of open batches it knew at most.
    """

    calls: int
    seconds: float
    cpu: float
    memory: int
    held: int
    spooled: int
    read_back: float

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds


def measure(trial: Trial) -> Measured:
    """Make the samples of a trial."""
    slots = slots_of(trial.warm_up + trial.samples)
    with tempfile.TemporaryDirectory(prefix="bench-record-") as folder, Engine() as engine:
        mill = Mill(trial, engine, Path(folder))
        engine.submit(mill.make(slots[: trial.warm_up])).result()
        forget_peak()
        floor, mill.books = resident("VmRSS"), Books()
        with mill.books.timed():
            engine.submit(mill.make(slots[trial.warm_up :])).result()
        return mill.books.close(memory=resident("VmHWM") - floor)


def slots_of(count: int) -> list[PlannedSlot]:
    """Slots about the shipped topics, from the shipped templates."""
    topics, templates = [entry.name for entry in read_catalogue()], list(known_templates())
    return [
        PlannedSlot(
            slot_id=derive_id("slot", number),
            sample_id=derive_id("sample", number),
            topic_id=derive_id("topic", number % len(topics)),
            topic=topics[number % len(topics)],
            slot_number=number // len(topics),
            retry=0,
            templates=tuple(templates[(TURNS * number + turn) % len(templates)] for turn in range(TURNS)),
        )
        for number in range(count)
    ]


def small_settings() -> GenerationSettings:
    """The shipped settings of the stand-ins, with small pictures."""
    text = default_settings("fake").replace("= 512", f"= {SIDE}")
    return parse_settings(text, Path("interlake.toml")).generation


def stand_ins() -> Cast:
    chat = FakeChat()
    return Cast(writer=chat, critic=chat, painter=FakePainter(), viewer=chat, encoder=FakeEncoder())


class Books:
    """Counts, and seconds in which nothing else was measured."""

    def __init__(self) -> None:
        self.calls = self.spooled = 0
        self._held = self._most_held = 0
        self._seconds = self._cpu = self._read_back = 0.0

    @contextmanager
    def timed(self) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self._seconds += time.perf_counter() - wall
        self._cpu += time.process_time() - cpu

    @contextmanager
    def reading_back(self) -> Iterator[None]:
        """While the event loop does nothing else."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        wall = time.perf_counter() - wall
        self._read_back += wall
        self._seconds -= wall
        self._cpu -= time.process_time() - cpu

    def hear(self) -> None:
        self.calls += 1
        self._held += 1
        self._most_held = max(self._held, self._most_held)

    def let_go(self, calls: int, size: int) -> None:
        self._held -= calls
        self.spooled += size

    def close(self, *, memory: int) -> Measured:
        return Measured(
            calls=self.calls,
            seconds=self._seconds,
            cpu=self._cpu,
            memory=memory,
            held=self._most_held,
            spooled=self.spooled,
            read_back=self._read_back,
        )


@dataclass(slots=True)
class Batch:
    """Some samples that are made with one recorder; `left` of them are not finished yet."""

    recorder: Recorder
    left: int
    record: "Record | None"


@dataclass(frozen=True, slots=True)
class Record:
    """What a batch is recorded by."""

    spool: Spool
    tape: BatchTape
    syncing: asyncio.Task[None]


class Mill:
    """Fills slots, always as many at a time as the trial says, in batches as a build has them."""

    def __init__(self, trial: Trial, engine: Engine, folder: Path) -> None:
        self.books = Books()
        self._trial = trial
        self._engine = engine
        self._folder = folder
        self._shelf = SpoolShelf()
        self._cast = stand_ins()
        self._settings = small_settings()
        self._opened = 0

    async def make(self, slots: Sequence[PlannedSlot]) -> None:
        """Fill all of them; whoever has filled one takes the next."""
        waiting = self._deal(slots)
        await asyncio.gather(*(self._fill(waiting) for _ in range(self._trial.in_flight)))

    def _deal(self, slots: Sequence[PlannedSlot]) -> Iterator[tuple[PlannedSlot, Batch]]:
        for first in range(0, len(slots), self._trial.batch):
            mine = slots[first : first + self._trial.batch]
            batch = self._open(len(mine))
            for slot in mine:
                yield slot, batch

    async def _fill(self, waiting: Iterator[tuple[PlannedSlot, Batch]]) -> None:
        for slot, batch in waiting:
            dialogue = await fill_slot(slot, cast=self._cast, recorder=batch.recorder, settings=self._settings)
            assert dialogue.failure is None, dialogue.failure
            batch.left -= 1
            if batch.record and not batch.left:
                await self._close(batch.record)

    def _open(self, size: int) -> Batch:
        self._opened += 1
        if not self._trial.recorded:
            plain = Unrecorded(tape=NoTape(), desk=self._ask, run_id=RUN_ID, patience=PATIENCE)
            return Batch(plain, size, None)
        spool = Spool(self._folder / f"{self._opened:06d}.log")
        tape = BatchTape(spool, self._shelf, ())
        recorder = Recorder(tape=tape, desk=self._ask, run_id=RUN_ID, patience=PATIENCE)
        return Batch(recorder, size, Record(spool, tape, asyncio.create_task(sync_often(spool, recorder.stop))))

    async def _close(self, record: Record) -> None:
        """As a run does when a batch is made, read back and committed."""
        record.syncing.cancel()
        await asyncio.to_thread(record.spool.close)
        path = record.spool.path
        with self.books.reading_back():
            calls = len(record.tape.read_back())
            self._shelf.drop(path)
            size = path.stat().st_size
            path.unlink()
        self.books.let_go(calls, size)

    async def _ask(self, model: Asked, send: Callable[[], Awaitable[Answer]]) -> Answer:
        answer = await self._engine.ask(model, send)
        self.books.hear()
        return answer
