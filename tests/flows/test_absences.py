"""A model that gives no answer for a while: the run waits, says so once, and loses nothing by it."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from flows.absences import SAY_AFTER_SECONDS, Absences
from flows.progress import LISTENER, Progress
from models.fake_behaviour import Answer, Behaviour, Drop
from models.fake_server import FakeServer
from models.identity import Json
from tests.flows.test_server_build import SECRET, assert_kept, assert_paid_once, build, served_lake

PATIENCE = 20.0


@pytest.fixture
def shown() -> Iterator[list[Progress]]:
    """All that a run in this test shows of its progress."""
    seen: list[Progress] = []
    token = LISTENER.set(seen.append)
    yield seen
    LISTENER.reset(token)


def absences(times: list[float], shown: list[tuple[str, ...]]) -> Absences:
    """They look at the first of the times."""
    return Absences(PATIENCE, show=shown.append, clock=lambda: times[0])


def test_an_absence_is_told_once_when_it_lasts_and_once_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    times, shown = [100.0], list[tuple[str, ...]]()
    watched = absences(times, shown)
    watched.heard("writer")
    for times[0] in (101.0, 104.9, 105.0, 106.0, 120.0):
        watched.missed("writer", since=99.0, why="connection refused")
    for times[0] in (131.0, 132.0):
        watched.heard("writer")
    assert caplog.messages == [
        "writer has given no answer for 5 s (connection refused); the run waits for it for 20 s ([run] patience) "
        "and then stops, and the same command goes on",
        "writer answers again, after 31 s",
    ]
    assert shown == [("writer",), ()]


def test_a_model_that_answers_others_is_not_away(caplog: pytest.LogCaptureFixture) -> None:
    times, shown = [0.0], list[tuple[str, ...]]()
    watched = absences(times, shown)
    for times[0] in range(1, 60):
        watched.heard("writer")
        watched.missed("writer", since=0.5, why="busy")
    assert (caplog.messages, shown) == ([], [])


def test_models_are_away_each_by_itself() -> None:
    times, shown = [SAY_AFTER_SECONDS], list[tuple[str, ...]]()
    watched = absences(times, shown)
    watched.missed("writer", since=0.0, why="gone")
    watched.missed("viewer", since=0.0, why="gone")
    watched.heard("writer")
    assert shown == [("writer",), ("writer", "viewer"), ("viewer",)]


def test_a_run_waits_for_a_server_that_comes_back_says_so_and_asks_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, shown: list[Progress]
) -> None:
    monkeypatch.setattr("flows.recorder.FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr("flows.absences.SAY_AFTER_SECONDS", 0.0)
    monkeypatch.setattr("models.server_replicas.FIRST_REST", 0.001)
    monkeypatch.setenv("INTERLAKE_TEST_KEY", SECRET)
    caplog.set_level(logging.WARNING, logger="interlake")

    def behave(number: int, _: Mapping[str, Json]) -> Behaviour:
        return Drop() if 20 <= number < 60 else Answer()

    with FakeServer(behave=behave, api_key=SECRET) as server:
        lake = served_lake(tmp_path / "lake", server.url)
        run = build(lake)
        assert_kept(lake, run)
        assert_paid_once(lake, server)
    gone, back = caplog.messages[::2], caplog.messages[1::2]
    assert 0 < len(gone) == len(back)
    assert all(said.startswith("fake-chat has given no answer for ") for said in gone)
    assert all(said.startswith("fake-chat answers again, after ") for said in back)
    assert SECRET not in caplog.text
    waiting = [now.waiting for now in shown]
    assert "fake-chat" in waiting
    assert waiting[-1] == ""
    assert next(now for now in shown if now.waiting).line().startswith("waiting for fake-chat; made ")
