"""A file of topics on its way into a lake: read, merged with what is there, placed where it names no category."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Literal

from flows.topics.catalogue import TopicEntry, read_catalogue, topic_id
from flows.topics.incoming import IncomingTopics, read_topic_file
from flows.topics.merging import MergedRow, merge_rows
from flows.topics.placing import Placement, Placer
from flows.topics.report import ReportRow, TopicReport
from flows.topics.rows import Refused
from storage.records import TopicRow

GIVEN, NEAREST, NOWHERE = "given", "nearest", ""
PLACES = ("nearest", "never")
"""What may be done with topics that name no category."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """How a file is brought in; `category` and `domain` are for rows that name none of their own."""

    category: str = ""
    domain: str = ""
    strict: bool = False
    keep_alike: bool = False
    ignore_columns: bool = False
    place: Literal["nearest", "never"] = "nearest"


AS_IT_COMES = Choices()


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomers:
    """The rows that a file brings into a lake, and what became of every row of the file."""

    rows: tuple[TopicRow, ...]
    report: TopicReport


def read_newcomers(path: Path, choices: Choices) -> IncomingTopics:
    """The file as it is, whatever lake it goes to; TopicFileError."""
    return read_topic_file(
        path,
        category=choices.category,
        domain=choices.domain,
        strict=choices.strict,
        ignore_columns=choices.ignore_columns,
    )


def receive(incoming: IncomingTopics, lake: Sequence[TopicRow], choices: Choices, *, source: str) -> Newcomers:
    """What a file brings into a lake that has these topics, the first row of an id holding."""
    merged = merge_rows(incoming.topics, lake, keep_alike=choices.keep_alike)
    there = {row.topic_id for row in lake}
    placements = _place(merged, lake) if choices.place == "nearest" else {}
    rows: dict[str, TopicRow] = {}
    told: dict[int, ReportRow] = {}
    for number, row in enumerate(merged):
        if row.result == "added":
            topic = row_of(row.entry, source, placements.get(number))
            told[number] = _tell_added(row, topic, there, rows)
            if topic.topic_id not in there:
                rows.setdefault(topic.topic_id, topic)
    finals = {merged[number].into_id: row for number, row in told.items()}
    lines = [told.get(number) or _tell_merged(row, finals) for number, row in enumerate(merged)]
    report = TopicReport(file=source, rows=_in_order(incoming, lines), ignored=incoming.ignored)
    return Newcomers(rows=tuple(rows.values()), report=report)


def _place(merged: Sequence[MergedRow], lake: Iterable[TopicRow]) -> dict[int, Placement]:
    """The nearest category of each new topic that has none, by the place of its row.

    Known are the categories that were given: in the lake, and in the file. Where nobody gave any, those of the shipped
    topics are.
    """
    wanting = [
        number
        for number, row in enumerate(merged)
        if row.result == "added" and not row.entry.category and not row.entry.domain
    ]
    if not wanting:
        return {}
    given = (_entry_of(row) for row in lake if row.placed != NEAREST)
    known = [entry for entry in chain(given, (row.entry for row in merged if row.result == "added")) if entry.category]
    placer = Placer(known) if known else _shipped_placer()
    placed = placer.place([merged[number].entry.name for number in wanting])
    return {number: placement for number, placement in zip(wanting, placed, strict=True) if placement}


@cache
def _shipped_placer() -> Placer:
    return Placer(read_catalogue())


def row_of(entry: TopicEntry, source: str, placement: Placement | None = None) -> TopicRow:
    """A topic as the lake stores it, in the category that was found for it."""
    path = placement or entry
    final = replace(entry, category=path.category, domain=path.domain)
    given = GIVEN if entry.category or entry.domain else NOWHERE
    return TopicRow(
        topic_id=topic_id(final),
        name=final.name,
        category=final.category,
        domain=final.domain,
        source=source,
        placed=NEAREST if placement else given,
        placed_similarity=placement.similarity if placement else None,
    )


def _entry_of(row: TopicRow) -> TopicEntry:
    return TopicEntry(name=row.name, category=row.category, domain=row.domain)


def _tell_added(row: MergedRow, topic: TopicRow, there: set[str], new: dict[str, TopicRow]) -> ReportRow:
    """A new topic; known or merged all the same when its place makes it one that is there, as --keep-alike allows."""
    result = "known" if topic.topic_id in there else "merged" if topic.topic_id in new else "added"
    return ReportRow(
        place=row.place,
        result=result,
        name=row.entry.name,
        domain=topic.domain,
        category=topic.category,
        into=_path(_entry_of(topic)),
        into_id=topic.topic_id,
        placed=topic.placed or "",
        similarity=topic.placed_similarity,
    )


def _tell_merged(row: MergedRow, finals: dict[str, ReportRow]) -> ReportRow:
    """A row that is a topic of the lake, or of the file: that one may have been placed meanwhile."""
    final = finals.get(row.into_id)
    return ReportRow(
        place=row.place,
        result=row.result,
        name=row.entry.name,
        domain=row.entry.domain,
        category=row.entry.category,
        into=final.into if final else _path(row.into),
        into_id=final.into_id if final else row.into_id,
        reason="the same by name" if row.result == "known" else "alike",
    )


def _in_order(incoming: IncomingTopics, lines: Sequence[ReportRow]) -> tuple[ReportRow, ...]:
    """Usable and refused rows as they stand in the file."""
    usable, refused = iter(lines), map(_tell_refused, incoming.refused)
    return tuple(next(refused) if is_refused else next(usable) for is_refused in incoming.refusals)


def _tell_refused(row: Refused) -> ReportRow:
    return ReportRow(place=row.place, result="refused", name=row.text, reason=f"{row.problem}; {row.remedy}")


def _path(entry: TopicEntry) -> str:
    return " / ".join(part for part in (entry.domain, entry.category, entry.name) if part)


def unique_topics(rows: Iterable[TopicRow]) -> Iterator[TopicRow]:
    """The rows that hold: of one id the first."""
    seen: set[str] = set()
    for row in rows:
        if row.topic_id not in seen:
            seen.add(row.topic_id)
            yield row
