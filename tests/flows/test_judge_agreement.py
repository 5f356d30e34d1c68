"""Figures of agreement: equal to other implementations to 1e-9, sound at the edges; what is unknown is no number."""

import json
from collections.abc import Sequence

import krippendorff
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import optimize, stats

from flows.judge import intervals
from flows.judge.agreement import (
    Floats,
    Measure,
    alpha_of,
    close_of,
    mae_of,
    mean_of,
    rmse_of,
    spearman_of,
)
from flows.judge.calibration import Figures, Opinion, Scored, calibrate, figures, is_held_out, score_items
from flows.judge.candidate import SCORES
from flows.judge.intervals import (
    FEWEST,
    Clusters,
    Estimate,
    _widened,
    compare_paired,
    estimate_all,
    estimate_share,
    holm,
    wilson,
)
from flows.judge.monotone import fit_monotone
from flows.judge.sign_changes import DRAWS, EXACT, p_of_signs

NAN = float("nan")
FEW_EXAMPLES = settings(max_examples=25, deadline=None)

levels = st.sampled_from([0.0, 1.0, 2.0, 2.5, 3.0, 4.0, 5.0])
known_or_not = levels | st.just(NAN)


def scores(count: int, of: st.SearchStrategy[float] = levels) -> st.SearchStrategy[Floats]:
    return arrays.arrays(np.float64, count, elements=of)


pairs = st.integers(3, 25).flatmap(lambda count: st.tuples(scores(count), scores(count)))
ratings = st.tuples(st.integers(1, 12), st.integers(1, 4)).flatmap(
    lambda shape: arrays.arrays(np.float64, shape, elements=known_or_not)
)


def plain(measure: Measure, items: int) -> float:
    return float(measure(np.ones((1, items)))[0])


# Against other implementations


@given(pairs)
@FEW_EXAMPLES
def test_spearman_is_scipys_with_ties(pair: tuple[Floats, Floats]) -> None:
    judge, people = pair
    assume(np.ptp(judge) > 0 and np.ptp(people) > 0)
    expected = stats.spearmanr(judge, people).statistic
    assert plain(spearman_of(judge, people), len(judge)) == pytest.approx(expected, abs=1e-9)


@given(pairs)
@FEW_EXAMPLES
def test_rmse_mae_and_share_within_one_are_those_of_the_textbook(pair: tuple[Floats, Floats]) -> None:
    judge, people = pair
    away = [abs(a - b) for a, b in zip(judge.tolist(), people.tolist(), strict=True)]
    count = len(away)
    assert plain(rmse_of(judge, people), count) == pytest.approx((sum(a * a for a in away) / count) ** 0.5, abs=1e-9)
    assert plain(mae_of(judge, people), count) == pytest.approx(sum(away) / count, abs=1e-9)
    assert plain(close_of(judge, people), count) == pytest.approx(sum(a <= 1 for a in away) / count, abs=1e-9)


def count_pairs(table: Floats) -> tuple[list[float], Floats]:
    """Levels, and Krippendorff's table of coincidences, written out."""
    found = sorted({value for row in table.tolist() for value in row if not np.isnan(value)})
    coincidences = np.zeros((len(found), len(found)))
    for row in table.tolist():
        said = [value for value in row if not np.isnan(value)]
        for a in range(len(said)):
            for b in range(len(said)):
                if a != b:
                    coincidences[found.index(said[a]), found.index(said[b])] += 1 / (len(said) - 1)
    return found, coincidences


def alpha_by_the_book(table: Floats) -> float:
    found, coincidences = count_pairs(table)
    totals = coincidences.sum(axis=1)
    n = totals.sum()
    observed = expected = 0.0
    for c in range(len(found)):
        for k in range(c + 1, len(found)):
            apart = (totals[c : k + 1].sum() - (totals[c] + totals[k]) / 2) ** 2
            observed += coincidences[c, k] * apart
            expected += totals[c] * totals[k] * apart
    return float(1 - (n - 1) * observed / expected) if expected > 0 else NAN


