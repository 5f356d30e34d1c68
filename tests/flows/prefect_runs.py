"""What the Prefect server knows of a flow run, once it knows all: task runs come to it as events, a moment late."""

import asyncio
import time
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import Artifact, TaskRun

PATIENCE = 60.0


def read_run(flow_run_id: UUID | str, *, tasks: int) -> tuple[list[str], dict[str, Artifact]]:
    """The sorted names of a flow run's tasks, as many as there must be or more, and its artifacts by key."""
    return asyncio.run(_read(UUID(str(flow_run_id)), tasks))


async def _read(flow_run_id: UUID, tasks: int) -> tuple[list[str], dict[str, Artifact]]:
    only = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    until = time.monotonic() + PATIENCE
    async with get_client() as client:
        found: list[TaskRun] = []
        while len(found) < tasks and time.monotonic() < until:
            found = await client.read_task_runs(flow_run_filter=only)
            await asyncio.sleep(0.1)
        keys = ArtifactFilter(key=ArtifactFilterKey(like_="%-%"))
        artifacts = await client.read_artifacts(artifact_filter=keys, flow_run_filter=only)
    return sorted(task.name for task in found), {artifact.key or "": artifact for artifact in artifacts}
