"""From finished dialogues to a version: check them, decide what is kept, and commit it. Asks no model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import polars as pl

from dedup.decide import Decision, DuplicateTurn, KeptTurns, Thresholds, TurnVectors, decide
from flows.errors import UserError
from flows.plan import PlannedSlot
from flows.seir.dialogue import Dialogue
from flows.workshop import Workshop
from models.embedding import Vector
from models.picture import decode
from storage.canonical import Json, canonical_text, derive_id
from storage.packages import PackageDraft
from storage.records import DecisionRow, DuplicateRow, IterationRow, Row, SampleRow, TurnRow, VectorRow
from storage.spool import RecordedCall
from storage.turns_table import KeptVectors, bring_up, kept_vectors
from storage.versions import Version


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
        with self._lake.lock(purpose=f"commit of run {run_id[:8]}", timeout=self._shop.lock_timeout):
            head = self._lake.version()
            self._catch_up(head)
            decision = decide(self._kept, _newcomers(batch.work, vectors), self._thresholds())
            decisions = [*self._decisions(batch.work, decision, head.number + 1)]
            drafts = [self._build_package(batch, vectors, head), PackageDraft("decision", decisions)]
            version = self._lake.commit(drafts, run_id=run_id)
            self._kept.add(decision.keepers, encoder=self._encoder)
            self._known = version.number
            bring_up(self._lake, version)
        outcomes = {
            row.sample_id: row.outcome for row in decisions if isinstance(row, DecisionRow) and row.turn is None
        }
        return Committed(version=version, outcomes=outcomes)

    def catch_up(self) -> None:
        """Read the kept turns as they are now; UserError when they are of another encoder."""
        with self._lake.lock(purpose="a look at what is kept", timeout=self._shop.lock_timeout):
            self._catch_up(self._lake.version())

    def _catch_up(self, head: Version) -> None:
        """Read the kept turns anew when somebody else has committed since; the caller holds the lock."""
        if self._known == head.number:
            return
        bring_up(self._lake, head)
        kept = KeptTurns(encoder=self._encoder)
        for _, turns in groupby(kept_vectors(self._lake, head), key=lambda turn: turn.version):
            same = list(turns)
            if any(turn.encoder != self._encoder for turn in same):
                raise UserError(
                    f"{self._lake.path} has vectors of another encoder than the setting 'selection.encoder' names, and "
                    "vectors of two encoders cannot be compared: put the setting back"
                )
            kept.add(map(_comparable, same), encoder=self._encoder)
        self._kept = kept
        self._known = head.number

    def _thresholds(self) -> Thresholds:
        settings = self._duplicates
        return Thresholds(image=settings.image, text=settings.text, policy=settings.policy)

    def _build_package(self, batch: FinishedBatch, vectors: Mapping[str, Vector], head: Version) -> PackageDraft:
        made = [
            row for slot, dialogue in batch.work for row in (self._sample(slot), *dialogue.turns, *dialogue.iterations)
        ]
        there = self._there_already([slot.sample_id for slot, _ in batch.work if slot.retry], head)
        rows: list[Row] = [row for row in made if (row.table, row.identity()) not in there]
        rows += [call.row for call in batch.calls]
        rows += [_vector_row(sha256, self._encoder, vector) for sha256, vector in vectors.items()]
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
        kinds: tuple[type[Row], ...] = (SampleRow, TurnRow, IterationRow)
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
            run_id=self._shop.run_id,
        )

    def _decisions(
        self, work: Iterable[tuple[PlannedSlot, Dialogue]], decision: Decision, version: int
    ) -> Iterable[DecisionRow | DuplicateRow]:
        for _, dialogue in work:
            yield _sample_decision(dialogue, decision, version)
        for duplicate in decision.duplicates:
            row = _turn_decision(duplicate, version)
            yield row
            yield self._duplicate(row.decision_id, duplicate)

    def _duplicate(self, decision_id: str, duplicate: DuplicateTurn) -> DuplicateRow:
        return DuplicateRow(
            decision_id=decision_id,
            sample_id=duplicate.sample_id,
            turn=duplicate.turn,
            kept_sample_id=duplicate.kept_sample_id,
            kept_turn=duplicate.kept_turn,
            image_similarity=duplicate.image_similarity,
            text_similarity=duplicate.text_similarity,
            image_threshold=self._duplicates.image,
            text_threshold=self._duplicates.text,
            policy=self._duplicates.policy,
            encoder=self._encoder,
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
        for turn in dialogue.turns
    ]


def _sample_decision(dialogue: Dialogue, decision: Decision, version: int) -> DecisionRow:
    failure, sample_id = dialogue.failure, dialogue.brief.sample_id
    outcome, stage, reason, evidence = "kept", None, None, "{}"
    if failure:
        outcome, stage, reason, evidence = "failed", failure.stage, failure.reason, failure.evidence
    elif sample_id in decision.dropped_samples:
        outcome, stage, reason = "duplicate", "dedup", "all_turns_duplicate"
    return DecisionRow(
        decision_id=derive_id("decision", sample_id, None, version),
        sample_id=sample_id,
        turn=None,
        kind="build",
        outcome=outcome,
        stage=stage,
        reason=reason,
        evidence=evidence,
    )


def _turn_decision(duplicate: DuplicateTurn, version: int) -> DecisionRow:
    evidence: dict[str, Json] = {"kept_sample_id": duplicate.kept_sample_id, "kept_turn": duplicate.kept_turn}
    return DecisionRow(
        decision_id=derive_id("decision", duplicate.sample_id, duplicate.turn, version),
        sample_id=duplicate.sample_id,
        turn=duplicate.turn,
        kind="duplicate",
        outcome="duplicate",
        stage="dedup",
        reason="repeats_kept_turn",
        evidence=canonical_text(evidence),
    )


def _vector_row(sha256: str, encoder: str, vector: Vector) -> VectorRow:
    data = vector.astype("<f4").tobytes()
    return VectorRow(vector_sha256=sha256, encoder=encoder, dims=len(vector), vector=data)
