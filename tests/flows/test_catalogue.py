"""The shipped topics and question templates: what anyone may rely on about the two lists and their card."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from flows.topics import catalogue
from flows.topics.alike import find_alike, fold_name
from flows.topics.catalogue import Template, TopicEntry, normalise_name, read_catalogue, read_templates, topic_id
from models.openmoji_painter import OpenmojiPainter
from models.scene_caption import read_caption
from models.scene_words import COLOURS

FOLDER = Path(catalogue.__file__).parent
TOPICS, TEMPLATES = read_catalogue(), read_templates()

JOINERS = """
about above after among and around as at before behind beside between by for from in into like near of on over through
to under with without
"""
SIZES = "big giant huge large little old small tall tiny"
# Words that a name may begin with in upper case, each read by a person: names of places, people, peoples and feasts.
PROPER = """
Aboriginal Abu Advent Ali American Anansi Angkor April Arizona's Athens Australia's Aztec Bagan Balinese Barcelona's
Berlin's Big Borobudur Brazil Celtic Chichen Children's China's Chinese Christmas Cinderella's Copenhagen's DNA Diwali
Djenne's Don Dutch Easter Egyptian Eid Fibonacci Forbidden French Gaelic Galileo's Globe Granada's Great Greek
Gutenberg's Hagia Haida Halloween Hanukkah Himalaya Holi Icarus Iguazu India's Inti Inuit Islamic Japanese Jupiter
Komodo Korean Lhasa's Little Loch London's Lunar Maasai Machu Medusa's Mercury Mesoamerican Milky Mont Moroccan Morris
Morse Mother's Mount M\u00f6bius Nazca Neuschwanstein New Niagara Noh Nowruz Odin Oktoberfest Olympic Panama's Paris
Passover Pegasus Peking Persian Petra's Pisa's Pluto's Puss Ramadan Rio's Robin Roman Rome's Saint San Santa Saturn's
Sinbad's Sleeping Southern Stegosaurus Stonehenge Sun Sydney's T-Rex T-shirts Tasmanian Tesla Thor Three Timbuktu
Turkish Uluru Valentine Venice Venus Victoria Vietnamese Viking X-rays Zulu
"""
PICTURE_WORDS = re.compile(r"\b(picture|image|illustration|drawing|draw|illustrate|paint)\b", re.IGNORECASE)
TEXT_WORDS = re.compile(
    r"\b(words|sentences?|tell|describe|explain|explanation|answer|write|say|introduction)\b", re.IGNORECASE
)
# What would fit singular or plural names alone: an article or number before, an agreeing verb or a possessive after.
BEFORE = re.compile(r"\b(a|an|the|this|that|these|those|each|every|many|one|two)\W+\{topic\}", re.IGNORECASE)
AFTER = re.compile(r"\{topic\}('s|\W+(is|are|was|has|have|does|do|looks|seems|comes)\b)", re.IGNORECASE)

# sha256 over the 320 topic ids, and over the 52 lines "template_id weight text", that interlake shipped before the
# lists grew, one a line in the order of the files: `git show 3bebe7d:flows/topics/catalogue.csv`, `templates.csv`.
FIRST_TOPICS = "af51af61440800ce11406a0a6981aad3602b1853fd9a6d53dbc65b41142a7973"
FIRST_TEMPLATES = "ea0aba0143aaa9453845fd373ec64a6f2726c6760f250f9fc6e063dda828b32a"


def repeated(keys: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The names of pairs (key, name) whose key comes more than once."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for key, name in keys:
        groups[key].append(name)
    return [names for names in groups.values() if len(names) > 1]


def telling_words(without: Iterable[str]) -> list[tuple[str, str]]:
    """For each topic its folded words in alphabetical order, but for those of `without`, and its name."""
    silent = {fold_name(word) for word in without}
    return [
        (" ".join(word for word in fold_name(entry.name).split() if word not in silent), entry.name) for entry in TOPICS
    ]


def sha256_of(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


# --- the catalogue ---------------------------------------------------------------------------------------------------


def test_catalogue_has_eight_domains_and_at_least_65_categories_and_3500_topics() -> None:
    assert len({entry.domain for entry in TOPICS}) == 8
    assert len({(entry.domain, entry.category) for entry in TOPICS}) >= 65
    assert len(TOPICS) >= 3500


def test_no_domain_holds_more_than_a_fifth_of_the_catalogue_nor_less_than_a_twelfth() -> None:
    sizes = Counter(entry.domain for entry in TOPICS)
    assert max(sizes.values()) <= sizes.total() / 5
    assert min(sizes.values()) >= sizes.total() / 12


def test_no_category_has_fewer_than_25_topics() -> None:
    sizes = Counter((entry.domain, entry.category) for entry in TOPICS)
    assert {path: size for path, size in sizes.items() if size < 25} == {}


def test_no_category_lies_in_two_domains() -> None:
    paths = {(normalise_name(entry.category), normalise_name(entry.domain)) for entry in TOPICS}
    assert repeated(paths) == []


def test_no_name_stands_under_two_categories() -> None:
    assert repeated((normalise_name(entry.name), f"{entry.category}: {entry.name}") for entry in TOPICS) == []


def test_catalogue_has_no_topic_twice_by_case_article_plural_or_word_order() -> None:
    assert find_alike(entry.name for entry in TOPICS) == ()


def test_no_two_topics_have_the_same_telling_words_in_any_order_and_however_joined() -> None:
    assert repeated(telling_words(JOINERS.split())) == []


def test_no_two_topics_differ_by_a_colour_or_a_size_alone() -> None:
    assert repeated(telling_words([*JOINERS.split(), *SIZES.split(), *COLOURS])) == []


def test_catalogue_names_are_short_and_clean_and_stand_inside_a_sentence() -> None:
    for entry in TOPICS:
        assert entry.name.isprintable()
        assert entry.name == " ".join(entry.name.split())
        assert len(entry.name) <= 40
        assert entry.name.split()[0].lower() not in {"a", "an", "the"}
        assert re.fullmatch(r"[\w' -]+", entry.name), entry.name


def test_catalogue_names_are_in_lower_case_but_for_proper_names() -> None:
    begun = {entry.name.split()[0] for entry in TOPICS if not entry.name[0].islower()}
    assert begun - set(PROPER.split()) == set()


def test_each_domain_and_each_category_stands_in_one_piece() -> None:
    assert len([domain for domain, _ in groupby(TOPICS, lambda entry: entry.domain)]) == 8
    paths = [path for path, _ in groupby(TOPICS, lambda entry: (entry.domain, entry.category))]
    assert len(paths) == len(set(paths))


def test_catalogue_ids_are_unique_and_do_not_change() -> None:
    assert len({topic_id(entry) for entry in TOPICS}) == len(TOPICS)
    assert (
        topic_id(TOPICS[0])
        == hashlib.sha256(b'["topic","animals","wild mammals","foxes in the snow"]').hexdigest()[:32]
    )


def test_the_first_320_topics_keep_their_ids_at_the_head_of_their_categories() -> None:
    first = [entry for group in first_categories() for entry in group[:8]]
    assert len(first) == 320
    assert sha256_of(topic_id(entry) for entry in first) == FIRST_TOPICS


def first_categories() -> list[list[TopicEntry]]:
    """The first five categories of each domain."""
    found: list[list[TopicEntry]] = []
    for _, domain in groupby(TOPICS, lambda entry: entry.domain):
        found += [list(group) for _, group in groupby(domain, lambda entry: entry.category)][:5]
    return found


# --- the templates ---------------------------------------------------------------------------------------------------


def test_templates_are_at_least_150_of_at_least_16_types_with_eight_or_more_in_each() -> None:
    sizes = Counter(template.type for template in TEMPLATES)
    assert len(TEMPLATES) >= 150
    assert len(sizes) >= 16
    assert min(sizes.values()) >= 8


def test_template_ids_are_the_type_and_a_number_without_gaps() -> None:
    for kind, group in groupby(TEMPLATES, lambda template: template.type):
        ids = [template.template_id for template in group]
        assert ids == [f"{kind}-{number:02d}" for number in range(1, len(ids) + 1)]
    assert len({template.template_id for template in TEMPLATES}) == len(TEMPLATES)


def test_the_first_52_templates_keep_their_ids_weights_and_texts() -> None:
    kinds = list(dict.fromkeys(template.type for template in TEMPLATES))[:13]
    first = [template for template in TEMPLATES if template.type in kinds and template.template_id[-2:] <= "04"]
    assert len(first) == 52
    assert sha256_of(f"{each.template_id} {each.weight} {each.text}" for each in first) == FIRST_TEMPLATES


def test_each_template_asks_for_words_and_for_a_picture() -> None:
    assert [each.text for each in TEMPLATES if not PICTURE_WORDS.search(each.text)] == []
    assert [each.text for each in TEMPLATES if not TEXT_WORDS.search(each.text)] == []


def test_a_template_is_a_question_of_at_most_fifty_words_even_with_the_longest_name() -> None:
    longest = max((entry.name for entry in TOPICS), key=lambda name: len(name.split()))
    questions = [each.ask(longest) for each in TEMPLATES]
    assert max(len(question.split()) for question in questions) <= 50
    assert [question for question in questions if "{" in question or "}" in question] == []


def test_no_template_bends_to_the_number_of_its_topic() -> None:
    assert [each.text for each in TEMPLATES if BEFORE.search(each.text) or AFTER.search(each.text)] == []


def test_no_two_templates_have_the_same_words_and_few_begin_alike() -> None:
    assert repeated((" ".join(re.findall(r"\w+", each.text.lower())), each.template_id) for each in TEMPLATES) == []
    openings = Counter(" ".join(each.text.lower().split()[:4]) for each in TEMPLATES)
    assert max(openings.values()) <= 3


def test_weights_are_one_for_each_type_and_no_type_is_drawn_more_than_a_tenth_of_the_time() -> None:
    assert len({(each.type, each.weight) for each in TEMPLATES}) == len({each.type for each in TEMPLATES})
    drawn: Counter[str] = Counter()
    for each in TEMPLATES:
        drawn[each.type] += each.weight
    assert max(drawn.values()) <= drawn.total() / 10


# --- the card --------------------------------------------------------------------------------------------------------


def test_card_states_the_counts_and_weights_that_the_lists_have() -> None:
    card = (FOLDER / "CARD.md").read_text(encoding="utf-8")
    assert weights_on(card) == weights_of(TEMPLATES)
    sizes = Counter((entry.domain, entry.category) for entry in TOPICS)
    assert f"{len(TOPICS):,} topics: 8 domains, {len(sizes)} categories" in card
    assert f"{min(sizes.values())} to {max(sizes.values())} topics in each" in card
    assert f"{len(TEMPLATES)} question templates of {len(weights_of(TEMPLATES))} types, 8 of each type" in card
    for domain, size in Counter(entry.domain for entry in TOPICS).items():
        assert re.search(rf"^\| {domain} \| {size} \|", card, re.MULTILINE), domain
    assert "CC0-1.0" in card


def weights_on(card: str) -> dict[str, str]:
    return dict(re.findall(r"^\| (\w+) \| [^|]+ \| (\d) \|$", card, re.MULTILINE))


def weights_of(templates: Iterable[Template]) -> dict[str, str]:
    return {template.type: str(template.weight) for template in templates}


def test_card_states_how_many_topics_name_something_that_the_default_painter_can_draw() -> None:
    card = (FOLDER / "CARD.md").read_text(encoding="utf-8")
    lexicon = OpenmojiPainter().lexicon()
    drawn = sum(bool(read_caption(entry.name, lexicon).wanted) for entry in TOPICS)
    assert (
        f"{drawn:,} of the {len(TOPICS):,} names ({drawn / len(TOPICS):.0%}) name at least one of its drawings" in card
    )
