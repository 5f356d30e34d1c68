"""The slow server in a process of its own, and what it tells of its calls."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from urllib.request import Request, urlopen

from tests.benchmarks.pipeline.traffic import Call

PATIENCE = 120


class Served:
    """A slow server while it is entered; `mean` seconds a call, `content` the share of critics with nothing to add.

    `places` is how many calls it works on at a time."""

    def __init__(self, *, mean: float, content: float, places: int = 4096) -> None:
        self.mean = mean
        self.content = content
        self.places = places
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Served":
        command = [sys.executable, "-m", "tests.benchmarks.pipeline.slow_server"]
        command += ["--mean", str(self.mean), "--content", str(self.content), "--places", str(self.places)]
        self._process = subprocess.Popen(command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the slow server did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def reset(self, *, mean: float | None = None, content: float | None = None) -> None:
        """Have it forget its calls, and behave in another way from now on."""
        self.mean = self.mean if mean is None else mean
        self.content = self.content if content is None else content
        self._ask(f"/reset?mean={self.mean}&content={self.content}", method="POST")

    def calls(self) -> list[Call]:
        """All calls since the last reset."""
        return [Call.of(cells) for cells in json.loads(self._ask("/log"))]

    def cpu(self) -> float:
        """Seconds of processor time that it has taken so far."""
        assert self._process is not None
        cells = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(cells[11]) + int(cells[12])) / os.sysconf("SC_CLK_TCK")

    def _ask(self, target: str, *, method: str = "GET") -> bytes:
        request = Request(self.url.removesuffix("/v1") + target, method=method, data=b"" if method == "POST" else None)
        with urlopen(request, timeout=PATIENCE) as response:
            body: bytes = response.read()
        return body
