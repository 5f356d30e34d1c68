"""The lock: one holder, and looking whether it is held disturbs nobody."""

import fcntl
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from storage.errors import LakeBusy
from storage.lock import PROBE_SECONDS, hold, is_held


def test_a_lock_is_held_while_its_holder_lives(tmp_path: Path) -> None:
    with hold(tmp_path / "lock", purpose="test", timeout=0):
        assert is_held(tmp_path / "lock")
    assert not is_held(tmp_path / "lock")


def test_looking_makes_no_file_and_needs_no_right_to_write(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "lock")
    assert not (tmp_path / "lock").exists()
    assert not is_held(Path("/proc/version")), "which not even root can open for writing"


def test_two_who_look_at_once_do_not_take_each_other_for_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not is_held(path)


def test_who_looks_does_not_stand_in_the_way_of_who_starts(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    looking = os.open(path, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    timer = threading.Timer(PROBE_SECONDS / 4, os.close, [looking])
    timer.start()
    try:
        with hold(path, purpose="test", timeout=0):
            assert is_held(path)
    finally:
        timer.join()


@pytest.mark.parametrize("text", ["", "[]", "7", "null", '{"pid": 1}', "{torn"])
def test_a_holder_that_did_not_sign_well_is_another_process(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock"
    path.write_text(text)
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(LakeBusy, match="held by another process"), hold(path, purpose="test", timeout=0):
            pass


def test_who_waits_says_for_whom_once_in_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("storage.lock.TELL_AFTER_SECONDS", 0.1)
    monkeypatch.setattr("storage.lock.TELL_EVERY_SECONDS", 0.3)
    path = tmp_path / "lock"
    with hold(path, purpose="a commit", timeout=0), pytest.raises(LakeBusy), hold(path, purpose="test", timeout=0.6):
        pass
    said = [record.getMessage() for record in caplog.records if record.name == "interlake"]
    who = f"{tmp_path} is held by process {os.getpid()} on {socket.gethostname()} (a commit) since 20"
    assert len(said) == 2
    assert all(line.startswith(who) for line in said)
    assert said[0].endswith("waiting up to 0 s more"), "half a second, and less"


def test_a_short_wait_is_not_worth_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "lock"
    path.touch()
    holder = os.open(path, os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    timer = threading.Timer(0.3, os.close, [holder])
    timer.start()
    try:
        with hold(path, purpose="test", timeout=10):
            assert is_held(path)
    finally:
        timer.join()
    assert not caplog.records


def test_a_holder_from_the_future_is_waited_for_no_longer(tmp_path: Path) -> None:
    """As after a clock was set back: what the holder signed with says a time that has not come yet."""
    path = tmp_path / "lock"
    path.write_text('{"pid": 7, "host": "here", "purpose": "a commit", "since": "2999-01-01T00:00:00+00:00"}')
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        since = time.monotonic()
        with pytest.raises(LakeBusy, match="since 2999"), hold(path, purpose="test", timeout=0.3):
            pass
        assert 0.3 <= time.monotonic() - since < 5
    with hold(path, purpose="test", timeout=0):
        assert is_held(path)
