"""The order in which topics come: the policies, their quotas, what is confined, and what they say."""

from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.errors import UserError
from flows.plan_settings import PlanSettings
from flows.topics.coverage import cover
from tests.flows.planning import Topic, a_topic, choose, fill, ids, pick_one_by_one, shipped, table

FEW = settings(max_examples=20, deadline=None)
"""Each example is one or two plans of some 20 ms."""

POLICIES = [
    PlanSettings(),
    PlanSettings(policy="weighted", weights={"A": 3, "B": 0.5, "A/x": 2}, quotas={"B": 3}),
    PlanSettings(policy="gaps", quotas={"C": 1}),
]


@st.composite
def topics_of_a_lake(draw: st.DrawFn) -> list[Topic]:
    """Up to 40 topics in three domains of three categories, of each at least one, in any order."""
    count = st.integers(0, 3)
    rows = draw(
        st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("xyz"), count, count, count, count), max_size=31)
    )
    rows += [(domain, category, 0, 0, 0, 0) for domain in "ABC" for category in "xyz"]
    order = draw(st.permutations(range(len(rows))))
    return [
        a_topic(f"{number:02}", domain, category, kept, rejected=rejected, duplicate=duplicate, open=left)
        for number, (domain, category, kept, rejected, duplicate, left) in zip(order, rows, strict=True)
    ]


# --- evenly ----------------------------------------------------------------------------------------------------------


@FEW
@given(topics_of_a_lake(), st.integers(0, 45))
def test_picks_follow_the_rule_taken_literally(topics: list[Topic], count: int) -> None:
    assert ids(choose(topics, count)) == pick_one_by_one(topics, count)


@FEW
@given(
    topics_of_a_lake(),
    st.integers(0, 45),
    st.dictionaries(st.sampled_from(["A", "B", "A/x", "B/y"]), st.integers(0, 9)),
)
def test_with_quotas_they_follow_it_too(topics: list[Topic], count: int, quotas: dict[str, int]) -> None:
    assert ids(choose(topics, count, PlanSettings(quotas=quotas))) == pick_one_by_one(topics, count, quotas)


@FEW
@given(topics_of_a_lake(), st.integers(0, 20), st.integers(0, 20), st.sampled_from(POLICIES[:2]))
def test_picking_in_two_builds_is_picking_in_one(
    topics: list[Topic], first: int, second: int, plan: PlanSettings
) -> None:
    picked = ids(choose(topics, first, plan))
    then = ids(choose(fill(topics, picked), second, plan))
    assert [*picked, *then] == ids(choose(topics, first + second, plan))


@FEW
@given(topics_of_a_lake(), st.integers(0, 45), st.sampled_from(POLICIES), st.randoms(use_true_random=False))
def test_plans_do_not_depend_on_the_order_of_the_topics(
    topics: list[Topic], count: int, plan: PlanSettings, random: Random
) -> None:
    shuffled = topics.copy()
    random.shuffle(shuffled)
    there, here = (choose(each, count, plan, samples=2, deepen=count % 2 > 0) for each in (shuffled, topics))
    assert there.picks.select("topic_id", "samples", "reason").equals(
        here.picks.select("topic_id", "samples", "reason")
    )
    assert there.exhausted == here.exhausted


@FEW
@given(st.integers(0, 320))
def test_picks_from_the_shipped_topics_are_balanced_within_one(count: int) -> None:
    topics = shipped()
    states = table(fill(topics, ids(choose(topics, count))))
    told = cover(states, pl.DataFrame(schema={"topic_id": pl.String, "template_id": pl.String}), templates=1, depth=2)
    for depth in (1, 2):
        covered = told.filter(pl.col("depth") == depth)["covered"].to_list()
        assert sum(covered) == count
        assert max(covered) - min(covered) <= 1


def test_a_domain_that_lags_behind_catches_up_first() -> None:
    topics = [a_topic("1", "A", "x", 4), a_topic("2", "A", "x"), a_topic("3", "B", "y"), a_topic("4", "B", "z")]
    assert ids(choose(topics, 2)) == ["3", "2"]


def test_domains_that_differ_by_case_are_one_domain() -> None:
    topics = [a_topic("1", "Animals", "x", 1), a_topic("2", "animals ", "X"), a_topic("3", "Birds", "x")]
    assert ids(choose(topics, 2)) == ["3", "2"]


