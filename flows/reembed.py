"""The flow `reembed_lake`: move a lake to another encoder. Holds only what Prefect loads."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from pydantic import Field

from flows.reembedding import open_reembedding
from flows.tasks import decide_anew, embed_turns
from flows.ui.announcing import announced_versions


@flow(name="reembed_lake", flow_run_name="reembed {lake}", retries=0)
def reembed_lake(
    *,
    lake: str = "./lake",
    lock_timeout: Annotated[float | None, Field(ge=0, le=86_400)] = None,
) -> dict[str, str | int] | None:
    """Move a lake to the encoder that its settings name: new vectors for every turn, decisions made anew, a version.

    Until the decisions are made the lake is as it was. An interrupted move goes on where it ended. Returns what it came
    to, or nothing when the lake is there already.

    Args:
        lake: Folder of the lake, as the worker sees it.
        lock_timeout: Seconds to wait for another process to leave the lake; empty: as the lake's settings say.
    """
    with (
        announced_versions(),
        open_reembedding(Path(lake), lock_timeout=lock_timeout, flow_run_id=flow_run.id) as move,
    ):
        if move is None:
            get_run_logger().info("the lake's vectors are of this encoder already")
            return None
        for number in range(len(move.batches)):
            embed_turns(move, number, move.label(number))
        return asdict(decide_anew(move))
