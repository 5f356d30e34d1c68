"""A stack as tests see it: its commands, its processes, and what its server says."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter

from deploy.place import ROOT, Place
from deploy.processes import Process, marked
from models.identity import Json

PATIENCE = 240.0  # seconds that anything here may take, many times what it takes
LOOK_SECONDS = 0.25
T = TypeVar("T")

FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(look: Callable[[], T | None], what: str) -> T:
    """Look until there is something."""
    deadline = time.monotonic() + PATIENCE
    while (found := look()) is None:
        assert time.monotonic() < deadline, f"{what}: not after {PATIENCE} s"
        time.sleep(LOOK_SECONDS)
    return found


class FlowRun(BaseModel):
    """A flow run as the server tells of it."""

    id: str
    name: str
    state_type: str
    auto_scheduled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stack in a folder of its own."""

    state: Path
    port: int

    @property
    def place(self) -> Place:
        return Place(state=self.state, asked_port=self.port)

    def run(self, what: str) -> Said:
        """`python -m deploy.stack`, as the Makefile calls it."""
        environment = {
            **os.environ,
            "INTERLAKE_STATE": str(self.state),
            "INTERLAKE_PREFECT_PORT": str(self.port),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "deploy.stack", what],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE,
            check=False,
        )  # fmt: skip
        return Said(code=done.returncode, out=done.stdout, err=done.stderr)

    def command(self, what: str) -> str:
        said = self.run(what)
        assert said.code == 0, said
        return said.out

    def processes(self) -> list[Process]:
        """All that the stack started and that is still running, runs included."""
        mark = self.place.mark
        return marked(mark) if mark else []

    def ask(self, path: str, body: Json = None, *, method: str = "POST") -> httpx.Response:
        """What the server answers to whoever knows the secret."""
        user, _, password = self.place.secret.partition(":")

        def answer() -> httpx.Response | None:
            said = httpx.request(
                method, f"{self.place.api}{path}", json=body, auth=(user, password), timeout=60, trust_env=False
            )
            return None if said.status_code == 503 else said.raise_for_status()  # 503: SQLite is locked

        return wait_for(answer, f"an answer to {path}")

    def deployment_id(self, name: str) -> str:
        return str(self.ask(f"/deployments/name/{name}", method="GET").json()["id"])

    def limit_of(self, deployment_id: str) -> int | None:
        """How many runs of a deployment there may be at once."""
        limit = self.ask(f"/deployments/{deployment_id}", method="GET").json()["global_concurrency_limit"]
        return limit and int(limit["limit"])

    def schedule(self, deployment_id: str, seconds: int, parameters: Mapping[str, Json]) -> str:
        """Switch a schedule of so many seconds on; its path."""
        asked: Json = [{"active": True, "schedule": {"interval": seconds}, "parameters": dict(parameters)}]
        (made,) = self.ask(f"/deployments/{deployment_id}/schedules", asked).json()
        return f"/deployments/{deployment_id}/schedules/{made['id']}"

    def fire(self, deployment_id: str, parameters: Mapping[str, Json]) -> str:
        """Ask for a run now; its id."""
        asked: Json = {"parameters": dict(parameters), "state": {"type": "SCHEDULED"}}
        return str(self.ask(f"/deployments/{deployment_id}/create_flow_run", asked).json()["id"])

    def flow_runs(self, deployment_id: str) -> list[FlowRun]:
        asked: Json = {"deployments": {"id": {"any_": [deployment_id]}}}
        return TypeAdapter(list[FlowRun]).validate_json(self.ask("/flow_runs/filter", asked).content)

    def state_of(self, flow_run_id: str) -> str:
        return str(self.ask(f"/flow_runs/{flow_run_id}", method="GET").json()["state"]["type"])

    def final_state(self, flow_run_id: str) -> str:
        """How a run ends."""

        def look() -> str | None:
            state = self.state_of(flow_run_id)
            return state if state in FINAL else None

        return wait_for(look, f"the end of run {flow_run_id}")