def test_picks_end_when_every_topic_is_covered() -> None:
    topics = [a_topic("1", "A", "x", 1), a_topic("2", "A", "x")]
    assert ids(choose(topics, 10)) == ["2"]
    assert ids(choose([], 3)) == []
    assert ids(choose(topics, 0)) == []


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot pick -1 topics"):
        choose([], -1)


@FEW
@given(topics_of_a_lake(), st.integers(0, 45))
def test_deepening_takes_the_fewest_slots_first_and_no_topic_twice(topics: list[Topic], count: int) -> None:
    picked = ids(choose(topics, count, deepen=True))
    slots = {topic.topic_id: topic.slots for topic in topics}
    assert [slots[each] for each in picked] == sorted(slots.values())[:count]
    assert len(set(picked)) == len(picked)


@FEW
@given(topics_of_a_lake(), st.integers(0, 45))
def test_deepening_starts_with_what_would_be_picked(topics: list[Topic], count: int) -> None:
    new = ids(choose(topics, count))
    assert ids(choose(topics, count, deepen=True))[: len(new)] == new


def test_deepening_is_even_over_domains() -> None:
    topics = fill(shipped(), {topic.topic_id for topic in shipped()})
    deepened = ids(choose(topics, 20, deepen=True))
    slots = pl.DataFrame({"domain": [topic.domain for topic in topics if topic.topic_id in deepened]})
    assert sorted(slots["domain"].value_counts()["count"].to_list()) == [2] * 4 + [3] * 4


# --- weighted --------------------------------------------------------------------------------------------------------


def test_domains_get_shares_by_their_weights_with_what_is_covered_already_counted_in() -> None:
    topics = [a_topic(f"{domain}{n:02}", domain, "x") for domain in "ABC" for n in range(30)]
    plan = PlanSettings(policy="weighted", weights={"A": 5, "B": 3, "C": 2})
    first = ids(choose(topics, 10, plan))
    assert [sum(each[0] == domain for each in first) for domain in "ABC"] == [5, 3, 2]
    ahead = fill(topics, {f"C{n:02}" for n in range(6)})
    then = ids(choose(ahead, 24, plan))
    assert [sum(each[0] == domain for each in then) for domain in "ABC"] == [15, 9, 0], "C has its 6 of 30"


@FEW
@given(st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0, 7.0]), min_size=2, max_size=6), st.integers(1, 60))
def test_no_topic_given_to_another_domain_would_come_nearer_to_the_weights(weights: list[float], count: int) -> None:
    names = [f"D{at}" for at in range(len(weights))]
    topics = [a_topic(f"{name}-{n:02}", name, "x") for name in names for n in range(60)]
    plan = PlanSettings(policy="weighted", weights=dict(zip(names, weights, strict=True)))
    picked = ids(choose(topics, count, plan))
    given = {name: sum(each.startswith(f"{name}-") for each in picked) for name in names}
    assert sum(given.values()) == count
    for one, weight in zip(names, weights, strict=True):
        for other, its in zip(names, weights, strict=True):
            assert (2 * given[one] - 1) / weight <= (2 * given[other] + 1) / its


@FEW
@given(topics_of_a_lake(), st.integers(0, 45))
def test_equal_weights_are_even(topics: list[Topic], count: int) -> None:
    weighted = PlanSettings(policy="weighted", weights={"A": 2, "B": 2, "C": 2})
    assert ids(choose(topics, count, weighted)) == ids(choose(topics, count))


def test_a_category_has_a_weight_inside_its_domain_and_weight_0_is_none_of_it() -> None:
    topics = [a_topic(f"{c}{n}", "A", c) for c in "xy" for n in range(9)] + [a_topic("b", "B", "x")]
    plan = PlanSettings(policy="weighted", weights={"A/x": 2, "b": 0})
    picked = ids(choose(topics, 6, plan))
    assert [sum(each[0] == c for each in picked) for c in "xyb"] == [4, 2, 0]


# --- filling gaps ----------------------------------------------------------------------------------------------------


