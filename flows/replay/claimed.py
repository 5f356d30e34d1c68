"""The slots of a run as it claimed them, with every id made again from what it is made of."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from dedup.decide import Excused
from flows.plan import PlannedSlot
from flows.replay.differences import Difference
from flows.replay.past import NotReplayable, PastRun
from storage.canonical import derive_id
from storage.lake import Lake
from storage.records import ClaimRow, TopicRow
from storage.tables import Among
from storage.versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedSlots:
    """By sample id the slots that a run claimed, and the ids that are not what they should be."""

    slots: Mapping[str, PlannedSlot]
    differences: tuple[Difference, ...]

    @classmethod
    def read(cls, lake: Lake, version: Version, run: PastRun, past: "ClaimedSamples") -> "ClaimedSlots":
        """All slots that a run claimed when it began. NotReplayable when a topic of theirs is not there."""
        began = version.until(run.version).since(run.version - 1)
        claims = [row for row in lake.rows(ClaimRow, began) if row.run_id == run.start.run_id]
        topic_ids = {claim.topic_id for claim in claims}
        topics: dict[str, str] = {}
        for row in lake.rows(TopicRow, version.until(run.version), Among(column="topic_id", values=topic_ids)):
            topics.setdefault(row.topic_id, row.name)
        if topic_ids - topics.keys():
            raise NotReplayable(f"topic {min(topic_ids - topics.keys())} is in no package")
        slots = {
            claim.sample_id: _slot(claim, topics[claim.topic_id], past.samples(claim.slot_id, run.version))
            for claim in claims
        }
        return cls(slots=slots, differences=tuple(_wrong_ids(lake, run, claims)))

    def excused(self) -> Excused:
        """Which other samples each of them is not compared with."""
        return {slot.sample_id: slot.siblings for slot in self.slots.values() if slot.siblings}


class ClaimedSamples:
    """Which samples were claimed for a slot over time, as far as there were several; read once for a whole lake."""

    def __init__(self, lake: Lake, head: Version) -> None:
        claims = lake.scan(ClaimRow, head, ["slot_id", "sample_id"])
        first = claims.group_by("slot_id", "sample_id").agg(pl.min("version"))
        several = first.filter(pl.len().over("slot_id") > 1).sort("version", "sample_id").collect()
        self._claimed: dict[str, list[tuple[int, str]]] = {}
        for slot_id, sample_id, version in several.iter_rows():
            self._claimed.setdefault(slot_id, []).append((version, sample_id))

    def samples(self, slot_id: str, until: int) -> list[str]:
        """The samples of a slot that were claimed by a version; may lack one that is the only one."""
        return [sample_id for version, sample_id in self._claimed.get(slot_id, ()) if version <= until]


def _slot(claim: ClaimRow, topic: str, samples: Collection[str]) -> PlannedSlot:
    return PlannedSlot(
        slot_id=claim.slot_id,
        sample_id=claim.sample_id,
        topic_id=claim.topic_id,
        topic=topic,
        slot_number=claim.slot_number,
        retry=claim.retry,
        templates=tuple(json.loads(claim.templates)),
        siblings=tuple(other for other in samples if other != claim.sample_id),
    )


def _wrong_ids(lake: Lake, run: PastRun, claims: Iterable[ClaimRow]) -> Iterator[Difference]:
    for claim in claims:
        slot_id = derive_id("slot", lake.seed, claim.topic_id, claim.slot_number)
        sample_id = derive_id("sample", claim.slot_id, run.recipe.generation_id)
        for name, made, recorded in (("slot", slot_id, claim.slot_id), ("sample", sample_id, claim.sample_id)):
            if made != recorded:
                what = f"the {name}'s id is made again as {made}, and {recorded} is recorded"
                yield Difference(version=run.version, sample_id=claim.sample_id, where="its claim", what=what)
