"""What a list shows of samples beside their cards: their first question and picture."""

from collections.abc import Sequence

from flows.gallery.snapshot import Record, Snapshot

_TURNS = """
SELECT sample_id, arg_min(question, turn) AS question, arg_min(caption, turn) AS caption,
    arg_min(image_sha256, turn) AS image_sha256
FROM turns WHERE sample_id IN (SELECT unnest($ids)) GROUP BY sample_id
"""
_DRAFTS = """
SELECT sample_id, arg_max(question, (turn, round)) FILTER (question IS NOT NULL) AS question,
    arg_max(caption, (turn, round)) FILTER (caption IS NOT NULL) AS caption,
    arg_max(image_sha256, (turn, round)) FILTER (image_sha256 IS NOT NULL) AS image_sha256
FROM iterations WHERE sample_id IN (SELECT unnest($ids)) GROUP BY sample_id
"""
NOTHING: Record = {"question": None, "caption": None, "image_sha256": None}


def with_faces(snapshot: Snapshot, cards: Sequence[Record]) -> list[dict[str, object]]:
    """The cards with `question`, `caption` and `image_sha256`; of a sample that was not finished, of its last draft."""
    found = _read(snapshot, _TURNS, [card["sample_id"] for card in cards])
    found |= _read(snapshot, _DRAFTS, [card["sample_id"] for card in cards if card["sample_id"] not in found])
    return [{**card, **found.get(card["sample_id"], NOTHING)} for card in cards]


def _read(snapshot: Snapshot, sql: str, ids: Sequence[str]) -> dict[str, Record]:
    return {row["sample_id"]: row for row in snapshot.rows(sql, {"ids": list(ids)})} if ids else {}