@given(ratings)
@FEW_EXAMPLES
def test_alpha_is_that_of_the_book_with_ties_and_missing_ratings(table: Floats) -> None:
    assert plain(alpha_of(table), len(table)) == pytest.approx(alpha_by_the_book(table), abs=1e-9, nan_ok=True)


@given(ratings)
@FEW_EXAMPLES
def test_alpha_is_that_of_the_package_krippendorff(table: Floats) -> None:
    mine = plain(alpha_of(table), len(table))
    assume(not np.isnan(mine))
    theirs = krippendorff.alpha(reliability_data=table.T, level_of_measurement="ordinal")
    assert mine == pytest.approx(float(theirs), abs=1e-9)


def test_alpha_of_the_published_example_is_the_published_one() -> None:
    """K. Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, example D: ordinal 0.815."""
    said = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
    assert plain(alpha_of(np.array(said).T), 12) == pytest.approx(0.815, abs=5e-4)


@given(pairs, st.data())
@FEW_EXAMPLES
def test_a_weight_counts_an_item_as_often_as_if_it_stood_there_so_many_times(
    pair: tuple[Floats, Floats], data: st.DataObject
) -> None:
    judge, people = pair
    count = len(judge)
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)))
    again = np.repeat(np.arange(count), weights)
    for of in (rmse_of, mae_of, close_of, spearman_of, lambda j, p: alpha_of(np.column_stack([j, p]))):
        weighted = float(of(judge, people)(weights[None].astype(np.float64))[0])
        repeated = plain(of(judge[again], people[again]), len(again))
        assert weighted == pytest.approx(repeated, abs=1e-9, nan_ok=True)


@given(st.integers(1, 60), st.data())
@FEW_EXAMPLES
def test_wilsons_interval_is_scipys(count: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, count))
    theirs = stats.binomtest(hits, count).proportion_ci(method="wilson")
    assert wilson(hits / count, count) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@given(pairs)
@FEW_EXAMPLES
def test_the_monotone_map_is_scipys_isotonic_regression(pair: tuple[Floats, Floats]) -> None:
    values, targets = pair
    found = fit_monotone(values, targets)
    assert found is not None
    order = np.argsort(values, kind="stable")
    at, places, counts = np.unique(values[order], return_inverse=True, return_counts=True)
    means = np.bincount(places, weights=targets[order]) / counts
    theirs = optimize.isotonic_regression(means, weights=counts).x
    assert found.at == tuple(at.tolist())
    assert found.to == pytest.approx(theirs.tolist(), abs=1e-9)
    assert found.apply(np.array([-1.0, NAN, 9.0])) == pytest.approx([found.to[0], NAN, found.to[-1]], nan_ok=True)


@given(st.integers(2, 10).flatmap(lambda count: st.tuples(scores(count), scores(count))))
@settings(max_examples=25, deadline=None)
def test_the_p_value_of_few_pairs_is_scipys_exact_one(pair: tuple[Floats, Floats]) -> None:
    first, second = pair
    names = [str(place) for place in range(len(first))]
    found = compare_paired(first, second, names, seed=1)
    theirs = stats.permutation_test(
        (second - first,), lambda away: away.sum(), permutation_type="samples", n_resamples=np.inf, vectorized=False
    )
    assert found.p == pytest.approx(theirs.pvalue, abs=1e-9)


def chance_by_hand(sums: Sequence[int]) -> float:
    """The two-sided chance of the total under changes of signs: ways to each total, counted in whole numbers."""
    ways: dict[int, int] = {0: 1}
    for each in sums:
        spread: dict[int, int] = {}
        for total, count in ways.items():
            for moved in (total + each, total - each):
                spread[moved] = spread.get(moved, 0) + count
        ways = spread
    return sum(count for total, count in ways.items() if abs(total) >= abs(sum(sums))) / 2.0 ** len(sums)


@given(st.integers(1, 6), st.lists(st.integers(-15, 15), min_size=EXACT + 1, max_size=40))
@FEW_EXAMPLES
def test_the_p_value_of_many_whole_scores_is_exact_by_a_second_reckoning(parts: int, numbers: list[int]) -> None:
    p, least = p_of_signs(np.array(numbers) / parts, seed=1)
    assert p == pytest.approx(chance_by_hand(numbers), rel=1e-9)
    assert least == 2.0 / 2 ** len(numbers)


