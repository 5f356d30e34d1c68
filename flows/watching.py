"""Following a run from outside of its process: how far it is while it lives, and what it came to. Writes nothing."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from flows.progress import OUTCOMES, Progress, read_progress
from storage.errors import NoSuchThing
from storage.lake import Lake
from storage.query import query
from storage.records import RunStartRow
from storage.slots import is_alive

LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """What a run came to. `state` is `died` for one that could not say how it ended, `running` for one that lives."""

    run_id: str
    kind: str
    state: str
    reason: str | None
    planned: int
    kept: int
    rejected: int
    duplicate: int
    failed: int
    open: int

    def line(self) -> str:
        """One line for a person."""
        counts = ", ".join(f"{getattr(self, name)} {name}" for name in ("planned", *OUTCOMES))
        why = f"; {self.reason}" if self.reason else ""
        return f"run {self.run_id[:8]} ({self.kind}) {self.state}: {counts}{why}"


def find_run(lake: Lake, prefix: str | None) -> str | None:
    """The run whose id begins like this; without `prefix` the living one that began last, else the last one.

    None where no run ever began; NoSuchThing when no id begins like this, or more than one.
    """
    run_ids = [row.run_id for row in lake.rows(RunStartRow, lake.version())]
    if prefix is None:
        return next(
            (run_id for run_id in reversed(run_ids) if is_alive(lake, run_id)), run_ids[-1] if run_ids else None
        )
    found = [run_id for run_id in run_ids if prefix and run_id.startswith(prefix)]
    if not found:
        raise NoSuchThing(f'no run\'s id begins with {prefix!r}; try: interlake sql "SELECT run_id, kind FROM runs"')
    if len(found) > 1:
        raise NoSuchThing(f"{len(found)} runs' ids begin with {prefix}; give more digits")
    return found[0]


def follow(
    lake: Lake, run_id: str, *, every: float = LOOK_SECONDS, until: threading.Event | None = None
) -> Iterator[Progress]:
    """Each change of a run's progress, looked for so often in seconds, for as long as the run lives and `until` is not
    set."""
    until = until or threading.Event()
    shown = None
    while not until.is_set() and is_alive(lake, run_id):
        now = read_progress(lake.runs / run_id)
        if now and now != shown:
            yield now
            shown = now
        until.wait(every)


def read_outcome(lake: Lake, run_id: str) -> RunOutcome:
    """What became of a run, as of now."""
    columns = ", ".join(("run_id", "kind", "state", "reason", "planned", *OUTCOMES))
    (row,) = query(lake, f"SELECT {columns} FROM runs WHERE run_id = '{run_id}'").to_dicts()
    if row["state"] == "running" and not is_alive(lake, run_id):
        row["state"] = "died"
    return RunOutcome(**row)
