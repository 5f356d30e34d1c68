"""`deploy/prefect.yaml` against a real local server: it is accepted, and what arrives names nothing of this machine."""

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


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What the server says of the deployment, as JSON."""
    with running_server(tmp_path_factory.mktemp("prefect")) as api:
        prefect("work-pool", "create", "interlake", "--type", "process", api=api)
        prefect("--no-prompt", "deploy", "--all", "--prefect-file", "deploy/prefect.yaml", api=api)
        with urllib.request.urlopen(f"{api}/deployments/name/build_lake/build-nightly", timeout=30) as reply:
            yield reply.read().decode()


@pytest.fixture(scope="module")
def deployment(answer: str) -> DeploymentResponse:
    return DeploymentResponse.model_validate_json(answer)


def test_the_nightly_schedule_is_there_and_inactive(deployment: DeploymentResponse) -> None:
    (nightly,) = deployment.schedules
    assert isinstance(nightly.schedule, CronSchedule)
    assert (nightly.slug, nightly.active) == ("nightly", False)
    assert (nightly.schedule.cron, nightly.schedule.timezone) == ("0 2 * * *", "UTC")


def test_a_second_build_is_cancelled_while_one_runs(deployment: DeploymentResponse) -> None:
    assert deployment.global_concurrency_limit is not None
    assert deployment.global_concurrency_limit.limit == 1
    assert deployment.concurrency_options is not None
    assert deployment.concurrency_options.collision_strategy.value == "CANCEL_NEW"


def test_it_runs_in_the_workers_folder_and_names_no_path_of_this_machine(
    deployment: DeploymentResponse, answer: str
) -> None:
    assert deployment.entrypoint == "flows/build.py:build_lake"
    assert deployment.work_pool_name == "interlake"
    assert deployment.job_variables == {"working_dir": ".", "env": {"PREFECT_LOGGING_EXTRA_LOGGERS": "interlake"}}
    assert not deployment.path
    assert not deployment.pull_steps
    for path in (ROOT, Path.home(), sys.prefix):
        assert f"{path}/" not in answer and f'{path}"' not in answer


def test_every_parameter_has_a_description_and_numbers_have_bounds(deployment: DeploymentResponse) -> None:
    form = deployment.parameter_openapi_schema
    assert form is not None
    fields = form["properties"]
    assert {"lake", "new_topics", "samples_per_topic", "turns", "retry_failed", "when_exhausted"} <= set(fields)
    assert [name for name, field in fields.items() if not field.get("description")] == []
    for name, (least, most) in {"new_topics": (0, 100_000), "samples_per_topic": (1, 10_000)}.items():
        assert (fields[name]["minimum"], fields[name]["maximum"]) == (least, most)


def test_it_describes_itself_and_its_parameters_are_the_flows(deployment: DeploymentResponse) -> None:
    assert deployment.description and "inactive" in deployment.description
    assert set(deployment.tags) == {"interlake", "build"}
    assert deployment.parameters == {"lake": "./lake", "new_topics": 5, "samples_per_topic": 2}
    assert deployment.enforce_parameter_schema