def test_of_many_comparisons_a_real_difference_is_told_though_scores_lie_on_no_grid() -> None:
    """28 pairs of 8 systems by 4 scores: 2,000 draws could not tell one of them."""
    away = np.random.default_rng(3).uniform(0.2, 0.8, 60)
    p, least = p_of_signs(away, seed=1, comparisons=112)
    assert p == least < 0.05 / 112 / 10
    assert p_of_signs(away, seed=1, comparisons=112) == (p, least)
    assert holm([p] * 112)[0] < 0.05 < holm([1 / (1 + DRAWS)] * 112)[0]
    chance = np.random.default_rng(4).normal(0, 1, 60)
    few, many = (p_of_signs(chance, seed=1, comparisons=number)[0] for number in (1, 112))
    assert few == many > 0.05, "what is likely by chance is not drawn for any longer"


@given(st.lists(st.floats(0, 1), max_size=8))
@FEW_EXAMPLES
def test_holm_is_the_step_down_of_the_textbook(values: list[float]) -> None:
    ranked = sorted(values)
    by_hand = [
        max(min(1.0, (len(values) - place) * ranked[place]) for place in range(ranked.index(value) + 1))
        for value in values
    ]
    at_ties = [max(h for h, v in zip(by_hand, values, strict=True) if v == value) for value in values]
    assert holm(values) == pytest.approx(at_ties, abs=1e-9)
    assert all(mine >= value for mine, value in zip(holm(values), values, strict=True))


def test_students_quantile_is_scipys_to_a_thousandth_from_the_fewest_clusters_on() -> None:
    for count in (FEWEST, 15, 40, 1000):
        theirs = stats.t.ppf(0.975, count - 1) * (count / (count - 1)) ** 0.5
        assert _widened(count) == pytest.approx(theirs, abs=1e-3)


def test_an_interval_is_scipys_bca_but_for_how_it_is_widened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "_widened", lambda _: stats.norm.ppf(0.975))
    away = np.random.default_rng(3).exponential(1.0, 40)
    mine = estimate_all({"mean": mean_of(away)}, one_each(40), seed=1, resamples=20_000)["mean"]
    drawn = stats.bootstrap((away,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(4))
    theirs = drawn.confidence_interval
    assert mine.low is not None and mine.high is not None
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high), abs=0.02 * (theirs.high - theirs.low))


# At the edges


def one_each(count: int) -> Clusters:
    return Clusters.by([f"{place:05d}" for place in range(count)])


@given(pairs)
@FEW_EXAMPLES
def test_constant_scores_and_a_single_rater_have_no_order_and_no_alpha(pair: tuple[Floats, Floats]) -> None:
    judge, _ = pair
    count, constant = len(judge), np.full(len(judge), 3.0)
    assert np.isnan(plain(spearman_of(judge, constant), count))
    assert np.isnan(plain(spearman_of(constant, judge), count))
    assert np.isnan(plain(alpha_of(np.column_stack([constant, constant])), count))
    assert np.isnan(plain(alpha_of(judge[:, None]), count)), "one rater agrees with nobody"


@given(pairs)
@FEW_EXAMPLES
def test_who_agrees_in_all_has_no_error_and_full_agreement(pair: tuple[Floats, Floats]) -> None:
    judge, _ = pair
    assume(np.ptp(judge) > 0)
    count = len(judge)
    assert plain(rmse_of(judge, judge), count) == plain(mae_of(judge, judge), count) == 0
    assert plain(close_of(judge, judge), count) == 1
    assert plain(spearman_of(judge, judge), count) == pytest.approx(1, abs=1e-12)
    assert plain(alpha_of(np.column_stack([judge, judge])), count) == pytest.approx(1, abs=1e-12)


