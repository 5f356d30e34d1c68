"""`interlake watch`: another process's run is followed until it ends, and nothing of it is disturbed."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from flows.progress import Progress
from flows.watching import find_run, follow
from storage.errors import NoSuchThing
from storage.lake import Lake
from tests.flows.casts import Troupe, assert_fsck_finds_nothing, fake_lake, grow
from tests.flows.conftest import Interlake

SLOW_BUILD = """
import sys
from pathlib import Path
from tests.flows.test_watch import FOUR
from tests.flows.casts import Troupe, grow
grow(Path(sys.argv[1]), FOUR, Troupe(latency=0.1))
"""
FOUR = BuildOptions(new_topics=2, samples_per_topic=2, turns=1)
COMMAND = [sys.executable, "-c", "from flows.cli.main import main; main()", "watch", "--lake"]
PATIENCE = 60.0


@contextmanager
def built_beside(lake: Lake) -> Iterator[subprocess.Popen[bytes]]:
    """A slow build in another process, from its first claim on; ended at the end."""
    child = subprocess.Popen([sys.executable, "-c", SLOW_BUILD, str(lake.path)])
    try:
        before = lake.version().number
        while lake.version().number == before:
            assert child.poll() is None, "it ended before it claimed"
            time.sleep(0.02)
        yield child
    finally:
        child.kill()
        child.wait()


@contextmanager
def built_here(lake: Lake) -> Iterator[None]:
    """A slow build in a thread, from its first claim on; it has ended at the end."""
    before = lake.version().number
    with ThreadPoolExecutor(1) as threads:
        built = threads.submit(grow, lake.path, FOUR, Troupe(latency=0.1))
        while lake.version().number == before:
            assert not built.done(), "it ended before it claimed"
            time.sleep(0.01)
        yield
        built.result(PATIENCE)


def test_a_living_run_is_followed_to_its_outcome(tmp_path: Path, interlake: Interlake) -> None:
    lake = fake_lake(tmp_path / "lake", settings={"batch_size = 8": "batch_size = 2"})
    with built_here(lake):
        code, out, err = interlake("watch", "--lake", lake.path)
    *changes, outcome = out.splitlines()
    assert changes and all(line.startswith("made ") and " calls a second; committed " in line for line in changes)
    run_id = find_run(lake, None)
    assert run_id is not None
    counts = "4 planned, 4 kept, 0 rejected, 0 duplicate, 0 failed, 0 open"
    assert (code, outcome, err) == (0, f"run {run_id[:8]} (build) finished: {counts}", "")


def test_json_has_an_object_a_change_and_the_outcome_last(tmp_path: Path, interlake: Interlake) -> None:
    lake = fake_lake(tmp_path / "lake")
    with built_here(lake):
        _, out, _ = interlake("watch", "--lake", lake.path, "--json")
    *changes, outcome = [json.loads(line) for line in out.splitlines()]
    assert {change["state"] for change in changes} == {"running"}
    assert [change["seconds"] for change in changes] == sorted({change["seconds"] for change in changes})
    assert all({"calls", "calls_per_second", "seconds_left", "open"} <= change.keys() for change in changes)
    assert (outcome["state"], outcome["planned"], outcome["kept"]) == ("finished", 4, 4)


def test_a_terminal_has_one_line_and_ctrl_c_ends_the_watching_alone(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    with built_beside(lake) as child:
        ours, theirs = pty.openpty()
        watcher = subprocess.Popen([*COMMAND, str(lake.path)], stdout=theirs, stderr=subprocess.PIPE)
        os.close(theirs)
        shown = os.read(ours, 4096)
        watcher.send_signal(signal.SIGINT)
        _, said = watcher.communicate(timeout=PATIENCE)
        assert (watcher.returncode, said) == (0, b"\nno longer watching; the run goes on\n")
        assert shown.startswith(b"\r\x1b[Kmade ") and b"\n" not in shown
        assert child.wait(PATIENCE) == 0, "the build went on"
    os.close(ours)
    assert_fsck_finds_nothing(lake)


def test_a_killed_run_is_said_to_have_died(tmp_path: Path, interlake: Interlake) -> None:
    lake = fake_lake(tmp_path / "lake")
    with built_beside(lake) as child:
        run_id = find_run(lake, None)
        assert run_id is not None
        killer = threading.Timer(0.3, child.kill)
        killer.start()
        assert all(isinstance(now, Progress) for now in follow(lake, run_id, every=0.02))
        child.wait()
    _, out, _ = interlake("watch", "--lake", lake.path)
    assert out.startswith(f"no run is at work; the last: run {run_id[:8]} (build) died: 4 planned, ")


def test_without_a_living_run_the_last_one_is_told(tmp_path: Path, interlake: Interlake) -> None:
    lake = fake_lake(tmp_path / "lake")
    assert interlake("watch", "--lake", lake.path) == (0, "no run is at work, and there was none yet\n", "")
    first = grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1, turns=1), Troupe()).shop.run_id
    last = grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=2, turns=1), Troupe()).shop.run_id
    code, out, _ = interlake("watch", "--lake", lake.path)
    assert (code, out.startswith(f"no run is at work; the last: run {last[:8]} (build) finished: 2 planned, ")) == (
        0,
        True,
    )
    code, out, _ = interlake("watch", "--lake", lake.path, first[:12])
    assert (code, out.startswith(f"not at work any more: run {first[:8]} (build) finished: 1 planned, ")) == (0, True)
    assert json.loads(interlake("watch", "--lake", lake.path, "--json")[1])["run_id"] == last


@pytest.mark.parametrize("prefix", ["zz", "", "x' OR true --", "ffffffffffffffffffffffffffffffffff"])
def test_a_bad_run_is_bad_input(tmp_path: Path, interlake: Interlake, prefix: str) -> None:
    lake = fake_lake(tmp_path / "lake")
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1, turns=1), Troupe())
    code, out, err = interlake("watch", "--lake", lake.path, prefix)
    assert (code, out) == (2, "")
    assert err.startswith("interlake: no run's id begins with ")
    with pytest.raises(NoSuchThing):
        find_run(lake, prefix)


def test_time_left_is_what_the_rest_takes_at_the_pace_so_far() -> None:
    some = Progress(run_id="r", note="", planned=10, batches=5, made=4, committed_batches=1, calls=40, seconds=20.0)
    assert (some.calls_per_second, some.seconds_left) == (2.0, 30.0)
    assert some.line().startswith("made 4/10, about 30 s left, 2.0 calls a second; committed 1/5 batches: ")
    none = Progress(run_id="r", note="", planned=10, batches=5)
    assert (none.calls_per_second, none.seconds_left) == (0.0, None)
    assert none.line().startswith("made 0/10, time left not known yet, 0.0 calls a second; committed 0/5 batches: ")
    done = Progress(run_id="r", note="", planned=10, batches=5, made=10, committed_batches=5, calls=90, seconds=30.0)
    assert done.seconds_left == 0.0
    assert done.line().startswith("made 10/10, 3.0 calls a second; committed 5/5 batches: ")
