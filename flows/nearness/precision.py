"""Precision and recall of thresholds on labelled pairs, with Wilson's intervals. Knows nothing of turns or files.

Wilson, E. B. (1927), Probable inference, the law of succession, and statistical inference; JASA 22 (158), 209-212.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dedup.decide import Thresholds
from dedup.nearness import Bools, Floats, Measured, distance

Z = 1.959963984540054
"""Of the normal distribution, for 95 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of some cases with its 95 % interval; all three are None where there is no case."""

    share: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, hits: int, cases: int) -> "Rate":
        """Wilson's interval of `hits` among `cases`."""
        if not cases:
            return cls(share=None, low=None, high=None)
        share, square = hits / cases, Z * Z
        middle = (share + square / (2 * cases)) / (1 + square / cases)
        half = Z / (1 + square / cases) * math.sqrt(share * (1 - share) / cases + square / (4 * cases * cases))
        low, high = (0.0 if hits == 0 else middle - half), (1.0 if hits == cases else middle + half)
        return cls(share=share, low=max(0.0, low), high=min(1.0, high))


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What a threshold does: pairs at or above it are called the same. `is_used` marks the threshold in use."""

    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    precision: Rate
    recall: Rate
    f1: float | None
    is_used: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One rule at every threshold at which it says something else, from low to high.

    `kind` is `image`, `text`, or `policy`: then `threshold` is by how much both thresholds in use are moved. `best` has
    the largest F1, of equal ones the highest; None where no pair is labelled the same.
    """

    kind: str
    points: tuple[Point, ...]
    best: Point | None
    used: Point

    def telling(self) -> tuple[Point, ...]:
        """The points from the highest threshold that still finds all on, and whatever is above the one in use.

        Below them a threshold only finds more that is not the same.
        """
        finds_all = [point.threshold for point in self.points if not point.false_negatives]
        lowest = min(max(finds_all, default=self.used.threshold), self.used.threshold)
        return tuple(point for point in self.points if point.threshold >= lowest)


def draw_curves(pairs: Measured, same: Sequence[bool], thresholds: Thresholds) -> tuple[Curve, ...]:
    """A curve for pictures alone, for captions alone, and for the policy with both thresholds moved together."""
    truth = np.array(same, dtype=np.bool_)
    away = distance(thresholds, pairs.images, pairs.texts)
    return (
        _curve("image", pairs.images, truth, thresholds.image),
        _curve("text", pairs.texts, truth, thresholds.text),
        _curve("policy", away, truth, 0.0),
    )


def _curve(kind: str, scores: Floats, truth: Bools, used: float) -> Curve:
    levels = np.unique(np.append(scores, used)).tolist()
    points = tuple(_point(level, scores >= level, truth, is_used=level == used) for level in levels)
    rated = [point for point in points if point.f1 is not None]
    return Curve(
        kind=kind,
        points=points,
        best=max(rated, key=lambda point: (point.f1 or 0.0, point.threshold), default=None),
        used=next(point for point in points if point.is_used),
    )


def _point(level: float, called: Bools, truth: Bools, *, is_used: bool) -> Point:
    hits, false = int((called & truth).sum()), int((called & ~truth).sum())
    lost, rest = int((~called & truth).sum()), int((~called & ~truth).sum())
    return Point(
        threshold=level,
        true_positives=hits,
        false_positives=false,
        false_negatives=lost,
        true_negatives=rest,
        precision=Rate.of(hits, hits + false),
        recall=Rate.of(hits, hits + lost),
        f1=2 * hits / (2 * hits + false + lost) if hits + lost else None,
        is_used=is_used,
    )
