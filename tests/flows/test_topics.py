"""What a topic and a template are, and when two names are one topic."""

import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.topics import catalogue
from flows.topics.alike import find_alike, fold_name
from flows.topics.catalogue import (
    Template,
    TopicEntry,
    normalise_name,
    read_catalogue,
    topic_id,
)
from flows.topics.incoming import read_topic_file

FOLDER = Path(catalogue.__file__).parent

# --- the catalogue ---------------------------------------------------------------------------------------------------


def test_catalogue_file_reads_the_same_as_a_users_file() -> None:
    read = read_topic_file(FOLDER / "catalogue.csv")
    assert (read.entries, read.refused) == (read_catalogue(), ())


# --- the templates ---------------------------------------------------------------------------------------------------


def test_template_puts_the_name_in_as_it_is_at_every_place() -> None:
    template = Template(template_id="x-01", type="x", weight=1, text="{topic} by day, {topic} by night")
    assert template.ask("{topic} {0}") == "{topic} {0} by day, {topic} {0} by night"


def test_template_without_a_place_for_the_topic_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'x-01' has no \{topic\}"):
        Template(template_id="x-01", type="x", weight=1, text="Draw something.")


@pytest.mark.parametrize("weight", [0, -1])
def test_template_without_positive_weight_is_refused(weight: int) -> None:
    with pytest.raises(ValueError, match="give it a positive integer"):
        Template(template_id="x-01", type="x", weight=weight, text="{topic}")


# --- names and identity ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Rainbow", "  rainbow\u00a0"),
        ("caf\u00e9", "CAFE\u0301"),
        ("Stra\u00dfe", "STRASSE"),
        ("red  fox", "Red\tfox"),
        ("\u0391\u0345", "\u1fb3"),
    ],
)
def test_names_that_differ_by_case_spacing_or_composition_are_the_same(one: str, other: str) -> None:
    assert normalise_name(one) == normalise_name(other)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_normalised_name_is_composed_and_normalises_to_itself(text: str) -> None:
    name = normalise_name(text)
    assert normalise_name(name) == name
    assert unicodedata.is_normalized("NFC", name)


def test_topic_id_counts_each_part_of_the_path_and_not_its_case() -> None:
    fox = TopicEntry(name="Fox", category="Mammals", domain="Animals")
    assert topic_id(fox) == topic_id(TopicEntry(name="fox ", category="MAMMALS", domain=" animals"))
    others = [replace(fox, name="Wolf"), replace(fox, category=""), replace(fox, domain="")]
    moved = TopicEntry(name="Fox", category="Animals", domain="Mammals")
    assert len({topic_id(entry) for entry in [fox, *others, moved]}) == 5
    assert re.fullmatch(r"[0-9a-f]{32}", topic_id(fox))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Rainbow", "The rainbow"),
        ("a berry", "Berries"),
        ("an octopus", "octopuses"),
        ("horse", "Horses"),
        ("a box", "boxes"),
        ("movie", "movies"),
        ("a wolf", "The Wolves"),
        ("fireman", "firemen"),
        ("cats and dogs", "Dog and cat"),
        ("ice-cream", "Ice creams!"),
        ("child's toy", "children's toys"),
    ],
)
def test_names_alike_but_for_case_article_plural_or_order_fold_together(one: str, other: str) -> None:
    assert fold_name(one) == fold_name(other)
    assert find_alike([one, "something else", other]) == ((one, other),)


@pytest.mark.parametrize(
    ("one", "other"), [("plan", "plane"), ("pin", "pine"), ("bus", "bush"), ("cafe", "cave"), ("!", "?"), ("a", "the")]
)
def test_different_names_stay_apart(one: str, other: str) -> None:
    assert find_alike([one, other]) == ()


def test_alike_names_stand_in_order_of_first_appearance() -> None:
    names = ["zebra", "ants", "Zebras", "whale", "an ant", "the zebra"]
    assert find_alike(names) == (("zebra", "Zebras", "the zebra"), ("ants", "an ant"))
