"""What is decided about finished samples, as rows with their evidence. Asks nothing and writes nothing."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from dedup.decide import Decision, DuplicateTurn, Thresholds
from dedup.turns import TurnKey
from flows.seir.dialogue import Failure
from flows.settings import DuplicateSettings
from storage.canonical import Json, canonical_text, derive_id
from storage.records import DecisionRow, DuplicateRow

TOLD = "person_calls_duplicate"
"""Reason of the decision that a turn repeats another because a person says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """How one version decides: what its decisions are part of (`kind`), and by whose vectors and which thresholds."""

    kind: str
    version: int
    encoder: str
    duplicates: DuplicateSettings

    def thresholds(self) -> Thresholds:
        return Thresholds(image=self.duplicates.image, text=self.duplicates.text, policy=self.duplicates.policy)

    def rows(
        self,
        samples: Mapping[str, Failure | None],
        decision: Decision,
        *,
        freed: Iterable[tuple[str, int]] = (),
        told: Collection[TurnKey] = (),
    ) -> Iterator[DecisionRow | DuplicateRow]:
        """A row for each sample, one for each turn that repeats another no longer, two for each that does.

        Turns in `told` do so by a person's word.
        """
        for sample_id, failure in samples.items():
            yield self._dropped(sample_id, failure) if failure else self._settled(sample_id, decision)
        for sample_id, turn in freed:
            yield self._row(sample_id, turn, kind=self.kind, outcome="kept")
        for duplicate in decision.duplicates:
            is_told = TurnKey(sample_id=duplicate.sample_id, turn=duplicate.turn) in told
            row = self._repeated(duplicate, TOLD if is_told else "repeats_kept_turn")
            yield row
            yield DuplicateRow(**self.pair(row.decision_id, duplicate))

    def _dropped(self, sample_id: str, failure: Failure) -> DecisionRow:
        return DecisionRow(
            decision_id=derive_id("decision", sample_id, None, self.version),
            sample_id=sample_id,
            turn=None,
            kind=self.kind,
            outcome=failure.outcome,
            stage=failure.stage,
            reason=failure.reason,
            evidence=failure.evidence,
            encoder=None,
        )

    def _settled(self, sample_id: str, decision: Decision) -> DecisionRow:
        if sample_id not in decision.dropped_samples:
            return self._row(sample_id, None, kind=self.kind, outcome="kept")
        return self._row(sample_id, None, kind=self.kind, outcome="duplicate", reason="all_turns_duplicate")

    def _repeated(self, duplicate: DuplicateTurn, reason: str) -> DecisionRow:
        evidence: dict[str, Json] = {"kept_sample_id": duplicate.kept_sample_id, "kept_turn": duplicate.kept_turn}
        return self._row(
            duplicate.sample_id,
            duplicate.turn,
            kind="duplicate",
            outcome="duplicate",
            reason=reason,
            evidence=evidence,
        )

    def _row(
        self,
        sample_id: str,
        turn: int | None,
        *,
        kind: str,
        outcome: str,
        reason: str | None = None,
        evidence: Mapping[str, Json] | None = None,
    ) -> DecisionRow:
        return DecisionRow(
            decision_id=derive_id("decision", sample_id, turn, self.version),
            sample_id=sample_id,
            turn=turn,
            kind=kind,
            outcome=outcome,
            stage="dedup" if reason else None,
            reason=reason,
            evidence=canonical_text(dict(evidence or {})),
            encoder=self.encoder,
        )

    def pair(self, decision_id: str, duplicate: DuplicateTurn) -> dict[str, Any]:
        """The columns of a row about two turns that were compared."""
        return {
            "decision_id": decision_id,
            **{field.name: getattr(duplicate, field.name) for field in fields(duplicate)},
            "image_threshold": self.duplicates.image,
            "text_threshold": self.duplicates.text,
            "policy": self.duplicates.policy,
            "encoder": self.encoder,
        }
