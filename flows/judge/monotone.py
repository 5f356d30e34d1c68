"""A map from one scale to another that never falls: isotonic regression, by pooling what falls. Knows no judges."""

from dataclasses import dataclass

import numpy as np

from flows.judge.agreement import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class MonotoneMap:
    """What each value `at` is mapped `to`, both rising; straight between two of them, level beyond the ends."""

    at: tuple[float, ...]
    to: tuple[float, ...]

    def apply(self, values: Floats) -> Floats:
        """The mapped values; what is unknown (NaN) stays unknown."""
        mapped: Floats = np.where(np.isnan(values), np.nan, np.interp(np.nan_to_num(values), self.at, self.to))
        return mapped


def fit_monotone(values: Floats, targets: Floats) -> MonotoneMap | None:
    """The map that never falls and comes nearest to the targets in squares; None where no pair is known (NaN)."""
    known = ~(np.isnan(values) | np.isnan(targets))
    if not known.any():
        return None
    at, places = np.unique(values[known], return_inverse=True)
    counts = np.bincount(places).astype(np.float64)
    means = np.bincount(places, weights=targets[known]) / counts
    return MonotoneMap(at=tuple(at.tolist()), to=tuple(_pool(means, counts).tolist()))


def _pool(means: Floats, counts: Floats) -> Floats:
    """Means of neighbours, pooled by their counts wherever they fall."""
    pools: list[tuple[float, float, int]] = []
    for mean, count in zip(means.tolist(), counts.tolist(), strict=True):
        pool = (mean, count, 1)
        while pools and pools[-1][0] >= pool[0]:
            before = pools.pop()
            both = before[1] + pool[1]
            pool = ((before[0] * before[1] + pool[0] * pool[1]) / both, both, before[2] + pool[2])
        pools.append(pool)
    return np.repeat([pool[0] for pool in pools], [pool[2] for pool in pools])
