"""From finished dialogues to a version: check them, decide what is kept, and commit it. Asks no model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dedup.decide import Decision, decide
from flows.deciding import Ruling
from flows.kept_index import KeptIndex
from flows.packing import FinishedBatch, Packer, there_already
from flows.recipe import licences_of
from flows.review.nearby import near_rows
from flows.workshop import Workshop
from storage.errors import TakenOver
from storage.packages import PackageDraft
from storage.records import DecisionRow, NearRow
from storage.slots import taken_over
from storage.versions import Version
from storage.writing import writing


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
        self._review = shop.settings.selection.review
        self._packer = Packer(
            recipe_id=shop.recipe.recipe_id,
            run_id=shop.run_id,
            encoder=shop.encoder,
            licences=licences_of(shop.roles),
        )
        self._index = KeptIndex(shop.lake, shop.encoder)

    def commit(self, batch: FinishedBatch) -> Committed:
        """Commit one batch as one version. ValueError for rows that may not enter a lake; then nothing has changed."""
        run_id = self._shop.run_id
        with writing(self._lake, purpose=f"commit of run {run_id[:8]}", timeout=self._shop.lock_timeout) as writer:
            head = writer.head
            self.refuse_taken_over([slot.slot_id for slot, _ in batch.work], head)
            self._index.catch_up(head)
            ruling = Ruling(kind="build", version=head.number + 1, encoder=self._encoder, duplicates=self._duplicates)
            decision = self._decide(batch, ruling)
            decisions = [*ruling.rows(batch.failures(), decision), *self._near(batch, ruling, decision)]
            package = self._packer.pack(batch, there_already(self._lake, batch, head))
            version = writer.commit([package, PackageDraft("decision", decisions)], run_id=run_id)
            self._index.add(decision.keepers, version.number)
            self._index.store_sketches()
        outcomes = {
            row.sample_id: row.outcome for row in decisions if isinstance(row, DecisionRow) and row.turn is None
        }
        return Committed(version=version, outcomes=outcomes)

    def catch_up(self) -> None:
        """Read the kept turns as they are now; UserError when they are of another encoder."""
        with writing(self._lake, purpose="a look at what is kept", timeout=self._shop.lock_timeout) as writer:
            self._index.catch_up(writer.head)

    def refuse_taken_over(self, slot_ids: Sequence[str], head: Version) -> None:
        """TakenOver when another run has claimed a slot of this one since; the index was read before that."""
        others = taken_over(self._lake, head, after=self._index.known, run_id=self._shop.run_id, slot_ids=slot_ids)
        if others:
            raise TakenOver(
                f"run {min(others)[:8]} has taken over slots of run {self._shop.run_id[:8]}, which seemed dead; "
                "nothing is lost, it makes them"
            )

    def _decide(self, batch: FinishedBatch, ruling: Ruling) -> Decision:
        return decide(self._index.turns, batch.newcomers(), ruling.thresholds(), excused=batch.excused())

    def _near(self, batch: FinishedBatch, ruling: Ruling, decision: Decision) -> Iterator[NearRow]:
        return near_rows(self._index.turns, decision, ruling, self._review, excused=batch.excused())
