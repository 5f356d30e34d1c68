"""Names of flow runs that tell what is done, and how much of it, from the parameters that a run was given."""

from collections.abc import Mapping
from typing import Any

from prefect.runtime import flow_run

MOST = 3


def name_rerun() -> str:
    return rerun_name(flow_run.parameters)


def name_rethreshold() -> str:
    return rethreshold_name(flow_run.parameters)


def name_maintain() -> str:
    return maintain_name(flow_run.parameters)


def name_export() -> str:
    return export_name(flow_run.parameters)


def name_replay() -> str:
    return replay_name(flow_run.parameters)


def rerun_name(given: Mapping[str, Any]) -> str:
    """`rerun slots with topics barn owls, outcomes kept in LAKE, then retire old samples`."""
    chosen = [f"{name} {_some(given[name])}" for name in ("samples", "topics", "runs", "outcomes") if given[name]]
    which = f"slots with {', '.join(chosen)}" if chosen else "all slots"
    return f"rerun {which} in {given['lake']}{', then retire old samples' if given['retire'] else ''}"


def rethreshold_name(given: Mapping[str, Any]) -> str:
    """`rethreshold LAKE to image 0.97, policy image`."""
    asked = [f"{name} {given[name]}" for name in ("image", "text", "policy") if given[name] is not None]
    return f"rethreshold {given['lake']} to {', '.join(asked) or 'its settings'}"


def maintain_name(given: Mapping[str, Any]) -> str:
    """`maintain LAKE, retire after 7 days`."""
    days = given["retire_after_days"]
    return f"maintain {given['lake']}" + (f", retire after {days:g} days" if days is not None else "")


def export_name(given: Mapping[str, Any]) -> str:
    """`export 25000 samples of LAKE at version 12 as parquet`."""
    size = f"{given['size']} samples" if given["size"] is not None else "all samples"
    at = f" at version {given['version']}" if given["version"] is not None else ""
    return f"export {size} of {given['lake']}{at} as {given['format']}"


def replay_name(given: Mapping[str, Any]) -> str:
    """`replay LAKE after version 3 up to 12, sample 12ab`."""
    said = {"since": " after version {}", "version": " up to version {}", "run": ", run {}", "sample": ", sample {}"}
    return f"replay {given['lake']}" + "".join(
        how.format(given[name]) for name, how in said.items() if given[name] is not None
    )


def _some(values: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(values) - MOST} more" if len(values) > MOST else ""
    return ", ".join(values[:MOST]) + more
