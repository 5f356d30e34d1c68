"""The kernel's lock on a file: freed when its holder dies, and telling those who wait who holds it."""

import fcntl
import json
import logging
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
PROBE_SECONDS = 0.2
"""How long a lock may seem taken although somebody merely looked whether it is."""
TELL_AFTER_SECONDS = 1.0
TELL_EVERY_SECONDS = 30.0

LOG = logging.getLogger("interlake")


@contextmanager
def hold(path: Path, *, purpose: str, timeout: float) -> Iterator[None]:
    """Hold an exclusive lock; LakeBusy names the holder when it is not free within `timeout` seconds.

    With a timeout of 0 it still tries for PROBE_SECONDS, so that nobody who looks stands in the way. Who waits longer
    than TELL_AFTER_SECONDS says for whom, as a warning of the logger `interlake`, and again every TELL_EVERY_SECONDS.
    """
    with path.open("a+") as file:
        _wait_for(file, path, timeout)
        _sign(file, purpose)
        try:
            yield
        finally:
            file.truncate(0)


def is_held(path: Path) -> bool:
    """Whether a living process (a stopped one too) holds the lock on this file. Writes nothing; probes are shared."""
    try:
        with path.open() as file:
            return not _try_lock(file, fcntl.LOCK_SH)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _wait_for(file: IO[str], path: Path, timeout: float) -> None:
    """Lock the file. The wall clock has no say in how long that is tried."""
    since = time.monotonic()
    deadline, tell_at = since + max(timeout, PROBE_SECONDS), since + TELL_AFTER_SECONDS
    while not _try_lock(file):
        now = time.monotonic()
        if now >= deadline:
            raise LakeBusy(f"{path.parent} is held by {_holder(path)}; wait, or give a longer --lock-timeout")
        if now >= tell_at:
            LOG.warning("%s is held by %s; waiting up to %.0f s more", path.parent, _holder(path), deadline - now)
            tell_at = now + TELL_EVERY_SECONDS
        time.sleep(POLL_SECONDS)


def _try_lock(file: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
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
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
