"""How long the gallery takes for a page of a lake of 100,000 samples while batches are committed: `make bench-gallery`.

A made-up lake is grown with the real code, with scores and dropped samples. The gallery serves it from a process of its
own, as `interlake gallery` does, and another process commits batches to it and publishes the history as a build does.
Each kind of page is asked for many times, with other values each time, and by turns with the others.
"""

import argparse
import http.client
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import click

from storage.history import history_path, publish
from tests.benchmarks.gallery_lake import found, furnish, sample_id
from tests.benchmarks.gallery_served import Building, Served
from tests.benchmarks.growing import grow
from tests.benchmarks.measuring import seconds
from tests.benchmarks.synthetic import BATCH

MOST_SECONDS = 0.3
MOST_MEMORY = 500e6
DIMS = 16
CALLS = 3
AIMED_AT = ("first page", "filter", "text search", "deep page", "sample page")
"""The pages whose slowest but one in twenty is to take no longer than MOST_SECONDS."""

Pages = Mapping[str, Callable[[int], str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Seconds of each request by kind of page, bytes of the gallery and of its SQL process at their highest."""

    seconds: Mapping[str, Sequence[float]]
    start: float
    memory: int
    fenced: int
    committed: int


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark; 1 when an aim is missed."""
    asked = _read(words)
    with tempfile.TemporaryDirectory(prefix="bench-gallery-") as folder:
        path = asked.lake or Path(folder) / "lake"
        if not path.exists():
            make(path, asked.samples)
        measured = measure(path, asked.samples, repeats=asked.repeats, is_quiet=asked.quiet)
    click.echo("\n".join(report(measured, asked.samples)))
    if asked.no_verdict:
        return 0
    judged = verdicts(measured)
    for passed, text in judged:
        click.echo(f"{'PASS' if passed else 'FAIL'} {text}")
    return 0 if all(passed for passed, _ in judged) else 1


def _read(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gallery", description=__doc__)
    parser.add_argument("--samples", type=int, default=100_000, help="samples in the lake")
    parser.add_argument("--repeats", type=int, default=20, help="requests of each kind")
    parser.add_argument("--quiet", action="store_true", help="nothing is committed meanwhile")
    parser.add_argument("--lake", type=Path, help="folder to keep the lake in, or where it was kept")
    parser.add_argument("--no-verdict", action="store_true", help="only measure")
    return parser.parse_args(words)


def make(path: Path, samples: int) -> None:
    """Grow a lake, with scores, dropped samples and its history published."""
    since = time.perf_counter()
    lake = found(path)
    grow(lake, start=0, end=samples, dims=DIMS, calls=CALLS)
    furnish(lake, samples)
    took = seconds(lambda: publish(lake, lake.version()))
    size = history_path(lake).stat().st_size
    click.echo(f"grown to {samples:,} samples in {time.perf_counter() - since:.0f} s", err=True)
    click.echo(f"its history, {size / 1e6:.0f} MB, took {took:.1f} s of that", err=True)


def measure(path: Path, samples: int, *, repeats: int, is_quiet: bool = False) -> Measured:
    """Serve the lake and ask for pages, by turns, after one of each to warm up."""
    taken: dict[str, list[float]] = defaultdict(list)
    with Served(path) as served:
        pages = pages_of(served, samples)
        for kind, address in pages.items():
            taken[f"{kind}, the first time"].append(served.time(address(0)))
        first = {kind: times[0] for kind, times in taken.items()}
        taken.clear()
        start = samples + BATCH * (time.time_ns() // 10**9)  # what a lake that was kept got the last time lies before
        with Building(None if is_quiet else path, start=start, dims=DIMS) as building:
            for turn in range(1, repeats + 1):
                for kind, address in pages.items():
                    taken[kind].append(served.time(address(turn)))
            committed = building.committed()
        click.echo(
            f"the slowest first time: {max(first.values()):.2f} s ({max(first, key=lambda k: first[k])})", err=True
        )
        memory, fenced = served.memory()
        return Measured(seconds=taken, start=served.started, memory=memory, fenced=fenced, committed=committed)


def pages_of(served: Served, samples: int) -> Pages:
    """The addresses of each kind, by a number: another for each."""

    def number(turn: int) -> int:
        return turn * 7919 % samples

    deep = "/"
    for _ in range(3):
        deep = served.next_page(deep) or deep
    half = served.next_page(f"/?sort=oldest&version_from={max(2, served.version() // 2)}") or deep
    picture = served.picture("/")
    pages: dict[str, Callable[[int], str]] = {
        "first page": lambda _: "/",
        "filter": lambda turn: f"/?outcome={('kept', 'rejected')[turn % 2]}&category=made+up/{turn % 20}&domain=bench",
        "scores": lambda turn: f"/?its={turn % 4}.5&sort=icc-best",
        "text search": lambda turn: f"/?q=question+number+{number(turn)}",
        "deep page": lambda turn: (deep, half)[turn % 2],
        "sample page": lambda turn: f"/sample/{sample_id(number(turn))}",
        "thumbnail": lambda turn: picture if turn % 2 else picture.replace("/thumbnail/", "/picture/"),
        "dropped": lambda _: "/dropped",
        "duplicates": lambda _: "/duplicates",
        "review": lambda _: "/review",
        "coverage": lambda _: "/coverage",
        "runs": lambda _: "/runs",
        "versions": lambda _: "/versions",
        "SQL": lambda turn: f"/sql?sql={quote(f'select outcome, count(*) + {turn} as n from samples group by all')}",
    }
    there = served.paths()
    return {kind: address for kind, address in pages.items() if served.has(address(0), there)}


def report(measured: Measured, samples: int) -> list[str]:
    """The table: median, nineteen of twenty, and the slowest, in milliseconds."""
    lines = [f"{f'{samples:,} samples, milliseconds':<34}{'median':>9}{'p95':>9}{'slowest':>9}"]
    for kind, times in measured.seconds.items():
        values = (statistics.median(times), percentile(times), max(times))
        lines.append(f"{kind:<34}" + "".join(f"{1000 * value:>9,.0f}" for value in values))
    return [
        *lines,
        f"from the command to the first page: {measured.start:.1f} s",
        f"memory at its highest: gallery {measured.memory / 1e6:,.0f} MB, SQL process {measured.fenced / 1e6:,.0f} MB",
        f"samples committed meanwhile: {measured.committed:,}",
    ]


def percentile(times: Sequence[float]) -> float:
    """That which nineteen of twenty do not exceed."""
    return sorted(times)[max(0, -(-len(times) * 19 // 20) - 1)]


def verdicts(measured: Measured) -> list[tuple[bool, str]]:
    """What was aimed at, and whether it was met."""
    judged = []
    for kind in AIMED_AT:
        took = percentile(measured.seconds[kind])
        judged.append((took <= MOST_SECONDS, f"{kind}: p95 {1000 * took:,.0f} ms; at most {1000 * MOST_SECONDS:.0f}"))
    memory = measured.memory
    return [*judged, (memory <= MOST_MEMORY, f"gallery: {memory / 1e6:,.0f} MB; at most {MOST_MEMORY / 1e6:.0f}")]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except http.client.HTTPException as error:
        sys.exit(f"the gallery did not answer: {error}")