@given(pairs, st.data())
@FEW_EXAMPLES
def test_what_is_unknown_changes_no_figure(pair: tuple[Floats, Floats], data: st.DataObject) -> None:
    judge, people = pair
    more = data.draw(scores(3))
    with_unknown = np.append(judge, [NAN, NAN, NAN]), np.append(people, more)
    for of in (rmse_of, mae_of, close_of, spearman_of, lambda j, p: alpha_of(np.column_stack([j, p]))):
        before = plain(of(judge, people), len(judge))
        assert plain(of(*with_unknown), len(judge) + 3) == pytest.approx(before, abs=1e-12, nan_ok=True)


def test_without_any_item_nothing_is_defined_and_nothing_warns() -> None:
    none = np.zeros(0)
    for measure in (rmse_of(none, none), spearman_of(none, none), alpha_of(np.zeros((0, 2))), mean_of(none)):
        assert estimate_all({"it": measure}, Clusters.by([]), seed=1)["it"] == Estimate(value=None)
    nobody = compare_paired(np.array([NAN]), np.array([3.0]), ["a"], seed=1)
    assert (nobody.items, nobody.unknown, nobody.p, nobody.difference.value) == (0, 1, None, None)


def test_few_samples_and_scores_that_never_vary_have_no_interval() -> None:
    judge = np.arange(FEWEST - 1.0)
    few = estimate_all({"mean": mean_of(judge)}, one_each(len(judge)), seed=1)["mean"]
    assert few == Estimate(value=judge.mean())
    alike = estimate_all({"mean": mean_of(np.full(50, 2.0))}, one_each(50), seed=1)["mean"]
    assert alike == Estimate(value=2.0)
    all_close = estimate_share(mean_of(np.ones(50)), one_each(50), known=50, seed=1)
    assert all_close.low == pytest.approx(stats.binomtest(50, 50).proportion_ci(method="wilson").low, abs=1e-9)


