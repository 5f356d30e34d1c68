"""The progress of a run in the Prefect UI, brought up to date every few seconds for as long as it is at work."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.progress import Progress
from flows.run import Run

KEY = "build-progress"
EVERY_SECONDS, RARELY_SECONDS = 2.0, 30.0
SHARE = 60
"""Each update is an event in Prefect's database: the next one waits for such a part of the time so far."""
LAST_SECONDS = 10.0
"""How long the end of a run waits for an update under way; a server that hangs does not hold it up for longer."""

LOG = logging.getLogger("interlake")


@contextmanager
def live_progress(run: Run, *, every: float = EVERY_SECONDS) -> Iterator[None]:
    """Show how far a run is while it is at work, and in the end how far it came. Not to be able to is no error."""
    bar = UIProgress(lambda: run.board.now)
    over = threading.Event()

    def follow() -> None:
        while not over.wait(max(every, min(RARELY_SECONDS, run.board.now.seconds / SHARE))):
            bar.show()

    context = copy_context()  # Prefect's settings and the flow's run are in it
    teller = threading.Thread(target=context.run, args=(follow,), name="interlake progress", daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join(LAST_SECONDS)
        if not teller.is_alive():
            bar.show()


class UIProgress:
    """One progress artifact; made at once, changed by `show` where there is something new. Errors are logged, once."""

    def __init__(self, look: Callable[[], Progress]) -> None:
        self._look = look
        self._artifact: UUID | None = None
        self._shown = ""
        self._has_warned = False
        self.show()

    def show(self) -> None:
        try:
            self._show(self._look())
        except Exception as error:
            if not self._has_warned:
                LOG.warning("the progress in the Prefect UI stands still: %s", error)
            self._has_warned = True

    def _show(self, now: Progress) -> None:
        line, percent = now.line(), 100 * now.made / max(1, now.planned)
        if self._artifact is None:
            made = create_progress_artifact(percent, key=KEY, description=line)
            self._artifact = made if isinstance(made, UUID) else None
        elif line != self._shown:
            update_progress_artifact(self._artifact, percent, description=line)
        self._shown = line
