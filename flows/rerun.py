"""The flow `rerun_lake`: old slots again by the present recipe. Holds only what Prefect loads."""

from pathlib import Path
from typing import Annotated, Literal

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from pydantic import Field

from flows.rerunning.choosing import Choice
from flows.rerunning.opening import open_rerun
from flows.tasks import commit_batch, make_in_order, retire_superseded, show_summary
from flows.ui.announcing import announced_versions
from flows.ui.live import live_progress
from flows.ui.names import name_rerun
from flows.ui.report import show_report


@flow(name="rerun_lake", flow_run_name=name_rerun, retries=0)
def rerun_lake(
    *,
    lake: str = "./lake",
    samples: tuple[str, ...] = (),
    topics: tuple[str, ...] = (),
    runs: tuple[str, ...] = (),
    outcomes: tuple[Literal["kept", "rejected", "duplicate", "failed", "open"], ...] = (),
    everything: bool = False,
    retire: bool = False,
    lock_timeout: Annotated[float | None, Field(ge=0, le=86_400)] = None,
) -> dict[str, int]:
    """Make slots that were filled before again by the lake's present settings; old samples stay until retired.

    A request that was asked for the same slot before is answered from the record. Returns the counts of the new samples
    and how many old ones were retired.

    Args:
        lake: Folder of the lake, as the worker sees it.
        samples: Only the slots of these samples, by the first digits of their ids.
        topics: Only slots of these topics, by name.
        runs: Only slots that these runs claimed, by the first digits of their ids.
        outcomes: Only slots with these outcomes.
        everything: All slots; needed when no other choice is made.
        retire: At the end, reject old kept samples whose slot has a kept one by the present recipe.
        lock_timeout: Seconds to wait for another process to leave the lake; empty: as the lake's settings say.
    """
    choice = Choice(samples=samples, topics=topics, runs=runs, outcomes=outcomes, everything=everything)
    with (
        announced_versions(),
        open_rerun(Path(lake), choice, lock_timeout=lock_timeout, flow_run_id=flow_run.id) as rerun,
    ):
        run = rerun.run
        get_run_logger().info("%s; %s", run.plan.note(), rerun.forecast.line())
        with live_progress(run):
            for number in make_in_order(run):
                commit_batch(run, number, run.label(number))
        show_summary(run)
        counts = run.counts() | {"retired": retire_superseded(rerun) if retire else 0}
    show_report(run)
    return counts
