"""How a run begins and ends in the lake: its claim on slots, its last word, and what may be tidied away after it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime

import polars as pl

from flows.budget import REASON, BudgetUsed
from flows.environment import describe_environment
from flows.plan import Plan, Planner
from flows.recipe import model_rows
from flows.rerunning.retiring import abandonment_rows
from flows.workshop import Workshop
from storage.canonical import canonical_text
from storage.errors import LakeBusy, LakeError
from storage.history import publish
from storage.lake import Lake
from storage.lock import hold
from storage.packages import PackageDraft
from storage.records import ClaimRow, RunEndRow, RunStartRow
from storage.slots import (
    is_alive,
    run_lock,
    slot_states,
    unended_runs,
    unfinished_inquiries,
    unfinished_judgings,
    unfinished_moves,
)
from storage.steps import Step, reached
from storage.versions import Version
from storage.writing import writing


def claim_slots(shop: Workshop, planner: Planner, *, kind: str, flow_run_id: str | None) -> Plan:
    """Plan and claim in one step under the lock, so that two runs never take the same slot."""
    lake, recipe = shop.lake, shop.recipe
    with writing(lake, purpose=f"claim of run {shop.run_id[:8]}", timeout=shop.lock_timeout) as writer:
        plan = planner(lake, writer.head, recipe)
        if not plan.slots and not plan.abandoned:
            return plan
        died = died_rows(lake, writer.head)
        start = start_row(shop, kind=kind, planned=len(plan.slots), topics=plan.topics, flow_run_id=flow_run_id)
        rows = [start, *_claims(shop, plan), recipe.row(), *model_rows(shop.roles), *died]
        rows += [] if plan.slots else [end_row(shop.run_id, "finished")]
        drafts = [PackageDraft("run", rows)]
        if plan.abandoned:
            drafts.append(PackageDraft("decision", abandonment_rows(plan.abandoned, writer.next_number)))
        writer.commit(drafts, run_id=shop.run_id)
    return plan


def died_rows(lake: Lake, version: Version) -> list[RunEndRow]:
    """The ends of runs that could not write their own."""
    return [end_row(dead, "died") for dead in unended_runs(lake, version) if not is_alive(lake, dead)]


def start_row(shop: Workshop, *, kind: str, planned: int, topics: int, flow_run_id: str | None) -> RunStartRow:
    return RunStartRow(
        kind=kind,
        recipe_id=shop.recipe.recipe_id,
        planned=planned,
        topics=topics,
        settings=canonical_text(shop.settings.model_dump(mode="json")),
        run_id=shop.run_id,
        flow_run_id=flow_run_id,
        environment=canonical_text(describe_environment()),
        started_at=datetime.now(UTC),
    )


def _claims(shop: Workshop, plan: Plan) -> list[ClaimRow]:
    size = shop.settings.run.batch_size
    return [
        slot.claim(position=at, batch=at // size, recipe_id=shop.recipe.recipe_id, run_id=shop.run_id)
        for at, slot in enumerate(plan.slots)
    ]


@contextmanager
def ended(
    shop: Workshop, stop: Callable[[BaseException], None], used_up: Callable[[], BudgetUsed | None] = lambda: None
) -> Iterator[None]:
    """Write down how a run ended, after `stop`, told of the error, has ended its work.

    A run whose budget is `used_up` is stopped without an error. A killed process cannot say anything: the next run says
    `died` for it.
    """
    try:
        yield
    except BaseException as error:
        stop(error)
        state = "stopped" if isinstance(error, Exception) else "cancelled"
        with suppress(LakeError, OSError):  # the next run says `died` for it; the error is what matters
            reason = f"{type(error).__name__}: {error}".removesuffix(": ")
            _write_end(shop, state, reason.encode(errors="backslashreplace").decode())
        raise
    if spent := used_up():
        stop(spent)
        _write_end(shop, "stopped", REASON)
    else:
        _write_end(shop, "finished", None)


def _write_end(shop: Workshop, state: str, reason: str | None) -> None:
    with writing(shop.lake, purpose=f"end of run {shop.run_id[:8]}", timeout=shop.lock_timeout) as writer:
        row = end_row(shop.run_id, state, reason)
        version = writer.commit([PackageDraft("run", [row])], run_id=shop.run_id)
    publish_if_free(shop.lake, version)


def publish_if_free(lake: Lake, version: Version) -> None:
    """Bring the history up to a version. It can wait: whoever asks it next brings it up, or the next commit does."""
    with suppress(LakeBusy, OSError):
        publish(lake, version, timeout=0)


def end_row(run_id: str, state: str, reason: str | None = None) -> RunEndRow:
    finished_at = None if state == "died" else datetime.now(UTC)
    return RunEndRow(state=state, reason=reason, run_id=run_id, finished_at=finished_at)


@contextmanager
def living_run(shop: Workshop) -> Iterator[None]:
    """Be alive: hold the lock of the run's folder. Made under the lake's lock, so that nobody tidies it away."""
    with ExitStack() as stack:
        with shop.lake.lock(purpose=f"start of run {shop.run_id[:8]}", timeout=shop.lock_timeout):
            shop.folder.mkdir()
            stack.enter_context(hold(run_lock(shop.lake, shop.run_id), purpose="its run", timeout=1))
        yield


def tidy_runs(shop: Workshop) -> None:
    """Remove the folders of runs that have ended, or died before they claimed, once nothing needs their spools.

    It can wait for the next run when the lake is busy or its files are in the way.
    """
    with (
        suppress(LakeBusy, OSError),
        shop.lake.lock(purpose=f"tidying after run {shop.run_id[:8]}", timeout=shop.lock_timeout),
    ):
        head = shop.lake.version()
        open_slots = slot_states(shop.lake, head).filter(pl.col("outcome") == "open")["slot_id"]
        claims = shop.lake.scan(ClaimRow, head).select("slot_id", "run_id").collect()
        needed = set(claims.filter(pl.col("slot_id").is_in(open_slots.implode()))["run_id"])
        needed |= {*unfinished_moves(shop.lake, head), *unfinished_judgings(shop.lake, head)}
        needed |= {*unfinished_inquiries(shop.lake, head)}
        for folder in shop.lake.runs.iterdir():
            if folder.is_dir() and folder.name not in needed and not is_alive(shop.lake, folder.name):
                shutil.rmtree(folder)
                reached(Step.RUN_TIDIED)
