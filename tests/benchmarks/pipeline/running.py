"""A command run to its end, and what it and all that it started took of processor and memory."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS = 1.0
LIMIT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """Times are of `time.monotonic`. `cpu` is processor seconds, with those of ended children that were waited for.

    `largest` is the most bytes that one process had at any time, `together` those of all at a time, looked at once a
    second, shared ones counted once.
    """

    started: float
    ended: float
    cpu: float
    largest: int
    together: int
    told: str


def run(command: Sequence[str], *, told: Path, environment: Mapping[str, str], limit: float = LIMIT_SECONDS) -> Ran:
    """Run a command from the root of the repository; what it says goes to `told`.

    RuntimeError with its last words when it fails, or is ended since it took longer than `limit` seconds. Of our own
    environment it gets all but what is Prefect's.
    """
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    started = time.monotonic()
    with told.open("wb") as out:
        process = subprocess.Popen(
            command,
            env={**ours, **environment},
            cwd=Path(__file__).parents[3],
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        together = 0
        while True:
            together = max(together, sum(map(_own_bytes, _family(process.pid))))
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - started > limit:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(LOOK_SECONDS if time.monotonic() - started > LOOK_SECONDS else LOOK_SECONDS / 20)
        ended = time.monotonic()
        process.returncode = os.waitstatus_to_exitcode(status)
    words = told.read_text(errors="replace")
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {words[-3000:]}")
    return Ran(
        started=started,
        ended=ended,
        cpu=usage.ru_utime + usage.ru_stime,
        largest=usage.ru_maxrss * 1024,
        together=together,
        told=words,
    )


def _family(root: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            children.setdefault(_parent(place), []).append(int(place.name))
    found = [root]
    for each in found:
        found.extend(children.get(each, ()))
    return found


def _parent(place: Path) -> int:
    try:
        return int((place / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it ended meanwhile
        return 0


def _own_bytes(pid: int) -> int:
    """The bytes of a process in memory, its part of those that it shares with others."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it ended meanwhile
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0) * 1024
