"""Processes that outlive the command that started them, known again for certain. Knows nothing of Prefect.

A process is known by its number, its start and the boot of the machine; what it started in its turn is known by a mark
in the environment that it inherited. Signals go through a pidfd, so that none can reach a process that came later to
the same number. Needs the /proc of Linux.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

MARK = "INTERLAKE_STACK"
_PROC = Path("/proc")
_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process; `started` in clock ticks since the boot."""

    pid: int
    started: int
    boot: str


def identify(pid: int) -> Process | None:
    """The process that has this number now; none when it has ended, waited for or not."""
    try:
        state, started = _read_stat(pid)
    except OSError:
        return None
    return None if state in "ZX" else Process(pid=pid, started=started, boot=_boot())


def _read_stat(pid: int) -> tuple[str, int]:
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[19])


def _boot() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def is_running(process: Process) -> bool:
    return identify(process.pid) == process


def start(command: Sequence[str], *, folder: Path, environment: Mapping[str, str], log: Path) -> Process:
    """Start a command that goes on when this one has ended: a session of its own, output appended to `log`."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = identify(child.pid)
    child.returncode = 0  # nobody here waits for it, and that is no oversight to be warned of
    return started or Process(pid=child.pid, started=-1, boot="")


def remember(file: Path, process: Process) -> None:
    """Write down a process, all of it or nothing."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(json.dumps(asdict(process)))
    new.replace(file)


def recall(file: Path) -> Process | None:
    """The process that was written down, if it is still running. Another one under its number is not it."""
    try:
        process = Process(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return process if is_running(process) else None


def marked(mark: str) -> list[Process]:
    """All processes of this user that inherited the mark, oldest first."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in _PROC.iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with suppress(OSError):
            process = identify(int(folder.name))
            if process and wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(process)
    return sorted(found, key=lambda process: (process.started, process.pid))


def end(processes: Iterable[Process], *, patience: float) -> None:
    """End processes: asked to at first, killed after so many seconds."""
    waiting = list(processes)
    _signal(waiting, signal.SIGTERM)
    if waiting := _running_after(waiting, patience):
        _signal(waiting, signal.SIGKILL)
        _running_after(waiting, patience)


def _signal(processes: Iterable[Process], which: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError), _held(process) as handle:
            if is_running(process):
                signal.pidfd_send_signal(handle, which)


@contextmanager
def _held(process: Process) -> Iterator[int]:
    handle = os.pidfd_open(process.pid)
    try:
        yield handle
    finally:
        os.close(handle)


def _running_after(processes: Sequence[Process], seconds: float) -> list[Process]:
    deadline = time.monotonic() + seconds
    while (left := [process for process in processes if is_running(process)]) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    return left
