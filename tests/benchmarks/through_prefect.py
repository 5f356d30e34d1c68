"""What Prefect costs a build: stand-ins of 1 s, 256 samples in flight, the flow beside a loop: `make bench-prefect`.

The same run, opened the same way, with as many batches open at a time: once by Prefect's tasks, with progress, events,
tables and report, once by threads. Each in a fresh process, Prefect with a database of its own that is empty before a
small build that is not counted.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from tests.benchmarks.one_build import Took

MOST_COST = 0.05
"""The share of a build's time that Prefect may take on top."""
QUIET = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark; 1 when the limit is broken."""
    asked = _read(words)
    plain, flow = (_measure(asked, is_plain=is_plain) for is_plain in (True, False))
    for name, took in (("plain loop", plain), ("Prefect flow", flow)):
        click.echo(f"{name:12} {took.samples} samples: {took.seconds:6.1f} s, processor {took.cpu:5.1f} s")
    cost = flow.seconds / plain.seconds - 1
    click.echo(
        f"through Prefect {cost:+.1%} of the time; its database grew by {flow.database / 1024:.0f} KB: "
        f"{flow.database / 1024 / flow.tasks:.1f} KB for each of {flow.tasks} tasks, "
        f"{flow.database / flow.samples:.0f} bytes a sample"
    )
    if asked.no_verdict:
        return 0
    click.echo(f"{'PASS' if cost < MOST_COST else 'FAIL'} Prefect takes less than {MOST_COST:.0%} on top")
    return 0 if cost < MOST_COST else 1


def _read(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument(
        "--open-batches", type=int, default=4, help="as many samples as in so many batches are in flight"
    )
    parser.add_argument("--latency", type=float, default=1.0, help="seconds that a stand-in takes for a call")
    parser.add_argument("--no-verdict", action="store_true")
    return parser.parse_args(words)


def _measure(asked: argparse.Namespace, *, is_plain: bool) -> Took:
    command = [sys.executable, "-m", "tests.benchmarks.one_build", *(["--plain"] if is_plain else [])]
    for name in ("samples", "batch", "open_batches", "latency"):
        command += [f"--{name.replace('_', '-')}", str(getattr(asked, name))]
    with TemporaryDirectory(prefix="bench-prefect-home-", ignore_cleanup_errors=True) as home:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        done = subprocess.run(
            command,
            env={**ours, **QUIET, "PREFECT_HOME": home},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
    return Took(**json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    sys.exit(main())
