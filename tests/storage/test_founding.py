"""Making a lake: all of it is there, or none, and an attempt that was killed stands in nobody's way."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.errors import LakeBusy, NotALake
from storage.founding import LOCK, MOVED, PART
from storage.lake import MARK, Lake
from storage.lock import hold
from storage.packages import PackageDraft
from storage.records import TopicRow

OWL = TopicRow(topic_id="1", name="owl", category="", domain="", source="test")
KILLED = """
import os, signal, sys
from pathlib import Path
from storage.lake import Lake
with Lake.making(Path(sys.argv[1]), seed=1, files={"interlake.toml": b"first"}) as lake:
    os.kill(os.getpid(), signal.SIGKILL)
"""


def make(path: Path, seed: int = 2) -> Lake:
    with Lake.making(path, seed=seed, files={"interlake.toml": b"second"}) as lake:
        lake.commit([PackageDraft("topics", [OWL])])
    return Lake.open(path)


def assert_whole(lake: Lake) -> None:
    assert (lake.seed, lake.version().number) == (2, 1)
    assert [row.name for row in lake.rows(TopicRow, lake.version())] == ["owl"]
    assert (lake.path / "interlake.toml").read_bytes() == b"second"
    assert not (lake.path / PART).exists()


@pytest.mark.parametrize("is_there", [False, True])
def test_a_killed_attempt_leaves_no_lake_and_does_not_hinder_the_next(tmp_path: Path, *, is_there: bool) -> None:
    path = tmp_path / "lake"
    if is_there:
        path.mkdir()
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    with pytest.raises(NotALake, match="interlake init"):
        Lake.open(path)
    assert_whole(make(path))


@pytest.mark.parametrize("moved", [0, 1, 3, 6])
def test_an_attempt_killed_while_it_moved_things_up_is_taken_away(tmp_path: Path, moved: int) -> None:
    """The mark comes last, so that whatever was moved so far is no lake."""
    path = make(tmp_path / "lake", seed=1).path
    names = sorted({file.name for file in path.iterdir()} - {LOCK, MARK})
    assert len(names) == 6
    (path / PART).mkdir()
    (path / PART / MOVED).write_text("\n".join(names))
    for name in [*names[moved:], MARK]:
        (path / name).rename(path / PART / name)
    with pytest.raises(NotALake, match="interlake init"):
        Lake.open(path)
    assert_whole(make(path))


def test_what_the_user_put_beside_a_killed_attempt_stays(tmp_path: Path) -> None:
    path = tmp_path / "lake"
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    (path / "notes.txt").write_text("mine")
    with pytest.raises(NotALake, match="not an empty folder"):
        make(path)
    assert (path / "notes.txt").read_text() == "mine"


def test_an_error_on_the_way_leaves_a_folder_that_can_be_used(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk full"), Lake.making(tmp_path, seed=1, files={}):
        raise OSError("disk full")
    assert_whole(make(tmp_path))


def test_a_lake_is_made_where_the_user_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert_whole(make(Path()))
    assert Path.cwd().samefile(tmp_path)
    assert (Path.cwd() / MARK).exists()


def test_two_who_make_a_lake_in_one_folder_do_not_mix(tmp_path: Path) -> None:
    with hold(tmp_path / LOCK, purpose="init", timeout=0), pytest.raises(LakeBusy, match="init"):
        make(tmp_path)
    lake = make(tmp_path)
    with pytest.raises(NotALake, match="is a lake already"):
        make(tmp_path)
    assert_whole(lake)
