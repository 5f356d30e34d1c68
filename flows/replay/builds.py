"""A version of a build, made again: its samples from their recorded calls, its decisions from their vectors."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from dedup.decide import Decision, decide
from dedup.turns import TurnVectors
from flows.deciding import Ruling
from flows.kept_index import KeptIndex
from flows.packing import FinishedBatch, Packer, there_already
from flows.plan import PlannedSlot
from flows.recipe import licences_of
from flows.recorder import model_id
from flows.replay.claimed import ClaimedSlots
from flows.replay.differences import Difference, rows_that_differ
from flows.replay.hashing import hash_again
from flows.replay.past import NotReplayable, PastRun
from flows.replay.rehearsal import Rehearsal, Rehearsed
from flows.replay.report import ReplayedVersion
from flows.review.nearby import near_rows
from storage.embeddings import embedded_turns
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.records import (
    DecisionRow,
    DuplicateRow,
    EmbeddingRow,
    IterationRow,
    NearRow,
    Row,
    SampleRow,
    TurnRow,
    VerdictRow,
)
from storage.tables import Among
from storage.versions import Version

MADE: tuple[type[Row], ...] = (IterationRow, TurnRow, EmbeddingRow, VerdictRow)
SAID: tuple[type[Row], ...] = (SampleRow, DecisionRow, DuplicateRow, NearRow)


class BuildReplay:
    """Replays what one version of a build made. `version` is the lake as it was then; `among` None for all samples."""

    def __init__(
        self,
        lake: Lake,
        version: Version,
        *,
        run: PastRun,
        claimed: ClaimedSlots,
        index: KeptIndex,
        among: Collection[str] | None,
    ) -> None:
        self._lake = lake
        self._version = version
        self._before = version.until(version.number - 1)
        self._added = version.since(version.number - 1)
        self._run = run
        self._claimed = claimed
        self._encoder = model_id(run.roles["encoder"])
        self._index = index
        decided = [row for row in lake.rows(DecisionRow, self._added) if row.kind == "build"]
        self._outcomes = {row.sample_id: row.outcome for row in decided if row.turn is None}
        self._wanted = [sample_id for sample_id in self._outcomes if among is None or sample_id in among]

    def replay(self) -> ReplayedVersion:
        """Make the samples again, decide them again, and compare. NotReplayable, LakeDamaged."""
        slots = [self._slot(sample_id) for sample_id in self._wanted]
        rehearsed = Rehearsal(self._lake, self._version, self._run).write(slots)
        batch = FinishedBatch(
            number=0,
            work=[(each.slot, each.dialogue) for each in rehearsed if each.dialogue],
            calls=list(chain.from_iterable(each.calls for each in rehearsed)),
        )
        package = self._packer().pack(batch, there_already(self._lake, batch, self._before))
        decisions = list(self._decisions(batch))
        differences = list(self._compare(rehearsed, [*package.rows, *decisions]))
        made_sha256 = None
        if not differences and len(batch.work) == len(self._outcomes):
            drafts = [package, PackageDraft("decision", decisions)]
            made_sha256, differences = hash_again(self._lake, self._version, drafts)
        return ReplayedVersion(
            version=self._version.number,
            what="build",
            made_sha256=made_sha256,
            samples=len(self._wanted),
            calls=len(batch.calls),
            outcomes=Counter(self._outcomes[sample_id] for sample_id in self._wanted),
            differences=tuple(differences),
        )

    def _slot(self, sample_id: str) -> PlannedSlot:
        if sample_id not in self._claimed.slots:
            raise NotReplayable(f"run {self._run.start.run_id} made sample {sample_id} without a claim on its slot")
        return self._claimed.slots[sample_id]

    def _packer(self) -> Packer:
        return Packer(
            recipe_id=self._run.recipe.recipe_id,
            run_id=self._run.start.run_id,
            encoder=self._encoder,
            licences=licences_of(self._run.roles),
        )

    def _ruling(self) -> Ruling:
        duplicates = self._run.settings.selection.duplicates
        return Ruling(kind="build", version=self._version.number, encoder=self._encoder, duplicates=duplicates)

    def _decisions(self, batch: FinishedBatch) -> Iterator[Row]:
        """What is decided about the samples made again, and which of them are borderline."""
        ruling, review, made = self._ruling(), self._run.settings.selection.review, batch.failures()
        decision = self._decide(batch)
        repeated = tuple(pair for pair in decision.duplicates if pair.sample_id in made)
        yield from ruling.rows(made, replace(decision, duplicates=repeated))
        near = near_rows(self._index.turns, decision, ruling, review, excused=self._claimed.excused())
        yield from (row for row in near if row.sample_id in made)

    def _decide(self, batch: FinishedBatch) -> Decision:
        """Decide about the samples made again; the others of their version take part as they were recorded."""
        newcomers = batch.newcomers()
        if not newcomers:
            return Decision()
        made = batch.failures().keys()
        compared = [name for name, outcome in self._outcomes.items() if outcome in ("kept", "duplicate")]
        others = [name for name in compared if name not in made]
        newcomers += self._recorded(others)
        self._index.catch_up(self._before)
        return decide(self._index.turns, newcomers, self._ruling().thresholds(), excused=self._claimed.excused())

    def _recorded(self, sample_ids: Collection[str]) -> Iterator[TurnVectors]:
        if sample_ids:
            for turn in embedded_turns(self._lake, self._version, self._encoder, sample_ids):
                yield TurnVectors(sample_id=turn.sample_id, turn=turn.turn, image=turn.image, text=turn.text)

    def _compare(self, rehearsed: Sequence[Rehearsed], rows: Sequence[Row]) -> Iterator[Difference]:
        """The first difference of each sample, in their order, then those of what is said of samples that are equal."""
        equal: set[str] = set()
        recorded = {kind: self._recorded_rows(kind, rehearsed) for kind in MADE}
        for each in rehearsed:
            found = each.difference or self._first_difference(each, recorded)
            if found:
                yield found
            else:
                equal.add(each.slot.sample_id)
        for kind in SAID:
            mine = [row for row in _of_kind(kind, rows) if getattr(row, "sample_id", None) in equal]
            yield from rows_that_differ(self._version.number, self._rows(kind, self._added, equal), mine)

    def _recorded_rows(self, kind: type[Row], rehearsed: Sequence[Rehearsed]) -> dict[str, list[Row]]:
        """By sample what its dialogue left behind; that of a retried one lies in several versions."""
        found: dict[str, list[Row]] = {}
        for version, is_retry in ((self._added, False), (self._version, True)):
            wanted = [each.slot.sample_id for each in rehearsed if bool(each.slot.retry) == is_retry]
            for row in self._rows(kind, version, wanted) if wanted else ():
                found.setdefault(str(getattr(row, "sample_id")), []).append(row)  # noqa: B009 - a row of any table
        return found

    def _first_difference(
        self, each: Rehearsed, recorded: Mapping[type[Row], Mapping[str, Sequence[Row]]]
    ) -> Difference | None:
        assert each.dialogue is not None, "what has no difference was written"
        made, calls = each.dialogue.rows(), [call.row for call in each.calls]
        for kind in MADE:
            before = recorded[kind].get(each.slot.sample_id, ())
            for found in rows_that_differ(self._version.number, before, _of_kind(kind, made), calls):
                return found
        return None

    def _rows(self, kind: type[Row], version: Version, sample_ids: Collection[str]) -> list[Row]:
        return list(self._lake.rows(kind, version, Among(column="sample_id", values=sample_ids)))


def _of_kind(kind: type[Row], rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if isinstance(row, kind)]
