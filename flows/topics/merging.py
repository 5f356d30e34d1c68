"""Which rows of a file are new topics, and which are topics that the lake or an earlier row has. Pure.

A row that names a category is the same topic as another of that very category; one that names none is the same as any
topic of its name. So rows with a category go first, whatever their order, and the first row of a topic is its spelling.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from flows.topics.alike import fold_name
from flows.topics.catalogue import TopicEntry, normalise_name, topic_id
from flows.topics.incoming import IncomingTopic
from storage.records import TopicRow

Result: TypeAlias = Literal["added", "known", "merged"]
Path: TypeAlias = tuple[str, str]
NEAREST = "nearest"


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedRow:
    """What became of a usable row: `into` is the topic that it is, its own where it was `added`.

    `known`: the lake has it by this very name. `merged`: the lake or an earlier row has it, by this or another name.
    """

    place: str
    entry: TopicEntry
    result: Result
    into: TopicEntry
    into_id: str


def merge_rows(
    rows: Sequence[IncomingTopic], lake: Iterable[TopicRow], *, keep_alike: bool = False
) -> tuple[MergedRow, ...]:
    """What becomes of each row, in their order. With `keep_alike` only names that are written alike are one topic."""
    index = _Index(normalise_name if keep_alike else fold_name)
    for topic in sorted(lake, key=lambda topic: topic.topic_id):
        entry = TopicEntry(name=topic.name, category=topic.category, domain=topic.domain)
        by_name = not keep_alike or topic.placed == NEAREST or not _has_path(entry)
        index.add(entry, topic.topic_id, by_name=by_name, is_in_lake=True)
    merged: dict[int, MergedRow] = {}
    for number, row in sorted(enumerate(rows), key=lambda pair: not _has_path(pair[1].entry)):
        merged[number] = index.place(row, by_name=not keep_alike)
    return tuple(merged[number] for number in range(len(rows)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    entry: TopicEntry
    topic_id: str
    is_in_lake: bool
    written: str


class _Index:
    """Topics by folded name and path, and by folded name alone; of several the first one that came."""

    def __init__(self, fold: Callable[[str], str]) -> None:
        self._fold = fold
        self._by_path: dict[tuple[str, Path], dict[str, _Known]] = {}
        self._by_name: dict[str, dict[str, _Known]] = {}

    def add(self, entry: TopicEntry, topic_id: str, *, by_name: bool, is_in_lake: bool) -> None:
        """Take a topic in; `by_name`, rows without a category may be it."""
        written, key = normalise_name(entry.name), self._fold(entry.name)
        known = _Known(entry=entry, topic_id=topic_id, is_in_lake=is_in_lake, written=written)
        self._by_path.setdefault((key, _path_of(entry)), {}).setdefault(written, known)
        if by_name:
            self._by_name.setdefault(key, {}).setdefault(written, known)

    def place(self, row: IncomingTopic, *, by_name: bool) -> MergedRow:
        """The topic that a row is; taken in where it is none yet."""
        found = self._find(row.entry)
        if found:
            is_known = found.is_in_lake and found.written == normalise_name(row.entry.name)
            result: Result = "known" if is_known else "merged"
            return MergedRow(place=row.place, entry=row.entry, result=result, into=found.entry, into_id=found.topic_id)
        new_id = topic_id(row.entry)
        self.add(row.entry, new_id, by_name=by_name or not _has_path(row.entry), is_in_lake=False)
        return MergedRow(place=row.place, entry=row.entry, result="added", into=row.entry, into_id=new_id)

    def _find(self, entry: TopicEntry) -> _Known | None:
        """The topic of the same spelling, else the first that is alike."""
        key = self._fold(entry.name)
        there = self._by_path.get((key, _path_of(entry))) if _has_path(entry) else self._by_name.get(key)
        if not there:
            return None
        return there.get(normalise_name(entry.name)) or next(iter(there.values()))


def _path_of(entry: TopicEntry) -> Path:
    return normalise_name(entry.domain), normalise_name(entry.category)


def _has_path(entry: TopicEntry) -> bool:
    return bool(entry.category or entry.domain)
