"""The turns that repeat another sample's, as it was last decided: whom, how near, and by which thresholds."""

from collections.abc import Set
from dataclasses import dataclass

from flows.story import find_sample
from models.perceptual import difference_hash
from storage.lake import Lake
from storage.query import query
from storage.turn_rows import find_pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class FlaggedTurn:
    """A flagged turn and its keeper. `version` is that of the decision, `outcome` the sample's now: `duplicate` where
    it was dropped, `kept` where only this turn is flagged. `beyond` is how far the pair is beyond its thresholds.
    `hash_bits`, which no decision rests on, is in how many of 64 bits the pictures' perceptual hashes differ.
    """

    version: int
    sample_id: str
    turn: int
    kept_sample_id: str
    kept_turn: int
    image_similarity: float
    text_similarity: float
    image_threshold: float
    text_threshold: float
    policy: str
    encoder: str
    outcome: str
    beyond: float
    hash_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlaggedTurns:
    """How many flagged turns fit, and the newest of them."""

    count: int
    turns: tuple[FlaggedTurn, ...]


_FLAGGED = """
WITH latest AS (
    SELECT arg_max(decision_id, (version, line)) AS decision_id FROM decisions WHERE turn IS NOT NULL
    GROUP BY sample_id, turn
), named AS (
    SELECT model_id AS encoder, min(name) AS name FROM models GROUP BY model_id
), flagged AS (
    SELECT duplicates.* EXCLUDE (decision_id, encoder), coalesce(name, encoder) AS encoder, samples.outcome,
        CASE policy WHEN 'image' THEN image_similarity - image_threshold
            WHEN 'text' THEN text_similarity - text_threshold
            WHEN 'either' THEN greatest(image_similarity - image_threshold, text_similarity - text_threshold)
            ELSE least(image_similarity - image_threshold, text_similarity - text_threshold) END AS beyond
    FROM duplicates SEMI JOIN latest USING (decision_id) JOIN samples USING (sample_id) LEFT JOIN named USING (encoder)
)
SELECT flagged.version, flagged.sample_id, flagged.turn, kept_sample_id, kept_turn, image_similarity, text_similarity,
    image_threshold, text_threshold, policy, encoder, outcome, beyond, count(*) OVER () AS count,
    mine.image_sha256 AS image_sha256, kept.image_sha256 AS kept_image_sha256
FROM flagged JOIN turns AS mine USING (sample_id, turn)
    JOIN turns AS kept ON (kept.sample_id, kept.turn) = (kept_sample_id, kept_turn)
WHERE {mine} AND beyond <= '{near}'::DOUBLE ORDER BY flagged.version DESC, flagged.sample_id, flagged.turn LIMIT {limit}
"""


def read_flagged(
    lake: Lake, *, sample: str | None = None, near: float | None = None, limit: int | None = None
) -> FlaggedTurns:
    """The flagged turns of the newest version, newest decisions first; `limit` None for all of them.

    With `sample` (the first digits of an id) those of this sample, and those that repeat it; with `near` those that are
    at most so far beyond their thresholds. NoSuchThing as for `find_sample`.
    """
    mine = "TRUE"
    if sample is not None:
        sample_id = find_sample(lake, sample)["sample_id"]
        mine = f"'{sample_id}' IN (flagged.sample_id, kept_sample_id)"
    filled = _FLAGGED.format(
        mine=mine, near="infinity" if near is None else near, limit="ALL" if limit is None else limit
    )
    rows = query(lake, filled)
    hashes = _hashes(lake, {*rows["image_sha256"], *rows["kept_image_sha256"]})
    shown = rows.drop("count", "image_sha256", "kept_image_sha256").iter_rows(named=True)
    pairs = rows.select("image_sha256", "kept_image_sha256").iter_rows()
    turns = tuple(
        FlaggedTurn(**row, hash_bits=(hashes[mine] ^ hashes[kept]).bit_count())
        for row, (mine, kept) in zip(shown, pairs, strict=True)
    )
    return FlaggedTurns(count=rows["count"][0] if rows.height else 0, turns=turns)


def _hashes(lake: Lake, sha256s: Set[str]) -> dict[str, int]:
    """The perceptual hashes of pictures; LakeDamaged when one is nowhere."""
    places = find_pictures(lake, lake.version(), sha256s)
    return {sha256: difference_hash(place.read()) for sha256, place in places.items()}
