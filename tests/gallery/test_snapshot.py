"""The newest snapshot of a lake: who brings up the file, when, and what is shown where that cannot be."""

import logging
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import duckdb
import pytest

from flows.gallery import snapshot
from flows.gallery.snapshot import LAG, LEFT_ALONE, LONGEST_LAG, PUBLISH_MEMORY, Shelf, Snapshot
from storage.durable import write_durably
from storage.history import LOCK, history_path, publish
from storage.lake import Lake
from storage.lock import hold
from storage.versions import Version
from tests.storage.lakes import commit, make_lake, package, topic_row


class Clock:
    """Seconds that pass when a test says so, and `step` with each look."""

    def __init__(self) -> None:
        self.now, self.step = 1000.0, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = make_lake(tmp_path)
    grow(lake, "first")
    return lake


@pytest.fixture
def clock() -> Clock:
    return Clock()


def grow(lake: Lake, name: str) -> int:
    """One more version, which nobody has published."""
    return commit(lake, package(topic_row(name, name), kind="topics")).number


def settle(shelf: Shelf) -> Snapshot:
    """What is shown as soon as a renewal that was started is over."""
    shelf.present()
    if shelf._worker:
        shelf._worker.join()
    return shelf.present()


def mark(lake: Lake) -> tuple[int, int]:
    found = history_path(lake).stat()
    return found.st_ino, found.st_mtime_ns


def hinder(lake: Lake) -> None:
    """Have nobody publish, as in a lake that can only be read, for root as well."""
    (lake.path / LOCK).unlink(missing_ok=True)
    (lake.path / LOCK).mkdir()


def count_made(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    made: list[Lake] = []

    class Counted(Snapshot):
        def __init__(self, lake: Lake) -> None:
            made.append(lake)
            super().__init__(lake)

    monkeypatch.setattr(snapshot, "Snapshot", Counted)
    return lambda: len(made)


def test_what_another_process_publishes_is_seen(lake: Lake, clock: Clock) -> None:
    shelf = Shelf(lake, clock=clock)
    assert shelf.present().number == 1
    grow(lake, "second")
    publish(lake, lake.version())
    assert settle(shelf).number == 2
    assert shelf.present().rows("SELECT name FROM topics WHERE name = 'second'")


def test_the_file_is_left_to_others_for_a_while_and_brought_up_after_it(lake: Lake, clock: Clock) -> None:
    shelf = Shelf(lake, clock=clock)
    grow(lake, "second")
    before = mark(lake)
    clock.now += LAG
    assert settle(shelf).number == 1 and mark(lake) == before
    clock.now += 1
    assert settle(shelf).number == 2 and mark(lake) != before
    grow(lake, "third")
    assert settle(shelf).number == 2, "just brought up, it is left alone again"


def test_it_is_left_for_longer_where_publishing_takes_long(lake: Lake, clock: Clock) -> None:
    clock.step = 2.0
    shelf = Shelf(lake, clock=clock)
    clock.step = 0.0
    grow(lake, "second")
    since = clock.now
    clock.now = since + LEFT_ALONE * 2.0 - 10
    assert settle(shelf).number == 1
    clock.now = since + LEFT_ALONE * 2.0 + 1
    assert settle(shelf).number == 2
    assert LAG < LEFT_ALONE * 2.0 - 10 and LEFT_ALONE * 2.0 < LONGEST_LAG


def test_a_lake_that_cannot_be_written_keeps_showing_what_it_has(
    lake: Lake, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf(lake, clock=clock)
    shown = shelf.present()
    hinder(lake)
    grow(lake, "second")
    made = count_made(monkeypatch)
    tries: list[float] = []

    def publish_counted(lake: Lake, version: Version, *, timeout: float, memory: str) -> None:
        tries.append(clock.now)
        publish(lake, version, timeout=timeout, memory=memory)

    monkeypatch.setattr(snapshot, "publish", publish_counted)
    with caplog.at_level(logging.WARNING, "interlake.flows.gallery"):
        for _ in range(200):
            clock.now += 10
            assert settle(shelf) is shown
    assert made() == 0
    assert 2 <= len(tries) <= 10, "2,000 s, and at last a try in 300 s"
    assert len(caplog.records) == 1 and "cannot be brought up" in caplog.text
    assert Shelf(lake, clock=clock).present().number == 1


def test_refresh_shows_what_was_committed_and_waits_for_who_is_publishing(lake: Lake, clock: Clock) -> None:
    shelf = Shelf(lake, clock=clock)
    grow(lake, "second")
    assert shelf.refresh().number == 2
    grow(lake, "third")
    found: list[int] = []
    waiting = Thread(target=lambda: found.append(shelf.refresh().number))
    with hold(lake.path / LOCK, purpose="publishing", timeout=1):
        waiting.start()
        waiting.join(0.5)
        assert found == [], "longer than a lock is probed for"
    waiting.join()
    assert found == [3]


def test_refresh_never_fails_after_a_commit(
    lake: Lake, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(snapshot, "WRITTEN_PATIENCE", 0.0)
    shelf = Shelf(lake, clock=clock)
    grow(lake, "second")
    write_durably(history_path(lake), b"no database at all")
    with hold(lake.path / LOCK, purpose="publishing", timeout=1), caplog.at_level(logging.WARNING):
        assert shelf.refresh().number == 1
        assert shelf.refresh().number == 1
    assert [record.name for record in caplog.records] == ["interlake.flows.gallery"] * 2, "each of two causes once"
    assert shelf.refresh().number == 2, "an unreadable file is made anew"
    folders = set((lake.path / "packages").iterdir())
    grow(lake, "third")
    (added,) = set((lake.path / "packages").iterdir()) - folders
    for path in added.rglob("*.*"):
        path.write_bytes(b"damaged")
    caplog.clear()
    assert shelf.refresh().number == 2
    assert "LakeDamaged" in caplog.text


def test_a_snapshot_never_gives_way_to_an_older_one(lake: Lake, clock: Clock) -> None:
    older = lake.version()
    grow(lake, "second")
    shelf = Shelf(lake, clock=clock)
    history_path(lake).unlink()
    publish(lake, older)
    assert settle(shelf).number == 2
    assert shelf.refresh().number == 2


def test_one_renewal_at_a_time(lake: Lake, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf(lake, clock=clock)
    grow(lake, "second")
    publish(lake, lake.version())
    made = count_made(monkeypatch)
    with shelf._renewal:
        assert shelf.present().number == 1
        waiting = Thread(target=shelf.refresh)
        waiting.start()
        waiting.join(0.3)
        assert made() == 0
    waiting.join()
    assert settle(shelf).number == 2 and made() == 1


def test_little_memory_is_enough_to_publish(lake: Lake) -> None:
    for number in range(3):
        grow(lake, f"more {number}")
    publish(lake, lake.version(), memory=PUBLISH_MEMORY)
    with duckdb.connect(str(history_path(lake)), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM topics").fetchall() == [(4,)]
    assert list(lake.path.glob(".history-*")) == []
