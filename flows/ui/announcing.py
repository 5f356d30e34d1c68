"""Prefect events: each version that a flow commits, for automations to act on."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prefect.events import emit_event
from prefect.runtime import flow_run

from storage.packages import PackageDraft
from storage.records import DecisionRow
from storage.versions import Version
from storage.writing import LISTENER

EVENT = "lake.version.committed"

LOG = logging.getLogger("interlake")


@contextmanager
def announced_versions() -> Iterator[None]:
    """Send an event for each version that is committed within; nothing is sent outside of a flow run."""
    token = LISTENER.set(announce)
    try:
        yield
    finally:
        LISTENER.reset(token)


def announce(version: Version, run_id: str | None, drafts: Sequence[PackageDraft]) -> None:
    """Send the event of one version. One that cannot be sent is logged: the version is committed all the same."""
    try:
        if flow_run.id is not None:
            _emit(version, run_id, drafts)
    except Exception as error:
        LOG.warning("version %d is committed, and its event could not be sent: %s", version.number, error)


def _emit(version: Version, run_id: str | None, drafts: Sequence[PackageDraft]) -> None:
    rows = [row for draft in drafts for row in draft.rows]
    outcomes = Counter(row.outcome for row in rows if isinstance(row, DecisionRow) and row.turn is None)
    emit_event(
        EVENT,
        resource={
            "prefect.resource.id": f"interlake.version.{version.sha256}",
            "prefect.resource.name": f"version {version.number}",
        },
        payload={
            "version": version.number,
            "sha256": version.sha256,
            "run_id": run_id,
            "rows": dict(Counter(row.table for row in rows)),
            "outcomes": dict(outcomes),
        },
    )
