"""Asks a process of its own, kept warm and replaced when it had to be killed. Knows nothing of SQL."""

import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from dataclasses import asdict
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

from flows.gallery.sql.asking import Answer, LastRefused, Limits, Question, Refused, decode_answer

ROOT = Path(__file__).parents[3]
KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "SYSTEMROOT", "LD_LIBRARY_PATH")
"""What the process gets of our environment: no key, no password, no address."""
HEAD_BYTES = 1 << 20
ROOM = 8
"""Times as many bytes as a result may have in memory that it may have when it is written."""


class FencedSql:
    """Runs reading statements over a lake's published history, one at a time. Threads may share it."""

    def __init__(self, lake_path: Path, limits: Limits | None = None) -> None:
        self._path, self._limits = lake_path, limits or Limits()
        self._turn = threading.Lock()
        self._worker: _Worker | None = None

    def __enter__(self) -> "FencedSql":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def limits(self) -> Limits:
        return self._limits

    def start(self) -> None:
        """Have the process get ready, without waiting for it, or for whoever asks it something just now."""
        if not self._turn.acquire(blocking=False):
            return
        try:
            self._present()
        finally:
            self._turn.release()

    def ask(self, question: Question, *, seconds: float | None = None) -> Answer:
        """The result of one statement; `seconds` in place of the limit. Refused when there is none."""
        limit = seconds or self._limits.seconds
        if not self._turn.acquire(timeout=self._limits.seconds):
            raise Refused("another statement is being run; ask again when it is done")
        try:
            return self._ask(question, limit)
        finally:
            self._turn.release()

    def _ask(self, question: Question, seconds: float) -> Answer:
        worker = self._present()
        try:
            worker.wait_ready(self._limits.start_seconds)
            head, body = worker.ask(question.encode(), seconds, most=self._limits.result_mb * ROOM << 20)
        except TimeoutError as error:
            self._replace()
            raise Refused(
                f"the statement was stopped after {seconds:g} s; filter, aggregate or LIMIT what it reads"
            ) from error
        except (EOFError, OSError) as error:
            how = worker.how_it_ended()
            self._replace()
            raise Refused(
                f"the statement broke the process that ran it ({how}), and nothing else; ask for less at once"
            ) from error
        try:
            return decode_answer(head, body)
        except LastRefused:
            self._replace()
            raise

    def _present(self) -> "_Worker":
        if self._worker is None or not self._worker.is_alive():
            self._end()
            self._worker = _Worker(self._path, self._limits)
        return self._worker

    def _replace(self) -> None:
        self._end()
        self._worker = _Worker(self._path, self._limits)

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    @property
    def pid(self) -> int | None:
        """The process that is there now, if any."""
        return self._worker.pid if self._worker else None

    def close(self) -> None:
        """End the process."""
        with self._turn:
            self._end()


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, lake: Path, limits: Limits) -> None:
        ours, theirs = Pipe()
        self._pipe: Connection[bytes, bytes] = ours
        self._is_ready = False
        words = [str(theirs.fileno()), str(lake.resolve()), json.dumps(asdict(limits))]
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flows.gallery.sql.worker", *words],
            cwd=ROOT,
            env={**environment, "PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        theirs.close()
        self.end = weakref.finalize(self, _end, self._process, ours)
        """Kills it, whatever it does; so does forgetting it."""

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait_ready(self, seconds: float) -> None:
        """TimeoutError when it does not get ready, EOFError when it cannot."""
        if not self._is_ready:
            self._hear(seconds, 64)
            self._is_ready = True

    def ask(self, question: bytes, seconds: float, *, most: int) -> tuple[bytes, bytes]:
        """The two parts of an answer; TimeoutError, EOFError when the process has died, OSError for too long a part."""
        self._pipe.send_bytes(question)
        return self._hear(seconds, HEAD_BYTES), self._hear(seconds, most)

    def _hear(self, seconds: float, most: int) -> bytes:
        if not self._pipe.poll(seconds):
            raise TimeoutError
        return self._pipe.recv_bytes(most)

    def how_it_ended(self) -> str:
        """The signal or the exit code that it ended by."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.poll()
        if code is None:
            return "it answered too much"
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _end(process: "subprocess.Popen[bytes]", pipe: "Connection[bytes, bytes]") -> None:
    process.kill()
    process.wait()
    pipe.close()
