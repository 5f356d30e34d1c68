"""A process to be killed: it works on a lake with the shipped stand-ins, and has an accident at a step that is named.

`python -m tests.faults.worker LAKE JOB [--at STEP] [--nth N] [--after N] [--then kill|stop|starve]`. It appends to the
log beside the lake, line by line and at once: `asked KEY` before a model answers, `committed NUMBER SHA256` once a
commit was reported. `--after N` counts steps only from the N-th committed version on.
"""

import argparse
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import storage.versions
from flows.asked import BuildOptions
from flows.opening import open_build
from flows.reembedding import open_reembedding
from flows.studio import Cast
from models.chat import ChatReply, ChatRequest
from models.drawing import Drawing, DrawRequest
from models.fakes import FakeChat, FakeEncoder, FakePainter
from storage.history import history_path, publish
from storage.lake import Lake
from storage.steps import EVENT, Step
from storage.turns_table import rebuild
from tests.flows.casts import maintain

OPTIONS = BuildOptions(new_topics=2, samples_per_topic=2, turns=1)


def starve() -> None:
    """From here on no file of this process may grow: every write fails, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


ACCIDENTS: dict[str, Callable[[], None]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "starve": starve,
}


def log_path(lake: Path) -> Path:
    return lake.with_name(f"{lake.name}.log")


class Ledger:
    """Notes what was asked and reported, so that it outlives the process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, line: str) -> None:
        os.write(self._file, f"{line}\n".encode())


class NotedChat(FakeChat):
    """Notes a request when it comes in, and answers it after a while."""

    def __init__(self, ledger: Ledger, latency: float) -> None:
        super().__init__(latency=latency)
        self._ledger = ledger

    async def chat(self, request: ChatRequest) -> ChatReply:
        self._ledger.write(f"asked {request.key()}")
        return await super().chat(request)


class NotedPainter(FakePainter):
    """The same for drawings."""

    def __init__(self, ledger: Ledger, latency: float) -> None:
        super().__init__(latency=latency)
        self._ledger = ledger

    async def draw(self, request: DrawRequest) -> Drawing:
        self._ledger.write(f"asked {request.key()}")
        return await super().draw(request)


@asynccontextmanager
async def studio(ledger: Ledger, latency: float) -> AsyncIterator[Cast]:
    """The stand-ins, all of whose requests are noted but those for vectors."""
    chat, painter = NotedChat(ledger, latency), NotedPainter(ledger, latency)
    yield Cast(writer=chat, critic=chat, painter=painter, viewer=FakeChat(), encoder=FakeEncoder())


@dataclass(slots=True)
class Accident:
    """Strikes when a step is reached for the n-th time, after so many committed versions."""

    step: Step
    nth: int
    after: int
    strike: Callable[[], None]
    committed: int = field(default=0)
    seen: int = field(default=0)

    def watch(self, event: str, arguments: tuple[object, ...]) -> None:
        if event != EVENT:
            return
        if self.committed >= self.after and arguments == (self.step.value,):
            self.seen += 1
            if self.seen == self.nth:
                self.strike()
        if arguments == (Step.COMMITTED.value,):
            self.committed += 1


def build(lake: Lake, ledger: Ledger, options: BuildOptions = OPTIONS, latency: float = 0.0) -> int:
    """Build as the flow does, and report every commit as the flow does; returns how many samples were to be made."""
    with open_build(lake.path, options, studio=lambda _: studio(ledger, latency)) as run:
        for number in range(len(run.batches)):
            run.make(number)
            version = run.commit(number).version
            ledger.write(f"committed {version.number} {version.sha256}")
        return len(run.plan.slots)


def build_on(lake: Lake, ledger: Ledger, options: BuildOptions, latency: float) -> None:
    """Build again and again, until no topic is left."""
    while build(lake, ledger, options, latency):
        pass


def rebuild_all(lake: Lake) -> None:
    with lake.lock(purpose="rebuild", timeout=20):
        rebuild(lake, lake.version())
    history_path(lake).unlink(missing_ok=True)
    publish(lake, lake.version())


def reembed(lake: Lake) -> None:
    """Move to the encoder of the settings, as the flow does."""
    with open_reembedding(lake.path) as move:
        if move is not None:
            for number in range(len(move.batches)):
                move.embed(number)
            move.settle()


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("lake", type=Path)
    parser.add_argument("job", choices=["build", "build-on", "maintain", "rebuild", "reembed"])
    parser.add_argument("--at", type=Step)
    parser.add_argument("--nth", type=int, default=1)
    parser.add_argument("--after", type=int, default=0)
    parser.add_argument("--then", choices=sorted(ACCIDENTS), default="kill")
    parser.add_argument("--topics", type=int, default=OPTIONS.new_topics)
    parser.add_argument("--latency", type=float, default=0.0)
    return parser.parse_args()


def main() -> None:
    asked = read_arguments()
    storage.versions.CHUNK = 4  # so that a small lake has chunks, too
    if asked.at:
        accident = Accident(asked.at, asked.nth, asked.after, ACCIDENTS[asked.then])
        sys.addaudithook(accident.watch)
    lake, ledger = Lake.open(asked.lake), Ledger(log_path(asked.lake))
    options = BuildOptions(new_topics=asked.topics, samples_per_topic=2, turns=1)
    jobs: dict[str, Callable[[], object]] = {
        "build": lambda: build(lake, ledger, options, asked.latency),
        "build-on": lambda: build_on(lake, ledger, options, asked.latency),
        "maintain": lambda: maintain(lake, days=0, index_from=1),
        "rebuild": lambda: rebuild_all(lake),
        "reembed": lambda: reembed(lake),
    }
    jobs[asked.job]()


if __name__ == "__main__":
    main()
