"""The kernel's lock on a file: freed when its holder dies, and telling those who wait who holds it."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from storage.errors import LakeBusy

POLL_SECONDS = 0.05


@contextmanager
def hold(path: Path, *, purpose: str, timeout: float) -> Iterator[None]:
    """Hold an exclusive lock; LakeBusy names the holder when it is not free within `timeout` seconds."""
    with path.open("a+") as file:
        deadline = time.monotonic() + timeout
        while not _try_lock(file):
            if time.monotonic() >= deadline:
                raise LakeBusy(f"{path.parent} is held by {_holder(path)}; wait, or give a longer --lock-timeout")
            time.sleep(POLL_SECONDS)
        _sign(file, purpose)
        try:
            yield
        finally:
            file.truncate(0)


def is_held(path: Path) -> bool:
    """Whether a living process (a stopped one too) holds the lock on this file."""
    if not path.exists():
        return False
    with path.open("a+") as file:
        return not _try_lock(file)


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(file: IO[str], purpose: str) -> None:
    file.truncate(0)
    since = datetime.now(UTC).isoformat(timespec="seconds")
    json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since": since, "purpose": purpose}, file)
    file.flush()


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        return f"process {holder['pid']} on {holder['host']} ({holder['purpose']}) since {holder['since']}"
    except (OSError, ValueError, KeyError):
        return "another process"
