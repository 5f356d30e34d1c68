"""Pairs of turns that were compared, as the history has them: both sides with texts and pictures, and how near."""

from collections.abc import Sequence
from dataclasses import dataclass

from flows.gallery.snapshot import Record, Snapshot

BEYOND = """CASE policy WHEN 'image' THEN image_similarity - image_threshold
    WHEN 'text' THEN text_similarity - text_threshold
    WHEN 'either' THEN greatest(image_similarity - image_threshold, text_similarity - text_threshold)
    ELSE least(image_similarity - image_threshold, text_similarity - text_threshold) END"""
"""How far a pair is beyond its thresholds by their policy; below zero it falls short."""

_LATEST = f"""
SELECT * EXCLUDE (decision_id), {BEYOND} AS beyond FROM (
    SELECT *, 'repeats' AS sort FROM duplicates UNION ALL BY NAME SELECT *, 'comes near' AS sort FROM near_misses
) WHERE {{where}}
QUALIFY row_number() OVER (PARTITION BY sample_id, turn, kept_sample_id, kept_turn ORDER BY version DESC) = 1
"""


def latest_pairs(where: str = "TRUE") -> str:
    """SQL for the latest row about each pair that is wanted, with `beyond` and, as `sort`, what it is."""
    return _LATEST.format(where=where)


_SIDES = """
SELECT sample_id, turn, question, caption, image_sha256 FROM turns
WHERE sample_id IN (SELECT unnest($ids)) ORDER BY version
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A turn of a pair; texts and picture are None for one that was not finished."""

    sample_id: str
    turn: int
    question: str | None
    caption: str | None
    image_sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A row about two turns, and both."""

    row: Record
    mine: Side
    kept: Side


def with_sides(snapshot: Snapshot, rows: Sequence[Record]) -> list[Pair]:
    """The pairs of some rows with sample_id, turn, kept_sample_id and kept_turn."""
    keys = [(row["sample_id"], row["turn"]) for row in rows]
    keepers = [(row["kept_sample_id"], row["kept_turn"]) for row in rows]
    sides = read_sides(snapshot, [*keys, *keepers])
    return [
        Pair(row=row, mine=sides[key], kept=sides[keeper]) for row, key, keeper in zip(rows, keys, keepers, strict=True)
    ]


def read_sides(snapshot: Snapshot, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Side]:
    """Turns by sample and number."""
    ids = sorted({sample_id for sample_id, _ in keys})
    found = {(row["sample_id"], row["turn"]): row for row in snapshot.rows(_SIDES, {"ids": ids})} if ids else {}
    nothing: Record = {"question": None, "caption": None, "image_sha256": None}
    return {
        key: Side(
            sample_id=key[0],
            turn=key[1],
            **{name: found.get(key, nothing)[name] for name in ("question", "caption", "image_sha256")},
        )
        for key in keys
    }