def test_gaps_takes_the_fewest_kept_first_and_the_most_dropped_next() -> None:
    topics = [
        a_topic("1", "A", "x", 2),
        a_topic("2", "A", "x", 1, rejected=3),
        a_topic("3", "A", "x"),
        a_topic("4", "A", "x", duplicate=2),
        a_topic("5", "A", "x", failed=1, rejected=2),
        a_topic("6", "A", "x", 1),
    ]
    chosen = choose(topics, 9, PlanSettings(policy="gaps"), samples=2)
    assert ids(chosen) == ["5", "4", "3", "2", "6"]
    assert chosen.picks["samples"].to_list() == [2, 2, 2, 1, 1], "what each lacks"
    assert chosen.picks["reason"][0] == "0 of 2 samples kept or under way, 3 dropped"


def test_gaps_counts_what_is_under_way_and_gives_hopeless_topics_up() -> None:
    topics = [a_topic("1", "A", "x", open=2), a_topic("2", "A", "x", rejected=10), a_topic("3", "B", "x", rejected=9)]
    chosen = choose(topics, 9, PlanSettings(policy="gaps"), samples=2)
    assert ids(chosen) == ["3"]
    assert chosen.exhausted == (
        "no topic of A is left: 1 with 2 samples, kept or under way, 1 given up after 10 dropped samples "
        "(plan.give_up_after)",
        "every topic of B has 2 samples, kept or under way",
    )


@FEW
@given(topics_of_a_lake(), st.integers(1, 3))
def test_filling_all_gaps_gives_each_topic_what_it_lacks(topics: list[Topic], samples: int) -> None:
    picks = choose(topics, len(topics), PlanSettings(policy="gaps"), samples=samples).picks
    planned = dict(picks.select("topic_id", "samples").iter_rows())
    for topic in topics:
        there = topic.kept + topic.open
        assert there + planned.get(topic.topic_id, 0) == max(there, samples)


@FEW
@given(topics_of_a_lake(), st.integers(0, 45))
def test_gaps_of_an_untouched_lake_are_filled_evenly(topics: list[Topic], count: int) -> None:
    untouched = [a_topic(topic.topic_id, topic.domain, topic.category) for topic in topics]
    assert ids(choose(untouched, count, PlanSettings(policy="gaps"))) == ids(choose(untouched, count))


# --- confined --------------------------------------------------------------------------------------------------------


@FEW
@given(topics_of_a_lake(), st.integers(0, 45), st.sampled_from(POLICIES))
def test_only_some_branches_take_nothing_from_others(topics: list[Topic], count: int, plan: PlanSettings) -> None:
    confined = choose(topics, count, plan.model_copy(update={"only": ("a / X", "B")}), samples=2)
    where = set(confined.picks.select("domain", "category").iter_rows())
    assert all(domain == "B" or (domain, category) == ("A", "x") for domain, category in where)


@FEW
@given(topics_of_a_lake(), st.integers(0, 45), st.sampled_from(POLICIES))
def test_quotas_hold_over_the_whole_lake(topics: list[Topic], count: int, plan: PlanSettings) -> None:
    quotas = {"A": 4, "B/x": 2}
    picked = ids(choose(topics, count, plan.model_copy(update={"quotas": quotas})))
    for domain, category, most in (("A", None, 4), ("B", "x", 2)):
        inside = [topic for topic in topics if topic.domain == domain and category in (None, topic.category)]
        before = sum(topic.slots > 0 for topic in inside)
        after = sum(topic.slots > 0 or topic.topic_id in picked for topic in inside)
        assert after <= max(most, before)


def test_a_build_can_be_confined_to_given_topics() -> None:
    topics = [a_topic(str(n), "A", "x") for n in range(9)]
    chosen = choose(topics, 3, only_topics={"7", "3"})
    assert ids(chosen) == ["3", "7"]
    assert chosen.exhausted == ("every one of the topics given has samples",)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (PlanSettings(only=("Animls",)), "plan.only names 'Animls', .* did you mean 'Animals'"),
        (
            PlanSettings(quotas={"Animals/Brids": 3}),
            "plan.quotas names 'Animals/Brids', .* did you mean 'Animals/Birds'",
        ),
        (
            PlanSettings(policy="weighted", weights={"zzzzzz": 3}),
            "plan.weights names .* 'interlake topics coverage' shows",
        ),
    ],
)
def test_a_branch_that_is_not_there_is_named_with_the_nearest_one(plan: PlanSettings, said: str) -> None:
    with pytest.raises(UserError, match=said):
        choose([a_topic("1", "Animals", "Birds"), a_topic("2", "Food", "Soups")], 1, plan)


