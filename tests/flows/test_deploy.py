"""`deploy/prefect.yaml` against a real local server: it is accepted; what arrives names nothing of this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule

ROOT = Path(__file__).parents[2]
STARTUP_SECONDS = 120
COMMAND_SECONDS = 120


def prefect(*arguments: str, api: str) -> None:
    """Run the Prefect command line in the repository's root; its output is shown when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=ROOT,
        env={**os.environ, "PREFECT_API_URL": api},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_server(folder: Path) -> Iterator[str]:
    """A Prefect server with its home in `folder`, in a process group of its own that ends with the block; its API."""
    port = free_port()
    arguments = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    log = folder / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env={**os.environ, "PREFECT_HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        api = f"http://127.0.0.1:{port}/api"
        wait_until_healthy(api, server, log)
        yield api
    finally:
        end(server)


def wait_until_healthy(api: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{api}/health", timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)
    pytest.fail(f"no Prefect server after {STARTUP_SECONDS} s: {log.read_text()[-2000:]}")


def end(server: subprocess.Popen[bytes]) -> None:
    """End the process group of the server, gently at first."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, how)
            server.wait(timeout=20)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


SHIPPED = {
    "build-nightly": ("build_lake", "flows/build.py", "nightly", "0 2 * * *", {"interlake", "build"}),
    "maintain-weekly": ("maintain_lake", "flows/maintain.py", "weekly", "0 5 * * 0", {"interlake", "maintenance"}),
    "audit-weekly": ("replay_lake", "flows/audit.py", "weekly", "0 8 * * 0", {"interlake", "audit"}),
    "judge-weekly": ("judge_lake", "flows/judge_lake.py", "weekly", "0 11 * * 0", {"interlake", "judge"}),
}
BY_HAND = {
    "propose-topics": ("propose_topics", "flows/propose.py", {"interlake", "topics"}, {"under"}),
    "derive-templates": ("derive_templates", "flows/derive_templates.py", {"interlake", "templates"}, {"file"}),
    "benchmark": ("benchmark_lake", "flows/benchmark_lake.py", {"interlake", "benchmark"}, {"name", "out"}),
}
"""Without a schedule: what they ask for nobody knows beforehand."""
FLOWS = {name: (flow, file, tags) for name, (flow, file, _, _, tags) in SHIPPED.items()} | {
    name: (flow, file, tags) for name, (flow, file, tags, _) in BY_HAND.items()
}
PARAMETERS: dict[str, dict[str, str | int]] = {
    **{name: {"lake": "./lake"} for name in BY_HAND},
    "build-nightly": {"lake": "./lake", "new_topics": 5, "samples_per_topic": 2},
    "maintain-weekly": {"lake": "./lake", "least": 64},
    "audit-weekly": {"lake": "./lake", "since": 0},
    "judge-weekly": {"lake": "./lake"},
}
every_deployment = pytest.mark.parametrize("name", FLOWS)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What the server says of each deployment, as JSON."""
    with running_server(tmp_path_factory.mktemp("prefect")) as api:
        prefect("work-pool", "create", "interlake", "--type", "process", api=api)
        prefect("--no-prompt", "deploy", "--all", "--prefect-file", "deploy/prefect.yaml", api=api)
        said = {}
        for name, (flow, *_) in FLOWS.items():
            with urllib.request.urlopen(f"{api}/deployments/name/{flow}/{name}", timeout=30) as reply:
                said[name] = reply.read().decode()
        yield said


@pytest.fixture(scope="module")
def deployments(answers: dict[str, str]) -> dict[str, DeploymentResponse]:
    return {name: DeploymentResponse.model_validate_json(answer) for name, answer in answers.items()}


@pytest.mark.parametrize("name", SHIPPED)
def test_every_schedule_is_there_and_inactive(deployments: dict[str, DeploymentResponse], name: str) -> None:
    _, _, slug, cron, _ = SHIPPED[name]
    (only,) = deployments[name].schedules
    assert isinstance(only.schedule, CronSchedule)
    assert (only.slug, only.active) == (slug, False)
    assert (only.schedule.cron, only.schedule.timezone) == (cron, "UTC")


@pytest.mark.parametrize("name", BY_HAND)
def test_what_is_started_by_hand_has_no_schedule_and_a_form_that_asks_for_what_it_needs(
    deployments: dict[str, DeploymentResponse], name: str
) -> None:
    form = deployments[name].parameter_openapi_schema
    assert form is not None
    assert (list(deployments[name].schedules), set(form["required"])) == ([], BY_HAND[name][-1])


@every_deployment
def test_a_second_run_is_cancelled_while_one_runs(deployments: dict[str, DeploymentResponse], name: str) -> None:
    deployment = deployments[name]
    assert deployment.global_concurrency_limit is not None
    assert deployment.global_concurrency_limit.limit == 1
    assert deployment.concurrency_options is not None
    assert deployment.concurrency_options.collision_strategy.value == "CANCEL_NEW"


@every_deployment
def test_it_runs_in_the_workers_folder_and_names_no_path_of_this_machine(
    deployments: dict[str, DeploymentResponse], answers: dict[str, str], name: str
) -> None:
    deployment = deployments[name]
    flow, file, _ = FLOWS[name]
    assert deployment.entrypoint == f"{file}:{flow}"
    assert deployment.work_pool_name == "interlake"
    assert deployment.job_variables == {"working_dir": ".", "env": {"PREFECT_LOGGING_EXTRA_LOGGERS": "interlake"}}
    assert not deployment.path
    assert not deployment.pull_steps
    for path in (ROOT, Path.home(), sys.prefix):
        assert f"{path}/" not in answers[name] and f'{path}"' not in answers[name]


@every_deployment
def test_every_parameter_has_a_description(deployments: dict[str, DeploymentResponse], name: str) -> None:
    form = deployments[name].parameter_openapi_schema
    assert form is not None
    fields = form["properties"]
    assert set(PARAMETERS[name]) <= set(fields)
    assert [field for field, says in fields.items() if not says.get("description")] == []


def test_numbers_of_a_build_have_bounds(deployments: dict[str, DeploymentResponse]) -> None:
    form = deployments["build-nightly"].parameter_openapi_schema
    assert form is not None
    fields = form["properties"]
    assert {"lake", "new_topics", "samples_per_topic", "turns", "retry_failed", "when_exhausted"} <= set(fields)
    for name, (least, most) in {"new_topics": (0, 100_000), "samples_per_topic": (1, 10_000)}.items():
        assert (fields[name]["minimum"], fields[name]["maximum"]) == (least, most)


@every_deployment
def test_it_describes_itself_and_its_parameters_are_the_flows(
    deployments: dict[str, DeploymentResponse], name: str
) -> None:
    deployment = deployments[name]
    assert deployment.description and ("nactive" if name in SHIPPED else "Without a schedule") in deployment.description
    assert set(deployment.tags) == FLOWS[name][-1]
    assert deployment.parameters == PARAMETERS[name]
    assert deployment.enforce_parameter_schema
