"""What a commit of 64 samples costs in a lake of 1,000, 50,000 and 200,000 turns, side by side: `make bench-lake`.

A made-up lake is grown with the real code, in memory where the machine has a folder there. A copy of it at each size
lies on the disk and is measured in a process of its own; these take turns, so that whatever else the machine does meets
all sizes alike. A turn of the grown part has GROWN_CALLS calls, or growing would take half as long again; the batches
that are measured have ten calls a turn.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import click

from flows.maintaining import open_maintenance
from flows.run import PUBLISH_SHARE
from tests.benchmarks.growing import found_lake, grow
from tests.benchmarks.measuring import QUERIES, Measured, serve
from tests.benchmarks.synthetic import BATCH, STORY

SAMPLES_A_SECOND = 50
MOST_GROWTH = 0.1 * BATCH / SAMPLES_A_SECOND
"""Seconds: a tenth of what the models take for a batch."""
MOST_MEMORY = 64 << 20
"""Bytes by which committing may take more memory in the largest lake than in the smallest, the index left out."""
MOST_RATIO = 2.0
GROWN_CALLS = 4
BATCHES = 15
IN_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One thing that was to be shown, and whether it was."""

    passed: bool
    text: str


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark; 1 when a limit is broken."""
    asked = _read(words)
    since = time.perf_counter()
    *found, maintained = run(sorted(asked.turns), dims=asked.dims, batches=asked.batches)
    click.echo("\n".join(report(found, maintained)))
    click.echo(f"took {time.perf_counter() - since:.0f} s")
    if asked.no_verdict:
        return 0
    judged = [*verdicts(found[0], found[-1]), *verdicts(found[0], maintained, " maintained")]
    for verdict in judged:
        click.echo(f"{'PASS' if verdict.passed else 'FAIL'} {verdict.text}")
    return 0 if all(verdict.passed for verdict in judged) else 1


def _read(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lake", description=__doc__)
    parser.add_argument("--turns", type=int, nargs="+", default=[1_000, 50_000, 200_000], help="sizes of the lake")
    parser.add_argument("--dims", type=int, default=128, help="numbers in a vector")
    parser.add_argument("--batches", type=int, default=BATCHES, help="commits at each size, of which the median counts")
    parser.add_argument("--no-verdict", action="store_true", help="only measure")
    return parser.parse_args(words)


def run(sizes: Sequence[int], *, dims: int, batches: int) -> list[Measured]:
    """Grow a lake from size to size, keep a copy of each, and measure the copies by turns.

    The last is another copy of the largest, maintained as far as it goes: all compacted, nothing old kept.
    """
    with ExitStack() as stack:
        memory = IN_MEMORY if IN_MEMORY.is_dir() else None
        grown = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-lake-", dir=memory))) / "lake"
        disk = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-lake-")))
        lake, stages = found_lake(grown), []
        for start, size in zip([0, *sizes], sizes, strict=False):
            since = time.perf_counter()
            grow(lake, start=start, end=size, dims=dims, calls=GROWN_CALLS)
            click.echo(f"grown to {size:,} turns in {time.perf_counter() - since:.0f} s", err=True)
            shutil.copytree(grown, disk / str(size))
            stages.append(Stage(disk / str(size), turns=size, dims=dims, batches=batches))
        shutil.copytree(grown, disk / "maintained")
        maintain(disk / "maintained")
        stages.append(Stage(disk / "maintained", turns=sizes[-1], dims=dims, batches=batches))
        os.sync()
        return _measure_by_turns([stack.enter_context(closing(stage)) for stage in stages], batches)


def maintain(path: Path) -> None:
    """Compact all packages and rewrite the table of turns, and let go of what that replaced."""
    with open_maintenance(path, least=1, retire_after_days=0, lock_timeout=1) as maintenance:
        maintenance.lift_format()
        for number in range(len(maintenance.groups)):
            maintenance.compact(number)
        maintenance.optimize()
        maintenance.retire()


def _measure_by_turns(stages: Sequence["Stage"], batches: int) -> list[Measured]:
    for stage in stages:
        stage.start()
    for _ in range(1 + batches):  # the first step is to get ready
        for stage in stages:
            stage.go_on()
    return [stage.finish() for stage in stages]


class Stage:
    """A lake of one size and the process that measures it, step by step."""

    def __init__(self, path: Path, *, turns: int, dims: int, batches: int) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        values = {"turns": turns, "dims": dims, "batches": batches}
        self._process = context.Process(target=serve, args=(theirs, path), kwargs=values)

    def start(self) -> None:
        """Start its process."""
        self._process.start()

    def go_on(self) -> None:
        """Let it go one step."""
        self._pipe.send(None)
        self._hear()

    def finish(self) -> Measured:
        """Let it do the rest."""
        self._pipe.send(None)
        measured = self._hear()
        assert measured is not None, "the last that is sent is the result"
        return measured

    def _hear(self) -> Measured | None:
        while not self._pipe.poll(1.0):
            if not self._process.is_alive():
                raise RuntimeError("the process that measures has died; its error is above")
        heard: Measured | None = self._pipe.recv()
        return heard

    def close(self) -> None:
        """End the process."""
        if self._process.pid is not None:
            self._process.terminate()
            self._process.join()
        self._process.close()


def report(found: Sequence[Measured], maintained: Measured) -> list[str]:
    """The table, a column for each size, one for what grew from the first to the last, one for the last maintained."""
    part_names = dict.fromkeys(name for each in found for name in each.parts)
    disk_names = dict.fromkeys(name for each in reversed(found) for name in each.disk)
    row = partial(_row, found, maintained)
    return [
        _line("committed turns", [*(f"{each.turns:,}" for each in found), "growth", "maintained"]),
        "",
        f"seconds for a commit of {BATCH} samples of one turn, {len(STORY)} calls each; medians",
        row("in all", lambda each: each.commit, 4),
        row("the quickest", lambda each: each.lowest, 4),
        *(row(f"  {name}", partial(_part, name), 4) for name in part_names),
        "",
        "megabytes of memory",
        row("vectors of the index, turns * dims * 4 * 2", lambda each: each.vectors / 1e6, 1),
        row("process, by reading the index", lambda each: each.index / 1e6, 1),
        row("process, by committing (peak)", lambda each: each.memory / 1e6, 1),
        "",
        f"bytes on disk a sample, before what is measured; {GROWN_CALLS} calls each",
        row("in all", lambda each: sum(each.disk.values()), 0),
        *(row(f"  {name}", partial(_bytes, name), 0) for name in disk_names),
        "",
        f"seconds for the rest; a run publishes in at most a {PUBLISH_SHARE}th of its time, by waiting in between",
        row("read the index when a build begins", lambda each: each.opened, 2),
        row("publish the history from nothing", lambda each: each.publish_all, 2),
        row("publish one more batch", lambda each: each.publish_next, 2),
        "",
        "seconds for a query, with its file opened, and how many times what a native table takes",
        *(line for at in range(len(QUERIES)) for line in _query_lines(row, at)),
    ]


def _part(name: str, each: Measured) -> float:
    return each.parts.get(name, 0.0)


def _bytes(name: str, each: Measured) -> float:
    return each.disk.get(name, 0.0)


def _query_lines(row: Callable[[str, Callable[[Measured], float], int], str], at: int) -> list[str]:
    return [
        QUERIES[at],
        row("  history", lambda each: each.queries[at][0], 4),
        row("  native table", lambda each: each.queries[at][1], 4),
        row("  times", lambda each: each.ratio(at), 2),
    ]


def _row(
    found: Sequence[Measured], maintained: Measured, name: str, value: Callable[[Measured], float], digits: int
) -> str:
    values = [value(each) for each in found]
    growth = f"{values[-1] - values[0]:+,.{digits}f}"
    return _line(name, [*(f"{number:,.{digits}f}" for number in values), growth, f"{value(maintained):,.{digits}f}"])


def _line(name: str, values: Sequence[str]) -> str:
    return f"{name:<46}" + "".join(f"{value:>12}" for value in values)


def verdicts(small: Measured, large: Measured, state: str = "") -> list[Verdict]:
    """What a large lake must show beside a small one."""
    growth, memory = large.commit - small.commit, large.memory - small.memory
    ratio = max(large.ratio(at) for at in range(len(QUERIES)))
    lake = f"{large.turns:,} turns{state}"
    more = f"{memory / 2**20:+.0f} MB more, the index left out"
    return [
        Verdict(
            passed=growth < MOST_GROWTH,
            text=f"{lake}: a commit takes {growth:+.3f} s more; under {MOST_GROWTH:.3f}",
        ),
        Verdict(
            passed=memory < MOST_MEMORY,
            text=f"{lake}: committing takes {more}; under {MOST_MEMORY >> 20}",
        ),
        Verdict(
            passed=ratio <= MOST_RATIO,
            text=f"{lake}: a query takes {ratio:.2f} times what a native table takes; at most {MOST_RATIO}",
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
