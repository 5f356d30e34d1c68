"""Rows of a file of topics before they are checked, the words that name their columns, and what is wrong with some."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from flows.errors import UserError

Column: TypeAlias = Literal["name", "category", "subcategory", "domain"]

COLUMNS: Mapping[str, Column] = {
    "topic": "name",
    "name": "name",
    "title": "name",
    "label": "name",
    "category": "category",
    "group": "category",
    "subcategory": "subcategory",
    "domain": "domain",
    "area": "domain",
}
"""What a header or key may say, in any case, and which column it names."""

JOINT = " / "
"""Between the parts of a category that had more than two levels."""
SHOWN_CHARACTERS = 40  # of a user's text in a message
KEPT_CHARACTERS = 500  # of a refused row in the report


class TopicFileError(UserError):
    """A file of topics cannot be used; the message is one sentence: where, what is wrong, what to do."""


class Unusable(Exception):
    """Something in a file cannot be used: what is wrong, what to do, and where, as far as that is known."""

    def __init__(self, problem: str, remedy: str, *, place: str = "") -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy
        self.place = place


class UnknownColumn(Unusable):
    """A file has a column or key that topics do not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRow:
    """A topic as the file has it, before any check."""

    place: str
    name: str
    category: str = ""
    domain: str = ""

    @classmethod
    def under(cls, place: str, name: str, path: Sequence[str]) -> "RawRow":
        """A name under headings, the widest first: one is a category, two are domain and category, more are joined."""
        headings = [heading.strip() for heading in path if heading.strip()]
        domain, rest = (headings[0], headings[1:]) if len(headings) > 1 else ("", headings)
        return cls(place=place, name=name, category=JOINT.join(rest), domain=domain)

    @classmethod
    def of_columns(cls, place: str, values: Mapping[Column, str], above: Sequence[str] = ()) -> "RawRow":
        """A row of named columns; what stands above it is left out where it names a domain of its own.

        A category and a subcategory without a domain are domain and category.
        """
        domain, category, sub = (values.get(name, "").strip() for name in ("domain", "category", "subcategory"))
        if not domain:
            return cls.under(place, values["name"], [*above, category, sub])
        return cls(
            place=place,
            name=values["name"],
            domain=domain,
            category=JOINT.join(part for part in (category, sub) if part),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A row that cannot be used: where it stands, how its text begins, what is wrong, what to do."""

    place: str
    text: str
    problem: str
    remedy: str

    @classmethod
    def of(cls, error: Unusable, *, place: str, text: str) -> "Refused":
        return cls(place=place, text=_writable(text[:KEPT_CHARACTERS]), problem=error.problem, remedy=error.remedy)


@dataclass(slots=True, kw_only=True)
class Columns:
    """Which columns or keys a file may have; remembers those that were left unread."""

    ignores_others: bool
    ignored: dict[str, None] = field(default_factory=dict)

    def name(self, keys: Sequence[str], *, place: str) -> dict[Column, int]:
        """The column that stands at which position. UnknownColumn; Unusable for none that names topics, for two."""
        named: dict[Column, int] = {}
        for position, key in enumerate(keys):
            column = column_of(key)
            if column is None:
                self.leave_out(key, place)
            elif column in named:
                raise Unusable(
                    "a column or key stands there twice", "keep one for each of name, category, domain", place=place
                )
            else:
                named[column] = position
        if "name" not in named:
            raise Unusable("no column or key named topic or name", "add one", place=place)
        return named

    def leave_out(self, key: str, place: str) -> None:
        """Remember a key that is not read; UnknownColumn where that was not asked for."""
        if not self.ignores_others:
            problem = f"unknown column or key {shown(key)}"
            remedy = "use topic, category and domain, or leave others unread by --ignore-columns"
            raise UnknownColumn(problem, remedy, place=place)
        self.ignored.setdefault(_writable(key[:SHOWN_CHARACTERS]), None)


def _writable(text: str) -> str:
    """A text that reports can be written with: half a surrogate pair, which JSON may hold, as its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def column_of(key: str) -> Column | None:
    """The column that a header or key names, whatever its case, spaces, hyphens and underscores."""
    return COLUMNS.get(key.strip().casefold().replace("_", "").replace("-", "").replace(" ", ""))


def text_lines(text: str) -> Iterator[tuple[str, str]]:
    """Place and text of each line that is not blank; lines end with LF, CR LF or CR and nothing else."""
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if line.strip():
            yield f"line {number}", line


def shown(text: str) -> str:
    """A user's text, short and with everything invisible escaped."""
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…")
