"""A planted API key, and servers that repeat it wherever they can: it must be nowhere but in the requests themselves.

That the search sees everything is shown as well: in each kind of places something is found that does stand there.
"""

import asyncio
import base64
import html
import json
import logging
import sqlite3
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import lancedb
import pyarrow.parquet as pq
import pytest
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL

from flows.build import build_lake
from flows.settings import FILE
from flows.topics.catalogue import TopicEntry
from models.fake_behaviour import Answer, Behaviour, Say, Status
from models.fake_server import FakeServer
from models.fakes import FakeChat
from models.identity import Json
from models.picture import Picture
from storage.lake import Lake
from storage.query import query
from storage.records import CallRow
from storage.turns_table import read_turns
from tests.flows.casts import fake_lake
from tests.flows.test_models_cli import interlake

KEY = "sk-planted+Xy9/0123456789=="
VARIABLE = "INTERLAKE_TEST_KEY"
SAID = f"Authorization: Bearer {KEY}"
IN_AN_ADDRESS = urllib.parse.quote(SAID, safe="")
IN_BASE64 = base64.b64encode(SAID.encode()).decode()
PATIENCE = 30.0  # seconds until the server has written down what it was told
TOPIC = "zyxomma petiolatum"

PAGES: Mapping[str, Json] = {
    "/version": {"version": IN_AN_ADDRESS},
    "/server_info": {
        "vllm_config": {"model_config": {"dtype": SAID, "hf_token": KEY}},
        "vllm_env": {"VLLM_API_KEY": KEY, "VLLM_CPU_OMP_THREADS_BIND": IN_BASE64},
        "system_env": {"env_vars": f"VLLM_API_KEY={KEY}"},
    },
    "/props": {"build_info": KEY, "model_ftype": IN_AN_ADDRESS, "chat_template": SAID, "api_key": KEY},
}
FAULTS: Sequence[Behaviour] = (
    Status(500, error=SAID),
    Say(json.dumps({"question": f"What is {KEY}?"})),
    Say(None, refusal=SAID),
    Say(IN_BASE64),
    Status(400, error={"message": f"This model's maximum context length is 8 tokens; you sent {SAID}"}),
    Say(IN_AN_ADDRESS),
    Status(429, retry_after="0", error=html.escape(SAID)),
)
ECHO = Answer(fingerprint=SAID, headers={"x-echo": SAID})

SERVED = """\
backend = "server"
model = "{model}"
revision = "as-served"
licence = "Apache-2.0"
"""
PLACE = """
[servers.{model}]
urls = ["{url}"]
api_key_env = "INTERLAKE_TEST_KEY"
dialect = "{dialect}"
"""

WITNESSES = {
    "runs/": TOPIC,
    "rows of packages/": TOPIC,
    "rows of lance": TOPIC,
    "marks of": "interlake fake painter",
    "rows of history's": TOPIC,
    "rows of Prefect's artifact": TOPIC,
    "rows of Prefect's task_run": TOPIC,
    "rows of Prefect's log": "wants another key",
    "rows of Prefect's flow_run_state": "wants another key",
    "output": "wants another key",
    "logs": "HTTP Request",  # that of what Prefect asks its server; models are asked without a word in the logs
}
"""What stands in a kind of places: where it is found, the key would have been."""


