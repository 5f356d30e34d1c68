"""The flow `propose_topics`: have the chat model propose topics for a category. Holds only what Prefect loads."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from pydantic import Field

from flows.proposal_run import ProposeOptions, open_proposing
from flows.tasks import propose_for_branch
from flows.ui.announcing import announced_versions


@flow(name="propose_topics", flow_run_name="propose {wanted} topics under {under} in {lake}", retries=0)
def propose_topics(
    *,
    under: str,
    wanted: Annotated[int, Field(ge=1, le=1_000)] = 50,
    lake: str = "./lake",
    alike: Annotated[float | None, Field(ge=0, le=1)] = None,
    lock_timeout: Annotated[float | None, Field(ge=0, le=86_400)] = None,
) -> dict[str, Any]:
    """Ask the lake's writer for new topics of a category, and keep those that are new as proposals.

    They are no topics until somebody accepts them. What is known, refused before or too similar is left out, and
    counted. An interrupted run goes on by the same call and asks nothing twice. Returns what it came to.

    Args:
        under: Domain/Category that the topics are for.
        wanted: How many; fewer come when the model has nothing new to say.
        lake: Folder of the lake, as the worker sees it.
        alike: Similarity to a known name from which one is not new; empty: as the lake's settings say.
        lock_timeout: Seconds to wait for another process to leave the lake; empty: as the lake's settings say.
    """
    options = ProposeOptions(under=under, wanted=wanted, alike=alike, lock_timeout=lock_timeout)
    with announced_versions(), open_proposing(Path(lake), options, flow_run_id=flow_run.id) as proposing:
        proposed = propose_for_branch(proposing, proposing.wish.branch)
    get_run_logger().info(proposed.line())
    return asdict(proposed)
