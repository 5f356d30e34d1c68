"""The command `interlake` with a thread beside it that looks every 5 ms at what the other threads are doing.

`python -m tests.benchmarks.pipeline.sampled OUT.json build --lake …` counts by thread what was at work, and writes
it as JSON. A frame counts for the nearest of its callers, itself first, that one of GROUPS knows: so `json` called to
read a reply counts for the reading of replies. What stands for `asyncio` is told by function: `events._run` is where a
task's own code in C is at work, a parser or a future for instance.
"""

import sys
import threading
from collections import Counter, defaultdict
from pathlib import Path
from types import FrameType

import orjson

EVERY = 0.005
IDLE = "waits"
ASYNCIO = "asyncio"
GROUPS = (
    ("/selectors.py", IDLE),
    ("/queue.py", IDLE),
    ("/concurrent/futures/thread.py", IDLE),
    ("/flows/seir/prompts.py", "prompts"),
    ("/flows/seir/replies.py", "replies read, pydantic among it"),
    ("/flows/seir/checks.py", "checks of the loop"),
    ("/flows/seir/", "the loop"),
    ("/flows/tape.py", "tape and spool"),
    ("/storage/spool.py", "tape and spool"),
    ("/storage/canonical.py", "canonical JSON and hashes"),
    ("/storage/calls.py", "canonical JSON and hashes"),
    ("/models/identity.py", "canonical JSON and hashes"),
    ("/flows/recorder.py", "recorder"),
    ("/flows/hearing.py", "recorder"),
    ("/flows/engine.py", "engine and gate"),
    ("/flows/intake.py", "engine and gate"),
    ("/flows/absences.py", "engine and gate"),
    ("/flows/cards.py", "engine and gate"),
    ("/flows/run.py", "run: counts, progress, budget"),
    ("/flows/budget.py", "run: counts, progress, budget"),
    ("/flows/progress.py", "run: counts, progress, budget"),
    ("/models/server_", "server adapter"),
    ("/models/secret.py", "server adapter"),
    ("/models/chat.py", "chat request and its canonical form"),
    ("/models/fakes.py", "stand-ins: pictures and vectors"),
    ("/models/picture.py", "stand-ins: pictures and vectors"),
    ("/models/", "other models"),
    ("/aiohttp/", "aiohttp"),
    ("/yarl/", "aiohttp"),
    ("/httpx/", "httpx"),
    ("/httpcore/", "httpcore"),
    ("/h11/", "h11"),
    ("/anyio/", "anyio"),
    ("/prefect/", "Prefect"),
    ("/flows/commit.py", "commit"),
    ("/flows/packing.py", "commit"),
    ("/flows/deciding.py", "commit"),
    ("/dedup/", "commit"),
    ("/storage/", "commit"),
    ("/flows/", "other flows"),
    ("/asyncio/", ASYNCIO),
    ("/threading.py", IDLE),
)
ENGINE = "interlake-engine"


class Sampler(threading.Thread):
    """Counts what threads are doing until it is stopped; the thread that samples leaves itself out."""

    def __init__(self) -> None:
        super().__init__(name="sampler", daemon=True)
        self._over = threading.Event()
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)

    def run(self) -> None:
        while not self._over.wait(EVERY):
            names = {thread.ident: thread.name for thread in threading.enumerate()}
            for ident, frame in sys._current_frames().items():
                if ident != self.ident:
                    self.counts[kind_of(names.get(ident, "?"))][group_of(frame)] += 1

    def stop(self) -> None:
        self._over.set()
        self.join()


def group_of(frame: FrameType | None) -> str:
    """What a thread does that is in this frame."""
    while frame is not None:
        name = frame.f_code.co_filename
        for part, group in GROUPS:
            if part in name:
                return f"{group}, {Path(name).stem}.{frame.f_code.co_name}" if group == ASYNCIO else group
        frame = frame.f_back
    return "other"


def kind_of(thread: str) -> str:
    """The threads of a pool count as one."""
    if thread in {ENGINE, "MainThread"}:
        return thread
    if thread.startswith("asyncio"):
        return "engine's pool: pictures looked at, spools synced"
    return "Prefect's pool: batches packed and committed, and its own work"


def main() -> None:
    from flows.cli.main import main as interlake

    out = Path(sys.argv[1])
    sys.argv = ["interlake", *sys.argv[2:]]
    sampler = Sampler()
    sampler.start()
    try:
        interlake()
    finally:
        sampler.stop()
        out.write_bytes(orjson.dumps({thread: dict(counts) for thread, counts in sampler.counts.items()}))


if __name__ == "__main__":
    main()
