"""Templates: none comes to a topic again before all were used, the first draws show the weights, old draws stay."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.topics.catalogue import Template, read_templates
from flows.topics.deck import Deck, draw_template, in_order

FEW = settings(max_examples=30, deadline=None)


def a_template(template_id: str, weight: int = 1) -> Template:
    return Template(template_id=template_id, type=template_id[0], weight=weight, text="About {topic}?")


@st.composite
def some_templates(draw: st.DrawFn) -> tuple[Template, ...]:
    weights = draw(st.lists(st.integers(1, 5), min_size=1, max_size=12))
    return in_order(a_template(f"{at:02}", weight) for at, weight in enumerate(weights))


def draw_all(deck: Deck, seeds: Sequence[int], turns: int) -> list[str]:
    """One template a seed, in dialogues of so many turns."""
    drawn: list[str] = []
    for at, seed in enumerate(seeds):
        dialogue = drawn[len(drawn) - at % turns :] if at % turns else []
        drawn.append(deck.draw(seed, dialogue))
    return drawn


@given(some_templates(), st.lists(st.integers(0, 2**31 - 1), max_size=60), st.integers(1, 10))
def test_a_deck_draws_what_drawing_from_what_is_left_one_by_one_draws(
    templates: tuple[Template, ...], seeds: list[int], turns: int
) -> None:
    left: list[Template] = []
    drawn: list[str] = []
    for at, seed in enumerate(seeds):
        left = left or list(templates)
        dialogue = drawn[len(drawn) - at % turns :] if at % turns else []
        fresh = [template for template in left if template.template_id not in dialogue]
        one = draw_template(fresh or left, seed)
        left.remove(one)
        drawn.append(one.template_id)
    assert draw_all(Deck(templates=templates), seeds, turns) == drawn


@FEW
@given(some_templates(), st.lists(st.integers(0, 2**31 - 1), max_size=60), st.integers(1, 10))
def test_no_template_comes_again_before_all_were_used(
    templates: tuple[Template, ...], seeds: list[int], turns: int
) -> None:
    drawn = draw_all(Deck(templates=templates), seeds, turns)
    for start in range(0, len(drawn), len(templates)):
        cycle = drawn[start : start + len(templates)]
        assert len(set(cycle)) == len(cycle)


@FEW
@given(some_templates(), st.lists(st.integers(0, 2**31 - 1), max_size=60), st.integers(1, 10))
def test_a_dialogue_repeats_no_template_while_there_are_others(
    templates: tuple[Template, ...], seeds: list[int], turns: int
) -> None:
    drawn = draw_all(Deck(templates=templates), seeds, turns)
    for start in range(0, len(drawn), turns):
        dialogue = drawn[start : start + turns]
        assert len(set(dialogue)) == min(len(dialogue), len(templates))


@FEW
@given(some_templates(), st.lists(st.integers(0, 2**31 - 1), max_size=40), st.integers(0, 40))
def test_a_deck_that_is_told_what_was_drawn_goes_on_as_if_it_had_drawn_it(
    templates: tuple[Template, ...], seeds: list[int], at: int
) -> None:
    whole = draw_all(Deck(templates=templates), seeds, 1)
    later = Deck(templates=templates)
    later.take(whole[:at])
    assert [*whole[:at], *draw_all(later, seeds[at:], 1)] == whole


def test_templates_that_come_later_are_drawn_before_any_comes_again() -> None:
    old, new = [a_template("a"), a_template("b"), a_template("c")], [a_template("d"), a_template("e")]
    deck = Deck(templates=in_order([*old, *new]))
    deck.take(["a", "b", "a", "gone", "b"])
    assert set(draw_all(deck, [1, 2, 3], 1)) == {"c", "d", "e"}


def test_the_first_draws_show_the_weights() -> None:
    templates = in_order(read_templates())
    random = Random(5)
    drawn: Counter[str] = Counter()
    for _ in range(1500):
        drawn.update(draw_all(Deck(templates=templates), [random.getrandbits(31) for _ in range(2)], 2))
    shares: dict[int, list[int]] = {}
    for template in templates:
        shares.setdefault(template.weight, []).append(drawn[template.template_id])
    means = [sum(counts) / len(counts) for _, counts in sorted(shares.items())]
    assert len(means) > 1
    assert means == sorted(means)
    assert means[-1] > means[0] * 1.5, "the heaviest against the lightest"


def test_every_template_holds_as_many_numbers_as_its_weight_says() -> None:
    templates = in_order(read_templates())
    total = sum(template.weight for template in templates)
    for start in (0, -total, 2**64):
        drawn = Counter(draw_template(templates, seed).template_id for seed in range(start, start + total))
        assert drawn == {template.template_id: template.weight for template in templates}


@FEW
@given(some_templates(), st.integers(), st.randoms(use_true_random=False))
def test_a_draw_does_not_depend_on_the_order_of_the_file(
    templates: tuple[Template, ...], seed: int, random: Random
) -> None:
    shuffled = list(templates)
    random.shuffle(shuffled)
    assert Deck(templates=in_order(shuffled)).draw(seed, ()) == Deck(templates=templates).draw(seed, ())


def test_a_deck_without_templates_is_refused() -> None:
    with pytest.raises(ValueError, match="give at least one"):
        in_order([])
