"""The processes of the benchmark: the gallery as its command serves it, and one that commits as a build does."""

import http.client
import re
import subprocess
import sys
import time
import uuid
from contextlib import closing, suppress
from html import unescape
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from types import TracebackType
from typing import Protocol

from flows.commit import Committer
from flows.run import PUBLISH_SHARE
from storage.history import publish
from storage.lake import Lake
from storage.writing import writing
from tests.benchmarks.growing import claim_package
from tests.benchmarks.synthetic import BATCH, Synthesis, open_workshop

COMMAND = "from flows.cli.main import main; main()"
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/")
PAUSE = 0.5
"""Seconds between batches: a hundred samples a second or so."""
RUN_BATCHES = 40
WAITS = 400


class Counted(Protocol):
    """A number that two processes share."""

    value: int


class Served:
    """A gallery in a process of its own; `started` is how many seconds it took to its first page."""

    def __init__(self, path: Path) -> None:
        since = time.perf_counter()
        words = [sys.executable, "-c", COMMAND, "gallery", "--lake", str(path), "--port", "0"]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None, "it was asked for"
        found = next((ADDRESS.search(line) for line in self._process.stdout if ADDRESS.search(line)), None)
        if found is None:
            raise RuntimeError("the gallery has not said where it is; its error is above")
        self._port = int(found[1])
        try:
            self._wait()
        except BaseException:
            self.close()
            raise
        self.started = time.perf_counter() - since

    def __enter__(self) -> "Served":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def _wait(self) -> None:
        """Until it answers: it says where it is a moment before."""
        for _ in range(WAITS):
            with suppress(ConnectionRefusedError):
                self.get("/")
                return
            time.sleep(0.05)
        raise RuntimeError("the gallery does not answer")

    def ask(self, address: str) -> tuple[int, bytes]:
        """The status and body of an answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)) as connection:
            connection.request("GET", address)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def get(self, address: str) -> str:
        """A page; RuntimeError for any other answer."""
        status, body = self.ask(address)
        if status != 200:
            raise RuntimeError(f"{address} was answered with {status}: {body[:300]!r}")
        return body.decode("utf-8", "replace")

    def time(self, address: str) -> float:
        """Seconds for a page."""
        since = time.perf_counter()
        self.get(address)
        return time.perf_counter() - since

    def next_page(self, address: str) -> str | None:
        """The address of the page after one."""
        tags = re.findall(r"<a\b[^>]*>", self.get(address))
        return next((_href(tag) for tag in tags if re.search(r'rel="next"', tag)), None)

    def picture(self, address: str) -> str:
        """The address of the first small picture on a page."""
        found = re.search(r'src="(/thumbnail/[0-9a-f]{64})"', self.get(address))
        assert found, "the grid shows pictures"
        return found[1]

    def version(self) -> int:
        """The version that the pages show."""
        found = re.search(r"version (\d+) of the lake", self.get("/"))
        return int(found[1]) if found else 0

    def paths(self) -> set[str]:
        """The pages that the navigation names."""
        return set(re.findall(r'<a href="(/[a-z]*)"', self.get("/")))

    def has(self, address: str, there: set[str]) -> bool:
        """Whether a page is among those, or belongs to one that always is."""
        path = address.partition("?")[0]
        return path in there or path.count("/") > 1

    def memory(self) -> tuple[int, int]:
        """Bytes that the process and all that it started took at their highest."""
        children = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        pids = {int(pid) for file in children for pid in file.read_text().split()}
        return peak(self._process.pid), sum(peak(pid) for pid in pids)


def _href(tag: str) -> str:
    found = re.search(r'href="([^"]*)"', tag)
    return unescape(found[1]) if found else "/"


def peak(pid: int) -> int:
    """Bytes in memory at most, of a process that is there."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


class Building:
    """Commits batches to a lake in a process of its own, for as long as the block takes; nothing without a lake."""

    def __init__(self, path: Path | None, *, start: int, dims: int) -> None:
        context = get_context("spawn")
        self._is_done, self._is_under_way = context.Event(), context.Event()
        self._count = context.Value("q", 0)
        values = {"is_done": self._is_done, "is_under_way": self._is_under_way, "count": self._count}
        words = (path, start, dims)
        self._process = context.Process(target=_build, args=words, kwargs=values) if path else None

    def __enter__(self) -> "Building":
        if self._process:
            self._process.start()
            while not self._is_under_way.wait(1.0):
                if not self._process.is_alive():
                    raise RuntimeError("the process that builds has died; its error is above")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_done.set()
        if self._process:
            self._process.join()

    def committed(self) -> int:
        """How many samples were committed so far."""
        return int(self._count.value)


def _build(path: Path, start: int, dims: int, *, is_done: Event, is_under_way: Event, count: Counted) -> None:
    """Claim slots, then commit them in batches and publish, as seldom as a run does."""
    lake = Lake.open(path)
    shop = open_workshop(lake, uuid.uuid4().hex)
    synthesis, committer = Synthesis(run_id=shop.run_id, dims=dims), Committer(shop)
    committer.catch_up()
    publish_again = 0.0
    first = start
    while not is_done.is_set():
        if (first - start) % (RUN_BATCHES * BATCH) == 0:
            slots = [synthesis.slot(number) for number in range(first, first + RUN_BATCHES * BATCH)]
            with writing(lake, purpose="bench", timeout=60) as writer:
                writer.commit([claim_package(shop, slots)], run_id=shop.run_id)
        committer.commit(synthesis.batch(range(first, first + BATCH)))
        first += BATCH
        count.value = first - start
        since = time.monotonic()
        if since >= publish_again:
            publish(lake, lake.version())
            publish_again = time.monotonic() + PUBLISH_SHARE * (time.monotonic() - since)
        is_under_way.set()
        is_done.wait(PAUSE)
