"""The questions of the benchmark: reads the set that ships, knows one by its words, and knows no models or judges."""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources

from storage.canonical import content_sha256
from storage.wording import words_only

FILE = "questions.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkQuestion:
    """One question; `domain` and `category` are of the shipped catalogue of topics, `type` is one of its templates'."""

    question_id: str
    domain: str
    category: str
    type: str
    question: str


COLUMNS = tuple(BenchmarkQuestion.__dataclass_fields__)


@cache
def read_questions() -> tuple[BenchmarkQuestion, ...]:
    """All questions in their order, which goes round the domains, so that the first of them are a fair sample."""
    text = resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    return tuple(BenchmarkQuestion(**row) for row in csv.DictReader(io.StringIO(text)))


@cache
def questions_sha256() -> str:
    """The hash that results name: over all questions, with their ids, domains, categories and types."""
    return content_sha256([asdict(question) for question in read_questions()])


def find_question(text: str) -> str | None:
    """The id of the question that a text is, but for case, digits, white space and punctuation; else None."""
    return _by_words().get(words_only(text)) if len(text) >= _shortest() else None


def questions_csv(questions: Iterable[BenchmarkQuestion]) -> str:
    """Questions as CSV, with a header."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, questions))
    return out.getvalue()


def questions_jsonl(questions: Iterable[BenchmarkQuestion]) -> str:
    """Questions as JSON, one a line."""
    return "".join(json.dumps(asdict(question), ensure_ascii=False) + "\n" for question in questions)


@cache
def _by_words() -> dict[str, str]:
    return {words_only(each.question): each.question_id for each in read_questions()}


@cache
def _shortest() -> int:
    """Characters of the shortest question by its words: a shorter text is none of them."""
    return min(map(len, _by_words()))
