"""Grows a lake with the code that commits real batches, only without comparing, and showing all versions in one go.

Runs of RUN_BATCHES batches: a claim, a version for each batch, an end, as a build leaves them.
"""

import uuid
from collections.abc import Sequence
from pathlib import Path

from dedup.decide import Decision
from flows.claim import end_row, start_row
from flows.commit import Committer
from flows.deciding import Ruling
from flows.packing import FinishedBatch
from flows.plan import PlannedSlot
from flows.recipe import model_rows
from flows.settings import FILE, default_settings
from flows.workshop import Workshop
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.turns_table import bring_up
from storage.versions import Version
from tests.benchmarks.synthetic import BATCH, Synthesis, open_workshop, topic_rows

RUN_BATCHES = 50


def found_lake(path: Path) -> Lake:
    """An empty lake with topics."""
    lake = Lake.create(path, seed=7, files={FILE: default_settings("embedded").encode()})
    with lake.lock(purpose="growing", timeout=1):
        lake.commit([PackageDraft("topics", topic_rows())])
    return lake


def grow(lake: Lake, *, start: int, end: int, dims: int, calls: int) -> Version:
    """Add samples `start` to `end` (without it) of one turn each, and bring the table of turns up."""
    with lake.lock(purpose="growing", timeout=1):
        for first in range(start, end, RUN_BATCHES * BATCH):
            _add_run(lake, range(first, min(first + RUN_BATCHES * BATCH, end)), dims, calls)
        version = lake.version()
        bring_up(lake, version)
    return version


def _add_run(lake: Lake, numbers: Sequence[int], dims: int, calls: int) -> None:
    shop = open_workshop(lake, uuid.uuid4().hex)
    synthesis = Synthesis(run_id=shop.run_id, dims=dims, calls=calls)
    lake.commit([claim_package(shop, [synthesis.slot(number) for number in numbers])], run_id=shop.run_id)
    filler = Filler(shop)
    for first in range(0, len(numbers), BATCH):
        lake.commit(filler.fill(synthesis.batch(numbers[first : first + BATCH])), run_id=shop.run_id)
    lake.commit([PackageDraft("run", [end_row(shop.run_id, "finished")])], run_id=shop.run_id)


def claim_package(shop: Workshop, slots: Sequence[PlannedSlot]) -> PackageDraft:
    """What a run writes before it makes these slots."""
    claims = [
        slot.claim(position=at, batch=at // BATCH, recipe_id=shop.recipe.recipe_id, run_id=shop.run_id)
        for at, slot in enumerate(slots)
    ]
    start = start_row(shop, kind="build", planned=len(slots), topics=0, flow_run_id=None)
    return PackageDraft("run", [start, *claims, shop.recipe.row(), *model_rows(shop.roles)])


class Filler(Committer):
    """A committer whose batches are all kept, and not compared."""

    def fill(self, batch: FinishedBatch) -> list[PackageDraft]:
        """The packages that `commit` would write."""
        head = self._lake.version()
        kept = Decision(kept_samples=tuple(sorted(batch.failures())))
        ruling = Ruling(kind="build", version=head.number + 1, encoder=self._encoder, duplicates=self._duplicates)
        return [self._packer.pack(batch, ()), PackageDraft("decision", [*ruling.rows(batch.failures(), kept)])]
