"""The shipped topics and question templates, and what makes two topics the same."""

import csv
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.canonical import derive_id

PLACEHOLDER = "{topic}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicEntry:
    """A topic as someone wrote it. `category` and `domain` are empty where none was given."""

    name: str
    category: str
    domain: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A question with a place for a topic. `weight` is a positive integer: how often it is drawn against others."""

    template_id: str
    type: str
    weight: int
    text: str

    def __post_init__(self) -> None:
        if self.weight < 1:
            raise ValueError(f"template {self.template_id!r} has weight {self.weight}: give it a positive integer")
        if PLACEHOLDER not in self.text:
            raise ValueError(f"template {self.template_id!r} has no {PLACEHOLDER}: say where the topic goes")

    def ask(self, topic_name: str) -> str:
        """The question about one topic, whose name is put in as it is, braces and all."""
        return self.text.replace(PLACEHOLDER, topic_name)


def read_catalogue() -> tuple[TopicEntry, ...]:
    """The shipped topics, in the order of their file."""
    return tuple(
        TopicEntry(name=row["name"], category=row["category"], domain=row["domain"])
        for row in _read_rows("catalogue.csv")
    )


def read_templates() -> tuple[Template, ...]:
    """The shipped question templates, in the order of their file."""
    return tuple(
        Template(template_id=row["template_id"], type=row["type"], weight=int(row["weight"]), text=row["text"])
        for row in _read_rows("templates.csv")
    )


def fold_space(text: str) -> str:
    """NFC, without white space at the ends, and with one space for each run of it: the form that is stored."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def normalise_name(text: str) -> str:
    """The form by which names are the same: `fold_space`, and no difference of case.

    Case is folded as in the Unicode Standard, definition D145 (canonical caseless matching), and the result is NFC.
    """
    return fold_space(unicodedata.normalize("NFD", text).casefold())


def topic_identity(entry: TopicEntry) -> tuple[str, str, str]:
    """Normalised domain, category and name: entries with equal ones are one topic."""
    return normalise_name(entry.domain), normalise_name(entry.category), normalise_name(entry.name)


def topic_id(entry: TopicEntry) -> str:
    """32 hex digits: the start of the sha256 over RFC 8785 JSON `["topic", domain, category, name]`, normalised."""
    return derive_id("topic", *topic_identity(entry))


def _read_rows(file_name: str) -> Iterator[dict[str, str]]:
    with Path(__file__).with_name(file_name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, strict=True)
