"""The process that runs statements, one at a time: it reads the published history and can do nothing else.

Started by `flows.gallery.sql.fenced` with a pipe, the lake and the limits. DuckDB is told to reach nothing, and the
kernel to let this process write no file and take only so much memory. It ends with its parent, or when memory ran out.
"""

import gc
import json
import os
import resource
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb
import pyarrow as pa

from flows.errors import UserError
from flows.gallery.sql.asking import Answer, Form, Limits, Question, Refused, encode_refusal
from flows.gallery.sql.results import render
from storage.errors import LakeError
from storage.fence import Allowance
from storage.lake import Lake
from storage.query import Shown, asking

READY = b"ready"
MEMORY_SPENT = "the statement needs more memory than the {} MB that it may have; select fewer rows or columns"
OUT_OF_REACH = (
    "a statement reads the tables of this lake alone; files, the network and other databases are out of reach"
)
LOCKED = "a statement cannot change settings, which are locked"
WRITING = "the history can only be read; this statement would change something"


class MemorySpent(Exception):
    """Memory ran out: what this process would answer next is not to be relied on."""


def main(words: list[str]) -> None:
    """Answer until the other side of the pipe is closed: `FD LAKE LIMITS`."""
    pipe, lake, limits = Connection(int(words[0])), Lake.open(Path(words[1])), Limits(**json.loads(words[2]))
    shown = Shown(lake, Allowance(memory_mb=limits.memory_mb, threads=limits.threads))
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    _warm_up(lake, shown, limits)
    _limit(limits)
    pipe.send_bytes(READY)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what a crash prints is told by the parent, in its words
    try:
        while True:
            _serve(pipe, lake, shown, limits)
    except (EOFError, MemorySpent):
        return


def _serve(pipe: "Connection[bytes, bytes]", lake: Lake, shown: Shown, limits: Limits) -> None:
    question = Question.decode(pipe.recv_bytes())
    try:
        answer = _answer(lake, shown, question, limits)
    except MemorySpent:
        pipe.send_bytes(encode_refusal(MEMORY_SPENT.format(limits.memory_mb), is_last=True))
        pipe.send_bytes(b"")
        raise
    except (UserError, LakeError) as error:
        pipe.send_bytes(encode_refusal(str(error)))
        pipe.send_bytes(b"")
    else:
        pipe.send_bytes(answer.encode_head())
        pipe.send_bytes(answer.body)


def _answer(lake: Lake, shown: Shown, question: Question, limits: Limits) -> Answer:
    """The result of a statement; Refused with our words where DuckDB's are not clear."""
    if len(question.sql) > limits.characters:
        raise Refused(f"a statement has at most {limits.characters:,} characters; this one has {len(question.sql):,}")
    since = time.perf_counter()
    with shown.connection() as connection:
        try:
            with asking(connection, lake, question.sql, at=question.at) as found:
                names, types = tuple(found.columns), tuple(str(kind) for kind in found.types)
                body, rows, cut = render(found, question.form, limits)
        except LakeError as error:
            _explain(error.__cause__)
            raise
        except (MemoryError, pa.ArrowException, OSError) as error:
            _explain(error)
            raise Refused(" ".join(str(error).split())) from error
    seconds = time.perf_counter() - since
    return Answer(form=question.form, names=names, types=types, rows=rows, cut=cut, seconds=seconds, body=body)


def _explain(cause: BaseException | None) -> None:
    """Say in our words what went wrong, where we have some; results that come in parts have errors as text."""
    said = str(cause)
    if isinstance(cause, (MemoryError, duckdb.OutOfMemoryException)) or "Out of Memory Error" in said:
        raise MemorySpent from cause
    if isinstance(cause, duckdb.PermissionException) or "Permission Error" in said:
        raise Refused(OUT_OF_REACH) from cause
    if "configuration has been locked" in said:
        raise Refused(LOCKED) from cause
    if "read-only mode" in said:
        raise Refused(WRITING) from cause


def _warm_up(lake: Lake, shown: Shown, limits: Limits) -> None:
    """Load what a first statement would load; a history that is not there yet is told of when it is asked."""
    for form in Form:
        try:
            _answer(lake, shown, Question(sql="SELECT 1 AS one, [now()] AS two", form=form), limits)
        except LakeError:
            return
    gc.freeze()


def _limit(limits: Limits) -> None:
    """Have the kernel see to it: no file is written, no memory taken beyond the limit."""
    lines = Path("/proc/self/status").read_text().splitlines()
    taken = next(int(line.split()[1]) for line in lines if line.startswith("VmData:")) << 10
    most = taken + (limits.process_mb << 20)
    for what, value in ((resource.RLIMIT_DATA, most), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(what, (value, value))


def _end_with(parent: int) -> None:
    """End as soon as the parent has, also in the midst of a statement."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
