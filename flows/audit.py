"""The flow `replay_lake`: an audit of a lake by replay. Holds only what Prefect loads."""

from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger
from pydantic import Field

from flows.replay.replaying import Replaying, ReplayOptions
from flows.tasks import fail_on_differences, replay_version, show_replay
from flows.ui.names import name_replay


@flow(name="replay_lake", flow_run_name=name_replay, retries=0)
def replay_lake(
    *,
    lake: str = "./lake",
    version: Annotated[int | None, Field(ge=1)] = None,
    since: Annotated[int, Field(ge=0)] = 0,
    run: str | None = None,
    sample: str | None = None,
) -> dict[str, Any]:
    """Make what was made again from what was recorded, and compare; fails when anything differs.

    Needs no network, no models, and writes nothing into the lake. Returns the whole report.

    Args:
        lake: Folder of the lake, as the worker sees it.
        version: Up to this version; empty: the newest.
        since: Only what came after this version.
        run: Only what this run made: the first digits of its id.
        sample: Only this sample: the first digits of its id.
    """
    replaying = Replaying(Path(lake), ReplayOptions(version=version, since=since, run=run, sample=sample))
    report = replaying.report([replay_version(replaying, number) for number in replaying.numbers])
    get_run_logger().info(report.line())
    show_replay(report)
    fail_on_differences(report)
    return report.json()
