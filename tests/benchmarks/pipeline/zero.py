"""Builds with a server that takes no time: how many calls a second our own code bears, and where time goes."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from tests.benchmarks.pipeline.builds import Built, Sizes, build
from tests.benchmarks.pipeline.serving import Served
from tests.benchmarks.pipeline.traffic import summarise

AIMED_CALLS = 1500.0
"""Calls of the server a second."""
MOST_MEMORY = 1 << 30
CONTENT = 0.5
HEAD = (
    "| samples (in flight) | calls to the server | calls/s | recorded calls/s | samples/s | wall, s | whole command, s "
    "| processor, s | memory, MB (with Prefect's server) |\n|---|---|---|---|---|---|---|---|---|"
)
SHOWN = 0.005
"""The least share of a row of the profile."""


def measure_zero(sizes: Sequence[Sizes], *, with_profile: bool) -> bool:
    """Build each size, print the table, then build the last again under the sampler; whether all aims were reached."""
    reached = True
    with Served(mean=0.0, content=CONTENT) as server:
        for place, each in enumerate(sizes):
            built = build(server, each)
            if place == 0:
                click.echo(HEAD)
            click.echo(_row(built, each))
            click.echo(f"{built.kept} kept; server: {1e6 * built.served / len(built.calls):.0f} us of processor a call")
            for text, is_so in _aims(built).items():
                click.echo(f"{'PASS' if is_so else 'FAIL'} {text}")
                reached = reached and is_so
        if with_profile:
            _profile(server, sizes[-1])
    return reached


def rate(built: Built) -> float:
    """Calls of the server a second, from the first call to the last commit."""
    return len(built.calls) / built.wall


def in_flight(sizes: Sizes) -> str:
    """How many samples may be at work at a time, as the settings bound it."""
    most = sizes.samples if sizes.open_batches is None else min(sizes.samples, sizes.batch * sizes.open_batches)
    return f"at most {most:,}"


def _aims(built: Built) -> dict[str, bool]:
    return {
        f"at least {AIMED_CALLS:,.0f} calls/s": rate(built) >= AIMED_CALLS,
        f"under {MOST_MEMORY >> 20} MB of memory": built.ran.largest < MOST_MEMORY,
    }


def _row(built: Built, sizes: Sizes) -> str:
    cells = [
        f"{sizes.samples:,} ({in_flight(sizes)})",
        f"{len(built.calls):,}",
        f"{rate(built):.0f}",
        f"{built.recorded / built.wall:.0f}",
        f"{len(built.chains) / built.wall:.1f}",
        f"{built.wall:.1f}",
        f"{built.ran.ended - built.ran.started:.1f}",
        f"{built.ran.cpu:.1f}",
        f"{built.ran.largest / 2**20:.0f} ({built.ran.together / 2**20:.0f})",
    ]
    return f"| {' | '.join(cells)} |"


def _profile(server: Served, sizes: Sizes) -> None:
    with TemporaryDirectory(prefix="bench-profile-") as folder:
        out = Path(folder) / "profile.json"
        words = (sys.executable, "-m", "tests.benchmarks.pipeline.sampled", str(out))
        built = build(server, sizes, words=words)
        told = json.loads(out.read_text())
    peak = summarise(built.calls)["peak"]
    click.echo(f"\nsampled, at {rate(built):.0f} calls/s, at most {peak:.0f} in flight at the server:")
    for thread, groups in told.items():
        total = sum(groups.values())
        click.echo(f"\n| {thread}: {total} samples | share of them |\n|---|---|")
        for name, count in sorted(groups.items(), key=lambda each: -each[1]):
            if count >= SHOWN * total:
                click.echo(f"| {name} | {count / total:.1%} |")
