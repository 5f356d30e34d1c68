"""Old samples give way to those that another recipe made for their slots: decided as one version, undone by none."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from storage.canonical import Json, canonical_text, derive_id
from storage.embeddings import read_standing
from storage.lake import Lake
from storage.records import DecisionRow, SampleRow
from storage.slots import ABANDONED, RERUN, past_of_slots, slot_states
from storage.tables import Among
from storage.versions import Version

SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """A kept sample, and the kept one by another recipe that takes the place of it."""

    old: str
    new: str


def find_successions(
    lake: Lake, version: Version, slot_ids: Collection[str], generation_id: str
) -> Iterator[Succession]:
    """Kept samples of some slots beside a kept one of a generation recipe, by sample id."""
    kept = {sample_id for sample_id, is_kept in read_standing(lake, version).kept.items() if is_kept}
    samples = lake.rows(SampleRow, version, Among(column="slot_id", values=slot_ids))
    for row in sorted(samples, key=lambda row: row.sample_id):
        new = derive_id("sample", row.slot_id, generation_id)
        if row.sample_id != new and {row.sample_id, new} <= kept:
            yield Succession(old=row.sample_id, new=new)


def retirement_rows(successions: Collection[Succession], number: int) -> list[DecisionRow]:
    """The decisions of version `number` by which the old samples are rejected."""
    return [_rejected(each.old, number, SUPERSEDED, {"sample_id": each.new}) for each in successions]


def find_abandoned(lake: Lake, version: Version, sample_ids: Collection[str], generation_id: str) -> list[str]:
    """Those samples whose slot is open for them, and has one by a generation recipe that was decided before."""
    states = slot_states(lake, version).filter(pl.col("outcome") == "open")
    open_slots = dict(states.select("sample_id", "slot_id").iter_rows())
    wanted = {sample_id: open_slots[sample_id] for sample_id in sample_ids if sample_id in open_slots}
    past = past_of_slots(lake, version, set(wanted.values()))
    return [
        sample_id
        for sample_id, slot_id in wanted.items()
        if derive_id("sample", slot_id, generation_id) in past[slot_id].outcomes
    ]


def abandonment_rows(sample_ids: Collection[str], number: int) -> list[DecisionRow]:
    """The decisions of version `number` that samples which were claimed will not be made."""
    return [_rejected(sample_id, number, ABANDONED, {}) for sample_id in sample_ids]


def _rejected(sample_id: str, number: int, reason: str, evidence: Mapping[str, Json]) -> DecisionRow:
    return DecisionRow(
        decision_id=derive_id("decision", sample_id, None, number),
        sample_id=sample_id,
        turn=None,
        kind=RERUN,
        outcome="rejected",
        stage=RERUN,
        reason=reason,
        evidence=canonical_text(dict(evidence)),
        encoder=None,
    )
