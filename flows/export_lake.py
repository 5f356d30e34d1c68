"""The flow `export_lake`: kept samples as files to train on. Holds only what Prefect loads."""

from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow
from pydantic import Field

from flows.export.asked import MEGABYTE, ExportOptions, Layout
from flows.tasks import export_samples, show_export
from flows.ui.names import name_export


@flow(name="export_lake", flow_run_name=name_export, retries=0)
def export_lake(
    *,
    lake: str = "./lake",
    out: str = "./export",
    format: Literal["parquet", "jsonl", "webdataset", "lance"] = "parquet",  # noqa: A002  as the command calls it
    layout: Layout | None = None,
    version: Annotated[int | None, Field(ge=1)] = None,
    size: Annotated[int | None, Field(ge=1)] = None,
    validation: Annotated[float, Field(ge=0, le=0.9)] = 0.0,
    order: Literal["even", "best"] = "even",
    under: str = "",
    licences: list[str] | None = None,
    least_score: Annotated[float | None, Field(ge=0, le=5)] = None,
    shard_mb: Annotated[int, Field(ge=1, le=100_000)] = 256,
) -> dict[str, Any]:
    """Write kept samples of a version as files to train on, with a card and a manifest of hashes.

    The same choices give the same bytes; a run that was stopped is gone on with by the next one. Returns what was
    written.

    Args:
        lake: Folder of the lake, as the worker sees it.
        out: Folder to make, as the worker sees it; when the same export is there already, nothing is done.
        format: Files to make.
        layout: How a sample is laid out; empty: the usual one of the format.
        version: Version to export; empty: the newest.
        size: Samples at most; a smaller export is the beginning of a larger one.
        validation: Share held out, by whole topics.
        order: Which samples come first: dealt evenly over domains and topics, or those with the best scores.
        under: Only this domain, or 'Domain/Category'.
        licences: Only samples without other licences than these; empty: all.
        least_score: The least of each of the four mean scores; empty: any, unknown ones too.
        shard_mb: Size of a file.
    """
    options = ExportOptions(
        format=format,
        layout=layout,
        version=version,
        size=size,
        validation=validation,
        order=order,
        under=under,
        licences=tuple(licences or ()),
        least_score=least_score,
        shard_bytes=shard_mb * MEGABYTE,
    )
    done = export_samples(Path(lake), Path(out), options)
    show_export(done)
    return done.json()
