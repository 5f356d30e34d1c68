"""Builds whose texts come from a server that misbehaves: what a fault costs, and that no call is lost or paid twice."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from flows.errors import UserError
from flows.opening import open_build
from flows.run import Run
from flows.settings import FILE
from flows.studio import Studio
from models.errors import TerminalError, TransientError
from models.fake_behaviour import (
    Answer,
    Behaviour,
    Drop,
    Half,
    Huge,
    Never,
    NoJson,
    OtherModel,
    Say,
    Status,
    Whitespace,
    WrongShape,
)
from models.fake_server import Behave, FakeServer
from models.identity import Json
from storage.lake import Lake
from storage.query import query
from storage.records import CallRow
from tests.flows.casts import fake_lake, grow
from tests.flows.test_build import assert_conserved

SIX = BuildOptions(new_topics=3, samples_per_topic=2, turns=1)
SECRET = "sk-planted-3f9a"
SERVED = """\
backend = "server"
model = "fake-chat"
revision = "as-served"
licence = "Apache-2.0"
"""
PLACE = """
[servers.fake-chat]
urls = [{urls}]
at_once = 8
timeout = {timeout}
api_key_env = "INTERLAKE_TEST_KEY"
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.recorder.FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setenv("INTERLAKE_TEST_KEY", SECRET)


def served_lake(path: Path, *urls: str, patience: float = 20, timeout: float = 60) -> Lake:
    """A lake of the fake profile whose writer and critic are behind a server."""
    lake = fake_lake(path)
    file = path / FILE
    text = file.read_text()
    for role in ("writer", "critic"):
        head, there, tail = text.partition(f"[generation.{role}]")
        text = head + there + tail.replace('backend = "fake"\n', SERVED, 1)
    text = text.replace("patience = 300", f"patience = {patience}")
    file.write_text(text + PLACE.format(urls=", ".join(f'"{url}"' for url in urls), timeout=float(timeout)))
    return lake


def is_chosen(body: Mapping[str, Json]) -> bool:
    """One request of five, by its seed: the same ones in every run."""
    seed = body["seed"]
    assert isinstance(seed, int)
    return seed % 5 == 0


def once(fault: Behaviour) -> Behave:
    """One request of five meets the fault when it is first asked."""
    met: set[Json] = set()

    def behave(_: int, body: Mapping[str, Json]) -> Behaviour:
        if not is_chosen(body) or body["seed"] in met:
            return Answer()
        met.add(body["seed"])
        return fault

    return behave


def always(fault: Behaviour) -> Behave:
    """One request of five meets the fault, however often it is asked."""
    return lambda _, body: fault if is_chosen(body) else Answer()


def build(lake: Lake) -> Run:
    return grow(lake.path, SIX, Studio)


def assert_kept(lake: Lake, run: Run) -> None:
    assert_conserved(lake)
    assert run.counts() == {"planned": 6, "kept": 6, "rejected": 0, "duplicate": 0, "failed": 0, "open": 0}


def chats(lake: Lake) -> list[CallRow]:
    return [row for row in lake.rows(CallRow, lake.version()) if '"kind":"chat"' in row.request]


def assert_paid_once(lake: Lake, server: FakeServer) -> None:
    """Every reply that the server gave whole is in the lake under one call, and none was given twice."""
    served = [row for row in chats(lake) if '"model":"fake-chat"' in row.request and "image_sha256" not in row.request]
    assert len({row.call_id for row in served}) == len(served)
    answered = Counter(asked.key for asked in server.asked if asked.outcome == "answered")
    assert set(answered.values()) == {1}
    usable = {row.request_key for row in served if row.error is None}
    assert len(usable) == len(answered)


PASSING: Mapping[str, Behaviour] = {
    "it says 500": Status(500),
    "it says 429 and when to come back": Status(429, retry_after="0"),
    "it drops the connection": Drop(),
    "it breaks off in the middle": Half(),
    "it sends a page that is no JSON": NoJson(),
    "it sends JSON of another shape": WrongShape(),
    "it never answers": Never(),
    "it is late": Answer(after=0.05),
}


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_costs_nothing(tmp_path: Path, fault: str) -> None:
    with FakeServer(behave=once(PASSING[fault]), api_key=SECRET) as server:
        lake = served_lake(tmp_path / "lake", server.url, timeout=1 if fault == "it never answers" else 60)
        run = build(lake)
    assert_kept(lake, run)
    assert_paid_once(lake, server)
    tries = sum(row.tries for row in chats(lake))
    assert (tries > len(chats(lake))) == (fault != "it is late")


SPOILING: Mapping[str, tuple[Behaviour, str | None]] = {
    "blanks for ever": (Whitespace(), None),
    "JSON that does not fit": (Say('{"something": "else"}'), None),
    "no JSON": (Say("Certainly! Here is a question."), None),
    "a body of 50 MB": (Huge(50 * 1024 * 1024, declared=False), "reply_too_large"),
    "a refusal": (Say(None, refusal="I will not."), "refused"),
}


@pytest.mark.parametrize("fault", SPOILING)
def test_a_reply_that_cannot_be_used_costs_an_attempt_and_stays_in_the_history(tmp_path: Path, fault: str) -> None:
    behaviour, error = SPOILING[fault]
    with FakeServer(behave=always(behaviour), api_key=SECRET) as server:
        lake = served_lake(tmp_path / "lake", server.url)
        run = build(lake)
    assert_kept(lake, run)
    again = [row for row in chats(lake) if row.attempt > 0]
    assert again
    assert {row.tries for row in chats(lake)} == {1}
    assert {row.error for row in chats(lake)} == {None, error}


