"""From finished dialogues to a version: check them, decide what is kept, and commit it. Asks no model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import polars as pl

from dedup.decide import Decision, decide
from dedup.kept import KeptTurns
from dedup.turns import TurnVectors
from flows.deciding import Ruling
from flows.errors import UserError
from flows.plan import PlannedSlot
from flows.recipe import licences_of
from flows.recorder import vector_row
from flows.seir.dialogue import Dialogue
from flows.workshop import Workshop
from models.embedding import Vector
from models.picture import decode
from storage.errors import TakenOver
from storage.keepers import new_keepers
from storage.packages import PackageDraft
from storage.records import DecisionRow, EmbeddingRow, IterationRow, Row, SampleRow, TurnRow
from storage.slots import taken_over
from storage.spool import RecordedCall
from storage.turns_table import KeptVectors, kept_vectors
from storage.versions import Version
from storage.writing import writing

MOST_STEPS = 256
"""Reading one version's keepers takes about 10 ms, the index anew some 20 ms for each 1,000 turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedBatch:
    """What a batch leaves to be committed: slots with their dialogues, in plan order, and the calls they took."""

    number: int
    work: Sequence[tuple[PlannedSlot, Dialogue]]
    calls: Sequence[RecordedCall]


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A version and the outcome of each of its samples, by sample id."""

    version: Version
    outcomes: Mapping[str, str]


class Committer:
    """Commits the batches of one run; keeps the index of kept turns between them."""

    def __init__(self, shop: Workshop) -> None:
        self._shop = shop
        self._lake = shop.lake
        self._encoder = shop.encoder
        self._duplicates = shop.settings.selection.duplicates
        self._kept = KeptTurns(encoder=self._encoder)
        self._known = 0

    def commit(self, batch: FinishedBatch) -> Committed:
        """Commit one batch as one version. ValueError for rows that may not enter a lake; then nothing has changed."""
        check_calls(batch.calls)
        vectors = {sha256: vector for _, dialogue in batch.work for sha256, vector in dialogue.vectors.items()}
        run_id = self._shop.run_id
        with writing(self._lake, purpose=f"commit of run {run_id[:8]}", timeout=self._shop.lock_timeout) as writer:
            head = writer.head
            self._refuse_taken_over([slot.slot_id for slot, _ in batch.work], head)
            self._catch_up(head)
            ruling = Ruling(kind="build", version=head.number + 1, encoder=self._encoder, duplicates=self._duplicates)
            decision = self._decide(_newcomers(batch.work, vectors), ruling)
            made = {dialogue.brief.sample_id: dialogue.failure for _, dialogue in batch.work}
            decisions = [*ruling.rows(made, decision)]
            drafts = [self._build_package(batch, vectors, head), PackageDraft("decision", decisions)]
            version = writer.commit(drafts, run_id=run_id)
            self._kept.add(decision.keepers, encoder=self._encoder)
            self._known = version.number
        outcomes = {
            row.sample_id: row.outcome for row in decisions if isinstance(row, DecisionRow) and row.turn is None
        }
        return Committed(version=version, outcomes=outcomes)

    def catch_up(self) -> None:
        """Read the kept turns as they are now; UserError when they are of another encoder."""
        with writing(self._lake, purpose="a look at what is kept", timeout=self._shop.lock_timeout) as writer:
            self._catch_up(writer.head)

    def _catch_up(self, head: Version) -> None:
        """Learn what others have committed since; the caller holds the lock.

        A few versions that only decide about what they made are gone through one by one, all else is read anew.
        """
        if self._known and 0 < head.number - self._known <= MOST_STEPS:
            self._follow(head)
        if self._known != head.number:
            kept = KeptTurns(encoder=self._encoder)
            for _, turns in groupby(kept_vectors(self._lake, head), key=lambda turn: turn.version):
                self._add(kept, turns)
            self._kept = kept
            self._known = head.number

    def _follow(self, head: Version) -> None:
        """Add what each version brought, up to the newest or the first that decides about earlier ones."""
        while self._known < head.number:
            turns = new_keepers(self._lake, head.until(self._known + 1))
            if turns is None:
                return
            self._add(self._kept, turns)
            self._known += 1

    def _add(self, kept: KeptTurns, turns: Iterable[KeptVectors]) -> None:
        """Add the keepers of one version. UserError when they are of another encoder; then none is added."""
        same = list(turns)
        if any(turn.encoder != self._encoder for turn in same):
            raise UserError(
                f"{self._lake.path} has vectors of another encoder than the setting 'selection.encoder' names, and "
                "vectors of two encoders cannot be compared: put the setting back, or move the lake to the new "
                "encoder with 'interlake reembed'"
            )
        kept.add(map(_comparable, same), encoder=self._encoder)

    def _decide(self, newcomers: Sequence[TurnVectors], ruling: Ruling) -> Decision:
        return decide(self._kept, newcomers, ruling.thresholds())

    def _refuse_taken_over(self, slot_ids: Sequence[str], head: Version) -> None:
        """TakenOver when another run has claimed a slot of this one since; `_known` was before that in any case."""
        others = taken_over(self._lake, head, after=self._known, run_id=self._shop.run_id, slot_ids=slot_ids)
        if others:
            raise TakenOver(
                f"run {min(others)[:8]} has taken over slots of run {self._shop.run_id[:8]}, which seemed dead; "
                "nothing is lost, it makes them"
            )

    def _build_package(self, batch: FinishedBatch, vectors: Mapping[str, Vector], head: Version) -> PackageDraft:
        made = [row for slot, dialogue in batch.work for row in (self._sample(slot), *dialogue.rows())]
        there = self._there_already([slot.sample_id for slot, _ in batch.work if slot.retry], head)
        rows: list[Row] = [row for row in made if (row.table, row.identity()) not in there]
        rows += [call.row for call in batch.calls]
        rows += [vector_row(self._encoder, vector) for vector in vectors.values()]
        pictures = {
            sha256: data
            for call in batch.calls
            for sha256, data in call.attachments.items()
            if sha256 == call.row.image_sha256
        }
        return PackageDraft("build", rows, pictures)

    def _there_already(self, retried: Sequence[str], head: Version) -> set[tuple[str, tuple[Any, ...]]]:
        """What earlier attempts at these samples have committed; a retry goes over it again and adds to it."""
        if not retried:
            return set()
        kinds: tuple[type[Row], ...] = (SampleRow, TurnRow, EmbeddingRow, IterationRow)
        return {
            (kind.table, key)
            for kind in kinds
            for key in self._lake.scan(kind, head)
            .filter(pl.col("sample_id").is_in(list(retried)))
            .select(kind.key)
            .collect()
            .iter_rows()
        }

    def _sample(self, slot: PlannedSlot) -> SampleRow:
        return SampleRow(
            sample_id=slot.sample_id,
            slot_id=slot.slot_id,
            topic_id=slot.topic_id,
            recipe_id=self._shop.recipe.recipe_id,
            turns=len(slot.templates),
            licences=licences_of(self._shop.roles),
            run_id=self._shop.run_id,
        )


def check_calls(calls: Iterable[RecordedCall]) -> None:
    """Every picture must decode whole: the last look before it becomes part of the lake. ValueError names the call."""
    for call in calls:
        if call.row.image_sha256:
            try:
                decode(call.attachments[call.row.image_sha256])
            except ValueError as error:
                raise ValueError(f"call {call.row.call_id}: {error}") from error


def _comparable(turn: KeptVectors) -> TurnVectors:
    return TurnVectors(sample_id=turn.sample_id, turn=turn.turn, image=turn.image, text=turn.text)


def _newcomers(work: Iterable[tuple[PlannedSlot, Dialogue]], vectors: Mapping[str, Vector]) -> list[TurnVectors]:
    return [
        TurnVectors(
            sample_id=turn.sample_id,
            turn=turn.turn,
            image=vectors[turn.image_vector_sha256],
            text=vectors[turn.text_vector_sha256],
        )
        for _, dialogue in work
        if dialogue.failure is None
        for turn in dialogue.embeddings
    ]
