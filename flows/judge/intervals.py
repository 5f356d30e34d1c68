"""How sure a figure is: bootstrap intervals over samples, paired comparisons, and many of these at once. Pure numpy.

What is drawn anew are clusters (samples), never single turns: turns of one dialogue are alike, and would make figures
look surer than they are. Every draw has a seed, so equal scores give equal intervals.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from flows.judge.agreement import Floats, Measure, mean_of
from flows.judge.sign_changes import p_of_signs

LEVEL = 0.95
RESAMPLES = 2000
FEWEST = 10
"""Clusters from which on there are intervals: those of fewer say less than they seem to."""
_CELLS = 4_000_000
"""Weights that are held at a time; 32 MB."""
_DEFINED = 0.95
"""The least share of draws in which a figure must be defined for an interval to be told."""
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its interval of 95 %. None where it is not defined, or where no interval can be told.

    There is none with fewer than FEWEST clusters, and where every draw comes to the same: what never varies here may
    still vary elsewhere.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """Which cluster each item is of: `of` has shape (items,) and counts from 0 to `count` - 1."""

    of: np.typing.NDArray[np.intp]
    count: int

    @classmethod
    def by(cls, names: Sequence[str]) -> "Clusters":
        """Items that bear one name are one cluster."""
        found, of = np.unique(np.array(names, dtype=np.str_), return_inverse=True)
        return cls(of=of.astype(np.intp), count=len(found))

    def draws(self, resamples: int, seed: int) -> Iterator[Floats]:
        """Weights of items, in blocks of shape (draws, items): how often each is among clusters drawn at random."""
        random, block = np.random.default_rng(seed), self._block()
        for first in range(0, resamples, block):
            drawn = random.integers(self.count, size=(min(block, resamples - first), self.count))
            rows = np.arange(len(drawn))[:, None] * self.count
            tally = np.bincount((rows + drawn).ravel(), minlength=len(drawn) * self.count)
            yield tally.reshape(len(drawn), self.count)[:, self.of].astype(np.float64)

    def without_one(self) -> Iterator[Floats]:
        """Weights that leave out one cluster after another, in blocks as above."""
        block = self._block()
        for first in range(0, self.count, block):
            left_out = np.arange(first, min(first + block, self.count))
            yield (self.of != left_out[:, None]).astype(np.float64)

    def _block(self) -> int:
        return max(1, _CELLS // max(len(self.of), self.count, 1))


def estimate_all(
    measures: Mapping[str, Measure], clusters: Clusters, *, seed: int, resamples: int = RESAMPLES
) -> dict[str, Estimate]:
    """Each measure with its interval, all of them over the same draws.

    The intervals are BCa (B. Efron, Better Bootstrap Confidence Intervals, 1987): percentiles of the draws, moved for
    bias and skewness, and widened for few clusters (T. Hesterberg, What Teachers Should Know About the Bootstrap,
    2015).
    """
    plain = {name: _plain(measure, clusters) for name, measure in measures.items()}
    if clusters.count < FEWEST:
        return {name: Estimate(value=value) for name, value in plain.items()}
    drawn = _run(measures, clusters.draws(resamples, seed))
    spared = _run(measures, clusters.without_one())
    return {name: _interval(value, drawn[name], spared[name]) for name, value in plain.items()}


def estimate_share(
    measure: Measure, clusters: Clusters, *, known: int, seed: int, resamples: int = RESAMPLES
) -> Estimate:
    """A share of `known` items, with Wilson's interval for as many independent items as the draws say they are worth.

    Where all of them are alike, each cluster counts once: 20 of 20 is not as sure as never otherwise.
    """
    value = _plain(measure, clusters)
    if value is None or clusters.count < FEWEST:
        return Estimate(value=value)
    drawn = _run({"share": measure}, clusters.draws(resamples, seed))["share"]
    spread = float(drawn[~np.isnan(drawn)].var())
    worth = value * (1 - value) / spread if spread > 0 else clusters.count
    low, high = wilson(value, min(worth, known))
    return Estimate(value=value, low=low, high=high)


def wilson(share: float, count: float) -> tuple[float, float]:
    """Wilson's interval of 95 % for a share of `count` independent items."""
    z = _NORMAL.inv_cdf((1 + LEVEL) / 2)
    middle, below = share + z * z / (2 * count), 1 + z * z / count
    away = z * float(np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)))
    return max(0.0, (middle - away) / below), min(1.0, (middle + away) / below)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """How much higher the second of two score lists is, over the `items` that both know, in `clusters` of them.

    `p` is that of changing signs at random, cluster by cluster, if both were the same; None where no item is known to
    both. `least_p` is the smallest that so few clusters could come to.
    """

    items: int
    clusters: int
    unknown: int
    difference: Estimate
    p: float | None
    least_p: float


