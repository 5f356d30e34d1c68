"""What persons decided about single turns: their latest word on each, which outlives every rule. Read from packages.

A person's word is a decision row of kind `review` about a turn; its evidence is JSON: `by`, `why`, and the pair that
was looked at (`kept_sample_id`, `kept_turn`). What follows for the sample is a row of the same kind about the whole.
"""

import json
from dataclasses import dataclass
from typing import TypeAlias

from storage.lake import Lake
from storage.records import DecisionRow
from storage.tables import Among
from storage.versions import Version

REVIEW = "review"
"""Kind of the runs and decisions by which a person speaks."""

Turn: TypeAlias = tuple[str, int]
"""Sample id and number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What a person said of a turn: `outcome` is `kept`, or `duplicate` of `keeper`."""

    sample_id: str
    turn: int
    outcome: str
    keeper: Turn
    by: str
    why: str
    version: int


def read_words(lake: Lake, version: Version) -> dict[Turn, Word]:
    """The latest word on each turn that a person spoke of."""
    frame = lake.scan(DecisionRow, version, among=Among(column="kind", values={REVIEW})).collect()
    words = [_word(row) for row in frame.iter_rows(named=True) if row["turn"] is not None]
    return {(word.sample_id, word.turn): word for word in sorted(words, key=lambda word: word.version)}


def _word(row: dict[str, object]) -> Word:
    said = json.loads(str(row["evidence"]))
    return Word(
        sample_id=str(row["sample_id"]),
        turn=int(str(row["turn"])),
        outcome=str(row["outcome"]),
        keeper=(said["kept_sample_id"], said["kept_turn"]),
        by=said["by"],
        why=said["why"],
        version=int(str(row["version"])),
    )
