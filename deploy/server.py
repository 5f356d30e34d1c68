"""What is asked of a running Prefect server, and told it, over its HTTP interface."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime

import httpx
from pydantic import BaseModel, TypeAdapter

from deploy.errors import StackError
from deploy.place import HEARTBEAT_SECONDS

POOL = "interlake"
ZOMBIES = "interlake: runs without a heartbeat are crashed"
_ANSWER_SECONDS = 30.0
_LOOK_SECONDS = 0.5
_TRIES = 20

# As in Prefect's documentation, "How to detect and respond to zombie flows".
AUTOMATION = {
    "name": ZOMBIES,
    "description": "A run whose process or machine died says nothing any more. The next build completes the lake.",
    "enabled": True,
    "trigger": {
        "type": "event",
        "posture": "Proactive",
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        "for_each": ["prefect.resource.id"],
        "after": ["prefect.flow-run.heartbeat"],
        "expect": [f"prefect.flow-run.{what}" for what in ("heartbeat", "Completed", "Failed", "Cancelled", "Crashed")],
        "threshold": 1,
        "within": 3 * HEARTBEAT_SECONDS,
    },
    "actions": [
        {
            "type": "change-flow-run-state",
            "state": "CRASHED",
            "message": f"No heartbeat for {3 * HEARTBEAT_SECONDS} seconds.",
        }
    ],
}


class Named(BaseModel):
    name: str


class Pool(Named):
    concurrency_limit: int | None = None


class SeenWorker(Named):
    status: str
    last_heartbeat_time: datetime | None = None


class Schedule(BaseModel):
    id: str
    slug: str | None = None
    active: bool


class Deployment(Named):
    id: str
    schedules: list[Schedule]

    def switches(self) -> dict[tuple[str, str], bool]:
        """By deployment and slug whether a schedule is on."""
        return {(self.name, schedule.slug): schedule.active for schedule in self.schedules if schedule.slug}


class Server:
    """A client for one server, with its secret."""

    def __init__(self, api: str, secret: str) -> None:
        user, _, password = secret.partition(":")
        self._http = httpx.Client(base_url=api, auth=(user, password), timeout=_ANSWER_SECONDS, trust_env=False)

    def is_healthy(self) -> bool:
        """Whether it answers, and to this secret."""
        try:
            return self._http.get("/health").is_success and self._http.get("/admin/version").is_success
        except httpx.HTTPError:
            return False

    def _ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        """The answer, also 404; a server that is busy (SQLite: locked) is asked again. StackError, httpx's errors."""
        for _ in range(_TRIES):
            answer = self._http.request(method, path, json=body)
            if answer.status_code != 503:
                break
            time.sleep(_LOOK_SECONDS)
        if answer.status_code == 401:
            raise StackError("The Prefect server does not take this auth string.")
        return answer if answer.status_code == 404 else answer.raise_for_status()

    def pool(self) -> Pool | None:
        answer = self._ask("GET", f"/work_pools/{POOL}")
        return None if answer.status_code == 404 else Pool.model_validate_json(answer.content)

    def limit_pool(self, runs_at_once: int) -> None:
        self._ask("PATCH", f"/work_pools/{POOL}", {"concurrency_limit": runs_at_once})

    def workers(self) -> list[SeenWorker]:
        answer = self._ask("POST", f"/work_pools/{POOL}/workers/filter", {})
        return TypeAdapter(list[SeenWorker]).validate_json(answer.content)

    def deployments(self) -> list[Deployment]:
        answer = self._ask("POST", "/deployments/filter", {})
        return TypeAdapter(list[Deployment]).validate_json(answer.content)

    def switches(self) -> dict[tuple[str, str], bool]:
        """By deployment and slug, which schedules are on."""
        return {key: on for deployment in self.deployments() for key, on in deployment.switches().items()}

    def switch(self, wanted: Mapping[tuple[str, str], bool]) -> None:
        """Switch schedules as they are wanted; the others stay."""
        for deployment in self.deployments():
            for schedule in deployment.schedules:
                on = wanted.get((deployment.name, schedule.slug or ""), schedule.active)
                if on != schedule.active:
                    at = f"/deployments/{deployment.id}/schedules/{schedule.id}"
                    self._ask("PATCH", at, {"active": on})

    def automations(self) -> list[Named]:
        answer = self._ask("POST", "/automations/filter", {})
        return TypeAdapter(list[Named]).validate_json(answer.content)

    def watch_for_zombies(self) -> None:
        """Have runs that say nothing any more marked as crashed; once."""
        if ZOMBIES not in {automation.name for automation in self.automations()}:
            self._ask("POST", "/automations/", AUTOMATION)


def wait_until(reached: Callable[[], bool], *, seconds: float, alive: Callable[[], bool], otherwise: str) -> None:
    """Wait until something is so. StackError with `otherwise` when time is up or what should do it has ended."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline or not alive():
            raise StackError(otherwise)
        time.sleep(_LOOK_SECONDS)