def compare_paired(
    first: Floats,
    second: Floats,
    names: Sequence[str],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    comparisons: int = 1,
) -> Paired:
    """Compare two systems, or two conditions, on the same items; `names` says of which cluster each item is.

    `comparisons` is how many such p values will be corrected together. Items that either does not know (NaN) are left
    out and counted. ValueError where the lengths differ.
    """
    if not len(first) == len(second) == len(names):
        raise ValueError(f"{len(first)}, {len(second)} scores and {len(names)} names are no pairs")
    away = second - first
    known = ~np.isnan(away)
    away, clusters = away[known], Clusters.by([name for name, is_known in zip(names, known, strict=True) if is_known])
    found = estimate_all({"mean": mean_of(away)}, clusters, seed=seed, resamples=resamples)["mean"]
    sums = np.bincount(clusters.of, weights=away, minlength=clusters.count).astype(np.float64)
    p, least = p_of_signs(sums, seed=seed, comparisons=comparisons)
    return Paired(
        items=len(away),
        clusters=clusters.count,
        unknown=int((~known).sum()),
        difference=found,
        p=p if len(away) else None,
        least_p=least,
    )


def holm(values: Sequence[float]) -> list[float]:
    """Holm's correction: p values for as many comparisons as there are, in the order given."""
    order = np.argsort(np.array(values, dtype=np.float64), kind="stable")
    adjusted, largest = [0.0] * len(values), 0.0
    for place, which in enumerate(order.tolist()):
        largest = max(largest, min(1.0, (len(values) - place) * values[which]))
        adjusted[which] = largest
    return adjusted


def _plain(measure: Measure, clusters: Clusters) -> float | None:
    value = float(measure(np.ones((1, len(clusters.of))))[0])
    return None if np.isnan(value) else value


def _run(measures: Mapping[str, Measure], blocks: Iterator[Floats]) -> dict[str, Floats]:
    """The values of every measure, block after block."""
    found: dict[str, list[Floats]] = {name: [] for name in measures}
    for weights in blocks:
        for name, measure in measures.items():
            found[name].append(measure(weights))
    return {name: np.concatenate(values) for name, values in found.items()}


def _interval(value: float | None, drawn: Floats, spared: Floats) -> Estimate:
    """The BCa interval of a value from its draws and from what it is without each cluster."""
    defined, left = drawn[~np.isnan(drawn)], spared[~np.isnan(spared)]
    if value is None or len(defined) < _DEFINED * len(drawn) or len(left) < 2 or np.ptp(defined) < 1e-12:
        return Estimate(value=value)
    below = ((defined < value - 1e-12).sum() + (np.abs(defined - value) <= 1e-12).sum() / 2) / len(defined)
    bias = _NORMAL.inv_cdf(float(np.clip(below, 1 / (2 * len(defined)), 1 - 1 / (2 * len(defined)))))
    away = left.mean() - left
    squares = float((away**2).sum())
    skew = float((away**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0
    away_by = _widened(len(spared))
    low, high = np.quantile(defined, [_moved(bias, skew, z) for z in (-away_by, away_by)])
    return Estimate(value=value, low=float(low), high=float(high))


def _moved(bias: float, skew: float, z: float) -> float:
    """The share of draws below a bound that lies `z` away, once bias and skewness are allowed for."""
    return _NORMAL.cdf(bias + (bias + z) / max(1 - skew * (bias + z), 1e-6))


def _widened(count: int) -> float:
    """The quantile of Student's distribution for so many clusters, times what a bootstrap's spread is too small by.

    The quantile is the expansion of Cornish and Fisher, right to 0.001 from FEWEST clusters on.
    """
    z, free = _NORMAL.inv_cdf((1 + LEVEL) / 2), count - 1
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return float((z + first / free + second / free**2 + third / free**3) * np.sqrt(count / free))