def test_a_domain_with_a_slash_and_topics_without_a_domain_can_be_named() -> None:
    topics = [a_topic("1", "Food / Drink", "Tea"), a_topic("2", "", ""), a_topic("3", "A", "x")]
    assert ids(choose(topics, 3, PlanSettings(only=("food/drink/tea",)))) == ["1"]
    assert ids(choose(topics, 3, PlanSettings(only=("(no domain)",)))) == ["2"]


# --- what is said ----------------------------------------------------------------------------------------------------


def test_each_pick_says_why_it_was_its_turn() -> None:
    topics = [a_topic("1", "A", "x", 1), a_topic("2", "A", "x"), a_topic("3", "", "y"), a_topic("4", "A", "z")]
    assert choose(topics, 4, deepen=True).picks["reason"].to_list() == [
        "domain (no domain) has the fewest covered topics (0), category y the fewest in it (0)",
        "domain A has the fewest covered topics (1), category z the fewest in it (0)",
        "domain A has the fewest covered topics (2), category x the fewest in it (1)",
        "all topics are covered, it has the fewest slots (1)",
    ]
    weighted = PlanSettings(policy="weighted", weights={"A": 0.5})
    assert choose(topics, 2, weighted).picks["reason"].to_list() == [
        "domain (no domain) is furthest below its weight (0 covered, weight 1.0), category y in it (0 of 1.0)",
        "domain A is furthest below its weight (1 covered, weight 0.5), category z in it (0 of 1.0)",
    ]


@FEW
@given(topics_of_a_lake(), st.integers(1, 45), st.sampled_from(POLICIES), st.sampled_from([(), ("A/x",), ("B", "C/y")]))
def test_a_plan_that_falls_short_says_what_ran_out(
    topics: list[Topic], count: int, plan: PlanSettings, only: tuple[str, ...]
) -> None:
    chosen = choose(topics, count, plan.model_copy(update={"only": only}), samples=2)
    if chosen.picks.height < count:
        told = " ".join(chosen.exhausted)
        assert "every topic has" in told or all(name in told for name in only or "ABC")


def test_a_branch_that_ran_out_is_told_while_others_go_on() -> None:
    topics = [a_topic("1", "A", "x", 1), a_topic("2", "B", "x"), a_topic("3", "B", "x")]
    assert choose(topics, 1).exhausted == ("every topic of A has samples",)
    assert choose(topics, 2).exhausted == ("every topic has samples",)
    assert choose(topics, 1, PlanSettings(only=("a/x",))).exhausted == ("every topic of A/x has samples",)
    assert choose(topics, 0).exhausted == ()


def test_of_many_branches_and_quotas_the_first_are_named_and_the_others_counted() -> None:
    domains = [f"D{number:03}" for number in range(300)]
    topics = [a_topic(f"{domain}{n}", domain, "x") for domain in domains for n in range(2)]
    told = choose(topics, 900, PlanSettings(quotas=dict.fromkeys(domains, 1))).exhausted
    assert len(told) == 12 and max(map(len, told)) < 100
    assert told[:2] == tuple(f"no topic of D00{n} is left: 1 with samples, 1 beyond a quota" for n in range(2))
    assert told[5] == "no topic of 295 branches more is left, for reasons like these"
    assert told[6:8] == ("the quota of D000 (1) is reached", "the quota of D001 (1) is reached")
    assert told[-1] == "so are 295 quotas more"


def test_quotas_and_weights_that_keep_topics_out_are_told() -> None:
    topics = [a_topic(f"{domain}{n}", domain, "x") for domain in "ABC" for n in range(3)]
    plan = PlanSettings(policy="weighted", weights={"C": 0}, quotas={"A": 1})
    assert choose(topics, 9, plan).exhausted == (
        "no topic of A is left: 1 with samples, 2 beyond a quota",
        "no topic of C is left: 3 of weight 0",
        "every topic of B has samples",
        "the quota of A (1) is reached",
    )
