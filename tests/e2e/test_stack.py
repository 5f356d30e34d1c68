"""A server and a worker from nothing: builds by schedule, two at once, a kill in the middle, and the end."""

import os
import signal
import socket
from collections import Counter
from pathlib import Path

import httpx
import pytest

from deploy.processes import is_running, recall
from deploy.server import ZOMBIES
from flows.asked import BuildOptions
from models.identity import Json
from storage.lake import Lake
from storage.query import query
from storage.slots import slot_states
from tests.e2e.lakes import slow_writer, written_by
from tests.e2e.stacks import Stack, free_port, wait_for
from tests.faults.ledgers import recorded
from tests.flows.casts import assert_fsck_finds_nothing, fake_lake, grow
from tests.flows.test_build import assert_conserved

BUILD = "build_lake/build-nightly"
MAINTAIN = "maintain_lake/maintain-weekly"
AUDIT = "replay_lake/audit-weekly"


def two_topics(lake: Lake) -> dict[str, Json]:
    return {"lake": str(lake.path), "new_topics": 2, "samples_per_topic": 2, "turns": 1}


def assert_whole(lake: Lake, samples: int) -> None:
    """Every slot has ended, once, and so many samples are kept."""
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)
    states = slot_states(lake, lake.version())
    assert Counter(states["outcome"]) == {"kept": samples}
    assert states["slot_id"].n_unique() == samples


def test_up_again_starts_nothing_and_leaves_schedules_switched_on(stack: Stack) -> None:
    deployment_id = stack.deployment_id(MAINTAIN)
    (schedule,) = stack.ask(f"/deployments/{deployment_id}/schedules", method="GET").json()
    at = f"/deployments/{deployment_id}/schedules/{schedule['id']}"
    assert schedule["active"] is False
    stack.ask(at, {"active": True}, method="PATCH")
    before = stack.processes()
    out = stack.command("up")
    assert stack.processes() == before
    assert "schedules that are on: maintain-weekly (weekly)" in out
    stack.ask(at, {"active": False}, method="PATCH")
    automations = stack.ask("/automations/filter", {}).json()
    assert [automation["name"] for automation in automations] == [ZOMBIES]
    assert "server: up on" in stack.command("status")


def test_the_secret_is_needed_and_said_nowhere(stack: Stack, first_words: str) -> None:
    assert httpx.get(f"{stack.place.api}/health", trust_env=False).status_code == 200
    assert httpx.post(f"{stack.place.api}/flow_runs/filter", json={}, trust_env=False).status_code == 401
    secret = stack.place.secret
    _, _, password = secret.partition(":")
    assert stack.place.secret_file.stat().st_mode & 0o777 == 0o600
    assert stack.state.stat().st_mode & 0o777 == 0o700
    assert "auth string" in first_words
    assert password not in first_words
    for part in ("server", "worker"):
        assert password not in stack.place.log(part).read_text()
    assert password not in stack.ask("/deployments/filter", {}).text


def test_something_else_on_the_port_is_said_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        stack = Stack(state=tmp_path / "state", port=taken.getsockname()[1])
        said = stack.run("up")
    assert said.code == 1
    assert said.err.startswith(f"Port {stack.port} of 127.0.0.1 is taken by something else; ")
    assert len(said.err.splitlines()) == 1
    assert stack.processes() == []


def test_a_stale_state_ends_nobody(tmp_path: Path) -> None:
    """After a reboot, another process may have the number that a pid file names."""
    stack = Stack(state=tmp_path / "state", port=free_port())
    stack.place.prepare()
    mine = os.getpid()
    stack.place.pid_file("worker").write_text(f'{{"pid": {mine}, "started": 1, "boot": "of last time"}}')
    assert recall(stack.place.pid_file("worker")) is None
    assert stack.command("down") == "Nothing is up.\n"
    assert not stack.place.pid_file("worker").exists()