def test_a_server_that_turns_into_another_model_stops_the_run_and_the_next_one_goes_on(tmp_path: Path) -> None:
    turned = True

    def behave(number: int, _: Mapping[str, Json]) -> Behaviour:
        return OtherModel("somebody-else") if turned and number >= 20 else Answer()

    with FakeServer(behave=behave, api_key=SECRET) as server:
        lake = served_lake(tmp_path / "lake", server.url)
        with pytest.raises(TerminalError, match="somebody-else"):
            build(lake)
        assert query(lake, "SELECT state, open FROM runs").rows() == [("stopped", 6)]
        turned = False
        assert_kept(lake, build(lake))
        assert_paid_once(lake, server)
    assert query(lake, "SELECT state, kept, open FROM runs ORDER BY started_at").rows() == [
        ("stopped", 0, 6),
        ("finished", 6, 0),
    ]


def test_a_batch_that_must_stop_does_not_waste_what_another_has_under_way(tmp_path: Path) -> None:
    turned = threading.Event()

    def behave(number: int, _: Mapping[str, Json]) -> Behaviour:
        if not turned.is_set() and number == 12:
            turned.set()
            return OtherModel("somebody-else")
        return Answer(after=0.3)

    with FakeServer(behave=behave, api_key=SECRET) as server:
        lake = served_lake(tmp_path / "lake", server.url)
        changed(lake, "batch_size = 8", "batch_size = 3")
        with (
            pytest.raises(TerminalError, match="somebody-else"),
            ThreadPoolExecutor() as pool,
            open_build(lake.path, SIX, studio=Studio) as run,
        ):
            for made in as_completed([pool.submit(run.make, number) for number in (0, 1)]):
                made.result()
        assert {asked.outcome for asked in server.asked} == {"answered", "spoilt"}
        assert_kept(lake, build(lake))
        assert_paid_once(lake, server)


def test_a_server_that_asks_for_a_wait_beyond_patience_stops_the_run_at_once(tmp_path: Path) -> None:
    with FakeServer(behave=always(Status(429, retry_after="600")), api_key=SECRET) as server:
        lake = served_lake(tmp_path / "lake", server.url, patience=300)
        with pytest.raises(TransientError, match="429"):
            build(lake)
    assert query(lake, "SELECT state, open FROM runs").rows() == [("stopped", 6)]


def test_a_server_that_stays_away_stops_the_run_when_patience_ends(tmp_path: Path) -> None:
    away = True

    def behave(number: int, _: Mapping[str, Json]) -> Behaviour:
        return Status(503) if away and number >= 20 else Answer()

    with FakeServer(behave=behave, api_key=SECRET) as server:
        lake = served_lake(tmp_path / "lake", server.url, patience=0.01)
        with pytest.raises(TransientError, match="503"):
            build(lake)
        away = False
        assert_kept(lake, build(lake))
        assert_paid_once(lake, server)


def test_two_replicas_share_the_work_and_one_that_dies_is_not_missed(tmp_path: Path) -> None:
    with FakeServer(api_key=SECRET) as steady, FakeServer(api_key=SECRET) as mortal:
        lake = served_lake(tmp_path / "lake", steady.url, mortal.url)
        build(lake)
        assert steady.asked
        assert mortal.asked
        mortal.stop()
        run = build(lake)
    assert_kept(lake, run)
    assert query(lake, "SELECT count(*) FROM samples WHERE outcome = 'kept'").rows() == [(12,)]


UNUSABLE: Mapping[str, tuple[Callable[[Path, FakeServer], Lake], str]] = {
    "another model": (
        lambda path, server: changed(served_lake(path, server.url), "fake-chat", "large-chat"),
        "large-chat",
    ),
    "nobody there": (lambda path, _: served_lake(path, "http://127.0.0.1:9/v1"), "127.0.0.1:9"),
    "not pinned": (
        lambda path, server: changed(served_lake(path, server.url), '"as-served"', '"unpinned"'),
        "'interlake models pin'",
    ),
    "no key": (
        lambda path, server: changed(served_lake(path, server.url), "INTERLAKE_TEST_KEY", "INTERLAKE_NO_KEY"),
        "INTERLAKE_NO_KEY",
    ),
}


def changed(lake: Lake, old: str, new: str) -> Lake:
    file = lake.path / FILE
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    return lake


@pytest.mark.parametrize("what", UNUSABLE)
def test_a_server_that_cannot_be_used_is_named_before_anything_is_written(tmp_path: Path, what: str) -> None:
    make, said = UNUSABLE[what]
    with FakeServer(api_key=SECRET) as server:
        lake = make(tmp_path / "lake", server)
        head = lake.version()
        with pytest.raises(UserError, match=r"setting 'generation\.writer\.backend' is 'server'") as caught:
            build(lake)
    assert said in str(caught.value)
    assert lake.version() == head
    assert list(lake.runs.iterdir()) == []


def test_the_key_is_nowhere_in_the_lake_and_the_backend_of_each_call_is(tmp_path: Path) -> None:
    with FakeServer(api_key=SECRET) as server:
        lake = served_lake(tmp_path / "lake", server.url)
        build(lake)
    assert {asked.key_sent for asked in server.asked} == {f"Bearer {SECRET}"}
    files = [path for path in lake.path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert query(lake, "SELECT DISTINCT backend->>'model' FROM calls WHERE backend IS NOT NULL").rows() == [
        ("fake-chat",)
    ]
    assert query(lake, "SELECT DISTINCT licences->>'writer' FROM samples").rows() == [("Apache-2.0",)]
