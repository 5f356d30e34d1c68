"""Old samples give way to those that another recipe made for their slots: decided as one version, undone by none."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from storage.canonical import canonical_text, derive_id
from storage.embeddings import read_standing
from storage.lake import Lake
from storage.records import DecisionRow, SampleRow
from storage.tables import Among
from storage.versions import Version

KIND = "rerun"
REASON = "superseded"


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
    return [
        DecisionRow(
            decision_id=derive_id("decision", each.old, None, number),
            sample_id=each.old,
            turn=None,
            kind=KIND,
            outcome="rejected",
            stage=KIND,
            reason=REASON,
            evidence=canonical_text({"sample_id": each.new}),
            encoder=None,
        )
        for each in successions
    ]
