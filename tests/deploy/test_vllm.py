"""The start files for vLLM, run for real with a stand-in for its command, and the settings that go with them.

vLLM itself and cards are not there: that it knows these flags is seen in tests/vllm_server.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.settings import Settings, default_settings

FOLDER = Path(__file__).parents[2] / "deploy" / "vllm"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.sh"))
STARTED = sorted(set(SCRIPTS) - {"servers.sh"})

STAND_IN = f"""#!{sys.executable}
import http.server, os, sys
port, log = int(sys.argv[sys.argv.index("--port") + 1]), os.environ["DIARY"]
def note(what):
    with open(log, "a") as file:
        file.write(f"{{port}} {{what}}\\n")
class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
    def do_POST(self):
        note(self.path)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
dev, card = (os.environ.get(name) for name in ("VLLM_SERVER_DEV_MODE", "CUDA_VISIBLE_DEVICES"))
note(f"start {{os.getpid()}} dev={{dev}} card={{card}}")
if os.environ.get("MISCHIEF") == "end":
    sys.exit(3)
http.server.HTTPServer(("127.0.0.1", port), Pages).serve_forever()
"""


def shown(script: str, **variables: str) -> str:
    done = subprocess.run(
        [FOLDER / script, "--show"], env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_are_sound(script: str) -> None:
    subprocess.run(["bash", "-n", FOLDER / script], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "-x", FOLDER / script], check=True)
    assert "NOT TRIED ON A GPU" in (FOLDER / script).read_text()


@pytest.mark.parametrize("script", STARTED)
def test_every_server_is_for_this_host_alone_and_takes_no_defaults_of_a_model(script: str) -> None:
    commands = [line for line in shown(script).splitlines() if " serve " in line]
    assert commands
    for command in commands:
        assert "--host 127.0.0.1 " in command
        assert "--generation-config vllm" in command
        assert "VLLM_BATCH_INVARIANT=1" in command
        assert ("VLLM_SERVER_DEV_MODE=1" in command) == ("--enable-sleep-mode" in command)


def test_what_is_set_reaches_the_command() -> None:
    said = shown(
        "chat.sh", CHAT_MODEL="own/model", CHAT_REVISION="a" * 40, CHAT_PORT="9", CHAT_CARD="3", BATCH_INVARIANT="0"
    )
    assert "serve own/model --host 127.0.0.1 --port 9 " in said
    assert f"--revision {'a' * 40} --tokenizer-revision {'a' * 40}" in said
    assert "CUDA_VISIBLE_DEVICES=3 VLLM_BATCH_INVARIANT=0" in said


def test_an_unknown_word_is_an_error() -> None:
    done = subprocess.run([FOLDER / "chat.sh", "--port"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "usage:" in done.stderr


@pytest.mark.parametrize(("name", "sleeping"), [("one-card", {"8000", "8001"}), ("two-cards", {"8001"})])
def test_the_settings_fit_the_profile_and_the_servers_that_are_started(name: str, sleeping: set[str]) -> None:
    tables = tomllib.loads((FOLDER / f"{name}.toml").read_text())
    assert tables.keys() == {"run", "servers", "local"}
    profile = tomllib.loads(default_settings("vllm"))
    settings = Settings.model_validate({**profile, **tables})
    said = shown(f"{name}.sh")
    for model, server in settings.servers.items():
        (port,) = (re.findall(r":(\d+)/v1$", url)[0] for url in server.urls)
        assert f"serve {model} --host 127.0.0.1 --port {port} " in said
        assert f"--max-num-seqs {server.at_once} " in said
        assert (server.card is not None) == (port in sleeping) == (f":{port}/sleep?level=1" in said)
    assert settings.local["Tongyi-MAI/Z-Image-Turbo"].card


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """The environment of a start file with a stand-in for vLLM and free ports."""
    (tmp_path / "vllm").write_text(STAND_IN)
    (tmp_path / "vllm").chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = one.getsockname()[1], other.getsockname()[1]
    yield {
        **os.environ,
        "VLLM": str(tmp_path / "vllm"),
        "DIARY": str(tmp_path / "diary"),
        "CHAT_PORT": str(ports[0]),
        "VISION_PORT": str(ports[1]),
    }


@contextmanager
def started(script: str, place: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A start file at work, told to end at the latest when the test ends."""
    pipe = subprocess.PIPE
    with subprocess.Popen([FOLDER / script], env=place, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def diary(place: Mapping[str, str]) -> list[str]:
    path = Path(place["DIARY"])
    names = {place["CHAT_PORT"]: "chat", place["VISION_PORT"]: "vision"}
    lines = [line.split(maxsplit=1) for line in path.read_text().splitlines()] if path.exists() else []
    return [f"{names[port]} {what}" for port, what in lines]


def test_one_card_starts_each_server_only_when_the_one_before_sleeps_and_ends_both(place: Mapping[str, str]) -> None:
    with started("one-card.sh", place) as script:
        assert script.stdout
        said = [script.stdout.readline().strip() for _ in range(4)]
        script.send_signal(signal.SIGTERM)
        assert script.wait(30) == 143
    assert [line.split(":")[0] + line.split(":")[1][:7] for line in said] == [
        "chat ready ", "chat asleep", "vision ready ", "vision asleep",
    ]  # fmt: skip
    told = diary(place)
    assert [re.sub(r"start \d+", "start", line) for line in told] == [
        "chat start dev=1 card=0", "chat /sleep?level=1", "vision start dev=1 card=0", "vision /sleep?level=1",
    ]  # fmt: skip
    for number in (int(line.split()[2]) for line in told if " start " in line):
        assert not Path(f"/proc/{number}").exists()


def test_a_server_that_ends_before_it_is_healthy_ends_the_start(place: Mapping[str, str]) -> None:
    done = subprocess.run(
        [FOLDER / "one-card.sh"],
        env={**place, "MISCHIEF": "end"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "chat: the server ended before it was healthy" in done.stderr
    assert len(diary(place)) == 1


def test_a_server_that_ends_later_ends_the_others(place: Mapping[str, str]) -> None:
    with started("two-cards.sh", place) as script:
        assert script.stdout and script.stderr
        for _ in range(3):
            script.stdout.readline()
        numbers = [int(line.split()[2]) for line in diary(place) if " start " in line]
        os.kill(numbers[0], signal.SIGKILL)
        assert script.wait(30) == 1
        assert "a server ended; ending the others" in script.stderr.read()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{number}").exists() for number in numbers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_server_that_does_not_get_healthy_in_time_ends_the_start(place: Mapping[str, str]) -> None:
    Path(place["VLLM"]).write_text("#!/bin/sh\nexec sleep 600\n")
    deaf = {**place, "START_SECONDS": "0"}
    done = subprocess.run([FOLDER / "chat.sh"], env=deaf, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "not healthy after 0 seconds" in done.stderr
