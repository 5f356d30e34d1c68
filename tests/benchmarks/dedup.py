"""Near-duplicates: the search of this repository beside numpy, faiss and LanceDB, in one run: `make bench-dedup`.

For each number of rows: CPU-seconds for 1,000 queries in one batch (of all threads, so one that spins counts), memory,
and which share of the true pairs is found. Each tool is measured in a process of its own, alone, with one thread unless
more are asked for. LanceDB's threads for reading cannot be limited to one: with LANCE_IO_THREADS=1 it waits for ever
for its own index (0.40). What they take counts.
What a tool takes to decide by whole vectors is in its figure; what reading `cosine` of the few that are left takes,
in nobody's. This holds the names of its turns as well, which are in its resident memory and not in its index.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import click
import numpy as np

from tests.benchmarks.planted import Planted, Shape, plant, true_pairs
from tests.benchmarks.searchers import ISOTROPIC, SMALL_ONLY, TOOLS, Measured, Task, measure, processor, tools_here

THRESHOLD = 0.95
JUDGED_ROWS = 1_000_000
SMALL_ROWS = 100_000
"""From more rows on, what takes long to build is left out, and so are isotropic vectors."""
MOST_BYTES = 100
LEAST = {
    "this-vnni": {"gemm": 40.0, "faiss-flat": 40.0, "faiss-ivf": 5.0, "lance-flat": 300.0},
    "this-avx2": {"gemm": 10.0, "faiss-flat": 10.0},
    "this-numpy": {"gemm": 4.0, "faiss-flat": 4.0},
}
"""How many times less of the processor's time than other tools each path must take."""
THREADS = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "LANCE_CPU_THREADS",
    "RAYON_NUM_THREADS",
    "TOKIO_WORKER_THREADS",
)
SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Would hold numpy to slower products than the processor can do; taken out of the environment."""
SHAPES: tuple[Shape, ...] = ("isotropic", "clustered")
NAMES = {"this": "this", "gemm": "numpy GEMM", "faiss": "faiss", "lance": "LanceDB"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What was measured on some rows, in the order of the tools."""

    shape: Shape
    rows: int
    queries: int
    pairs: int
    found: list[Measured]

    def by_name(self) -> dict[str, Measured]:
        return {each.tool: each for each in self.found}

    def cost(self, each: Measured) -> float:
        """CPU-seconds for 1,000 queries."""
        return each.search * 1000 / self.queries


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark; 1 when a limit is broken."""
    asked = _read(words)
    threads = "one thread" if asked.threads == 1 else f"{asked.threads} threads"
    click.echo(f"{processor()}; {threads}, threshold {THRESHOLD}, batches of {asked.queries:,} queries")
    tables: list[Table] = []
    with tempfile.TemporaryDirectory(prefix="bench-dedup-") as folder, _environment(asked.threads):
        for shape in asked.shapes:
            for table in _tables(asked, shape, Path(folder)):
                tables.append(table)
                click.echo("\n".join(report(table)))
    if asked.plot:
        from tests.benchmarks.drawing import draw

        draw(tables[-1], asked.plot)
    return 0 if asked.no_verdict else _judge(tables)


def _read(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.dedup", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[SMALL_ROWS, JUDGED_ROWS], help="sizes of the index")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES), help="of the vectors")
    parser.add_argument("--queries", type=int, default=1000, help="as many in one batch")
    parser.add_argument("--pairs", type=int, default=500, help="queries that are planted beside one of the rows")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS), metavar="TOOL", help=", ".join(TOOLS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3, help="searches by a quick tool, of which the median counts")
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--plot", type=Path, help="draw the largest table into this PNG")
    parser.add_argument("--no-verdict", action="store_true", help="only measure")
    return parser.parse_args(words)


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """What processes begun here are told about threads."""
    before = dict(os.environ)
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    for name in SLOWING:
        os.environ.pop(name, None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _tables(asked: argparse.Namespace, shape: Shape, folder: Path) -> Iterator[Table]:
    sizes = sorted(rows for rows in asked.rows if shape == "clustered" or rows <= SMALL_ROWS)
    if not sizes:
        return
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        planted: Planted = processes.submit(
            plant,
            folder,
            shape,
            rows=sizes[-1],
            among=sizes[0],
            queries=asked.queries,
            pairs=min(asked.pairs, asked.queries),
            seed=asked.seed,
        ).result()
        for rows in sizes:
            truth = processes.submit(true_pairs, planted, rows, THRESHOLD).result()
            found = []
            for tool in _tools(asked.tools, shape, rows):
                click.echo(f"{tool} at {rows:,} {shape} rows ...", err=True)
                task = Task(
                    tool=tool,
                    planted=planted,
                    rows=rows,
                    threshold=THRESHOLD,
                    truth=truth,
                    threads=asked.threads,
                    repeats=asked.repeats,
                    folder=folder,
                )
                found.append(processes.submit(measure, task).result())
                click.echo(f"  {found[-1]}", err=True)
            yield Table(shape=shape, rows=rows, queries=asked.queries, pairs=len(truth), found=found)


def _tools(wanted: Sequence[str], shape: Shape, rows: int) -> list[str]:
    tools = [tool for tool in tools_here(wanted) if shape == "clustered" or tool in ISOTROPIC]
    return [tool for tool in tools if rows <= SMALL_ROWS or tool not in SMALL_ONLY]


def report(table: Table) -> list[str]:
    """The table, in Markdown."""
    gemm = table.by_name().get("gemm")
    lines = [
        "",
        f"{table.rows:,} {table.shape} rows, {table.pairs} true pairs; CPU-seconds for 1,000 queries",
        "",
        "| tool | how | CPU-s | numpy GEMM / it | recall | index, bytes a row | resident, MB more | to build, CPU-s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in table.found:
        ratio = f"{gemm.search / each.search:,.1f}" if gemm else "-"
        figures = [f"{table.cost(each):.3g}", ratio, f"{each.recall:.4f}", f"{each.index / table.rows:,.0f}"]
        figures += [f"{each.resident / 1e6:,.0f}", f"{each.build:,.1f}"]
        lines.append(f"| {label(each.tool)} | {each.how} | {' | '.join(figures)} |")
    return lines


def label(tool: str) -> str:
    """A tool as people call it."""
    name, _, kind = tool.partition("-")
    return f"{NAMES[name]}{', ' if name == 'this' else ' '}{kind}".strip()


def _judge(tables: Sequence[Table]) -> int:
    judged = [table for table in tables if table.rows >= JUDGED_ROWS and table.shape == "clustered"]
    verdicts = [verdict for table in judged for verdict in verdicts_of(table)]
    if not verdicts:
        click.echo(f"nothing to judge: that takes {JUDGED_ROWS:,} rows")
    for passed, text in verdicts:
        click.echo(f"{'PASS' if passed else 'FAIL'} {text}")
    return 0 if all(passed for passed, _ in verdicts) else 1


def verdicts_of(table: Table) -> list[tuple[bool, str]]:
    """What each path must show beside the other tools that were measured, and whether it does."""
    found, verdicts = table.by_name(), []
    for path, least in LEAST.items():
        if path not in found:
            continue
        mine = found[path]
        for tool, times in least.items():
            if tool in found:
                ratio = found[tool].search / mine.search
                text = f"{label(path)}: {ratio:,.1f} times less than {label(tool)}; at least {times:g}"
                verdicts.append((ratio >= times, text))
        a_row = mine.index / table.rows
        verdicts.append((a_row < MOST_BYTES, f"{label(path)}: {a_row:.0f} bytes a row; under {MOST_BYTES}"))
        verdicts.append(
            (bool(np.isclose(mine.recall, 1, atol=0, rtol=0)), f"{label(path)}: recall {mine.recall:.4f}; 1")
        )
    return verdicts


if __name__ == "__main__":
    sys.exit(main())