def test_a_schedule_that_is_switched_on_grows_the_lake(stack: Stack, tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    deployment_id = stack.deployment_id(BUILD)
    schedule = stack.schedule(deployment_id, 15, two_topics(lake))

    def begun() -> str | None:
        runs = [run for run in stack.flow_runs(deployment_id) if run.auto_scheduled]
        return next((run.id for run in runs if run.state_type in {"RUNNING", "COMPLETED"}), None)

    run_id = wait_for(begun, "a run by schedule")
    stack.ask(schedule, method="DELETE")
    assert stack.final_state(run_id) == "COMPLETED"
    assert run_id in query(lake, "SELECT flow_run_id FROM runs")["flow_run_id"].to_list()
    assert_conserved(lake)


def test_maintenance_and_audit_run_as_deployed(stack: Stack, tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    parameters: dict[str, Json] = {"lake": str(lake.path)}
    grow(lake.path, BuildOptions(new_topics=2, samples_per_topic=2, turns=1))
    runs = [stack.fire(stack.deployment_id(name), parameters) for name in (MAINTAIN, AUDIT)]
    assert [stack.final_state(run) for run in runs] == ["COMPLETED", "COMPLETED"]
    assert_whole(lake, 4)


def test_of_two_builds_at_once_one_is_cancelled(stack: Stack, tmp_path: Path) -> None:
    with slow_writer(0.5) as server:
        lake = written_by(server, tmp_path / "lake")
        deployment_id = stack.deployment_id(BUILD)
        first, second = (stack.fire(deployment_id, two_topics(lake)) for _ in range(2))
        assert sorted(map(stack.final_state, (first, second))) == ["CANCELLED", "COMPLETED"]
    assert_whole(lake, 4)


def test_two_builds_at_once_without_a_limit_share_the_topics(stack: Stack, tmp_path: Path) -> None:
    with slow_writer(0.5) as server:
        lake = written_by(server, tmp_path / "lake")
        deployment_id = stack.deployment_id(BUILD)
        stack.ask(f"/deployments/{deployment_id}", {"concurrency_limit": None}, method="PATCH")
        first, second = (stack.fire(deployment_id, two_topics(lake)) for _ in range(2))
        assert [stack.final_state(run) for run in (first, second)] == ["COMPLETED", "COMPLETED"]
        answered = Counter(asked.key for asked in server.asked if asked.outcome == "answered")
    assert set(answered.values()) == {1}
    assert_whole(lake, 8)
    topics = query(lake, "SELECT count(DISTINCT topic_id) FROM samples")
    assert topics.rows() == [(4,)]


def test_after_a_kill_of_worker_and_build_the_next_run_completes_the_lake(stack: Stack, tmp_path: Path) -> None:
    with slow_writer(0.5) as server:
        lake = written_by(server, tmp_path / "lake")
        deployment_id = stack.deployment_id(BUILD)
        killed = stack.fire(deployment_id, two_topics(lake))
        wait_for(lambda: recorded(lake) or None, "a recorded call")
        kept = recall(stack.place.pid_file("server"))
        assert kept
        victims = [process for process in stack.processes() if process != kept]
        assert len(victims) >= 2, "the worker and the build"
        for process in victims:
            os.kill(process.pid, signal.SIGKILL)
        wait_for(lambda: None if any(map(is_running, victims)) else True, "their end")
        before = recorded(lake)
        asked = len(server.asked)
        assert "open" in set(slot_states(lake, lake.version())["outcome"])

        assert "worker: up" in stack.command("up")
        assert is_running(kept)
        assert stack.limit_of(deployment_id) == 1, "deployed again, whatever was done to it"
        assert stack.final_state(killed) == "CRASHED", "the automation misses its heartbeat"
        again = stack.fire(deployment_id, two_topics(lake))
        assert stack.final_state(again) == "COMPLETED"
        assert {each.key for each in server.asked[asked:]} & before == set()
    assert_whole(lake, 4)
    assert query(lake, "SELECT state FROM runs ORDER BY started_at").rows() == [("died",), ("finished",)]


def test_down_in_the_middle_of_a_build_leaves_no_process(stack: Stack, tmp_path: Path) -> None:
    with slow_writer(0.5) as server:
        lake = written_by(server, tmp_path / "lake")
        stack.fire(stack.deployment_id(BUILD), two_topics(lake))
        wait_for(lambda: recorded(lake) or None, "a recorded call")
        assert len(stack.processes()) >= 3
        stack.command("down")
        assert stack.processes() == []
        assert stack.run("status").code == 1
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{stack.place.api}/health", trust_env=False)
        assert stack.command("down") == "Nothing is up.\n"
