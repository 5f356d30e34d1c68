"""Several at one lake: who waits says for whom, and nobody commits or takes what another living run has claimed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from flows.opening import open_build
from flows.run import Run
from flows.standing import read_status
from storage.errors import TakenOver
from storage.query import query
from storage.records import CallRow, ClaimRow, RunEndRow, SampleRow
from storage.slots import run_lock
from storage.steps import Step
from tests.flows.casts import Troupe, assert_fsck_finds_nothing, fake_lake, grow
from tests.flows.test_build import assert_conserved

ONE = BuildOptions(new_topics=1, samples_per_topic=2, turns=1)
PATIENCE = 60  # seconds

AT_A_STEP = """
import os, signal, sys
from pathlib import Path
from tests.flows.casts import Troupe, grow
from tests.faults.test_waiting import ONE
steps = [sys.argv[2]]
def stop(event, given):
    if event == "interlake.step" and given[0] in steps:
        steps.clear()
        os.kill(os.getpid(), signal.SIGSTOP)
sys.addaudithook(stop)
grow(Path(sys.argv[1]), ONE, Troupe())
"""

AT_A_QUESTION = """
import os, signal, sys
from pathlib import Path
from tests.flows.casts import Troupe, grow
from tests.faults.test_waiting import ONE
def stop(_):
    if len(troupe.asked) == 6:
        os.kill(os.getpid(), signal.SIGSTOP)
troupe = Troupe(writer_fails=stop, latency=0.01)
grow(Path(sys.argv[1]), ONE, troupe)
"""

BUILD = """
import sys
from pathlib import Path
from flows.asked import BuildOptions
from tests.flows.casts import Troupe, grow
print("ready", flush=True)
sys.stdin.read()
grow(Path(sys.argv[1]), BuildOptions(new_topics=2, samples_per_topic=2, turns=1), Troupe(latency=0.003))
"""


@contextmanager
def stopped(script: str, *words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has stopped itself by SIGSTOP; killed at the end if it is still there."""
    child = subprocess.Popen([sys.executable, "-c", script, *map(str, words)])
    try:
        _, how = os.waitpid(child.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(how), "it ended before it stopped"
        yield child
    finally:
        child.kill()
        child.wait()


def test_who_waits_goes_on_once_the_holder_does(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lake = fake_lake(tmp_path / "lake")
    runs: list[Run] = []
    with stopped(AT_A_STEP, lake.path, Step.VERSION_NAMED) as holder:
        thread = threading.Thread(target=lambda: runs.append(grow(lake.path, ONE)))
        thread.start()
        deadline = time.monotonic() + PATIENCE
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.05)
        holder.send_signal(signal.SIGCONT)
        assert holder.wait(PATIENCE) == 0
        thread.join(PATIENCE)
    assert f"is held by process {holder.pid} " in caplog.records[0].getMessage()
    assert [run.counts()["kept"] for run in runs] == [2]
    assert read_status(lake.path).outcomes["kept"] == 4
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)


def test_what_a_stopped_run_has_claimed_is_its_own(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    with stopped(AT_A_QUESTION, lake.path) as child:
        run = grow(lake.path, ONE)
        assert (run.plan.resumed, run.plan.new_topics) == (0, 1)
        assert read_status(lake.path).outcomes["open"] == 2
        child.send_signal(signal.SIGCONT)
        assert child.wait(PATIENCE) == 0
    assert read_status(lake.path).outcomes == {"kept": 4, "rejected": 0, "duplicate": 0, "failed": 0, "open": 0}
    assert {row.state for row in lake.rows(RunEndRow, lake.version())} == {"finished"}
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)


def test_what_a_killed_run_has_claimed_is_taken_over(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    with stopped(AT_A_QUESTION, lake.path) as child:
        dead = next(lake.runs.iterdir()).name
        child.kill()
        child.wait()
        troupe = Troupe()
        run = grow(lake.path, ONE, troupe)
    assert (run.plan.resumed, run.plan.new_topics) == (2, 0)
    first = {row.request_key for row in lake.rows(CallRow, lake.version()) if row.run_id == dead}
    assert first
    assert not first & set(troupe.asked), "what it was answered is not asked again"
    assert sorted(row.state for row in lake.rows(RunEndRow, lake.version())) == ["died", "finished"]
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)


def test_two_builds_at_once_ask_nothing_twice(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake", settings={"batch_size = 8": "batch_size = 1"})
    children = [
        subprocess.Popen([sys.executable, "-c", BUILD, str(lake.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for child in children:
            assert child.stdout
            child.stdout.readline()
        for child in children:
            assert child.stdin
            child.stdin.close()
        assert [child.wait(PATIENCE) for child in children] == [0, 0]
    finally:
        for child in children:
            child.kill()
            child.wait()
            assert child.stdout
            child.stdout.close()
    claims = [row.slot_id for row in lake.rows(ClaimRow, lake.version())]
    assert len(claims) == len(set(claims)) == 8
    assert read_status(lake.path).outcomes["kept"] == 8
    assert query(lake, "SELECT count(*) AS n FROM runs WHERE kept = 4")["n"].to_list() == [2]
    asked = "SELECT key FROM calls WHERE purpose NOT LIKE 'embed%' GROUP BY key HAVING count(*) > 1"
    assert query(lake, asked).height == 0
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)


def test_a_run_that_lost_its_lock_and_its_slots_commits_none_of_them(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake", settings={"batch_size = 8": "batch_size = 1"})
    with pytest.raises(TakenOver) as refused, open_build(lake.path, ONE, studio=Troupe()) as run:
        run.make(0)
        run.commit(0)
        run.make(1)
        run_lock(lake, run.shop.run_id).unlink()
        troupe = Troupe()
        other = grow(lake.path, ONE, troupe)
        assert (other.plan.resumed, other.counts()["kept"]) == (1, 1)
        assert not troupe.asked, "the other had the spool"
        before = lake.version()
        run.commit(1)
    ours, theirs = run.shop.run_id[:8], other.shop.run_id[:8]
    assert str(refused.value) == (
        f"run {theirs} has taken over slots of run {ours}, which seemed dead; nothing is lost, it makes them"
    )
    after = lake.version()
    assert {entry.kind for entry in after.packages[len(before.packages) :]} <= {"run"}, "its end, and nothing more"
    ids = [row.sample_id for row in lake.rows(SampleRow, after)]
    assert len(ids) == len(set(ids)) == 2
    assert read_status(lake.path).outcomes["kept"] == 2
    assert_conserved(lake)
    assert grow(lake.path, ONE).counts()["kept"] == 2
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)
