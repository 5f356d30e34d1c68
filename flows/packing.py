"""From finished dialogues to the rows of their package, and to the turns that are compared. Writes nothing."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from dedup.decide import Excused
from dedup.turns import TurnVectors
from flows.plan import PlannedSlot
from flows.recorder import vector_row
from flows.seir.dialogue import Dialogue, Failure
from models.embedding import Vector
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.records import EmbeddingRow, IterationRow, Row, SampleRow, TurnRow, VerdictRow
from storage.spool import RecordedCall
from storage.versions import Version

RowKey = tuple[str, tuple[Any, ...]]
"""The table of a row, and the values that identify it there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedBatch:
    """What a batch leaves to be committed: slots with their dialogues, in plan order, and the calls they took."""

    number: int
    work: Sequence[tuple[PlannedSlot, Dialogue]]
    calls: Sequence[RecordedCall]

    def failures(self) -> dict[str, Failure | None]:
        """By sample id why it could not be made, None where it could."""
        return {dialogue.brief.sample_id: dialogue.failure for _, dialogue in self.work}

    def excused(self) -> Excused:
        """Which other samples a sample is not compared with: those of its own slot."""
        return {slot.sample_id: slot.siblings for slot, _ in self.work if slot.siblings}

    def newcomers(self) -> list[TurnVectors]:
        """The turns of all finished dialogues, as they are compared."""
        vectors = self.vectors()
        return [
            TurnVectors(
                sample_id=turn.sample_id,
                turn=turn.turn,
                image=vectors[turn.image_vector_sha256],
                text=vectors[turn.text_vector_sha256],
            )
            for _, dialogue in self.work
            if dialogue.failure is None
            for turn in dialogue.embeddings
        ]

    def vectors(self) -> Mapping[str, Vector]:
        return {sha256: vector for _, dialogue in self.work for sha256, vector in dialogue.vectors.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Packer:
    """What the rows of a batch say beside its dialogues. `licences` is JSON, `encoder` a model's id."""

    recipe_id: str
    run_id: str
    encoder: str
    licences: str

    def pack(self, batch: FinishedBatch, there: Collection[RowKey]) -> PackageDraft:
        """The package of a batch; rows that are `there` already, of earlier attempts at a slot, do not come again."""
        made = [row for slot, dialogue in batch.work for row in (self._sample(slot), *dialogue.rows())]
        rows: list[Row] = [row for row in made if (row.table, row.identity()) not in there]
        rows += [call.row for call in batch.calls]
        rows += [vector_row(self.encoder, vector) for vector in batch.vectors().values()]
        pictures = {
            sha256: data
            for call in batch.calls
            for sha256, data in call.attachments.items()
            if sha256 == call.row.image_sha256
        }
        return PackageDraft("build", rows, pictures)

    def _sample(self, slot: PlannedSlot) -> SampleRow:
        return SampleRow(
            sample_id=slot.sample_id,
            slot_id=slot.slot_id,
            topic_id=slot.topic_id,
            recipe_id=self.recipe_id,
            turns=len(slot.templates),
            licences=self.licences,
            run_id=self.run_id,
        )


def there_already(lake: Lake, batch: FinishedBatch, head: Version) -> set[RowKey]:
    """What earlier attempts at the samples of a batch have committed; a retry goes over it again and adds to it."""
    retried = [slot.sample_id for slot, _ in batch.work if slot.retry]
    if not retried:
        return set()
    kinds: tuple[type[Row], ...] = (SampleRow, TurnRow, EmbeddingRow, IterationRow, VerdictRow)
    return {
        (kind.table, key)
        for kind in kinds
        for key in lake.scan(kind, head)
        .filter(pl.col("sample_id").is_in(retried))
        .select(kind.key)
        .collect()
        .iter_rows()
    }
