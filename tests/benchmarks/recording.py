"""What recording costs: the real pipeline with zero-latency stand-ins, 512 samples in flight: `make bench-record`.

Calls a second of the whole pipeline (prompts, loop, checks, reading of replies, gates, the stand-ins' own work) with
and without recording, in pairs of fresh processes that take turns. Without it, a recorder asks, checks what it hears,
and hands it straight on. Recording is all else: canonical request, key, row, hash of the answer, look-up, frame, write,
a sync each second. Then the memory of two runs, one three times as long, whose batches are read back and dropped as
they end; what reading them back takes is told beside it.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import click

from tests.benchmarks.filling import Measured, Trial, measure

MOST_COST = 0.15
MOST_GROWTH = 8 << 20
"""Bytes that a longer run may take more: what the allocator keeps differs by some megabytes from run to run."""
SHORT, LONG = 2, 6
"""How many times as many samples as are in flight: from two on, as many batches are open at a time as ever will be."""
BATCH = 64
WARM_UP = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The same work without and with recording, one after the other."""

    plain: Measured
    recorded: Measured

    @property
    def cost(self) -> float:
        """The share of calls a second that recording takes."""
        return 1 - self.recorded.rate / self.plain.rate


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark; 1 when a limit is broken."""
    asked = _read(words)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        pairs: list[Pair] = []
        for _ in range(asked.pairs):
            plain, recorded = (
                processes.submit(measure, _trial(asked.samples, recorded=is_recorded, batch=asked.samples)).result()
                for is_recorded in (False, True)
            )
            pairs.append(Pair(plain=plain, recorded=recorded))
            click.echo(f"{plain.rate:6.0f} calls/s without, {recorded.rate:6.0f} with: {pairs[-1].cost:.1%}")
        short, long = (
            processes.submit(measure, _trial(asked.samples * times, recorded=True, batch=BATCH)).result()
            for times in (SHORT, LONG)
        )
    return _judge(pairs, short, long, with_verdict=not asked.no_verdict)


def _read(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--samples", type=int, default=512, help="as many are in flight")
    parser.add_argument("--no-verdict", action="store_true")
    return parser.parse_args(words)


def _trial(samples: int, *, recorded: bool, batch: int) -> Trial:
    return Trial(recorded=recorded, samples=samples, in_flight=min(samples, 512), batch=batch, warm_up=WARM_UP)


def _judge(pairs: Sequence[Pair], short: Measured, long: Measured, *, with_verdict: bool) -> int:
    costs = sorted(pair.cost for pair in pairs)
    cost, growth = statistics.median(costs), long.memory - short.memory
    last = pairs[-1].recorded
    click.echo(f"recording costs {cost:.1%} of calls a second, the median of {costs[0]:.1%} to {costs[-1]:.1%}")
    spooled, read_back = last.spooled / last.calls, 1e6 * long.read_back / long.calls
    click.echo(f"a call takes {spooled:.0f} bytes of spool, and {read_back:.0f} us to be read back")
    for name, run in (("short", short), ("long", long)):
        click.echo(
            f"{name} run: {run.calls} calls, at most {run.held} of open batches known at a time, "
            f"{run.memory / 2**20:.0f} MB more memory than before"
        )
    if not with_verdict:
        return 0
    passed = {
        f"recording costs less than {MOST_COST:.0%}": cost < MOST_COST,
        f"a run {LONG // SHORT} times as long takes no more than {MOST_GROWTH >> 20} MB more": growth <= MOST_GROWTH,
    }
    for text, is_so in passed.items():
        click.echo(f"{'PASS' if is_so else 'FAIL'} {text}")
    return 0 if all(passed.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
