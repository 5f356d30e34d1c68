"""What a server's log of calls comes to: how many were under way when, and how busy that kept it. Pure functions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call as the server saw it: seconds of a clock, and those it meant to take; -1 for no seed, row, step.

    `began` is later than `arrived` only where the server had more calls than places.
    """

    arrived: float
    began: float
    left: float
    latency: float
    seed: int
    row: int
    step: int

    def cells(self) -> list[float]:
        return [self.arrived, self.began, self.left, self.latency, self.seed, self.row, self.step]

    @classmethod
    def of(cls, cells: Sequence[float]) -> "Call":
        """As `cells` gave it."""
        arrived, began, left, latency, *rest = cells
        seed, row, step = map(int, rest)
        return cls(arrived=arrived, began=began, left=left, latency=latency, seed=seed, row=row, step=step)


def levels(calls: Sequence[Call]) -> Iterator[tuple[float, int]]:
    """From when on how many calls are under way; what happens at one moment counts as one change."""
    changes = sorted([(call.began, 1) for call in calls] + [(call.left, -1) for call in calls])
    under_way = 0
    for (at, change), after in pairwise([*changes, (float("inf"), 0)]):
        under_way += change
        if after[0] > at:
            yield at, under_way


def busy_share(calls: Sequence[Call], *, since: float, until: float, servers: int) -> float:
    """The share of the servers' time between two moments in which they had a call; nan for an empty span."""
    if until <= since:
        return float("nan")
    busy = sum(max(0.0, min(call.left, until) - max(call.began, since)) for call in calls)
    return busy / (servers * (until - since))


def first_full(calls: Sequence[Call], servers: int) -> float | None:
    """When so many calls were under way for the first time; None when they never were."""
    return next((at for at, level in levels(calls) if level >= servers), None)


def summarise(calls: Sequence[Call]) -> dict[str, float]:
    """Calls, most of them at a time, seconds of all together, and how late they were answered on average."""
    if not calls:
        return {
            "calls": 0,
            "peak": 0,
            "mean_wait": 0.0,
            "busy_seconds": 0.0,
            "seconds": 0.0,
            "mean_latency": 0.0,
            "mean_late": 0.0,
        }
    busy = sum(call.left - call.began for call in calls)
    meant = sum(call.latency for call in calls)
    return {
        "calls": len(calls),
        "peak": max(level for _, level in levels(calls)),
        "mean_wait": sum(call.began - call.arrived for call in calls) / len(calls),
        "busy_seconds": busy,
        "seconds": max(call.left for call in calls) - min(call.arrived for call in calls),
        "mean_latency": meant / len(calls),
        "mean_late": (busy - meant) / len(calls),
    }


def by_window(calls: Sequence[Call], *, seconds: float, servers: int) -> list[float]:
    """The busy share of each window since the first call."""
    since, end = min(call.began for call in calls), max(call.left for call in calls)
    busy = [0.0] * (int((end - since) / seconds) + 1)
    for call in calls:
        at, left = call.began - since, call.left - since
        while at < left:
            window = int(at / seconds)
            until = min(left, (window + 1) * seconds)
            if until <= at:  # rounding: the next window has begun
                until, window = left if left < (window + 2) * seconds else (window + 2) * seconds, window + 1
            busy[min(window, len(busy) - 1)] += until - at
            at = until
    return [share / (servers * seconds) for share in busy]
