"""Which samples are shown, and in which order: all of it from the address, and back into addresses. Knows no pages.

A page of samples begins after the last one of the page before, by the sort key and the sample's id, so that none comes
twice and none is left out, however long the list is.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Literal, TypeAlias

from flows.errors import UserError
from flows.gallery.snapshot import SCORES, Record, Snapshot
from flows.progress import OUTCOMES

PAGE = 60
"""Samples on a page."""
LONGEST = 200
"""Characters of a search that are looked at."""
MOST_WORDS = 8
TEXTS = ("q", "domain", "category", "topic", "outcome", "reason", "run", "sort")
WHOLE = ("rounds", "version_from", "version_to")
DROPPED = "dropped"
"""A word for all the outcomes of samples that were made and not taken."""
DROPPED_ONES = ("rejected", "duplicate", "failed")
MOST_DIGITS = 9
"""Of a whole number in an address."""
SOME_ID = re.compile(r"[0-9a-f]{4,32}")
SAMPLE_ID = re.compile(r"[0-9a-f]{32}")

Kind: TypeAlias = Literal["int", "float", "str"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """An order: `key` is SQL over the cards, ties go by sample id in the same direction."""

    name: str
    key: str
    kind: Kind
    falling: bool

    @property
    def direction(self) -> str:
        return "DESC" if self.falling else "ASC"


def _sorts() -> Iterator[tuple[str, Sort]]:
    yield "newest", Sort(name="newest first", key="version", kind="int", falling=True)
    yield "oldest", Sort(name="oldest first", key="version", kind="int", falling=False)
    path = "lower(concat_ws(' / ', domain, category, topic))"
    yield "topic", Sort(name="by topic", key=path, kind="str", falling=False)
    yield "rounds", Sort(name="most rounds first", key="rounds", kind="int", falling=True)
    for name in SCORES:
        best = Sort(name=f"best {name.upper()} first", key=f"coalesce({name}, -1)", kind="float", falling=True)
        worst = Sort(name=f"worst {name.upper()} first", key=f"coalesce({name}, 9)", kind="float", falling=False)
        yield f"{name}-best", best
        yield f"{name}-worst", worst


SORTS = dict(_sorts())
"""By the word in the address; samples without a score come last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A place between two samples: the key and id of the one beside it."""

    key: int | float | str
    sample_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What an address asks for; empty fields ask for nothing. `rounds` is exact, scores are least ones."""

    q: str = ""
    reason: str = ""
    domain: str = ""
    category: str = ""
    topic: str = ""
    outcome: str = ""
    run: str = ""
    rounds: int | None = None
    version_from: int | None = None
    version_to: int | None = None
    tcc: float | None = None
    icc: float | None = None
    iq: float | None = None
    its: float | None = None
    sort: str = "newest"

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Choice":
        """That of an address; UserError for a value that makes no sense."""
        given = {name: value.strip()[:LONGEST] for name, value in query.items() if value.strip()}
        _refuse_unknown(given)
        return cls(
            **{name: given[name] for name in TEXTS if name in given},  # type: ignore[arg-type]
            **{name: _whole(name, given[name]) for name in WHOLE if name in given},  # type: ignore[arg-type]
            **{name: _decimal(name, given[name]) for name in SCORES if name in given},  # type: ignore[arg-type]
        )

    def values(self) -> dict[str, object]:
        """What is chosen, as an address has it."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: value
            for name, value in plain.items()
            if value not in (None, "") and (name, value) != ("sort", "newest")
        }

    @property
    def order(self) -> Sort:
        return SORTS[self.sort]

    def conditions(self) -> tuple[str, dict[str, object]]:
        """SQL over the cards, and the values of its $names."""
        parts: list[str] = ["TRUE"]
        values: dict[str, object] = {}
        if self.outcome == DROPPED:
            parts.append(f"outcome IN {DROPPED_ONES}")
        for name in ("domain", "category", "outcome", "reason"):
            if getattr(self, name) not in ("", DROPPED):
                parts.append(f"{name} = ${name}")
                values[name] = getattr(self, name)
        if self.topic:
            parts.append("contains(lower(topic), $topic)")
            values["topic"] = self.topic.lower()
        if self.run:
            parts.append("starts_with(run_id, $run)")
            values["run"] = self.run
        bounds = {"rounds": "rounds =", "version_from": "version >=", "version_to": "version <="}
        for name, test in (bounds | {score: f"{score} >=" for score in SCORES}).items():
            if getattr(self, name) is not None:
                parts.append(f"{test} ${name}")
                values[name] = getattr(self, name)
        words = {f"word{place}": word for place, word in enumerate(self.q.lower().split()[:MOST_WORDS])}
        if words:
            parts.append(_SAYS.format(each=" AND ".join(_HAS.format(word=f"${name}") for name in words)))
            values |= words
        return " AND ".join(parts), values


_SAYS = """sample_id IN (
    SELECT sample_id FROM memory.cards LEFT JOIN (
        SELECT sample_id, lower(concat_ws(' ', question, answer, caption)) AS said FROM turns
    ) USING (sample_id)
    GROUP BY sample_id HAVING {each})"""
"""All words in one pass: the texts are most of what there is to read."""
_HAS = (
    "bool_or(contains(coalesce(said, ''), {word}) OR contains(lower(topic), {word}) OR starts_with(sample_id, {word}))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A page of cards, how many there are in all, and where the pages beside it begin."""

    cards: list[Record] = field(default_factory=list)
    total: int = 0
    before: str | None = None
    after: str | None = None


