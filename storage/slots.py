"""What became of every slot: planned by claims, closed by decisions, taken over when its run has died."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from storage.lake import Lake
from storage.lock import is_held
from storage.projection import read_link
from storage.records import ClaimRow, DecisionRow, RunEndRow, RunStartRow, SampleRow, TopicRow
from storage.tables import Among
from storage.versions import Version

RUN_LOCK = "lock"
OUTCOMES = ("kept", "rejected", "duplicate", "failed", "open")
"""What can become of a slot."""
RERUN, ABANDONED = "rerun", "abandoned"
"""Kind and reason of the decision that a claim was given up: the slot is that of the claim before it again."""
ABANDONING = ("sample_id", "kind", "reason")


def run_lock(lake: Lake, run_id: str) -> Path:
    """The file whose lock a run holds for as long as it lives."""
    return lake.runs / run_id / RUN_LOCK


def is_alive(lake: Lake, run_id: str) -> bool:
    return is_held(run_lock(lake, run_id))


def slot_states(lake: Lake, version: Version) -> pl.DataFrame:
    """One row a slot: its latest claim, and `outcome` (`open` until a later decision closes it), `stage`, `reason`.

    Claims that were abandoned do not count.
    """
    claims = (
        without_abandoned(lake.scan(ClaimRow, version), lake.scan(DecisionRow, version, ABANDONING))
        .sort("version", maintain_order=True)
        .unique("slot_id", keep="last", maintain_order=True)
        .rename({"version": "claimed_at"})
    )
    decisions = (
        lake.scan(DecisionRow, version, ["sample_id", "turn", "outcome", "stage", "reason"])
        .filter(pl.col("turn").is_null())
        .sort("version", maintain_order=True)
        .unique("sample_id", keep="last", maintain_order=True)
        .select("sample_id", "outcome", "stage", "reason", pl.col("version").alias("decided_at"))
    )
    closed = pl.col("decided_at") > pl.col("claimed_at")
    return (
        claims.join(decisions, on="sample_id", how="left", maintain_order="left")
        .with_columns(
            outcome=pl.when(closed).then("outcome").otherwise(pl.lit("open")),
            stage=pl.when(closed).then("stage"),
            reason=pl.when(closed).then("reason"),
        )
        .collect()
    )


def without_abandoned(claims: pl.LazyFrame, decisions: pl.LazyFrame) -> pl.LazyFrame:
    """Claims without those that were given up later, with the columns that they have; `decisions` has ABANDONING."""
    abandoned = (
        decisions.filter((pl.col("kind") == RERUN) & (pl.col("reason") == ABANDONED))
        .group_by("sample_id")
        .agg(abandoned_at=pl.max("version"))
    )
    return (
        claims.join(abandoned, on="sample_id", how="left", maintain_order="left")
        .filter((pl.col("version") > pl.col("abandoned_at")) | pl.col("abandoned_at").is_null())
        .drop("abandoned_at")
    )


def topic_states(lake: Lake, version: Version, slots: pl.DataFrame) -> pl.DataFrame:
    """One row a topic: its columns, how many slots it has (claimed, whatever became of them), and how many by outcome.

    `next_number` is the number of its next slot.
    """
    topics = lake.scan(TopicRow, version).unique("topic_id", keep="first", maintain_order=True).collect()
    counts = slots.group_by("topic_id").agg(
        slots=pl.len(),
        next_number=pl.col("slot_number").max() + 1,
        **{outcome: (pl.col("outcome") == outcome).sum() for outcome in OUTCOMES},
    )
    return topics.join(counts, on="topic_id", how="left", maintain_order="left").with_columns(
        pl.col("slots", "next_number", *OUTCOMES).fill_null(0).cast(pl.Int64)
    )


def claimed_templates(lake: Lake, version: Version, topic_ids: Collection[str]) -> pl.DataFrame:
    """The templates that were ever claimed for the slots of some topics, in the order of their numbers.

    Columns topic_id, slot_id, slot_number, templates (list of ids, a turn each). Of several claims for a slot the one
    with the most turns counts: a recipe of fewer turns leaves out the last ones.
    """
    return (
        lake.scan(ClaimRow, version, ["topic_id", "slot_id", "slot_number", "templates"])
        .filter(pl.col("topic_id").is_in(list(topic_ids)))
        .with_columns(pl.col("templates").str.json_decode(pl.List(pl.String)))
        .sort(pl.col("templates").list.len(), "version", maintain_order=True)
        .unique("slot_id", keep="last", maintain_order=True)
        .sort("topic_id", "slot_number")
        .select("topic_id", "slot_id", "slot_number", "templates")
        .collect()
    )


def taken_over(lake: Lake, version: Version, *, after: int, run_id: str, slot_ids: Collection[str]) -> set[str]:
    """Other runs that hold the latest claim of one of a run's slots, as far as there are claims later than `after`.

    This is the fence behind the run's lock. Only who holds the latest claim of a slot commits a sample for it, so no
    sample comes twice, even when a lock is lost (a disk on a network) and a living run is taken for dead.
    """
    claims = lake.rows(ClaimRow, version.since(after), Among(column="slot_id", values=slot_ids))
    latest = {claim.slot_id: claim.run_id for claim in claims}
    return set(latest.values()) - {run_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotPast:
    """The samples that were claimed for a slot, in the order of their first claims, one for each generation recipe.

    `retries` are those of the latest claim of each; `outcomes` what was last decided about those that were.
    """

    samples: tuple[str, ...]
    retries: Mapping[str, int]
    outcomes: Mapping[str, str]


def past_of_slots(lake: Lake, version: Version, slot_ids: Collection[str]) -> dict[str, SlotPast]:
    """What was claimed for some slots, and what became of it."""
    if not slot_ids:
        return {}
    retries: dict[str, dict[str, int]] = {slot_id: {} for slot_id in slot_ids}
    for claim in lake.rows(ClaimRow, version, Among(column="slot_id", values=slot_ids)):
        retries[claim.slot_id][claim.sample_id] = claim.retry
    claimed = {sample_id for theirs in retries.values() for sample_id in theirs}
    decisions = lake.rows(DecisionRow, version, Among(column="sample_id", values=claimed))
    outcomes = {row.sample_id: row.outcome for row in decisions if row.turn is None and row.reason != ABANDONED}
    return {
        slot_id: SlotPast(
            samples=tuple(theirs),
            retries=theirs,
            outcomes={sample_id: outcomes[sample_id] for sample_id in theirs if sample_id in outcomes},
        )
        for slot_id, theirs in retries.items()
    }


def siblings(lake: Lake, version: Version, sample_ids: Collection[str]) -> dict[str, frozenset[str]]:
    """By sample the other samples made for its slot, as far as there are any; only samples in `sample_ids` count."""
    made = lake.scan(SampleRow, version, ["sample_id", "slot_id"]).collect()
    several = made.filter(pl.len().over("slot_id") > 1).filter(pl.col("sample_id").is_in(list(sample_ids)))
    found: dict[str, set[str]] = {}
    for sample_id, slot_id in several.select("sample_id", "slot_id").iter_rows():
        found.setdefault(slot_id, set()).add(sample_id)
    return {mine: frozenset(group - {mine}) for group in found.values() for mine in group if len(group) > 1}


def unfinished_moves(lake: Lake, version: Version) -> list[str]:
    """Runs of kind `reembed` since the last that decided anew: what they asked is in their spools or committed."""
    moves: list[str] = []
    starts = lake.scan(RunStartRow, version, ["kind", "run_id"]).filter(pl.col("kind") == "reembed").collect()
    for run_id, number in starts.select("run_id", "version").iter_rows():
        moves = [] if _has_decided(lake, version, run_id, number) else [*moves, run_id]
    return moves


def _has_decided(lake: Lake, version: Version, run_id: str, since: int) -> bool:
    decided = (entry.version for entry in version.packages if entry.kind == "decision" and entry.version > since)
    return any(read_link(lake, number).run_id == run_id for number in decided)


def unfinished_inquiries(lake: Lake, version: Version) -> list[str]:
    """Runs of kind `propose` or `derive` since the last of the kind that finished: their calls are in spools."""
    return [run_id for kind in ("propose", "derive") for run_id in _unfinished(lake, version, kind)]


def unfinished_judgings(lake: Lake, version: Version) -> list[str]:
    """Runs of kind `judge` since the last that finished: what they asked is in their spools or committed."""
    return _unfinished(lake, version, "judge")


def _unfinished(lake: Lake, version: Version, kind: str) -> list[str]:
    """Runs of a kind since the last that finished."""
    finished = {row.run_id for row in lake.rows(RunEndRow, version) if row.state == "finished"}
    runs: list[str] = []
    for run_id in (row.run_id for row in lake.rows(RunStartRow, version) if row.kind == kind):
        runs = [] if run_id in finished else [*runs, run_id]
    return runs


def unended_runs(lake: Lake, version: Version) -> list[str]:
    """Runs that started and never said that they ended, oldest first; some may still be alive."""
    ended = {row.run_id for row in lake.rows(RunEndRow, version)}
    return [row.run_id for row in lake.rows(RunStartRow, version) if row.run_id not in ended]