def test_turns_of_one_sample_make_nothing_surer() -> None:
    random = np.random.default_rng(5)
    away = random.normal(0, 1, 40)
    one = estimate_all({"mean": mean_of(away)}, one_each(40), seed=1)["mean"]
    turns = Clusters.by([f"{place:05d}" for place in range(40) for _ in range(5)])
    five = estimate_all({"mean": mean_of(np.repeat(away, 5))}, turns, seed=1)["mean"]
    assert (five.low, five.high) == pytest.approx((one.low, one.high), abs=1e-9)
    p = [
        compare_paired(np.zeros(40 * n), np.repeat(away, n), [str(i // n) for i in range(40 * n)], seed=1).p
        for n in (1, 5)
    ]
    assert p[0] == pytest.approx(p[1], abs=0.02)


def test_draws_are_the_same_whatever_is_held_at_a_time_and_differ_by_seed() -> None:
    clusters = one_each(12)
    drawn = np.concatenate(list(clusters.draws(500, 1)))
    assert drawn.shape == (500, 12)
    assert (drawn.sum(axis=1) == 12).all()
    assert (np.concatenate(list(clusters.draws(500, 1))) == drawn).all()
    assert not (np.concatenate(list(clusters.draws(500, 2))) == drawn).all()
    assert (np.concatenate(list(clusters.without_one())) == 1 - np.eye(12)).all()


def test_two_equal_systems_are_not_told_apart_and_a_better_one_is() -> None:
    random = np.random.default_rng(7)
    first = random.integers(0, 6, EXACT + 30).astype(np.float64)
    names = [str(place) for place in range(len(first))]
    same = compare_paired(first, first, names, seed=1)
    assert (same.p, same.difference) == (1.0, Estimate(value=0.0))
    better = compare_paired(first, first + random.uniform(0.2, 0.8, len(first)), names, seed=1)
    assert better.p == pytest.approx(1 / 2001) == pytest.approx(better.least_p)
    assert better.difference.low is not None and better.difference.low > 0.2
    with pytest.raises(ValueError, match="are no pairs"):
        compare_paired(first, first[1:], names, seed=1)


# Calibration


def scored(judge: Sequence[float], people: Sequence[Sequence[float]]) -> Scored:
    names = tuple(f"{place:05d}" for place in range(len(judge)))
    return Scored(score="tcc", judge=np.array(judge), people=np.array(people), clusters=names)


def test_unknown_verdicts_are_counted_and_in_no_mean() -> None:
    found = figures(scored([1, NAN, 3, NAN], [[1, 2], [2, 2], [NAN, NAN], [3, NAN]]))
    assert (found.items, found.known, found.unknown, found.samples) == (3, 1, 2, 1)
    assert found.mae == Estimate(value=0.5)
    assert found.rmse == Estimate(value=0.5)
    assert found.close == Estimate(value=1.0)
    assert found.alpha_people.value is not None, "people agree on items that the judge does not know"


def test_a_judge_that_knows_nothing_has_figures_of_people_alone() -> None:
    found = figures(scored([NAN] * 12, [[place % 5, place % 5] for place in range(12)]))
    assert (found.known, found.unknown) == (0, 12)
    nothing = Estimate(value=None)
    assert [found.rmse, found.mae, found.close, found.spearman, found.alpha_judge, found.alpha_joined] == [nothing] * 6
    assert found.alpha_people.value == 1


def judged_too_high(count: int) -> Scored:
    random = np.random.default_rng(11)
    truth = random.integers(0, 5, count)
    people = truth[:, None] + random.integers(0, 2, (count, 3))
    judge = np.clip(truth + 2 + random.integers(0, 2, count), 0, 5)
    return scored(judge.astype(float).tolist(), people.astype(float).tolist())


def test_the_map_of_some_samples_mends_a_judge_that_scores_too_high_on_the_others() -> None:
    opinions = [Opinion(scores={"tcc": 1.0}, unknown={})] * 199 + [Opinion(scores={}, unknown={"tcc": "cut"})]
    found = calibrate(judged_too_high(200), opinions, 0.3)
    assert found.held_out is not None and found.mapped is not None and found.map is not None
    assert found.held_out.items == found.mapped.items == 200 - found.fitted
    assert 40 < found.held_out.items < 80
    assert found.held_out.bias.low is not None and found.held_out.bias.low > 1
    assert found.mapped.rmse.high is not None and found.held_out.rmse.low is not None
    assert found.mapped.rmse.high < found.held_out.rmse.low
    assert list(found.map.to) == sorted(found.map.to)
    assert found.reasons == {"cut": 1}
    json.dumps(found.json(), allow_nan=False)


def test_without_a_split_or_with_too_few_samples_there_is_no_map() -> None:
    none = calibrate(judged_too_high(60), [], 0)
    assert (none.held_out, none.mapped, none.map) == (None, None, None)
    few = calibrate(judged_too_high(9), [], 0.5)
    assert (few.mapped, few.map) == (None, None)


@given(st.text(max_size=12), st.floats(0, 1), st.floats(0, 1))
@FEW_EXAMPLES
def test_a_sample_is_held_out_by_its_id_alone(name: str, share: float, larger: float) -> None:
    assume(name.isascii())
    share, larger = sorted((share, larger))
    assert is_held_out(name, larger) or not is_held_out(name, share)
    assert not is_held_out(name, 0)
    assert is_held_out(name, 1)


def test_scores_are_joined_by_item_and_rater_and_what_is_missing_stays_unknown() -> None:
    opinions = {"a": Opinion(scores={"tcc": 4.0}, unknown={"icc": "cut", "iq": "cut", "its": "cut"})}
    said = {("a", "x"): {"tcc": 3.0}, ("b", "y"): {"tcc": 1.0, "its": 2.0}}
    tcc, *_, its = score_items(["a", "b"], ["a", "b"], opinions, said, ["x", "y"])
    assert tcc.judge.tolist() == pytest.approx([4, NAN], nan_ok=True)
    assert tcc.people.ravel().tolist() == pytest.approx([3, NAN, NAN, 1], nan_ok=True)
    assert its.judge.tolist() == pytest.approx([NAN, NAN], nan_ok=True)
    assert its.mean_people().tolist() == pytest.approx([NAN, 2], nan_ok=True)
    assert [each.score for each in score_items([], [], {}, {}, [])] == list(SCORES)


def test_equal_scores_give_equal_figures() -> None:
    one, other = figures(judged_too_high(40)), figures(judged_too_high(40))
    assert one == other
    assert isinstance(one, Figures) and one.rmse.low is not None
