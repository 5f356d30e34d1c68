"""Do 95 % intervals hold the truth 95 times of 100? A thousand small worlds, each with noise that is known."""

import numpy as np
import pytest

from flows.judge.agreement import Floats, Measure, alpha_of, close_of, mae_of, mean_of, rmse_of, spearman_of
from flows.judge.intervals import Clusters, compare_paired, estimate_all, estimate_share

WORLDS = 1000
ITEMS = 60
RESAMPLES = 1000


def draw_world(count: int, random: np.random.Generator) -> tuple[Floats, Floats]:
    """A judge and three people who see the same truth, each through noise; some say nothing."""
    truth = random.normal(3, 1.1, count)
    people = np.clip(np.rint(truth[:, None] + random.normal(0, 0.5, (count, 3))), 0, 5)
    people[:, 1:][random.random((count, 2)) < 0.2] = np.nan
    judge = np.clip(np.rint(truth + 0.3 + random.normal(0, 0.6, count)), 0, 5)
    judge[random.random(count) < 0.05] = np.nan
    return judge, people


def measures(judge: Floats, people: Floats) -> tuple[dict[str, Measure], Measure]:
    mean = np.nanmean(people, axis=1)
    found = {
        "rmse": rmse_of(judge, mean),
        "mae": mae_of(judge, mean),
        "bias": mean_of(judge - mean),
        "spearman": spearman_of(judge, mean),
        "alpha_people": alpha_of(people),
        "alpha_judge": alpha_of(np.column_stack([judge, mean])),
    }
    return found, close_of(judge, mean)


def test_intervals_hold_the_truth_in_92_to_97_of_100_worlds() -> None:
    judge, people = draw_world(400_000, np.random.default_rng(1))
    one = np.ones((1, len(judge)))
    large, close = measures(judge, people)
    truth = {name: float(measure(one)[0]) for name, measure in {**large, "close": close}.items()}
    held = dict.fromkeys(truth, 0)
    clusters = Clusters.by([f"{place:05d}" for place in range(ITEMS)])
    for number in range(WORLDS):
        judge, people = draw_world(ITEMS, np.random.default_rng([7, number]))
        small, close = measures(judge, people)
        found = estimate_all(small, clusters, seed=number, resamples=RESAMPLES)
        known = int((~np.isnan(judge)).sum())
        found["close"] = estimate_share(close, clusters, known=known, seed=number, resamples=RESAMPLES)
        for name, each in found.items():
            held[name] += each.low is not None and each.high is not None and each.low <= truth[name] <= each.high
    shares = {name: count / WORLDS for name, count in held.items()}
    assert {name: share for name, share in shares.items() if not 0.92 <= share <= 0.97} == {}, shares


@pytest.mark.parametrize("items", [12, 60])
def test_two_equal_systems_are_told_apart_5_times_of_100(items: int) -> None:
    names = [str(place) for place in range(items)]
    told = held = 0
    for number in range(WORLDS):
        random = np.random.default_rng([9, number])
        shared = random.normal(0, 1, items)
        first, second = (3 + shared + random.normal(0, 0.7, items) for _ in range(2))
        found = compare_paired(first, second, names, seed=number, resamples=RESAMPLES)
        told += found.p is not None and found.p < 0.05
        low, high = found.difference.low, found.difference.high
        held += low is not None and high is not None and low <= 0 <= high
    assert 0.03 <= told / WORLDS <= 0.07
    assert 0.92 <= held / WORLDS <= 0.97
