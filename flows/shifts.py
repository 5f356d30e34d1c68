"""What stands otherwise once samples are decided anew: which come back, which go, which turns; and why, by example."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

from dedup.decide import Decision, DuplicateTurn
from storage.embeddings import Standing
from storage.lake import Lake
from storage.records import DuplicateRow
from storage.tables import Among
from storage.versions import Version

Turn: TypeAlias = tuple[str, int]
"""Sample id and number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """A turn, the kept one that it repeats (or repeated, by the decision before), and how near the two are."""

    sample_id: str
    turn: int
    kept_sample_id: str
    kept_turn: int
    image_similarity: float
    text_similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """How many samples or turns stand otherwise, and some of them: of a sample, its first turn."""

    count: int = 0
    examples: tuple[Repeat, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifts:
    """Samples that come back (duplicates that are kept now), samples that go, turns that are flagged and freed."""

    back: Shift = field(default_factory=Shift)
    gone: Shift = field(default_factory=Shift)
    flagged: Shift = field(default_factory=Shift)
    freed: Shift = field(default_factory=Shift)


def find_shifts(lake: Lake, head: Version, standing: Standing, decision: Decision, *, shown: int) -> Shifts:
    """What a decision changes of how the samples stand at `head`, with up to `shown` examples of each kind."""
    flagged_before = {turn for turn in standing.flagged if turn[0] in standing.kept}
    found = {(repeat.sample_id, repeat.turn): repeat for repeat in decision.duplicates}
    kept_before = {sample_id for sample_id, is_kept in standing.kept.items() if is_kept}
    back = sorted(set(decision.kept_samples) - kept_before)
    gone = sorted(set(decision.dropped_samples) & kept_before)
    freed = sorted(flagged_before - found.keys())
    flagged = sorted(found.keys() - flagged_before)
    past = _evidence(lake, head, {*back[:shown], *(sample_id for sample_id, _ in freed[:shown])})
    now = {turn: _repeat(repeat) for turn, repeat in found.items()}
    return Shifts(
        back=Shift(count=len(back), examples=_first_turns(back, past, shown)),
        gone=Shift(count=len(gone), examples=_first_turns(gone, now, shown)),
        flagged=Shift(count=len(flagged), examples=_examples(flagged, now, shown)),
        freed=Shift(count=len(freed), examples=_examples(freed, past, shown)),
    )


def _evidence(lake: Lake, head: Version, sample_ids: set[str]) -> dict[Turn, Repeat]:
    """The latest evidence about each flagged turn of some samples."""
    if not sample_ids:
        return {}
    rows = lake.rows(DuplicateRow, head, Among(column="sample_id", values=sample_ids))
    return {(row.sample_id, row.turn): _repeat(row) for row in rows}


def _repeat(row: DuplicateRow | DuplicateTurn) -> Repeat:
    return Repeat(
        sample_id=row.sample_id,
        turn=row.turn,
        kept_sample_id=row.kept_sample_id,
        kept_turn=row.kept_turn,
        image_similarity=row.image_similarity,
        text_similarity=row.text_similarity,
    )


def _first_turns(sample_ids: Iterable[str], repeats: Mapping[Turn, Repeat], shown: int) -> tuple[Repeat, ...]:
    """The first flagged turn of each of some samples."""
    first: dict[str, Repeat] = {}
    for (sample_id, _), repeat in sorted(repeats.items()):
        first.setdefault(sample_id, repeat)
    return tuple(islice((first[sample_id] for sample_id in sample_ids if sample_id in first), shown))


def _examples(turns: Iterable[Turn], repeats: Mapping[Turn, Repeat], shown: int) -> tuple[Repeat, ...]:
    return tuple(islice((repeats[turn] for turn in turns if turn in repeats), shown))
