"""Lakes whose texts come from a chat server, and whose critiques of pictures come from a vision server."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from flows.settings import FILE
from flows.tape import SPOOL_FOLDER
from storage.lake import Lake
from storage.records import CallRow
from storage.spool import read_calls_of
from tests.vllm_server.servers import CHAT, VIEWER, VllmServer

# A server of Prefect that starts beside busy servers of vLLM may take minutes.
ENVIRONMENT = os.environ | {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600"}
COMMAND = Path(sys.executable).with_name("interlake")
NOWHERE = "http://127.0.0.1:9/v1"
SECONDS = 1500.0  # many times what any command here takes
FOUR = ("--new-topics", "2", "--samples-per-topic", "2", "--turns", "1")

SETTINGS = """\
[generation]
turns = 1
attempts = 4
[generation.rounds]
question = 1
answer = 1
image = 1
[generation.writer]
backend = "server"
model = "{chat}"
revision = "as-served"
licence = "Apache-2.0"
[generation.critic]
backend = "server"
model = "{chat}"
revision = "as-served"
licence = "Apache-2.0"
[generation.painter]
backend = "openmoji"
width = 128
height = 128
[generation.viewer]
backend = "server"
model = "{viewer}"
revision = "as-served"
licence = "Apache-2.0"
[selection.encoder]
backend = "scene_clip"
[selection.duplicates]
image = 0.94
text = 0.95
[run]
batch_size = 2
patience = 1200
[servers.{chat}]
urls = ["{chat_url}"]
at_once = {chat_seats}
timeout = 600
[servers.{viewer}]
urls = ["{viewer_url}"]
at_once = {viewer_seats}
timeout = 600
"""


def make_served_lake(path: Path, chat: VllmServer, viewer: VllmServer) -> Path:
    """A new lake that asks both servers, and draws and embeds by what comes along."""
    run("init", "--lake", path, "--seed", 1)
    text = SETTINGS.format(
        chat=CHAT.name, chat_url=chat.url, chat_seats=CHAT.seats,
        viewer=VIEWER.name, viewer_url=viewer.url, viewer_seats=VIEWER.seats,
    )  # fmt: skip
    (path / FILE).write_text(text)
    return path


def move_servers_away(path: Path, *servers: VllmServer) -> None:
    """Have the settings name addresses where nobody listens."""
    file = path / FILE
    for server in servers:
        assert server.url in file.read_text()
        file.write_text(file.read_text().replace(server.url, NOWHERE))


def run(*words: object) -> str:
    """A command of interlake that succeeds, and what it says."""
    done = subprocess.run(
        [COMMAND, *map(str, words)], env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"interlake {words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def committed_calls(path: Path) -> list[CallRow]:
    """All calls that stand in the lake."""
    lake = Lake.open(path)
    return list(lake.rows(CallRow, lake.version()))


def recorded_calls(path: Path) -> dict[str, CallRow]:
    """All calls that a run has recorded so far, committed or not, by their ids."""
    spools = sorted((path / "runs").glob(f"*/{SPOOL_FOLDER}/*.log"))
    rows: list[CallRow] = []
    for spool in spools:
        with suppress(FileNotFoundError):  # committed meanwhile: its calls are in the lake, which is read last
            rows += [call.row for call in read_calls_of(spool)]
    return {row.call_id: row for row in (*rows, *committed_calls(path))}


def asked_of(calls: list[CallRow], model: str) -> list[CallRow]:
    """The calls that a model answered."""
    return [row for row in calls if json.loads(row.request).get("model") == model]
