"""What committing batches to one lake costs, part by part, in time, memory and bytes; to be run in a fresh process."""

import statistics
import sys
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from dedup.decide import Decision
from flows.commit import Committer
from flows.deciding import Ruling
from flows.packing import FinishedBatch
from flows.workshop import Workshop
from storage.history import history_path, publish
from storage.lake import Lake
from storage.query import query
from storage.steps import EVENT, Step
from storage.writing import writing
from tests.benchmarks.growing import claim_package
from tests.benchmarks.synthetic import BATCH, Synthesis, open_workshop

DECIDING, DECIDED, RETURNED = "deciding", "decided", "returned"
AGAIN = " again"
ASKED = 9
"""How often a query is timed."""
QUERIES = (
    "select stage, round, count(*) from iterations group by all",
    "select stage, purpose, count(*), sum(completion_tokens) from calls group by all",
)
PARTS = {
    Step.FILES_CLEARED: "look at pictures, lock, head",
    Step.ORPHANS_ASIDE: "recover: list packages",
    Step.RECOVERED: "recover: table as it should be",
    DECIDING: "learn of others' commits",
    DECIDED: "duplicates",
    Step.FILES_CLEARED + AGAIN: "build and check rows, head",
    Step.ORPHANS_ASIDE + AGAIN: "list packages again",
    Step.TABLE_WRITTEN: "packages",
    Step.PICTURES_WRITTEN: "packages",
    Step.MANIFEST_WRITTEN: "packages",
    Step.PACKAGE_NAMED: "packages",
    Step.CHUNK_NAMED: "version file",
    Step.VERSION_STAGED: "version file",
    Step.VERSION_NAMED: "version file",
    Step.COMMITTED: "version file",
    Step.ROWS_ADDED: "table: rows",
    Step.TABLE_SYNCED: "table: sync",
    Step.TABLE_TAGGED: "table: tag",
    Step.VERIFIED: "verify",
    RETURNED: "index, leave the lock",
}
"""The part of a commit that a step ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Medians in seconds, sizes in bytes; `disk` in bytes a turn.

    `parts` add up to about `commit`, of which `lowest` is the quickest. `opened` is how long a build takes to read the
    index of kept turns, `index` what that takes in memory, of which `vectors` are the vectors; `memory` is how much
    more than after the first commit all others took at most. `queries` are seconds here, and in a table of its own.
    """

    turns: int
    commit: float
    lowest: float
    parts: Mapping[str, float]
    opened: float
    index: int
    vectors: int
    memory: int
    disk: Mapping[str, float]
    publish_all: float
    publish_next: float
    queries: Sequence[tuple[float, float]]

    def ratio(self, at: int) -> float:
        """How many times what a native table takes one of QUERIES takes."""
        ours, theirs = self.queries[at]
        return ours / theirs


@dataclass(slots=True)
class Timeline:
    """When which step was reached; hears every step of this process."""

    marks: list[tuple[str, float]] = field(default_factory=list)

    def listen(self) -> None:
        def hear(event: str, args: tuple[object, ...]) -> None:
            if event == EVENT:
                self.mark(str(args[0]))

        sys.addaudithook(hear)

    def mark(self, what: str) -> None:
        self.marks.append((what, time.perf_counter()))

    def parts(self, since: float) -> dict[str, float]:
        """Seconds by part since `since`, and forget them."""
        found: dict[str, float] = defaultdict(float)
        seen: Counter[str] = Counter()
        for what, at in self.marks:
            seen[what] += 1
            again = what + AGAIN if seen[what] > 1 else what
            found[PARTS.get(again) or PARTS.get(what, what)] += at - since
            since = at
        self.marks.clear()
        return dict(found)


class TimedCommitter(Committer):
    """A committer that says when it compares."""

    def __init__(self, shop: Workshop, timeline: Timeline) -> None:
        super().__init__(shop)
        self._timeline = timeline

    def _decide(self, batch: FinishedBatch, ruling: Ruling) -> Decision:
        self._timeline.mark(DECIDING)
        decision = super()._decide(batch, ruling)
        self._timeline.mark(DECIDED)
        return decision


def serve(pipe: "Connection[Measured | None, None]", path: Path, *, turns: int, dims: int, batches: int) -> None:
    """Measure in a process of its own, a step whenever the other side says so; sends None after each, then the result.

    So that lakes of several sizes take turns, and whatever else the machine does meets them all alike.
    """
    steps = measure(path, turns=turns, dims=dims, batches=batches)
    while True:
        pipe.recv()
        try:
            next(steps)
        except StopIteration as end:
            pipe.send(end.value)
            return
        pipe.send(None)