@dataclass(slots=True)
class Parrot:
    """Behaves badly with every third request; once it `refuses`, it takes the key three times more and repeats it."""

    refuses: bool = False
    heard: int = 0
    taken: int = 0

    def __call__(self, _: int, __: Mapping[str, Json]) -> Behaviour:
        self.heard += 1
        self.taken += self.refuses
        if self.taken > 3:
            return Status(401, error=f"Incorrect API key provided: {KEY}")
        return FAULTS[self.heard // 3 % len(FAULTS)] if self.heard % 3 == 0 else ECHO


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.recorder.FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setenv(VARIABLE, KEY)


def served_lake(path: Path, *, writer: str, critic: str) -> Lake:
    """A lake of one topic; its writer is behind a server like vLLM's, its critic behind one like llama.cpp's."""
    lake = fake_lake(path, topics=[TopicEntry(name=TOPIC, category="", domain="")])
    text = (path / FILE).read_text()
    places = (("writer", "fake-writer", writer, "vllm"), ("critic", "fake-critic", critic, "llama.cpp"))
    for role, model, url, dialect in places:
        head, there, tail = text.partition(f"[generation.{role}]")
        text = head + there + tail.replace('backend = "fake"\n', SERVED.format(model=model), 1)
        text += PLACE.format(model=model, url=url, dialect=dialect)
    (path / FILE).write_text(text)
    return lake


def fragments_in_base64(text: str) -> Iterator[str]:
    """What the base64 of anything that holds the text must hold, whatever stands before and behind it."""
    for before in range(3):
        whole = base64.b64encode(b"-" * before + text.encode()).decode().rstrip("=")
        yield whole[(0, 2, 3)[before] : -1]


NEEDLES = {
    needle.encode()
    for plain in (KEY, KEY.replace("/", "\\/"), urllib.parse.quote(KEY), urllib.parse.quote(KEY, safe=""))
    for needle in (plain, *fragments_in_base64(plain))
} | {needle.translate({43: 45, 47: 95}).encode() for needle in fragments_in_base64(KEY)}


def holds_key(content: bytes) -> bool:
    return any(needle in content for needle in NEEDLES)


def as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


def cells(rows: Sequence[Sequence[Any] | Mapping[str, Any]]) -> bytes:
    values = (value for row in rows for value in (row.values() if isinstance(row, Mapping) else row))
    return b"\n".join(map(as_bytes, values))


def places_in(lake: Lake) -> Iterator[tuple[str, bytes]]:
    """Everything in a lake: the files as they are, and what tables, pictures and databases say when they are read."""
    for path in sorted(path for path in lake.path.rglob("*") if path.is_file()):
        name = path.relative_to(lake.path).as_posix()
        yield name, path.read_bytes()
        if path.suffix == ".parquet":
            yield f"rows of {name}", cells(pq.read_table(path).to_pylist())
    table = lancedb.connect(lake.path / "lance").open_table("turns").to_lance()
    shown = [field.name for field in table.schema if field.name != "image"]
    yield "rows of lance", cells(table.to_table(columns=shown).to_pylist())
    for sample_id in query(lake, "SELECT sample_id FROM samples")["sample_id"]:
        for turn in read_turns(lake, lake.version(), sample_id):
            yield f"marks of {sample_id}", str(Picture.from_bytes(turn.image).marks()).encode()
    with duckdb.connect(lake.path / "history.duckdb", read_only=True) as history:
        for schema, name in history.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall():
            rows = history.execute(f'SELECT * FROM "{schema}"."{name}"').fetchall()
            yield f"rows of history's {schema}.{name}", cells(rows)


def places_in_prefect() -> list[tuple[str, bytes]]:
    """Everything in the database of the Prefect server, once what it was told has arrived there."""
    asyncio.run(APILogHandler.aflush())
    wanted = {kind: witness for kind, witness in WITNESSES.items() if "Prefect" in kind}
    until = time.monotonic() + PATIENCE
    while True:
        places = list(present_in_prefect())
        if all(stands_in(places, *each) for each in wanted.items()) or time.monotonic() > until:
            return places
        time.sleep(0.1)


def stands_in(places: Sequence[tuple[str, bytes]], kind: str, witness: str) -> bool:
    return any(name.startswith(kind) and witness.encode() in content for name, content in places)


def present_in_prefect() -> Iterator[tuple[str, bytes]]:
    address = PREFECT_SERVER_DATABASE_CONNECTION_URL.value()
    url = address.get_secret_value() if hasattr(address, "get_secret_value") else str(address)
    path = Path(url.removeprefix("sqlite+aiosqlite:///"))
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            yield f"rows of Prefect's {name}", cells(database.execute(f'SELECT * FROM "{name}"').fetchall())
    for each in path.parent.glob(f"{path.name}*"):
        yield f"Prefect's {each.name}", each.read_bytes()


def test_the_needles_are_what_a_key_looks_like_to_others() -> None:
    for text in (KEY, SAID, f"x{SAID}", f"me:{KEY}\n"):
        for written in (text, urllib.parse.quote(text), base64.b64encode(text.encode()).decode()):
            assert holds_key(f"... {written} ...".encode())
        assert holds_key(base64.urlsafe_b64encode(f"{text} and more".encode()))
    assert not holds_key(b"Authorization: Bearer sk-another+Xy9/0123456789")


def test_a_key_that_servers_repeat_is_in_no_lake_log_or_artifact(
    tmp_path: Path, prefect_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    parrot = Parrot()
    with (
        caplog.at_level(logging.DEBUG),
        FakeServer(brain=FakeChat(name="fake-writer"), behave=parrot, api_key=KEY, pages=PAGES) as writer,
        FakeServer(brain=FakeChat(name="fake-critic"), behave=parrot, api_key=KEY, pages=PAGES) as critic,
    ):
        lake = served_lake(tmp_path / "lake", writer=writer.url, critic=critic.url)
        counts = build_lake(lake=str(lake.path), new_topics=1, samples_per_topic=12, turns=1)
        parrot.refuses = True
        code, out, err = interlake(
            "build", "--lake", lake.path, "--turns", 1, "--when-exhausted", "deepen",
            environment={"PREFECT_API_URL": prefect_server},
        )  # fmt: skip
        sent = {asked.key_sent for server in (writer, critic) for asked in server.asked}
    assert sent == {f"Bearer {KEY}"}
    assert (counts["planned"], counts["open"], code) == (12, 0, 1)
    assert counts["kept"] > 0
    assert query(lake, "SELECT state FROM runs ORDER BY started_at")["state"].to_list()[-1] == "stopped"
    assert list(lake.runs.rglob("*.log")), "the spools of the run that stopped are still there"

    logged = "\n".join(f"{record.getMessage()} {record.exc_text}" for record in caplog.records)
    places = [*places_in(lake), *places_in_prefect(), ("output", f"{out}{err}".encode()), ("logs", logged.encode())]
    for kind, witness in WITNESSES.items():
        assert stands_in(places, kind, witness), kind
    assert [name for name, content in places if holds_key(content)] == []

    calls = list(lake.rows(CallRow, lake.version()))
    assert {"secret_in_reply", "refused", "prompt_too_long"} <= {call.error for call in calls}
    recorded = " ".join(part for call in calls for part in (call.request, call.response, call.backend or "")).lower()
    assert not any(word in recorded for word in ("authorization", "bearer", "user-agent", "accept-encoding", '"x-'))
    assert '"system_fingerprint":"***"' in recorded
    told = dict(query(lake, "SELECT role, fingerprint FROM models WHERE name LIKE 'fake-%'").iter_rows())
    assert json.loads(told["writer"])["server"] == json.loads(told["critic"])["quantization"] == "***"


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_trying_the_models_out_prints_no_key(tmp_path: Path, options: Sequence[str]) -> None:
    refused = FakeServer(
        brain=FakeChat(name="fake-critic"), behave=lambda _, __: Status(401, error=SAID), api_key=KEY, pages=PAGES
    )
    with (
        FakeServer(brain=FakeChat(name="fake-writer"), behave=lambda _, __: ECHO, api_key=KEY, pages=PAGES) as writer,
        refused as critic,
    ):
        lake = served_lake(tmp_path / "lake", writer=writer.url, critic=critic.url)
        code, out, err = interlake("models", "check", "--lake", lake.path, *options)
        assert writer.asked[0].key_sent == f"Bearer {KEY}"
    assert code == 1
    assert "wants another key" in out
    assert "***" in out
    assert not holds_key(f"{out}{err}".encode())
    assert [name for name, content in places_in(lake) if holds_key(content)] == []
