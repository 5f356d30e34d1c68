"""A program that is told and answers JSON objects, a line each; for one thread. Knows nothing of what they say."""

import json
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import IO

from models.identity import Json

LOOK_SECONDS = 0.1  # how often one who waits for an answer looks whether it is still wanted
END_SECONDS = 5.0  # that a program which says nothing more is given to be gone
LONGEST_LINE = 1 << 26  # bytes of an answer
LAST_WORDS = 4096  # bytes of stderr that are looked at when it is gone
LONGEST_QUOTE = 300


class GoneError(Exception):
    """The program ended, or said what is no answer; the message says how, with its last words."""


class UnwantedError(Exception):
    """Nobody waits for the answer any more."""


class ChildProcess:
    """A running program, in a process group of its own. It ends by `end`, and when we die if it heeds the end of stdin.

    OSError when it cannot be started. What it writes to stderr goes to a file that is gone with it; the last line is
    told when it ends. All of it is for one thread.
    """

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        try:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        except BaseException:
            self._errors.close()
            raise
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin: IO[bytes] = self._process.stdin
        self._stdout: IO[bytes] = self._process.stdout
        self._read = b""

    def tell(self, order: Mapping[str, Json]) -> None:
        """Write one line; GoneError when the program is no more."""
        try:
            self._stdin.write(json.dumps(order).encode() + b"\n")
            self._stdin.flush()
        except OSError as error:
            raise self._gone() from error

    def hear(self, unwanted: Event) -> dict[str, Json]:
        """The next answer, however long it takes; GoneError when there is none, UnwantedError once that is set."""
        line = self._read_line(unwanted)
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            self.end()
            raise GoneError(f"it said what is no answer: {_quote(line)}")
        return answer

    def end(self) -> None:
        """Kill the program and all that it started, and let go of all that belonged to it; safe to call again."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for file in (self._stdin, self._stdout, self._errors):
            with suppress(OSError):  # what was written last may not have been read
                file.close()

    def _read_line(self, unwanted: Event) -> bytes:
        said = select.poll()  # unlike select(), it takes descriptors of any number
        said.register(self._stdout, select.POLLIN)
        while b"\n" not in self._read:
            ready = said.poll(1000 * LOOK_SECONDS)
            if unwanted.is_set():
                raise UnwantedError
            if not ready:
                continue
            more = os.read(self._stdout.fileno(), 1 << 16)
            if not more:
                raise self._gone()
            self._read += more
            if len(self._read) > LONGEST_LINE:
                self.end()
                raise GoneError(f"it said more than {LONGEST_LINE} bytes on one line")
        line, _, self._read = self._read.partition(b"\n")
        return line

    def _gone(self) -> GoneError:
        """How the program ended; it may still be about to."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        words = self._last_words()
        self.end()
        status = self._process.returncode
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        return GoneError(f"it ended {how}" + (f": {words}" if words else ""))

    def _last_words(self) -> str:
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - LAST_WORDS))
        lines = [line for line in self._errors.read().splitlines() if line.strip()]
        return _quote(lines[-1]) if lines else ""


def _quote(words: bytes) -> str:
    """On one line, shortened, printable."""
    text = "".join(c if c.isprintable() else " " for c in words.decode(errors="replace"))
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…"
