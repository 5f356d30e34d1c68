"""The lock: one holder, and looking whether it is held disturbs nobody."""

import fcntl
import os
import threading
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
