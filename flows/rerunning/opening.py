"""Opening a rerun: a run whose slots are chosen among those that were filled before; and what it retires at its end."""

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.claim import end_row, publish_if_free, start_row
from flows.engine import Engine
from flows.opening import open_cast, open_lake, open_run
from flows.plan import Plan
from flows.recipe import Recipe, model_rows, write_recipe
from flows.rerunning.choosing import Choice, choose_slots, plan_again
from flows.rerunning.forecast import Forecast, forecast
from flows.rerunning.retiring import find_successions, retirement_rows
from flows.run import Run
from flows.settings import Settings
from flows.studio import Cast, Studio
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.records import Row
from storage.slots import RERUN
from storage.versions import Version
from storage.writing import writing


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunPreview:
    """What a rerun would do, and how many calls it would take from the record or ask."""

    plan: Plan
    forecast: Forecast


class Rerun:
    """A run over old slots, its forecast, and the retirement of what it takes the place of."""

    def __init__(self, run: Run, slot_ids: Collection[str], expected: Forecast, *, flow_run_id: str | None) -> None:
        self.run = run
        self.forecast = expected
        self._slot_ids = slot_ids
        self._flow_run_id = flow_run_id

    def retire(self) -> int:
        """Decide that kept samples give way to kept ones of the present recipe; returns how many do.

        In the slots that were chosen when the run began, those made by an earlier rerun among them. Without any, no
        version is made.
        """
        shop = self.run.shop
        purpose = f"retirement after run {shop.run_id[:8]}"
        with writing(shop.lake, purpose=purpose, timeout=shop.lock_timeout) as writer:
            head = writer.head
            successions = list(find_successions(shop.lake, head, self._slot_ids, shop.recipe.generation_id))
            if not successions:
                return 0
            drafts = [PackageDraft("decision", retirement_rows(successions, writer.next_number))]
            if not self.run.plan.slots and not self.run.plan.abandoned:  # then nothing says yet that there was a run
                drafts = [PackageDraft("run", self._whole_run()), *drafts]
            version = writer.commit(drafts, run_id=shop.run_id)
        publish_if_free(shop.lake, version)
        return len(successions)

    def _whole_run(self) -> list[Row]:
        """Start and end of a run that makes nothing and only decides."""
        shop = self.run.shop
        start = start_row(shop, kind=RERUN, planned=0, topics=0, flow_run_id=self._flow_run_id)
        return [start, shop.recipe.row(), *model_rows(shop.roles), end_row(shop.run_id, "finished")]


@contextmanager
def open_rerun(
    path: Path,
    choice: Choice,
    *,
    lock_timeout: float | None = None,
    flow_run_id: str | None = None,
    studio: Callable[[Settings], AbstractAsyncContextManager[Cast]] = Studio,
) -> Iterator[Rerun]:
    """Claim the chosen slots for the present recipe. Errors as for a build; UserError when nothing is chosen."""
    choice.refuse_empty()
    lake, settings = open_lake(path, lock_timeout=lock_timeout)

    slot_ids: list[str] = []

    def planner(lake: Lake, version: Version, recipe: Recipe) -> Plan:
        chosen = choose_slots(lake, version, recipe, choice)
        slot_ids.extend(chosen["slot_id"])
        return plan_again(lake, version, recipe, chosen=chosen, turns=settings.generation.turns)

    with open_run(lake, planner, studio(settings), settings, kind=RERUN, flow_run_id=flow_run_id) as run:
        shop = run.shop
        expected = forecast(lake, lake.version(), run.plan.slots, settings=settings.generation, roles=shop.roles)
        yield Rerun(run, slot_ids, expected, flow_run_id=flow_run_id)


def preview_rerun(
    path: Path,
    choice: Choice,
    *,
    studio: Callable[[Settings], AbstractAsyncContextManager[Cast]] = Studio,
) -> RerunPreview:
    """Plan a rerun on the newest version; writes nothing and asks no model. Errors as for `open_rerun`."""
    choice.refuse_empty()
    lake, settings = open_lake(path)
    head = lake.version()
    with Engine() as engine, open_cast(engine, studio(settings)) as cast:
        roles = cast.roles()
        recipe = write_recipe(settings, roles)
        chosen = choose_slots(lake, head, recipe, choice)
        plan = plan_again(lake, head, recipe, chosen=chosen, turns=settings.generation.turns)
        return RerunPreview(
            plan=plan, forecast=forecast(lake, head, plan.slots, settings=settings.generation, roles=roles)
        )
