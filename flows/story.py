"""A sample's whole story out of the history: what it is, every round, every call, every decision."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import polars as pl

from storage.errors import NoSuchThing
from storage.lake import Lake
from storage.query import query

Record = Mapping[str, Any]
Ask: TypeAlias = Callable[[Lake, str], pl.DataFrame]
"""Answers SQL over the history of a lake, as `query` does."""

_PREFIX = re.compile(r"[0-9a-f]{4,32}")
_ORDER = {
    "turns": "turn",
    "iterations": "turn, CASE stage WHEN 'question' THEN 0 WHEN 'answer' THEN 1 ELSE 2 END, round",
    "calls": "turn, CASE stage WHEN 'question' THEN 0 WHEN 'answer' THEN 1 ELSE 2 END, round, purpose, attempt",
    "decisions": "version, turn NULLS FIRST",
    "duplicates": "turn",
    "verdicts": "turn, stage NULLS FIRST, round, judge, version, repeat",
    "redundancy": "turn, version",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Rows of the history about one sample, each table in the order of its story; `models` are names by id."""

    sample: Record
    topic: Record
    models: Mapping[str, str]
    turns: Sequence[Record]
    iterations: Sequence[Record]
    calls: Sequence[Record]
    decisions: Sequence[Record]
    duplicates: Sequence[Record]
    verdicts: Sequence[Record]
    redundancy: Sequence[Record]


def find_sample(lake: Lake, prefix: str, ask: Ask = query) -> Record:
    """The sample whose id begins like this; NoSuchThing when there is none, or more than one."""
    if not _PREFIX.fullmatch(prefix):
        raise NoSuchThing(f"{prefix!r} is not a sample id: give at least its first 4 hex digits; see 'interlake sql'")
    found = ask(lake, f"SELECT * FROM samples WHERE starts_with(sample_id, '{prefix}') ORDER BY sample_id")
    if not found.height:
        raise NoSuchThing(f'no sample\'s id begins with {prefix}; try: interlake sql "SELECT sample_id FROM samples"')
    if found.height > 1:
        raise NoSuchThing(f"{found.height} samples' ids begin with {prefix}; give more digits")
    return found.row(0, named=True)


def read_story(lake: Lake, prefix: str, ask: Ask = query) -> Story:
    """Everything the history knows of one sample; NoSuchThing as for `find_sample`."""
    sample = find_sample(lake, prefix, ask)
    tables = {
        name: _rows(ask(lake, f"SELECT * FROM {name} WHERE sample_id = '{sample['sample_id']}' ORDER BY {order}"))
        for name, order in _ORDER.items()
    }
    topic = _rows(ask(lake, f"SELECT * FROM topics WHERE topic_id = '{sample['topic_id']}'"))[0]
    models = dict(ask(lake, "SELECT DISTINCT model_id, name FROM models").iter_rows())
    return Story(sample=sample, topic=topic, models=models, **tables)


def _rows(frame: pl.DataFrame) -> list[Record]:
    return list(frame.iter_rows(named=True))
