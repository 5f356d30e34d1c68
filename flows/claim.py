"""How a run begins and ends in the lake: its claim on slots, its last word, and what may be tidied away after it."""

import importlib.metadata
import os
import platform
import shutil
from datetime import UTC, datetime

import polars as pl

from flows.plan import BuildPlan, BuildRequest, plan_build
from flows.recipe import Recipe, model_rows
from flows.settings import Settings
from flows.studio import Cast
from storage.canonical import canonical_text
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.records import ClaimRow, RunEndRow, RunStartRow
from storage.slots import is_alive, slot_states, unended_runs
from storage.turns_table import bring_up

LIBRARIES = ("prefect", "duckdb", "lancedb", "pylance", "polars", "pyarrow", "numpy", "pillow")


def claim_slots(
    lake: Lake,
    settings: Settings,
    recipe: Recipe,
    cast: Cast,
    request: BuildRequest,
    *,
    run_id: str,
    flow_run_id: str | None,
) -> BuildPlan:
    """Plan and claim in one step under the lock, so that two builds never take the same slot."""
    with lake.lock(purpose=f"claim of run {run_id[:8]}", timeout=settings.run.lock_timeout):
        head = lake.version()
        plan = plan_build(lake, head, recipe, request)
        if not plan.slots:
            return plan
        start = RunStartRow(
            kind="build",
            recipe_id=recipe.recipe_id,
            planned=len(plan.slots),
            topics=plan.topics,
            settings=canonical_text(settings.model_dump(mode="json")),
            run_id=run_id,
            flow_run_id=flow_run_id,
            environment=canonical_text(describe_environment()),
            started_at=datetime.now(UTC),
        )
        claims = [
            slot.claim(
                position=position,
                batch=position // settings.run.batch_size,
                recipe_id=recipe.recipe_id,
                run_id=run_id,
            )
            for position, slot in enumerate(plan.slots)
        ]
        died = [end_row(dead, "died") for dead in unended_runs(lake, head) if not is_alive(lake, dead)]
        rows = [start, *claims, recipe.row(), *model_rows(cast), *died]
        bring_up(lake, lake.commit([PackageDraft("run", rows)], run_id=run_id))
    return plan


def end_row(run_id: str, state: str, reason: str | None = None) -> RunEndRow:
    finished_at = None if state == "died" else datetime.now(UTC)
    return RunEndRow(state=state, reason=reason, run_id=run_id, finished_at=finished_at)


def tidy_runs(lake: Lake, run_id: str) -> None:
    """Remove the folders of ended runs that no open slot needs any more."""
    head = lake.version()
    is_open = pl.col("outcome") == "open"
    open_slots = slot_states(lake, head).filter(is_open)["slot_id"]
    claims = lake.scan(ClaimRow, head).select("slot_id", "run_id").collect()
    needed = set(claims.filter(pl.col("slot_id").is_in(open_slots.implode()))["run_id"])
    done = ({run_id} | set(claims["run_id"])) - needed
    for folder in lake.runs.iterdir():
        if folder.name in done and not is_alive(lake, folder.name):
            shutil.rmtree(folder)


def describe_environment() -> dict[str, str | int]:
    """Versions and machine, as kept with each run."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count() or 0,
        **{name: importlib.metadata.version(name) for name in LIBRARIES},
    }
