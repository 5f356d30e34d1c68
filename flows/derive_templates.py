"""The flow `derive_templates`: question templates from questions that people wrote. Holds only what Prefect loads."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from pydantic import Field

from flows.derivation_run import open_deriving
from flows.tasks import derive_from_questions
from flows.ui.announcing import announced_versions


@flow(name="derive_templates", flow_run_name="derive templates from {file} for {lake}", retries=0)
def derive_templates(
    *,
    file: str,
    lake: str = "./lake",
    lock_timeout: Annotated[float | None, Field(ge=0, le=86_400)] = None,
) -> dict[str, Any]:
    """Filter the questions of a CSV file, have the writer generalise the others, check and add what is new.

    Builds draw from the new templates for slots that are planned from then on. An interrupted run goes on by the same
    call and asks nothing twice. Returns what became of each question, and the version.

    Args:
        file: CSV file with a column question, as the worker sees it; author, source and licence are kept as well.
        lake: Folder of the lake, as the worker sees it.
        lock_timeout: Seconds to wait for another process to leave the lake; empty: as the lake's settings say.
    """
    with (
        announced_versions(),
        open_deriving(Path(lake), Path(file), lock_timeout=lock_timeout, flow_run_id=flow_run.id) as deriving,
    ):
        derived = derive_from_questions(deriving)
    for line in derived.lines():
        get_run_logger().info(line)
    return asdict(derived)