def read_cursor(choice: Choice, text: str) -> Cursor:
    """A place as an address has it; UserError for what is none."""
    key, _, sample_id = text.rpartition("~")
    if not SAMPLE_ID.fullmatch(sample_id):
        raise UserError("this address names no place in the list; begin with its first page")
    readers: dict[Kind, Callable[[str], int | float | str]] = {"int": _signed, "float": float, "str": str}
    try:
        return Cursor(key=readers[choice.order.kind](key), sample_id=sample_id)
    except ValueError as error:
        raise UserError("this address belongs to another order of the list; begin with its first page") from error


def read_page(snapshot: Snapshot, choice: Choice, *, after: str = "", before: str = "", limit: int = PAGE) -> Listed:
    """The samples after a place, or before it, in the order chosen."""
    order, is_back = choice.order, bool(before)
    where, values = choice.conditions()
    beside = "TRUE"
    if after or before:
        cursor = read_cursor(choice, before or after)
        beside = f"(sort_key, sample_id) {'<' if order.falling != is_back else '>'} ($key, $sample)"
        values |= {"key": cursor.key, "sample": cursor.sample_id}
    way = ("ASC" if order.falling else "DESC") if is_back else order.direction
    found = snapshot.rows(
        f"""WITH matched AS MATERIALIZED (
            SELECT sample_id, {order.key} AS sort_key FROM memory.cards WHERE {where}
        ), page AS (
            SELECT * FROM matched WHERE {beside} ORDER BY sort_key {way}, sample_id {way} LIMIT {limit + 1}
        )
        SELECT cards.*, sort_key, (SELECT count(*) FROM matched) AS total
        FROM page JOIN memory.cards AS cards USING (sample_id) ORDER BY sort_key {way}, sample_id {way}""",
        values,
    )
    total = found[0]["total"] if found else _count(snapshot, choice)
    cards = found[:limit][::-1] if is_back else found[:limit]
    more = len(found) > limit
    has_after, has_before = (True, more) if is_back else (more, bool(after))
    return Listed(
        cards=cards,
        total=total,
        before=place_of(cards[0]) if cards and has_before else None,
        after=place_of(cards[-1]) if cards and has_after else None,
    )


def place_of(card: Record) -> str:
    """The place of a sample, for an address."""
    key = card["sort_key"]
    return f"{key!r}~{card['sample_id']}" if isinstance(key, float) else f"{key}~{card['sample_id']}"


def find_card(snapshot: Snapshot, choice: Choice, sample_id: str) -> Record | None:
    """A sample's card with its key in the order chosen, whether or not it is among those chosen."""
    sql = f"SELECT *, {choice.order.key} AS sort_key FROM memory.cards WHERE sample_id = $sample"
    return snapshot.row(sql, {"sample": sample_id})


def _count(snapshot: Snapshot, choice: Choice) -> int:
    where, values = choice.conditions()
    found = snapshot.row(f"SELECT count(*) AS total FROM memory.cards WHERE {where}", values)
    return int(found["total"]) if found else 0


def _refuse_unknown(given: Mapping[str, str]) -> None:
    """UserError for words that are none of ours."""
    outcome, run, sort = given.get("outcome"), given.get("run"), given.get("sort", "newest")
    if outcome is not None and outcome not in (*OUTCOMES, DROPPED):
        raise UserError(f"outcome is one of {', '.join((*OUTCOMES, DROPPED))}, not {outcome!r}")
    if run is not None and not SOME_ID.fullmatch(run):
        raise UserError("run is the first digits (at least 4) of a run's id")
    if sort not in SORTS:
        raise UserError(f"sort is one of {', '.join(SORTS)}, not {sort!r}")


def _whole(name: str, text: str) -> int:
    if not text.isdecimal() or len(text) > MOST_DIGITS:
        raise UserError(f"{name.replace('_', ' ')} is a whole number, not {text!r}")
    return int(text)


def _signed(text: str) -> int:
    """ValueError for what is no whole number of so few digits, which may be below zero."""
    if not re.fullmatch(rf"-?\d{{1,{MOST_DIGITS}}}", text):
        raise ValueError
    return int(text)


def _decimal(name: str, text: str) -> float:
    if not re.fullmatch(r"\d(\.\d{1,6})?", text):
        raise UserError(f"{name.upper()} is a score from 0 to 5, not {text!r}")
    return float(text)