def measure(path: Path, *, turns: int, dims: int, batches: int) -> Generator[None, None, Measured]:
    """Commit batches to a lake with so many turns, after one to warm up, then publish its history and query it.

    Stops when it is ready and after each of the `batches` commits.
    """
    lake, timeline = Lake.open(path), Timeline()
    timeline.listen()
    shop = open_workshop(lake, uuid.uuid4().hex)
    synthesis = Synthesis(run_id=shop.run_id, dims=dims)
    disk = {part: size / turns for part, size in disk_use(path).items()}
    numbers = range(turns, turns + (batches + 2) * BATCH)
    work = [synthesis.batch(numbers[at : at + BATCH]) for at in range(0, len(numbers), BATCH)]
    committer, before = TimedCommitter(shop, timeline), resident("VmRSS")
    opened = seconds(committer.catch_up)
    index = resident("VmRSS") - before
    with writing(lake, purpose="bench", timeout=1) as writer:
        slots = [slot for batch in work for slot, _ in batch.work]
        writer.commit([claim_package(shop, slots)], run_id=shop.run_id)
    committer.commit(work[0])
    forget_peak()
    floor = resident("VmRSS")
    timed = []
    for batch in work[1:-1]:
        yield
        timed.append(_commit(committer, batch, timeline))
    yield
    memory = resident("VmHWM") - floor
    publish_all = seconds(lambda: publish(lake, lake.version()))
    committer.commit(work[-1])
    publish_next = seconds(lambda: publish(lake, lake.version()))
    return Measured(
        turns=turns,
        commit=statistics.median(total for total, _ in timed),
        lowest=min(total for total, _ in timed),
        parts=_medians([parts for _, parts in timed]),
        opened=opened,
        index=index,
        vectors=turns * dims * 2 * np.dtype(np.float32).itemsize,
        memory=memory,
        disk=disk,
        publish_all=publish_all,
        publish_next=publish_next,
        queries=[compare_query(lake, sql) for sql in QUERIES],
    )


def _commit(committer: Committer, batch: FinishedBatch, timeline: Timeline) -> tuple[float, dict[str, float]]:
    timeline.marks.clear()
    since = time.perf_counter()
    committer.commit(batch)
    timeline.mark(RETURNED)
    total = time.perf_counter() - since
    return total, timeline.parts(since)


def _medians(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys([*PARTS.values(), *(name for parts in found for name in parts)])
    return {name: statistics.median(parts.get(name, 0.0) for parts in found) for name in names}


def seconds(act: Callable[[], object]) -> float:
    since = time.perf_counter()
    act()
    return time.perf_counter() - since


def resident(what: str) -> int:
    """Bytes of this process in memory: now (`VmRSS`), or at most since `forget_peak` (`VmHWM`)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) * 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def disk_use(path: Path) -> dict[str, int]:
    """Bytes below a lake by part: tables and pictures of packages by name, the rest by folder."""
    sizes: Counter[str] = Counter()
    for file in path.rglob("*"):
        if file.is_file():
            first, *rest = file.relative_to(path).parts
            kind = file.name if first == "packages" else "/".join(rest[1:2] if first == "lance" else [])
            sizes[f"{first}/{kind}" if kind else first] += file.stat().st_size
    return dict(sizes.most_common())


def compare_query(lake: Lake, sql: str) -> tuple[float, float]:
    """Median seconds of a query over the history, and of the same over a table of its own in a fresh file.

    Both open their file each time, which is what somebody who asks does.
    """
    name = sql.split(" from ")[1].split(maxsplit=1)[0]
    native = lake.path / f"native-{name}.duckdb"
    with closing(duckdb.connect(str(native))) as connection:
        connection.execute(f"ATTACH '{history_path(lake)}' AS history (READ_ONLY)")
        connection.execute(f"CREATE TABLE {name} AS FROM history.{name}")
    asked = (partial(query, lake, sql), partial(ask_natively, native, sql))
    ours, theirs = (ask().sort(pl.all()) for ask in asked)
    assert ours.equals(theirs), sql
    here, there = (statistics.median(seconds(ask) for _ in range(ASKED)) for ask in asked)
    return here, there


def ask_natively(path: Path, sql: str) -> pl.DataFrame:
    with closing(duckdb.connect(str(path), read_only=True)) as connection:
        found: pl.DataFrame = connection.sql(sql).pl()
    return found
