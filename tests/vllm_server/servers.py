"""Servers of vLLM as child processes: started, waited for, killed, started again on the same port, and ended."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx

ENVIRONMENT = Path(__file__).parents[2] / ".venv-vllm"
MODELS = ENVIRONMENT / "models"
START_SECONDS = 600.0  # many times what a start takes; a server that ends is not waited for
LOOK_SECONDS = 0.5
SHOWN_BYTES = 6000
# Becomes a command that is killed when its parent ends (PR_SET_PDEATHSIG). A preexec_fn would fork, which Lance minds.
TIED = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"
CONTEXT = 2048  # tokens
DTYPE = "float32"  # 8 requests at a time took 14 s with it and 36 s in bfloat16, which many processors do not have

SWITCHES = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_SERVER_DEV_MODE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # Two servers share the cores with whoever asks them; a thread that waits for another brings nothing.
    "OMP_NUM_THREADS": "1",
    # What it finds out about a model's class takes seconds, and is kept.
    "VLLM_CACHE_ROOT": str(ENVIRONMENT / "cache"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A model and how it is served; `name` is that of its folder, too."""

    name: str
    seats: int
    """Requests that are answered at the same time."""
    options: tuple[str, ...] = ()


CHAT = Served(name="smollm2", seats=8)
# A model with random weights would write blanks between the parts of its JSON for ever.
VIEWER = Served(
    name="tiny-viewer",
    seats=4,
    options=("--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}'),
)


@dataclass(slots=True, kw_only=True)
class VllmServer:
    """One server on a port of 127.0.0.1 that stays its own, whether it is up or down."""

    served: Served
    log: Path
    port: int = field(default_factory=lambda: free_port())  # noqa: PLW0108  it stands below
    _child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Start it, and return at once."""
        assert self._child is None, "it is up"
        with self.log.open("ab") as log:
            self._child = _start(self.command(), log)

    def command(self) -> list[str]:
        return [
            str(ENVIRONMENT / "bin/python"), "-m", "vllm.entrypoints.openai.api_server",
            "--host", "127.0.0.1", "--port", str(self.port),
            "--model", str(MODELS / self.served.name), "--served-model-name", self.served.name,
            "--dtype", DTYPE, "--max-model-len", str(CONTEXT), "--max-num-seqs", str(self.served.seats),
            "--enforce-eager", "--generation-config", "vllm", *self.served.options,
        ]  # fmt: skip

    def wait_until_healthy(self) -> None:
        """Wait until it answers; the end of its log is shown when it ends before, or takes too long."""
        assert self._child is not None, "it is down"
        deadline = time.monotonic() + START_SECONDS
        while not self.is_healthy():
            code = self._child.poll()
            assert code is None, f"{self.served.name} ended with {code} at its start:\n{self.last_words()}"
            assert time.monotonic() < deadline, f"{self.served.name} is not up in time:\n{self.last_words()}"
            time.sleep(LOOK_SECONDS)

    def is_healthy(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=10, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def count_answers(self) -> int:
        """How many requests it has answered whole in this life, as it counts them itself."""
        page = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=60, trust_env=False).raise_for_status().text
        counts = [line for line in page.splitlines() if line.startswith("vllm:request_success_total{")]
        assert counts, "it counts no requests"
        whole = [line for line in counts if 'finished_reason="stop"' in line or 'finished_reason="length"' in line]
        return round(sum(float(line.rpartition(" ")[2]) for line in whole))

    def kill(self) -> None:
        """Kill all its processes, as a machine does that fails, and return when they have ended; none is no error."""
        child, self._child = self._child, None
        if child is None:
            return
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_bytes()[-SHOWN_BYTES:].decode(errors="replace") if self.log.exists() else ""


@contextmanager
def ended(*servers: VllmServer) -> Iterator[None]:
    """Kill servers in the end, also when whoever runs the tests is told to end."""

    def stop(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        for server in servers:
            server.kill()
        signal.signal(signal.SIGTERM, before)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """A child with a process group of its own; it dies with this process, however that ends."""
    return subprocess.Popen(
        [sys.executable, "-c", TIED, *command],
        env=os.environ | SWITCHES,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
