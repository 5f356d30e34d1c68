"""The turns that repeat another sample's, as it was last decided: whom, how near, and by which thresholds."""

from dataclasses import dataclass

from flows.story import find_sample
from storage.lake import Lake
from storage.query import query


@dataclass(frozen=True, slots=True, kw_only=True)
class FlaggedTurn:
    """A flagged turn and its keeper. `version` is that of the decision, `outcome` the sample's now: `duplicate` where
    it was dropped, `kept` where only this turn is flagged. `beyond` is how far the pair is beyond its thresholds.
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
SELECT version, sample_id, turn, kept_sample_id, kept_turn, image_similarity, text_similarity, image_threshold,
    text_threshold, policy, encoder, outcome, beyond, count(*) OVER () AS count
FROM flagged WHERE {mine} AND beyond <= '{near}'::DOUBLE ORDER BY version DESC, sample_id, turn LIMIT {limit}
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
        mine = f"'{sample_id}' IN (sample_id, kept_sample_id)"
    filled = _FLAGGED.format(
        mine=mine, near="infinity" if near is None else near, limit="ALL" if limit is None else limit
    )
    rows = query(lake, filled)
    turns = tuple(FlaggedTurn(**row) for row in rows.drop("count").iter_rows(named=True))
    return FlaggedTurns(count=rows["count"][0] if rows.height else 0, turns=turns)
