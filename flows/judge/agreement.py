"""Measures of agreement between scores, each over many weightings of the same items at once. Knows no judges.

A measure is a function from weights, float64 of shape (weightings, items), to one value per weighting, NaN where it is
not defined. All weights 1 give the plain figure; those of a bootstrap say how often it drew each item. A score that is
unknown is NaN and counts nowhere: it is never read as a number.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Measure: TypeAlias = Callable[[Floats], Floats]

CLOSE = 1.0
"""Scores that lie no further apart than this are close, as the paper counts them."""
_TINY = 1e-12


def mean_of(values: Floats) -> Measure:
    """The mean of the values that are known; `values` of shape (items,)."""
    known = ~np.isnan(values)
    counted, kept = known.astype(np.float64), np.where(known, values, 0.0)
    return lambda weights: _divide(weights @ kept, weights @ counted)


def rmse_of(judge: Floats, people: Floats) -> Measure:
    """The root of the mean squared difference, over items that both know."""
    squares = mean_of((judge - people) ** 2)
    return lambda weights: np.sqrt(squares(weights))


def mae_of(judge: Floats, people: Floats) -> Measure:
    """The mean absolute difference, over items that both know."""
    return mean_of(np.abs(judge - people))


def close_of(judge: Floats, people: Floats) -> Measure:
    """The share of items, of those that both know, whose scores lie at most CLOSE apart."""
    away = np.abs(judge - people)
    return mean_of(np.where(np.isnan(away), np.nan, (away <= CLOSE + 1e-9).astype(np.float64)))


def spearman_of(judge: Floats, people: Floats) -> Measure:
    """Spearman's rank correlation with average ranks for ties; NaN where either side is constant."""
    known = ~(np.isnan(judge) | np.isnan(people))
    one, other = _Ranked(judge[known]), _Ranked(people[known])

    def measure(weights: Floats) -> Floats:
        chosen = weights[:, known]
        total = chosen.sum(axis=1, keepdims=True)
        left, right = one.ranks(chosen) - total / 2, other.ranks(chosen) - total / 2
        both = np.einsum("bi,bi,bi->b", chosen, left, right)
        squares = np.einsum("bi,bi,bi->b", chosen, left, left) * np.einsum("bi,bi,bi->b", chosen, right, right)
        return _divide(both, np.sqrt(np.maximum(squares, 0.0)))

    return measure


def alpha_of(ratings: Floats) -> Measure:
    """Krippendorff's alpha for ordinal scores; `ratings` of shape (items, raters), NaN where somebody said nothing.

    The squared distance of two levels is that of their average ranks among all ratings that can be paired, so all
    pairs of an item come to m * sum(r^2) - sum(r)^2, and no table of coincidences is needed. NaN where no item has two
    ratings, or all ratings are equal. Source: K. Krippendorff, Content Analysis, chapter 12.
    """
    levels = np.unique(ratings[~np.isnan(ratings)])
    counts = (ratings[:, :, None] == levels).sum(axis=1).astype(np.float64)
    said = counts.sum(axis=1)
    paired = said > 1
    counts, said = counts[paired], said[paired]

    def measure(weights: Floats) -> Floats:
        chosen = weights[:, paired]
        shares = chosen @ counts
        total = shares.sum(axis=1)
        ranks = np.cumsum(shares, axis=1) - shares / 2 - total[:, None] / 2
        sums, squares = ranks @ counts.T, ranks**2 @ counts.T
        observed = (chosen * (said * squares - sums**2) / (said - 1)).sum(axis=1)
        expected = (shares * ranks**2).sum(axis=1) * total - (shares * ranks).sum(axis=1) ** 2
        return 1 - _divide((total - 1) * observed, np.where(expected > _TINY * np.maximum(total, 1) ** 4, expected, 0))

    return measure


class _Ranked:
    """Values whose ranks are asked for under many weightings."""

    def __init__(self, values: Floats) -> None:
        levels, self._places = np.unique(values, return_inverse=True)
        self._is_level = (self._places[:, None] == np.arange(len(levels))).astype(np.float64)

    def ranks(self, weights: Floats) -> Floats:
        """Average ranks, counted from one half, of the items; shape as that of `weights`."""
        shares = weights @ self._is_level
        ranks: Floats = (np.cumsum(shares, axis=1) - shares / 2)[:, self._places]
        return ranks


def _divide(above: Floats, below: Floats) -> Floats:
    """NaN where there is nothing to divide by."""
    safe = np.where(below > 0, below, 1.0)
    return np.where(below > 0, above / safe, np.nan)
