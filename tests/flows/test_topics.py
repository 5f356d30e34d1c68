"""The shipped topics and templates, and when two names are one topic."""

import hashlib
import re
import unicodedata
from collections import Counter
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
    read_templates,
    topic_id,
)
from flows.topics.incoming import IncomingTopics, read_topic_file

FOLDER = Path(catalogue.__file__).parent
PICTURE_WORDS = re.compile(r"\b(picture|image|illustration|drawing|draw|illustrate|paint)\b", re.IGNORECASE)
TEXT_WORDS = re.compile(
    r"\b(words|sentences?|tell|describe|explain|explanation|answer|write|say|introduction)\b", re.IGNORECASE
)


# --- the catalogue ---------------------------------------------------------------------------------------------------


def test_catalogue_has_eight_topics_in_each_of_forty_categories_of_eight_domains() -> None:
    entries = read_catalogue()
    sizes = Counter((entry.domain, entry.category) for entry in entries)
    assert len(entries) == 320
    assert len(sizes) == 40
    assert set(sizes.values()) == {8}
    assert set(Counter(domain for domain, _ in sizes).values()) == {5}


def test_no_domain_holds_more_than_a_fifth_of_the_catalogue() -> None:
    domains = Counter(entry.domain for entry in read_catalogue())
    assert max(domains.values()) <= 0.2 * domains.total()


def test_catalogue_has_no_topic_twice_in_another_guise() -> None:
    assert find_alike(entry.name for entry in read_catalogue()) == ()


def test_catalogue_names_are_short_and_clean_and_stand_inside_a_sentence() -> None:
    for entry in read_catalogue():
        assert entry.name.isprintable()
        assert entry.name == " ".join(entry.name.split())
        assert len(entry.name) <= 40
        assert entry.name.split()[0] not in {"a", "an", "the"}
        assert entry.name[0].islower() or entry.name.split()[0] in {"Christmas", "DNA"}


def test_catalogue_ids_are_unique_and_do_not_change() -> None:
    ids = [topic_id(entry) for entry in read_catalogue()]
    assert len(set(ids)) == 320
    assert ids[0] == hashlib.sha256(b'["topic","animals","wild mammals","foxes in the snow"]').hexdigest()[:32]


def test_catalogue_file_reads_the_same_as_a_users_file() -> None:
    assert read_topic_file(FOLDER / "catalogue.csv") == IncomingTopics(entries=read_catalogue(), repeated=())


def test_card_states_the_counts_and_weights_that_the_lists_have() -> None:
    card = (FOLDER / "CARD.md").read_text(encoding="utf-8")
    templates = read_templates()
    stated = dict(re.findall(r"^\| (\w+) \| [^|]+ \| (\d) \|$", card, re.MULTILINE))
    assert stated == {template.type: str(template.weight) for template in templates}
    assert f"{len(read_catalogue())} topics: 8 domains, 5 categories in each, 8 topics" in card
    assert f"{len(templates)} question templates of {len(stated)} types, 4 of each type" in card
    assert "CC0-1.0" in card


# --- the templates ---------------------------------------------------------------------------------------------------


def test_templates_are_many_of_many_types_with_ids_and_texts_of_their_own() -> None:
    templates = read_templates()
    assert len(templates) >= 48
    assert len({template.type for template in templates}) >= 10
    assert len({template.template_id for template in templates}) == len(templates)
    assert len({template.text for template in templates}) == len(templates)
    for template in templates:
        assert re.fullmatch(rf"{template.type}-\d\d", template.template_id)


@pytest.mark.parametrize("template", read_templates(), ids=lambda template: template.template_id)
def test_template_asks_for_words_and_a_picture_within_fifty_words(template: Template) -> None:
    assert PICTURE_WORDS.search(template.text)
    assert TEXT_WORDS.search(template.text)
    question = template.ask("a topic of several words")
    assert "{" not in question
    assert len(question.split()) <= 50


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
