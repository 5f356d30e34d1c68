"""Questions that people wrote, from a CSV file, and which of them no template can be made of and why. No models."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.errors import UserError
from flows.topics.catalogue import fold_space
from flows.topics.wordbook import Wordbook, read_wordbook
from models.scene_words import STOP_WORDS
from storage.wording import PICTURE_WORDS, WORD, content_stems, shared_words, words_only

MAX_BYTES = 16 * 2**20
FEWEST_WORDS, MOST_WORDS = 4, 50
ALIKE = 0.8
"""Share of words in common from which two questions, or two templates, are nearly the same."""
KNOWN_SHARE, FUNCTION_SHARE = 0.5, 0.3
"""What of a text's words English must know, and what of them are its function words and words of asking."""
COLUMNS = {"question": "question", "author": "author", "source": "source", "licence": "licence", "license": "licence"}

REQUESTS = frozenset(
    WORD.findall(
        "ask answer caption choose compare create design describe depict draw explain find give guess guide help "
        "imagine illustrate invent let list make name paint photograph picture plan pretend put say set show sketch "
        "suggest suppose teach tell think write"
    )
)
ASKING = frozenset(
    WORD.findall("how what when where which who whom whose why can could do does did is are was were will")
)
_FUNCTION_WORDS = STOP_WORDS | REQUESTS | ASKING | {"me", "please", "like", "about"}
_POINTING = re.compile(
    r"\b(this|that|these|those|the (above|following|attached|given|shown))\s+(\w+\s+)?"
    r"(picture|image|photo|photograph|drawing|painting|figure|scene|text|passage|one|ones)s?\b"
    r"|\b(above|below|attached|previous|aforementioned)\b"
)
_PRONOUNS = frozenset(WORD.findall("it its they them their he him his she her hers this that these those one ones"))


class QuestionFileError(UserError):
    """A file of questions that cannot be used; the message names the file and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenQuestion:
    """A question as somebody wrote it; `place` is its line in the file. Empty where nothing was said."""

    place: str
    text: str
    author: str = ""
    source: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A question that no template comes of: a reason word, and what it rests on."""

    question: WrittenQuestion
    reason: str
    detail: str


def read_questions(path: Path) -> tuple[WrittenQuestion, ...]:
    """The rows of a CSV file with a header: `question`, and where given `author`, `source`, `licence`; others unread.

    UTF-8, up to 16 MiB. QuestionFileError for a file that is none.
    """
    if path.stat().st_size > MAX_BYTES:
        raise QuestionFileError(f"{path} is larger than {MAX_BYTES >> 20} MiB: cut it into several files")
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True)
        names = {(name or "").strip().casefold(): name for name in reader.fieldnames or ()}
        known = {COLUMNS[name]: column for name, column in names.items() if name in COLUMNS}
        if "question" not in known:
            raise QuestionFileError(f"{path} has no column 'question': its first line is to name the columns")
        found = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise QuestionFileError(f"{path} is no CSV file in UTF-8: {error}") from error
    return tuple(
        WrittenQuestion(
            place=f"line {line}", **{_field(name): fold_space(row[column] or "") for name, column in known.items()}
        )
        for line, row in found
    )


def _field(column: str) -> str:
    return "text" if column == "question" else column


def filter_questions(questions: Sequence[WrittenQuestion]) -> tuple[list[WrittenQuestion], list[LeftOut]]:
    """Those that may be generalised, and the others with a reason each, both in their order."""
    book = read_wordbook()
    kept: list[WrittenQuestion] = []
    left_out: list[LeftOut] = []
    for question in questions:
        found = next(_objections(question.text, kept, book), None)
        if found:
            left_out.append(LeftOut(question=question, reason=found[0], detail=found[1]))
        else:
            kept.append(question)
    return kept, left_out


def _objections(text: str, kept: Sequence[WrittenQuestion], book: Wordbook) -> Iterator[tuple[str, str]]:
    words = [word.casefold() for word in WORD.findall(text)]
    if not FEWEST_WORDS <= len(words) <= MOST_WORDS:
        yield "length", f"{len(words)} words, not {FEWEST_WORDS} to {MOST_WORDS}"
    yield from _other_language(words, book)
    yield from _ambiguous(text, words)
    if not (text.endswith("?") or REQUESTS & set(words)):
        yield "no request", "it asks for nothing"
    for other in kept:
        if words_only(other.text) == words_only(text):
            yield "duplicate", f"the same as {other.place}"
        elif (share := shared_words(other.text, text)) >= ALIKE:
            yield "near duplicate", f"{share:.0%} of its words are those of {other.place}"


def _other_language(words: Sequence[str], book: Wordbook) -> Iterator[tuple[str, str]]:
    """English is what has enough English words, and enough of those that hold English sentences together."""
    if not words:
        yield "language", "it has no word in Latin letters"
        return
    known = sum(word in book or word in _FUNCTION_WORDS for word in words) / len(words)
    function = sum(word in _FUNCTION_WORDS for word in words) / len(words)
    if known < KNOWN_SHARE or function < FUNCTION_SHARE:
        yield "language", f"{known:.0%} of its words are known as English, {function:.0%} are function words"


def _ambiguous(text: str, words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What points at something that only its writer saw, or at nothing that it names before."""
    pointing = _POINTING.search(text.casefold())
    if pointing:
        yield "ambiguous", f"'{pointing[0].strip()}' points at what is not there"
    if not content_stems(text) - {"thing", "something", "someth"}:
        yield "ambiguous", "it names nothing"
        return
    for word in words:
        if word in _PRONOUNS:
            yield "ambiguous", f"'{word}' stands for nothing that was named before"
        elif word not in _FUNCTION_WORDS and word not in PICTURE_WORDS:
            return
