"""The flow `maintain_lake`: compaction, and retirement where it is asked for. Holds only what Prefect loads."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger
from pydantic import Field

from flows.maintaining import open_maintenance
from flows.tasks import compact_packages, index_table, optimize_table, retire_old, show_sizes
from flows.ui.names import name_maintain


@flow(name="maintain_lake", flow_run_name=name_maintain, retries=0)
def maintain_lake(
    *,
    lake: str = "./lake",
    least: Annotated[int, Field(ge=1, le=100_000)] = 64,
    retire_after_days: Annotated[float | None, Field(ge=0, le=36_500)] = None,
    lock_timeout: Annotated[float | None, Field(ge=0, le=86_400)] = None,
) -> dict[str, Any]:
    """Make a lake quick to read: small packages into compact folders, the table of turns into fewer files.

    Builds and readers go on meanwhile; versions, hashes and replay stay as they are. Returns what was done and what the
    lake weighed before and after.

    Args:
        lake: Folder of the lake, as the worker sees it.
        least: Packages that must have come together to be compacted.
        retire_after_days: Remove packages that were compacted, and LanceDB tags of versions that were committed, so
            many days ago; empty: keep all of them.
        lock_timeout: Seconds to wait for another process to leave the lake; empty: as the lake's settings say.
    """
    with open_maintenance(
        Path(lake), least=least, retire_after_days=retire_after_days, lock_timeout=lock_timeout
    ) as maintenance:
        maintenance.lift_format()
        for number in range(len(maintenance.groups)):
            compact_packages(maintenance, number, maintenance.label(number))
        retire_old(maintenance)  # before what loses its tag now, which somebody may have opened a moment ago
        optimize_table(maintenance)
        index_table(maintenance)
        done = maintenance.finish()
        get_run_logger().info("%d packages compacted into %d folders", done.compacted, done.folders)
        show_sizes(done)
        return asdict(done)
