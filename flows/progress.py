"""How far a run is: one small file in the run's folder that the command line, `status` and others read."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from pathlib import Path

FILE = "progress.json"
WRITE_SECONDS = 0.25
OUTCOMES = ("kept", "rejected", "duplicate", "failed", "open")
LISTENER: ContextVar["Callable[[Progress], None] | None"] = ContextVar("LISTENER", default=None)
"""Who in this process is told of progress; set around a flow by whoever calls it and wants to watch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Counts of samples, batches and calls, and `seconds` since the start; `made` counts committed samples too.

    `waiting` names the models that give no answer at present.
    """

    run_id: str
    note: str
    planned: int
    batches: int
    made: int = 0
    committed_batches: int = 0
    kept: int = 0
    rejected: int = 0
    duplicate: int = 0
    failed: int = 0
    calls: int = 0
    seconds: float = 0.0
    waiting: str = ""

    @property
    def open(self) -> int:
        return self.planned - self.kept - self.rejected - self.duplicate - self.failed

    @property
    def calls_per_second(self) -> float:
        """Since the start; 0 in its first moment."""
        return self.calls / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """What the rest takes if it takes what the samples so far took; None while none is made. No promise."""
        if not self.planned or self.committed_batches == self.batches:
            return 0.0
        return self.seconds * (self.planned - self.made) / self.made if self.made else None

    def line(self) -> str:
        """One line for a person; what one looks for most stands first, for those who see its beginning alone."""
        return (
            f"{f'waiting for {self.waiting}; ' if self.waiting else ''}"
            f"made {self.made}/{self.planned}{self._left()}, {self.calls_per_second:.1f} calls a second; "
            f"committed {self.committed_batches}/{self.batches} batches: "
            f"{self.kept} kept, {self.rejected} rejected, {self.duplicate} duplicate, {self.failed} failed, "
            f"{self.open} open; {self.calls} calls in {self.seconds:.0f} s"
        )

    def _left(self) -> str:
        left = self.seconds_left
        if left is None:
            return ", time left not known yet"
        return f", about {duration(left)} left" if self.committed_batches < self.batches else ""


class ProgressBoard:
    """Keeps a run's progress and its file in step; safe to use from several threads."""

    def __init__(self, folder: Path, start: Progress) -> None:
        self._listener = LISTENER.get()
        self._path = folder / FILE
        self._since = time.monotonic()
        self._lock = threading.Lock()
        self._now = start
        self._write_at = 0.0
        self.add()

    @property
    def now(self) -> Progress:
        """What was counted so far, and the time that went since the start."""
        return replace(self._now, seconds=time.monotonic() - self._since)

    def add(self, **more: int) -> None:
        """Add to counts by name. The file follows a few times a second, and at once when a batch is committed."""
        with self._lock:
            grown = {name: getattr(self._now, name) + count for name, count in more.items()}
            self._now = replace(self._now, seconds=time.monotonic() - self._since, **grown)
            is_due = self._now.seconds >= self._write_at or "committed_batches" in more
        if is_due:
            with suppress(OSError):  # a full disk or a closed terminal is no reason to lose work
                self._show()

    def wait_for(self, models: tuple[str, ...]) -> None:
        """Say which models give no answer; none when all do."""
        with self._lock:
            self._now = replace(self._now, seconds=time.monotonic() - self._since, waiting=", ".join(models))
        with suppress(OSError):
            self._show()

    def _show(self) -> None:
        with self._lock:
            self._write_at = self._now.seconds + WRITE_SECONDS
            temporary = self._path.with_suffix(".part")
            temporary.write_text(json.dumps(asdict(self._now)))
            temporary.replace(self._path)
        if self._listener:
            self._listener(self._now)


def duration(seconds: float) -> str:
    """A time as a person says it: `40 s`, `3 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def read_progress(folder: Path) -> Progress | None:
    """The progress of the run in this folder, None when it has none yet or one that another interlake wrote."""
    try:
        return Progress(**json.loads((folder / FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None
