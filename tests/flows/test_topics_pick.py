"""The order in which topics come, how templates are drawn, and what is covered."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.topics.catalogue import (
    read_catalogue,
    read_templates,
    topic_id,
)
from flows.topics.coverage import coverage
from flows.topics.pick import TopicState, draw_template, least_covered, pick_topics

# --- picking ---------------------------------------------------------------------------------------------------------


@st.composite
def topic_states(draw: st.DrawFn) -> list[TopicState]:
    rows = draw(st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("xyz"), st.integers(0, 3)), max_size=40))
    order = draw(st.permutations(range(len(rows))))
    return [state(f"{number:02}", *row) for number, row in zip(order, rows, strict=True)]


def state(identity: str, domain: str, category: str, slots: int) -> TopicState:
    return TopicState(topic_id=identity, name=f"topic {identity}", category=category, domain=domain, slots=slots)


def fill(topics: Sequence[TopicState], picked: Sequence[TopicState]) -> list[TopicState]:
    """The topics after one more slot was made for each picked one."""
    ids = {topic.topic_id for topic in picked}
    return [replace(topic, slots=topic.slots + (topic.topic_id in ids)) for topic in topics]


def catalogue_states() -> list[TopicState]:
    return [
        TopicState(topic_id=topic_id(entry), name=entry.name, category=entry.category, domain=entry.domain, slots=0)
        for entry in read_catalogue()
    ]


def pick_one_by_one(topics: Sequence[TopicState], count: int) -> list[str]:
    """The rule of picking, literally: after each topic count again."""
    slots = {topic.topic_id: topic.slots for topic in topics}
    picked: list[str] = []
    while len(picked) < count and 0 in slots.values():
        domains = Counter(topic.domain for topic in topics if slots[topic.topic_id])
        categories = Counter((topic.domain, topic.category) for topic in topics if slots[topic.topic_id])
        chosen = min(
            (topic for topic in topics if not slots[topic.topic_id]),
            key=lambda topic: (
                domains[topic.domain],
                topic.domain,
                categories[topic.domain, topic.category],
                topic.category,
                topic.topic_id,
            ),
        )
        slots[chosen.topic_id] = 1
        picked.append(chosen.topic_id)
    return picked


@given(topic_states(), st.integers(0, 45))
def test_picks_follow_the_rule_taken_literally(topics: list[TopicState], count: int) -> None:
    assert [topic.topic_id for topic in pick_topics(topics, count)] == pick_one_by_one(topics, count)


@given(topic_states(), st.integers(0, 20), st.integers(0, 20))
def test_picking_in_two_builds_is_picking_in_one(topics: list[TopicState], first: int, second: int) -> None:
    picked = pick_topics(topics, first)
    then = pick_topics(fill(topics, picked), second)
    ids = [topic.topic_id for topic in (*picked, *then)]
    assert ids == [topic.topic_id for topic in pick_topics(topics, first + second)]


@given(topic_states(), st.integers(0, 45), st.randoms(use_true_random=False))
def test_picks_do_not_depend_on_the_order_of_the_topics(topics: list[TopicState], count: int, random: Random) -> None:
    shuffled = topics.copy()
    random.shuffle(shuffled)
    assert pick_topics(shuffled, count) == pick_topics(topics, count)
    assert least_covered(shuffled, count) == least_covered(topics, count)


@pytest.mark.parametrize("count", [1, 7, 8, 40, 100, 319])
def test_picks_from_the_catalogue_are_even_over_domains_and_categories(count: int) -> None:
    topics = catalogue_states()
    table = coverage(fill(topics, pick_topics(topics, count)))
    by_domain = table.group_by("domain").agg(pl.col("covered").sum())["covered"].to_list()
    by_category = table["covered"].to_list()
    assert sum(by_domain) == count
    assert max(by_domain) - min(by_domain) <= 1
    assert max(by_category) - min(by_category) <= 1


def test_a_domain_that_lags_behind_catches_up_first() -> None:
    topics = [state("1", "A", "x", 4), state("2", "A", "x", 0), state("3", "B", "y", 0), state("4", "B", "z", 0)]
    assert [topic.topic_id for topic in pick_topics(topics, 2)] == ["3", "2"]


def test_domains_that_differ_by_case_are_one_domain() -> None:
    topics = [state("1", "Animals", "x", 1), state("2", "animals ", "X", 0), state("3", "Birds", "x", 0)]
    assert [topic.topic_id for topic in pick_topics(topics, 2)] == ["3", "2"]


def test_picks_end_when_every_topic_is_covered() -> None:
    topics = [state("1", "A", "x", 1), state("2", "A", "x", 0)]
    assert pick_topics(topics, 10) == (topics[1],)
    assert pick_topics([], 3) == ()
    assert pick_topics(topics, 0) == ()


@pytest.mark.parametrize("pick", [pick_topics, least_covered])
def test_negative_count_is_refused(pick: Callable[[Sequence[TopicState], int], object]) -> None:
    with pytest.raises(ValueError, match="cannot pick -1 topics"):
        pick([], -1)


@given(topic_states(), st.integers(0, 45))
def test_least_covered_takes_the_fewest_slots_first_and_no_topic_twice(topics: list[TopicState], count: int) -> None:
    picked = least_covered(topics, count)
    slots = [topic.slots for topic in picked]
    assert slots == sorted(topic.slots for topic in topics)[:count]
    assert len({topic.topic_id for topic in picked}) == len(picked)


@given(topic_states(), st.integers(0, 45))
def test_least_covered_starts_with_what_would_be_picked(topics: list[TopicState], count: int) -> None:
    new = pick_topics(topics, count)
    assert least_covered(topics, count)[: len(new)] == new


def test_deepening_is_even_over_domains() -> None:
    topics = [replace(topic, slots=1) for topic in catalogue_states()]
    table = coverage(fill(topics, least_covered(topics, 20)))
    by_domain = table.group_by("domain").agg(pl.col("slots").sum())["slots"].to_list()
    assert sorted(by_domain) == [42] * 4 + [43] * 4


# --- coverage --------------------------------------------------------------------------------------------------------


def test_coverage_counts_topics_covered_and_slots_of_each_category() -> None:
    topics = [
        state("1", "B", "x", 0),
        state("2", "A", "y", 2),
        state("3", "A", "y", 0),
        state("4", "A", "x", 1),
        state("5", "a ", "Y", 3),
        state("6", "", "", 0),
    ]
    assert coverage(topics).rows() == [
        ("", "", 1, 0, 0),
        ("A", "x", 1, 1, 1),
        ("A", "Y", 3, 2, 5),
        ("B", "x", 1, 0, 0),
    ]


def test_coverage_of_no_topics_has_the_columns_and_no_rows() -> None:
    table = coverage([])
    assert table.schema == pl.Schema(
        {"domain": pl.String, "category": pl.String, "topics": pl.Int64, "covered": pl.Int64, "slots": pl.Int64}
    )
    assert table.is_empty()


# --- drawing a template -----------------------------------------------------------------------------------------------


def test_every_template_is_drawn_as_often_as_its_weight_says() -> None:
    templates = read_templates()
    total = sum(template.weight for template in templates)
    for start in (0, -total, 2**64):
        drawn = Counter(draw_template(templates, seed).template_id for seed in range(start, start + total))
        assert drawn == {template.template_id: template.weight for template in templates}


@given(st.integers(), st.randoms(use_true_random=False))
def test_draw_depends_on_the_seed_and_not_on_the_order_of_the_file(seed: int, random: Random) -> None:
    templates = list(read_templates())
    shuffled = templates.copy()
    random.shuffle(shuffled)
    assert draw_template(shuffled, seed) == draw_template(templates, seed)


def test_draw_from_no_templates_is_refused() -> None:
    with pytest.raises(ValueError, match="give at least one"):
        draw_template([], 1)
