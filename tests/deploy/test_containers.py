"""The containers' files, as far as they can be read without an engine: nothing open, as root or unpinned."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, JsonValue

DEPLOY = Path(__file__).parents[2] / "deploy"
INSTRUCTIONS = {"FROM", "RUN", "COPY", "ENV", "WORKDIR", "USER", "HEALTHCHECK", "CMD"}


class Health(BaseModel):
    model_config = ConfigDict(extra="forbid")

    test: list[str] | None = None
    disable: bool = False
    interval: str | None = None
    timeout: str | None = None
    retries: int | None = None
    start_period: str | None = None


class Service(BaseModel):
    """What a service may say; anything else, `privileged` among it, is an error."""

    model_config = ConfigDict(extra="forbid")

    image: str
    restart: str
    healthcheck: Health
    logging: dict[str, JsonValue]
    networks: list[str]
    security_opt: list[str]
    volumes: list[str]
    environment: dict[str, str]
    build: dict[str, str] | None = None
    command: list[str] | None = None
    profiles: list[str] = []
    ports: list[str] = []
    cap_drop: list[str] = []
    depends_on: dict[str, dict[str, str]] = {}
    init: bool = False
    read_only: bool = False
    tmpfs: list[str] = []
    stop_grace_period: str | None = None
    ipc: str | None = None
    shm_size: str | None = None
    deploy: dict[str, JsonValue] | None = None


class Compose(BaseModel):
    model_config = ConfigDict(extra="ignore")

    services: dict[str, Service]
    volumes: dict[str, dict[str, JsonValue]]
    networks: dict[str, dict[str, JsonValue]]


@pytest.fixture(scope="module")
def compose() -> Compose:
    return Compose.model_validate(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


@pytest.fixture(scope="module")
def dockerfile() -> list[tuple[str, str]]:
    """Instructions and what follows them, lines put together."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def test_all_parts_are_there(compose: Compose) -> None:
    assert set(compose.services) == {"postgres", "server", "deployments", "worker", "vllm"}
    assert {name for name, service in compose.services.items() if service.profiles} == {"vllm"}


def test_every_service_restarts_and_those_that_stay_are_asked_how_they_are(compose: Compose) -> None:
    for name, service in compose.services.items():
        assert service.restart == ("on-failure" if name == "deployments" else "unless-stopped"), name
        assert service.healthcheck.disable == (name == "deployments"), "one that ends has no health"
        assert service.healthcheck.disable or (service.healthcheck.test and service.healthcheck.timeout), name


def test_nothing_listens_beyond_this_machine_and_nothing_gains_rights(compose: Compose) -> None:
    for name, service in compose.services.items():
        assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in service.ports), name
        assert "no-new-privileges:true" in service.security_opt
        if service.build:
            assert (service.cap_drop, service.read_only) == (["ALL"], True), name


def test_images_are_pinned_and_volumes_and_networks_are_declared(compose: Compose) -> None:
    for name, service in compose.services.items():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", service.image), name
        assert {volume.partition(":")[0] for volume in service.volumes} <= set(compose.volumes)
        assert set(service.networks) <= set(compose.networks)
        assert set(service.depends_on) <= set(compose.services)


def test_secrets_come_from_the_environment_file_alone(compose: Compose) -> None:
    named = set(re.findall(r"^(\w+)=", (DEPLOY / "compose.env.example").read_text(), flags=re.MULTILINE))
    used = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    assert used == named
    for service in compose.services.values():
        for name, value in service.environment.items():
            secret = re.search(r"PASSWORD|AUTH_STRING|API_KEY|CONNECTION_URL", name)
            assert not secret or re.search(r"\$\{\w+:", value), name
    tracked = subprocess.run(
        ["git", "check-ignore", "--quiet", "deploy/compose.env"], cwd=DEPLOY.parent, check=False
    ).returncode
    assert tracked == 0


def test_the_image_runs_as_nobody_in_particular(dockerfile: list[tuple[str, str]]) -> None:
    assert {word for word, _ in dockerfile} <= INSTRUCTIONS, "no ADD, no ARG that could carry a secret"
    assert [rest for word, rest in dockerfile if word == "USER"] == ["10001:10001"]
    after = dockerfile[[word for word, _ in dockerfile].index("USER") :]
    assert {word for word, _ in after} == {"USER", "HEALTHCHECK", "CMD"}
    for word, rest in dockerfile:
        assert word not in {"CMD", "HEALTHCHECK"} or '["' in rest, "commands in the form of a list"


def test_the_image_is_made_of_pinned_things(dockerfile: list[tuple[str, str]]) -> None:
    bases = [rest.split()[0] for word, rest in dockerfile if word == "FROM"]
    assert all(re.fullmatch(r"python:3\.1[12]\.\d+-slim-\w+", base) for base in bases), bases
    runs = [rest for word, rest in dockerfile if word == "RUN"]
    assert sum("--require-hashes" in run for run in runs) == 1
    for run in runs:
        assert "pip install" not in run or "--no-deps" in run
        assert "apt-get install" not in run or ("--no-install-recommends" in run and "rm -rf /var/lib/apt" in run)
        assert not re.search(r"\b(sudo|curl|wget)\b|apt-get (dist-)?upgrade", run)


def test_what_is_copied_is_let_in_and_nothing_else(dockerfile: list[tuple[str, str]]) -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copies = [rest.split() for word, rest in dockerfile if word == "COPY" and not rest.startswith("--from")]
    copied = {name for words in copies for name in words[:-1]}
    assert copied == let_in
    assert all((DEPLOY.parent / name).exists() for name in copied)
