"""One build with slow stand-ins, through Prefect or by the plain loop, and what it took; to be run in a fresh process.

Prints JSON. Prefect's home is what PREFECT_HOME says; it should be an empty folder.
"""

import argparse
import json
import os
import sqlite3
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from prefect import flow
from prefect.runtime import flow_run

from flows.asked import BuildOptions
from flows.opening import open_build
from flows.settings import Settings
from flows.studio import Cast
from flows.tasks import commit_batch, make_in_order, show_summary
from flows.ui.announcing import announced_versions
from flows.ui.live import live_progress
from flows.ui.report import show_report
from models.fakes import FakeChat, FakeEncoder, FakePainter
from tests.flows.casts import Troupe, fake_lake

WARM_UP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """Wall time and processor time of this process in seconds, tasks of Prefect, bytes that its database grew by."""

    samples: int
    seconds: float
    cpu: float
    tasks: int
    database: int


class Crowd(Troupe):
    """Stand-ins that take `latency` seconds for each text, picture and critique, any number at once."""

    async def __aenter__(self) -> Cast:
        chat, viewer = FakeChat(latency=self.latency), FakeChat(latency=self.latency)
        painter = FakePainter(latency=self.latency)
        return Cast(writer=chat, critic=chat, painter=painter, viewer=viewer, encoder=FakeEncoder())

    def __call__(self, _: Settings) -> "Crowd":
        return self


@flow(name="build_lake", flow_run_name="build {samples} samples in {lake}")
def build(lake: str, samples: int, latency: float) -> int:
    """As `build_lake` does it, with stand-ins that are slow."""
    with (
        announced_versions(),
        open_build(Path(lake), _asked(samples), flow_run_id=flow_run.id, studio=Crowd(latency=latency)) as run,
    ):
        with live_progress(run):
            for number in make_in_order(run):
                commit_batch(run, number, run.label(number))
        show_summary(run)
    show_report(run)
    return 2 * len(run.batches)


def build_plainly(lake: str, samples: int, latency: float) -> int:
    """The same, so many batches open at a time, without Prefect."""
    with (
        open_build(Path(lake), _asked(samples), studio=Crowd(latency=latency)) as run,
        ThreadPoolExecutor(run.shop.settings.run.open_batches) as threads,
    ):
        made = [threads.submit(run.make, number) for number in range(len(run.batches))]
        for number, future in enumerate(made):
            future.result()
            run.commit(number)
    return 0


def _asked(samples: int) -> BuildOptions:
    return BuildOptions(new_topics=min(samples, 128), samples_per_topic=-(-samples // min(samples, 128)), turns=1)


def measure(*, is_plain: bool, samples: int, batch: int, open_batches: int, latency: float) -> Took:
    """Warm up on a small lake, which also starts Prefect's server, then build another one."""
    make = build_plainly if is_plain else build
    settings = {"batch_size = 8": f"batch_size = {batch}", "open_batches = 2": f"open_batches = {open_batches}"}
    with TemporaryDirectory(prefix="bench-prefect-") as folder:
        for name in ("warm-up", "lake"):
            fake_lake(Path(folder) / name, settings=settings)
        make(str(Path(folder) / "warm-up"), WARM_UP, 0.0)
        bytes_before, since, cpu_since = database_bytes(), time.monotonic(), time.process_time()
        tasks = make(str(Path(folder) / "lake"), samples, latency)
        seconds, cpu = time.monotonic() - since, time.process_time() - cpu_since
        time.sleep(0 if is_plain else 3)  # the server writes events down a moment later
        return Took(samples=samples, seconds=seconds, cpu=cpu, tasks=tasks, database=database_bytes() - bytes_before)


def database_bytes() -> int:
    """The size of Prefect's database, with what is not merged into its file yet."""
    path = Path(os.environ.get("PREFECT_HOME", "")) / "prefect.db"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        sizes = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")]
    return int(sizes[0] * sizes[1])


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plain", dest="is_plain", action="store_true")
    for name, kind in (("samples", int), ("batch", int), ("open-batches", int), ("latency", float)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    click.echo(json.dumps(asdict(measure(**vars(parser.parse_args(words))))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
