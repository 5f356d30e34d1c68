"""Topics at scale, at two sizes each, in time and memory: `make bench-topics`. A list of PARTS; each is a module's.

Each size runs in a process of its own, so that its memory is its own. Growth is near linear when ten times the size
takes at most GROWTH times ten times the work.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import click

from tests.benchmarks import importing, planning

GROWTH = 1.5
"""By how much more than in proportion the work may grow."""
MIB = 1024
CPU = "all, seconds of the processor"
"""By which growth is judged: whatever else the machine does, it takes no part in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Something to be done at two sizes; `run` does it and returns seconds by step."""

    title: str
    sizes: tuple[int, int]
    run: Callable[[int], Mapping[str, float]]


PARTS: Mapping[str, Part] = {
    "import": Part(title="names brought in", sizes=(10_000, 50_000), run=importing.bring_in),
    "plan": Part(title="slots planned over 3,500 topics", sizes=(10_000, 100_000), run=planning.plan_slots),
}


def main(words: Sequence[str] | None = None) -> int:
    """Run all parts, or those that are named; 1 when one grows faster than it may."""
    asked = _read(words)
    if asked.alone:
        click.echo(json.dumps(run_alone(asked.parts[0], asked.alone)))
        return 0
    passed = True
    for name in asked.parts:
        found = {size: _in_process(name, size) for size in asked.sizes or PARTS[name].sizes}
        click.echo("\n".join(table(PARTS[name].title, found)))
        passed = (asked.no_verdict or _judge(name, found)) and passed
    if asked.placing:
        from tests.benchmarks import placing

        click.echo("\n".join(placing.table(placing.compare())))
    return 0 if passed else 1


def _read(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.topics", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--sizes", type=int, nargs=2, help="two sizes in place of those of the parts")
    parser.add_argument("--placing", action="store_true", help="how often the nearest category is the right one, too")
    parser.add_argument("--no-verdict", action="store_true", help="only measure")
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(words)


def run_alone(name: str, size: int) -> dict[str, float]:
    """One part at one size, here: seconds by step, `all`, CPU, and `MiB`, by which the peak of memory grew."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    since, worked = time.perf_counter(), time.process_time()
    steps = dict(PARTS[name].run(size))
    took, work = time.perf_counter() - since, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**steps, "all": took, CPU: work, "MiB": (peak - before) / MIB}


def _in_process(name: str, size: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.topics", "--parts", name, "--alone", str(size)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def table(title: str, found: Mapping[int, Mapping[str, float]]) -> list[str]:
    """Seconds and memory by step, a column a size, and how many times as much the larger one takes."""
    small, large = sorted(found)
    lines = [f"{title:36} {small:>10,} {large:>10,} {f'x {large / small:.1f}':>8}"]
    for step, value in found[large].items():
        first = found[small][step]
        grew = f"{value / first:8.1f}" if first > 0 else f"{'-':>8}"
        lines.append(f"{step:36} {first:10.2f} {value:10.2f} {grew}")
    return lines


def _judge(name: str, found: Mapping[int, Mapping[str, float]]) -> bool:
    small, large = sorted(found)
    grew, size = found[large][CPU] / found[small][CPU], large / small
    passed = grew <= GROWTH * size
    verdict = "PASS" if passed else "FAIL"
    click.echo(f"{verdict} {name}: {size:.1f} times the size takes {grew:.1f} times the work of the processor")
    return passed


if __name__ == "__main__":
    sys.exit(main())
