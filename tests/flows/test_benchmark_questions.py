"""The questions that ship: 500 of them, spread evenly, short, for words and a picture, no training topics, no twins."""

import re
from collections import Counter, defaultdict
from itertools import combinations, pairwise

import pytest

from flows.benchmark.questions import (
    BenchmarkQuestion,
    find_question,
    questions_csv,
    questions_sha256,
    read_questions,
)
from flows.topics.alike import ARTICLES, fold_name
from flows.topics.catalogue import read_catalogue, read_templates
from storage.wording import content_stems, shared_words

FEWEST, MOST = 62, 63  # of a domain
MOST_WORDS = 50
TWINS = 0.7
PICTURE = re.compile(
    r"\b(draw|drawn|drawing|picture|paint|sketch|illustrate[ds]?|illustration|show|portrait)s?\b", re.IGNORECASE
)
WORDS = re.compile(
    r"\b(tell|write|words?|explain|explanation|describe|say|saying|sentences?|lines?|answer|text|verse|rhymes?|rhyming|"
    r"caption|letter|slogan|motto|name|note|list|suggest|suggestion|argue|defend|put into words|give|speak|speech|"
    r"reply|compose|report|dictate|correct|justify|account|complaint|conversation|poem|call|plead|praise|comment|tip|"
    r"guess|sum up|word it|comfort|point out|think of|think up|what|which|why|how|who|where)\b",
    re.IGNORECASE,
)
SMALL = ARTICLES | {"of", "in", "on", "at", "with", "and", "under", "by", "to", "for"}


@pytest.fixture(scope="module")
def questions() -> tuple[BenchmarkQuestion, ...]:
    return read_questions()


def folded(text: str) -> list[str]:
    return [fold_name(word) for word in re.findall(r"[\w']+", text.lower())]


def named_topics(text: str, topics: dict[frozenset[str], str]) -> list[str]:
    """Topics all of whose telling words a text has, wherever they stand: a phrase is found by it too."""
    words = set(folded(text))
    return [name for telling, name in topics.items() if telling <= words]


@pytest.fixture(scope="module")
def topics() -> dict[frozenset[str], str]:
    """Names by their telling words; "boxes in boxes", which is more than its one word, is left out."""
    names = [entry.name for entry in read_catalogue() if entry.name != "boxes in boxes"]
    return {frozenset(word for word in folded(name) if word not in SMALL): name for name in names}


def test_there_are_500_with_ids_in_order(questions: tuple[BenchmarkQuestion, ...]) -> None:
    assert [each.question_id for each in questions] == [f"q{number:03}" for number in range(1, 501)]


def test_every_domain_category_and_type_has_its_share(questions: tuple[BenchmarkQuestion, ...]) -> None:
    catalogue = {(entry.domain, entry.category) for entry in read_catalogue()}
    types = {template.type for template in read_templates()}
    assert {(each.domain, each.category) for each in questions} == catalogue
    domains, kinds = Counter(each.domain for each in questions), Counter(each.type for each in questions)
    assert len(domains) == 8 and set(domains.values()) == {FEWEST, MOST}
    assert set(kinds) == types and set(kinds.values()) == {21, 22}
    assert set(Counter((each.domain, each.type) for each in questions).values()) == {2, 3}


def test_the_first_questions_are_of_all_domains(questions: tuple[BenchmarkQuestion, ...]) -> None:
    assert set(Counter(each.domain for each in questions[:160]).values()) == {20}
    assert all(one.domain != other.domain for one, other in pairwise(questions[:496]))


def test_each_is_short_and_asks_for_words_and_a_picture(questions: tuple[BenchmarkQuestion, ...]) -> None:
    for each in questions:
        assert len(each.question.split()) <= MOST_WORDS, each
        assert PICTURE.search(each.question), each
        assert WORDS.search(each.question), each
        assert each.question == " ".join(each.question.split()) and each.question[-1] in ".!?", each


def test_none_names_a_topic_of_the_catalogue(
    questions: tuple[BenchmarkQuestion, ...], topics: dict[frozenset[str], str]
) -> None:
    assert {each.question: named for each in questions if (named := named_topics(each.question, topics))} == {}
    assert named_topics("Draw a river with two elephants, and say why.", topics) == ["elephants at a river"]


def test_no_two_are_near_duplicates(questions: tuple[BenchmarkQuestion, ...]) -> None:
    """Pairs without a stem in common share nothing, so only the others are measured."""
    holders = defaultdict(list)
    for place, each in enumerate(questions):
        for stem in content_stems(each.question):
            holders[stem].append(place)
    pairs = {pair for places in holders.values() for pair in combinations(places, 2)}
    shared = max(shared_words(questions[one].question, questions[other].question) for one, other in pairs)
    assert 0.2 < shared < TWINS


def test_no_way_of_asking_is_used_again_and_again(questions: tuple[BenchmarkQuestion, ...]) -> None:
    openings = Counter(" ".join(each.question.split()[:3]).casefold() for each in questions)
    assert openings.most_common(1)[0][1] <= 5
    phrases = Counter(
        " ".join(run)
        for each in questions
        for run in {tuple(words[at : at + 6]) for words in [each.question.split()] for at in range(len(words) - 5)}
    )
    assert phrases.most_common(1)[0][1] <= 3


def test_a_question_is_known_by_its_words(questions: tuple[BenchmarkQuestion, ...]) -> None:
    first = questions[0]
    assert find_question(f"  {first.question.upper()} ") == first.question_id
    assert find_question(first.question + " Thanks.") is None
    assert find_question("foxes in the snow") is None


def test_the_hash_is_of_what_is_exported(questions: tuple[BenchmarkQuestion, ...]) -> None:
    assert len(questions_sha256()) == 64
    assert questions_csv(questions).splitlines()[0] == "question_id,domain,category,type,question"
    assert len(questions_csv(questions).splitlines()) == 501
