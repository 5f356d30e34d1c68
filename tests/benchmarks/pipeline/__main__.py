"""What the whole pipeline takes beside models that take their time, or none: `make bench-pipeline`.

    make bench-pipeline PART=latency SAMPLES=2000       256 calls in flight to a server with a mean latency of 1 s
    make bench-pipeline PART=zero                       the same server without latency: what our own code bears
    make bench-pipeline PART=server                     what the server itself bears, which is not what is measured
    make bench-pipeline PART=peers                      the same chain on other tools, see tests/benchmarks/peers

Each part starts a server of its own and prints its figures as a table in Markdown.
"""

import argparse
import sys
from collections.abc import Sequence

import click

from tests.benchmarks.pipeline.bearing import measure_bearing
from tests.benchmarks.pipeline.builds import Sizes
from tests.benchmarks.pipeline.latency import measure_latency
from tests.benchmarks.pipeline.painting import price_of_stand_ins
from tests.benchmarks.pipeline.zero import measure_zero

PARTS = ("latency", "zero", "peers", "server")


def main(words: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for; 1 when an aim is missed."""
    asked = _read(words)
    parts = [asked.part] if asked.part else PARTS[:2]
    passed = [_run_part(part, asked) for part in parts]
    return 0 if asked.no_verdict or all(passed) else 1


def _read(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, help="one part; without it latency and zero")
    parser.add_argument(
        "--samples", type=int, nargs="+", help="of a build; without it 2,000 and 8,000, or 4,000 in zero"
    )
    parser.add_argument("--mean", type=float, default=1.0, help="mean latency in seconds, in the part latency")
    parser.add_argument("--at-once", type=int, default=256, help="calls in flight")
    parser.add_argument("--batch", type=int, help="samples in a batch; without it 64, or 125 in zero")
    parser.add_argument(
        "--open-batches", type=int, help="batches at work; without it as there is room for, or 16 in zero"
    )
    parser.add_argument("--peers", nargs="+", default=[], help="tools by name, in the part peers; without it all")
    parser.add_argument("--zero-rows", type=int, default=1000, help="rows without latency, in the part peers")
    parser.add_argument("--repeats", type=int, default=1, help="builds of each size")
    parser.add_argument("--no-profile", action="store_true", help="leave the profile of the part zero out")
    parser.add_argument("--no-verdict", action="store_true")
    return parser.parse_args(words)


def _run_part(part: str, asked: argparse.Namespace) -> bool:
    if part == "peers":
        from tests.benchmarks.peers.driver import measure_peers

        rows = (asked.samples or [2000])[0]
        return measure_peers(
            asked.peers, rows=rows, zero_rows=min(rows, asked.zero_rows), mean=asked.mean, at_once=asked.at_once
        )
    if part == "server":
        return measure_bearing()
    is_latency = part == "latency"
    click.echo(price_of_stand_ins())
    sizes = [
        Sizes(
            samples=samples,
            batch=asked.batch or (64 if is_latency else 125),
            open_batches=asked.open_batches or (None if is_latency else 16),
            at_once=asked.at_once,
        )
        for samples in asked.samples or ((2000, 8000) if is_latency else (4000,))
        for _ in range(asked.repeats)
    ]
    if is_latency:
        return measure_latency(sizes, mean=asked.mean)
    return measure_zero(sizes, with_profile=not asked.no_profile)


if __name__ == "__main__":
    sys.exit(main())
