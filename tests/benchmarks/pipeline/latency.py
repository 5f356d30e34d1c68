"""Builds with slow models beside the ideal schedule of their calls, and how busy they kept the server."""

from collections.abc import Sequence
from dataclasses import dataclass

import click

from tests.benchmarks.pipeline.builds import Built, Sizes, build
from tests.benchmarks.pipeline.ideal import lower_bound, schedule
from tests.benchmarks.pipeline.serving import Served
from tests.benchmarks.pipeline.traffic import busy_share, by_window, first_full, summarise

MOST_OVER_IDEAL = 1.03
LEAST_BUSY = 0.97
LATEST_FIRST = 0.10
"""The share of the wall time after which the first version must be there."""
CONTENT = 0.5
WINDOW = 5.0
"""Seconds, of a mean latency of 1 s, over which the busy shares are shown."""
HEAD = (
    "| samples | calls | wall, s | ideal, s | wall / ideal | busy in steady state | steady after, s | first version, s "
    "(share; ideal) | whole command, s | processor, s | memory, MB (with Prefect's server) |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A build beside the ideal. Seconds from the first call; `first_ideal` is when its first batch could be done.

    `busy` is the share of the places in flight that were taken, from when all were for the first time (`full`) to when
    the last sample was begun; nan where they never were. `late` is how much later than it meant to the server answered.
    """

    wall: float
    ideal: float
    bound: float
    full: float
    busy: float
    first: float
    first_ideal: float
    late: float

    def aims(self) -> dict[str, bool]:
        return {
            f"wall time within {MOST_OVER_IDEAL - 1:.0%} of the ideal schedule": self.wall
            <= MOST_OVER_IDEAL * self.ideal,
            f"at least {LEAST_BUSY:.0%} busy in steady state": self.busy >= LEAST_BUSY,
            f"first version before {LATEST_FIRST:.0%} of the wall time": self.first <= LATEST_FIRST * self.wall,
        }


def measure_latency(sizes: Sequence[Sizes], *, mean: float) -> bool:
    """Build each size once, print the table; whether all aims were reached."""
    reached = True
    with Served(mean=mean, content=CONTENT) as server:
        for place, each in enumerate(sizes):
            built = build(server, each)
            judged = judge(built, each)
            if place == 0:
                click.echo(HEAD)
            click.echo(_row(built, judged, each))
            _tell(built, judged, each, mean)
            reached = reached and all(judged.aims().values())
    return reached


def judge(built: Built, sizes: Sizes) -> Judged:
    """Lay a build beside the ideal schedule of its own calls."""
    chains = [[call.latency for call in chain] for chain in built.chains]
    ideal = schedule(chains, sizes.at_once)
    calls, since = built.calls, built.first_call
    full = first_full(calls, sizes.at_once)
    begun = max(chain[0].arrived for chain in built.chains if chain)
    return Judged(
        wall=built.wall,
        ideal=ideal.wall,
        bound=lower_bound(chains, sizes.at_once),
        full=float("nan") if full is None else full - since,
        busy=float("nan") if full is None else busy_share(calls, since=full, until=begun, servers=sizes.at_once),
        first=built.commits[0][0] - since,
        first_ideal=ideal.first(built.commits[0][1]),
        late=summarise(calls)["mean_late"],
    )


def _row(built: Built, judged: Judged, sizes: Sizes) -> str:
    cells = [
        f"{sizes.samples:,}",
        f"{len(built.calls):,}",
        f"{judged.wall:.1f}",
        f"{judged.ideal:.1f}",
        f"{judged.wall / judged.ideal:.3f}",
        f"{judged.busy:.1%}",
        f"{judged.full:.1f}",
        f"{judged.first:.1f} ({judged.first / judged.wall:.1%}; {judged.first_ideal:.1f})",
        f"{built.ran.ended - built.ran.started:.1f}",
        f"{built.ran.cpu:.0f}",
        f"{built.ran.largest / 2**20:.0f} ({built.ran.together / 2**20:.0f})",
    ]
    return f"| {' | '.join(cells)} |"


def _tell(built: Built, judged: Judged, sizes: Sizes, mean: float) -> None:
    told = summarise(built.calls)
    click.echo(
        f"{built.kept} kept; batches of {sizes.batch}, {sizes.open_batches or 'as many as there is room for'} open; "
        f"mean latency {told['mean_latency']:.3f} s, "
        f"answered {1000 * judged.late:.1f} ms later than meant; at most {told['peak']:.0f} in flight; "
        f"no schedule can be under {judged.bound:.1f} s; last call after "
        f"{max(call.left for call in built.calls) - built.first_call:.1f} s, "
        f"first call {built.first_call - built.ran.started:.1f} s after the command began"
    )
    shares = by_window(built.calls, seconds=WINDOW * mean, servers=sizes.at_once)
    click.echo(f"busy by windows of {WINDOW * mean:g} s: {' '.join(f'{share:.0%}' for share in shares)}")
    for text, is_so in judged.aims().items():
        click.echo(f"{'PASS' if is_so else 'FAIL'} {text}")
