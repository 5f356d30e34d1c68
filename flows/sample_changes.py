"""Samples and turns that stand otherwise in one version than in another, and the decision or claim that did it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from flows.between import Record, Span
from flows.evidence import evidence_lines
from flows.version_steps import Step
from storage.canonical import Json

_ORDER = ("kept", "rejected", "duplicate", "failed", "open", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What made a difference: a decision (its kind, outcome, stage, reason), or a run's claim on the slot.

    `words` say what `evidence` says, for a person.
    """

    version: int
    run_id: str | None
    run_kind: str | None
    kind: str
    outcome: str
    stage: str | None
    reason: str | None
    evidence: Json
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleChange:
    """A sample that is in one version only, or stands otherwise in the other; `version` brought it in."""

    sample_id: str
    version: int
    slot_id: str
    slot_number: int | None
    topic: str
    recipe_id: str
    cause: Cause | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleGroup:
    """Samples with the same outcome `before` and `after`, None where there is no such sample."""

    before: str | None
    after: str | None
    count: int
    samples: tuple[SampleChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnChange:
    """A turn that became flagged as a repeat, or ceased to be."""

    sample_id: str
    turn: int
    topic: str
    cause: Cause | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnGroup:
    """Turns that became flagged or ceased to be; `with_sample` where their whole sample was a duplicate then."""

    is_flagged: bool
    with_sample: bool
    count: int
    turns: tuple[TurnChange, ...]


_SAMPLES = """
WITH differing AS (
    SELECT sample_id, coalesce(new.slot_id, old.slot_id) AS slot_id, coalesce(new.topic_id, old.topic_id) AS topic_id,
        coalesce(new.recipe_id, old.recipe_id) AS recipe_id, coalesce(new.version, old.version) AS came,
        old.outcome AS before, new.outcome AS after
    FROM samples_at({low}) old FULL JOIN samples_at({high}) new USING (sample_id)
    WHERE (old.outcome, old.stage, old.reason) IS DISTINCT FROM (new.outcome, new.stage, new.reason)
), shown AS (
    SELECT *, count(*) OVER (PARTITION BY before, after) AS count FROM differing
    QUALIFY row_number() OVER (PARTITION BY before, after ORDER BY came, sample_id) <= {limit}
), decided AS (
    SELECT sample_id, version AS decided_at, kind, outcome, stage, reason, evidence FROM decisions
    WHERE turn IS NULL AND {within} AND sample_id IN (SELECT sample_id FROM shown)
    QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY version DESC, line DESC) = 1
), claimed AS (
    SELECT slot_id, min(slot_number) AS slot_number, max(version) FILTER ({within}) AS claimed_at FROM claims
    WHERE slot_id IN (SELECT slot_id FROM shown) GROUP BY slot_id
)
SELECT shown.*, topics.name AS topic, slot_number, claimed_at, decided.* EXCLUDE (sample_id)
FROM shown LEFT JOIN topics USING (topic_id) LEFT JOIN claimed USING (slot_id) LEFT JOIN decided USING (sample_id)
ORDER BY came, sample_id
"""
_TURNS = """
WITH flags AS (
    SELECT sample_id, turn,
        coalesce(arg_max(outcome, (version, line)) FILTER (version <= {low}) = 'duplicate', FALSE) AS before,
        arg_max(outcome, (version, line)) = 'duplicate' AS after
    FROM decisions WHERE turn IS NOT NULL AND version <= {high} GROUP BY ALL
), differing AS (
    SELECT sample_id, turn, after AS is_flagged, CASE WHEN after THEN {high} ELSE {low} END AS flagged_at
    FROM flags WHERE before <> after
), told AS (
    SELECT differing.sample_id, differing.turn, is_flagged,
        arg_max(outcome, (version, line)) IS NOT DISTINCT FROM 'duplicate' AS with_sample
    FROM differing LEFT JOIN decisions whole
        ON whole.sample_id = differing.sample_id AND whole.turn IS NULL AND whole.version <= flagged_at
    GROUP BY ALL
), shown AS (
    SELECT *, count(*) OVER (PARTITION BY is_flagged, with_sample) AS count FROM told
    QUALIFY row_number() OVER (PARTITION BY is_flagged, with_sample ORDER BY sample_id, turn) <= {limit}
), decided AS (
    SELECT sample_id, turn, version AS decided_at, kind, outcome, stage, reason, evidence FROM decisions
    WHERE turn IS NOT NULL AND {within} AND sample_id IN (SELECT sample_id FROM shown)
    QUALIFY row_number() OVER (PARTITION BY sample_id, turn ORDER BY version DESC, line DESC) = 1
)
SELECT shown.*, topics.name AS topic, decided.* EXCLUDE (sample_id, turn)
FROM shown LEFT JOIN decided USING (sample_id, turn)
    LEFT JOIN samples USING (sample_id) LEFT JOIN topics ON topics.topic_id = samples.topic_id
ORDER BY is_flagged DESC, with_sample, sample_id, turn
"""

_REPEATS = "SELECT * FROM duplicates WHERE {within} AND {among} ORDER BY sample_id, version, turn"

Repeats = Mapping[tuple[str, int], Sequence[Record]]
"""Rows of `duplicates` by sample and version."""


def read_sample_changes(span: Span, steps: Sequence[Step]) -> Iterator[SampleGroup]:
    """Samples that differ: those that came by outcome, those that went, and those whose outcome or reason changed."""
    found = span.rows(_SAMPLES)
    causes = _Causes({step.version: step for step in steps}, _repeats(span, found))
    groups: dict[tuple[str | None, str | None], list[Record]] = {}
    for row in found:
        groups.setdefault((row["before"], row["after"]), []).append(row)
    for before, after in sorted(groups, key=_place):
        rows = groups[before, after]
        samples = tuple(_sample_change(row, causes) for row in rows)
        yield SampleGroup(before=before, after=after, count=rows[0]["count"], samples=samples)


def read_turn_changes(span: Span, steps: Sequence[Step]) -> Iterator[TurnGroup]:
    """Turns that became flagged, then those that ceased to be."""
    found = span.rows(_TURNS)
    causes = _Causes({step.version: step for step in steps}, _repeats(span, found))
    for (is_flagged, with_sample), group in groupby(found, key=lambda row: (row["is_flagged"], row["with_sample"])):
        rows = list(group)
        turns = tuple(
            TurnChange(sample_id=row["sample_id"], turn=row["turn"], topic=row["topic"], cause=causes.decided(row))
            for row in rows
        )
        yield TurnGroup(is_flagged=is_flagged, with_sample=with_sample, count=rows[0]["count"], turns=turns)


def _place(outcomes: tuple[str | None, str | None]) -> tuple[bool, int, int]:
    before, after = outcomes
    return before is not None, _ORDER.index(before), _ORDER.index(after)


def _repeats(span: Span, found: Sequence[Record]) -> Repeats:
    duplicates = {row["sample_id"] for row in found if row["outcome"] == "duplicate"}
    rows = span.rows(_REPEATS, among=duplicates) if duplicates else ()
    return {key: list(group) for key, group in groupby(rows, key=lambda row: (row["sample_id"], row["version"]))}


def _sample_change(row: Record, causes: "_Causes") -> SampleChange:
    return SampleChange(
        sample_id=row["sample_id"],
        version=row["came"],
        slot_id=row["slot_id"],
        slot_number=row["slot_number"],
        topic=row["topic"],
        recipe_id=row["recipe_id"],
        cause=causes.claimed(row) if row["after"] in (None, "open") else causes.decided(row),
    )


@dataclass(frozen=True, slots=True)
class _Causes:
    """Tells causes from the rows of the queries above."""

    steps: Mapping[int, Step]
    repeats: Repeats

    def decided(self, row: Record) -> Cause | None:
        """The latest decision in the span, with the repeats that it found."""
        if row["decided_at"] is None:
            return None
        theirs = self.repeats.get((row["sample_id"], row["decided_at"]), ())
        mine = [each for each in theirs if row.get("turn") in (None, each["turn"])]
        step = self.steps[row["decided_at"]]
        return Cause(
            version=step.version,
            run_id=step.run_id,
            run_kind=step.kind,
            kind=row["kind"],
            outcome=row["outcome"],
            stage=row["stage"],
            reason=row["reason"],
            evidence=json.loads(row["evidence"]),
            words=tuple(evidence_lines(row["evidence"], mine)),
        )

    def claimed(self, row: Record) -> Cause | None:
        """The latest claim on the slot in the span."""
        if row["claimed_at"] is None:
            return None
        step = self.steps[row["claimed_at"]]
        return Cause(
            version=step.version,
            run_id=step.run_id,
            run_kind=step.kind,
            kind="claim",
            outcome="open",
            stage=None,
            reason=None,
            evidence={},
            words=(),
        )
