"""What backends, disks and other processes do to a build, and that a plain rerun makes up for it."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from flows.claim import tidy_runs
from flows.opening import open_build
from flows.soundness import mend_lake
from flows.standing import read_status
from flows.topics.catalogue import read_templates
from models.chat import ChatRequest
from models.errors import ContentError, TerminalError
from storage.errors import LakeDamaged
from storage.query import query
from storage.records import CallRow, RunEndRow
from storage.slots import is_alive
from tests.flows.casts import Troupe, fake_lake, grow
from tests.flows.test_build import TWO_BY_TWO

ONE = BuildOptions(new_topics=1, samples_per_topic=2, turns=1)


def test_the_chain_knows_nothing_of_how_a_run_went_about_its_work(tmp_path: Path) -> None:
    chains = set()
    for name, timeout in (("one", "60"), ("elsewhere/two", "30")):
        lake = fake_lake(tmp_path / name, settings={"lock_timeout = 60": f"lock_timeout = {timeout}"})
        with pytest.raises(TerminalError):
            grow(lake.path, ONE, Troupe(writer_fails=lambda _, path=lake.path: TerminalError(f"no {path}")))  # type: ignore[misc]
        chains.add(lake.version().sha256)
    assert len(chains) == 1


def test_work_ends_before_the_runs_lock_is_left(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake", settings={"batch_size = 8": "batch_size = 1"})
    troupe = Troupe(latency=0.05)
    made = threading.Event()

    def make_second(make: Callable[[int], None]) -> None:
        try:
            make(1)
        except BaseException:
            made.set()

    with pytest.raises(RuntimeError), open_build(lake.path, ONE, studio=troupe) as run:
        thread = threading.Thread(target=make_second, args=(run.make,))
        thread.start()
        while not troupe.asked:
            pass
        raise RuntimeError("the flow ends here")
    asked = len(troupe.asked)
    assert made.wait(10)
    thread.join()
    assert not is_alive(lake, run.shop.run_id)
    assert len(troupe.asked) == asked
    assert read_status(lake.path).interrupted == 2


def test_spools_of_a_dead_run_can_be_read_after_somebody_tidied_them_away(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    calls = 0

    def die_soon(_: ChatRequest) -> Exception | None:
        nonlocal calls
        calls += 1
        return TerminalError("down") if calls > 12 else None

    with pytest.raises(TerminalError):
        grow(lake.path, ONE, Troupe(writer_fails=die_soon))
    (dead,) = lake.runs.iterdir()
    troupe = Troupe()
    with open_build(lake.path, ONE, studio=troupe) as run:
        for path in (dead / "spool").iterdir():
            path.unlink()
        run.make(0)
        run.commit(0)
    first = {row.request_key for row in lake.rows(CallRow, lake.version()) if row.run_id == dead.name}
    assert first
    assert not first & set(troupe.asked)


def test_a_run_that_died_before_its_claim_leaves_nothing(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    (lake.runs / "d1e5").mkdir()
    (lake.runs / "d1e5" / "lock").touch()
    with open_build(lake.path, ONE, studio=Troupe()) as run:
        tidy_runs(run.shop)
        assert [folder.name for folder in lake.runs.iterdir()] == [run.shop.run_id]


def test_a_template_that_is_gone_is_drawn_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import flows.filling
    import flows.plan

    lake = fake_lake(tmp_path / "lake")
    with pytest.raises(TerminalError):
        grow(lake.path, TWO_BY_TWO, Troupe(writer_fails=lambda _: TerminalError("down")))
    fewer = read_templates()[::2]
    monkeypatch.setattr(flows.plan, "read_templates", lambda: fewer)
    known = {template.template_id: template for template in fewer}
    monkeypatch.setattr(flows.filling, "known_templates", lambda: known)
    run = grow(lake.path, TWO_BY_TWO)
    assert run.counts()["kept"] == 4


HOLD = """
import fcntl, sys
file = open(sys.argv[1], "a+")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_who_holds_the_history_does_not_hold_up_a_build(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lake.path / ".history.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout
    child.stdout.readline()
    try:
        assert grow(lake.path, ONE).counts()["kept"] == 2
    finally:
        child.communicate("")
    assert [row.state for row in lake.rows(RunEndRow, lake.version())] == ["finished"]
    assert query(lake, "SELECT count(*) AS n FROM samples")["n"].to_list() == [2]


def test_refusals_are_asked_again_only_as_new_attempts(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    troupe = Troupe(painter_fails=lambda _: ContentError("blank_picture", "all one colour"))
    run = grow(lake.path, ONE, troupe)
    assert run.counts()["failed"] == 2
    drawings = [row for row in lake.rows(CallRow, lake.version()) if row.purpose == "draw"]
    assert sorted(row.attempt for row in drawings) == [0, 0, 1, 1, 2, 2]
    assert {row.error for row in drawings} == {"blank_picture"}


def test_the_error_that_ended_a_run_is_told_even_when_the_lake_is_held(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake", settings={"lock_timeout = 60": "lock_timeout = 0"})
    with open_build(lake.path, ONE, studio=Troupe()) as run:
        run.make(0)
        run.commit(0)
    child: subprocess.Popen[str] | None = None
    try:
        with (
            pytest.raises(RuntimeError, match="the real error"),
            open_build(lake.path, ONE, studio=Troupe()),
        ):
            child = subprocess.Popen(
                [sys.executable, "-c", HOLD, str(lake.path / ".lock")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert child.stdout
            child.stdout.readline()
            raise RuntimeError("the real error")
    finally:
        assert child
        child.communicate("")
    assert grow(lake.path, ONE).counts()["kept"] == 2, "the next build finishes it"


def test_a_stray_file_among_the_runs_is_left_alone(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    (lake.runs / ".DS_Store").touch()
    assert grow(lake.path, ONE).counts()["kept"] == 2
    assert [path.name for path in lake.runs.iterdir()] == [".DS_Store"]


def test_a_newest_version_that_is_lost_is_damage_while_its_packages_are_there(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    grow(lake.path, ONE)
    head = lake.version()
    (lake.versions / f"{head.number:06d}.json").unlink()
    with pytest.raises(LakeDamaged, match="fsck --repair"):
        grow(lake.path, ONE)
    assert not list((lake.path / "aside").iterdir())
    assert mend_lake(lake.path, lock_timeout=5).is_sound
    assert lake.version().sha256 == head.sha256
    assert grow(lake.path, ONE).counts()["kept"] == 2
