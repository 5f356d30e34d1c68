"""The flow `judge_lake`: have judges score a lake's kept samples. Holds only what Prefect loads."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from pydantic import Field

from flows.judge.judging import JudgeOptions, open_judging
from flows.tasks import judge_batch, show_depth, show_verdicts
from flows.ui.announcing import announced_versions


@flow(name="judge_lake", flow_run_name="judge {lake}", retries=0)
def judge_lake(
    *,
    lake: str = "./lake",
    version: Annotated[int | None, Field(ge=1)] = None,
    judge: str | None = None,
    repeats: Annotated[int | None, Field(ge=1, le=20)] = None,
    limit: Annotated[int | None, Field(ge=1)] = None,
    rounds: bool = False,
    lock_timeout: Annotated[float | None, Field(ge=0, le=86_400)] = None,
) -> dict[str, Any]:
    """Have the judges of the settings score what they have not scored yet of a lake's kept samples.

    Samples stay as they are; verdicts are added, a version for each batch. An interrupted run goes on by the same
    call and asks nothing twice. Returns samples, judged, verdicts, unknown, version and warnings.

    Args:
        lake: Folder of the lake, as the worker sees it.
        version: Judge what was kept at this version; empty: the newest.
        judge: Only the judge of this name; empty: all that the lake's settings name.
        repeats: How often a judge with seeds is asked about a turn; empty: as the lake's settings say.
        limit: At most so many samples; empty: all.
        rounds: Judge each recorded draft of an answer and of a picture as well as the finished turns.
        lock_timeout: Seconds to wait for another process to leave the lake; empty: as the lake's settings say.
    """
    options = JudgeOptions(version=version, judge=judge, repeats=repeats, limit=limit, rounds=rounds)
    with (
        announced_versions(),
        open_judging(Path(lake), options, lock_timeout=lock_timeout, flow_run_id=flow_run.id) as judging,
    ):
        for warning in judging.warnings:
            get_run_logger().warning(warning)
        for number in range(len(judging.batches)):
            judge_batch(judging, number, judging.label(number))
        judged = judging.came_to()
    show_verdicts(Path(lake))
    show_depth(Path(lake))
    return asdict(judged)
