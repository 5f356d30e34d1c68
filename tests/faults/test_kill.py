"""`kill -9` at every named step of commit, recovery and maintenance: nothing is lost, nothing is paid for twice."""

import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from flows.lakes import choose_encoder
from flows.standing import read_status
from storage.lake import Lake
from storage.records import TurnRow
from storage.steps import Step
from tests.faults.ledgers import Log, assert_reported_is_there, recorded
from tests.faults.soundness import assert_sound
from tests.faults.worker import Ledger, build, log_path, rebuild_all, reembed
from tests.flows.casts import fake_lake, grow, maintain
from tests.flows.test_build import assert_conserved

BATCH = 2
"""Samples in a batch; a worker makes one batch at a time, and a sample asks one thing at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Who is killed where; `before` are kills that come first, so that there is something to recover from.

    `kept` is how many samples the lake has once the same command was given again.
    """

    job: str
    at: Step
    nth: int = 1
    after: int = 0
    before: "tuple[Kill, ...]" = ()
    kept: int = 6


def batch(at: Step, nth: int = 1) -> Kill:
    """A build is killed at a step of the commit of its first batch: the version after its claim."""
    return Kill(job="build", at=at, nth=nth, after=1)


ORPHANED = batch(Step.PACKAGE_NAMED)
UNTAGGED = batch(Step.ROWS_ADDED)
MAINTAINED = {
    Step.COMPACT_STAGED: 1,
    Step.COMPACT_NAMED: 1,
    Step.TABLE_OPTIMIZED: 1,
    Step.TABLE_INDEXED: 1,
    Step.TAG_MOVED: 1,
    Step.PACKAGE_RETIRED: 2,
    Step.TAG_RETIRED: 2,
}
KILLS: dict[Step, tuple[Kill, ...]] = {
    Step.FILES_CLEARED: (Kill(job="build", at=Step.FILES_CLEARED, before=(ORPHANED,)),),
    Step.ORPHANS_ASIDE: (Kill(job="build", at=Step.ORPHANS_ASIDE, before=(ORPHANED,)),),
    Step.TABLE_RESTORED: (Kill(job="build", at=Step.TABLE_RESTORED, before=(UNTAGGED,)),),
    Step.RECOVERED: (Kill(job="build", at=Step.RECOVERED, before=(batch(Step.COMMITTED),)), batch(Step.RECOVERED)),
    Step.SPOOL_DROPPED: (batch(Step.SPOOL_DROPPED),),
    Step.RUN_TIDIED: (Kill(job="build", at=Step.RUN_TIDIED, before=(batch(Step.COMMITTED),), kept=10),),
    Step.ROWS_DELETED: (Kill(job="reembed", at=Step.ROWS_DELETED, kept=2),),
    Step.TABLE_DROPPED: (Kill(job="rebuild", at=Step.TABLE_DROPPED),),
    Step.TABLE_MADE: (Kill(job="rebuild", at=Step.TABLE_MADE),),
    **{step: (Kill(job="maintain", at=step, nth=nth),) for step, nth in MAINTAINED.items()},
    **{
        step: (batch(step), Kill(job="build", at=step))
        for step in (Step.VERSION_STAGED, Step.VERSION_NAMED, Step.COMMITTED, Step.TABLE_SYNCED, Step.TABLE_TAGGED)
    },
    **{
        step: (batch(step),)
        for step in (
            Step.TABLE_WRITTEN,
            Step.PICTURES_WRITTEN,
            Step.MANIFEST_WRITTEN,
            Step.PACKAGE_NAMED,
            Step.CHUNK_NAMED,
            Step.ROWS_ADDED,
            Step.VERIFIED,
            Step.HISTORY_COPIED,
            Step.HISTORY_WRITTEN,
            Step.HISTORY_NAMED,
        )
    },
}
CASES = [kill for kills in KILLS.values() for kill in kills]


FIRST = BuildOptions(new_topics=1, samples_per_topic=1, turns=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A small lake to be copied: two topics with a sample each, from two builds."""
    lake = fake_lake(tmp_path_factory.mktemp("model") / "lake", settings={"batch_size = 8": f"batch_size = {BATCH}"})
    for _ in range(2):
        grow(lake.path, FIRST)
    return lake


@pytest.fixture
def lake(model: Lake, tmp_path: Path) -> Lake:
    shutil.copytree(model.path, tmp_path / "lake")
    Ledger(log_path(tmp_path / "lake"))
    return Lake.open(tmp_path / "lake")


def run_worker(lake: Lake, kill: Kill) -> int:
    """Run a worker until its accident, which must come to pass; returns how many kills that took."""
    kills = sum(run_worker(lake, before) for before in kill.before)
    if kill.job == "reembed":
        choose_encoder(lake.path, "descriptor")
    command = [sys.executable, "-m", "tests.faults.worker", str(lake.path), kill.job, "--at", kill.at.value]
    arguments = ["--nth", str(kill.nth), "--after", str(kill.after)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, f"the step {kill.at!r} was never reached: {done.stderr[-2000:]}"
    return kills + 1


def finish(lake: Lake, job: str) -> None:
    """What a user does: give the same command again."""
    if job == "reembed":
        reembed(lake)
        return
    if job == "maintain":
        maintain(lake, days=0)
    if job == "rebuild":
        rebuild_all(lake)
    build(lake, Ledger(log_path(lake.path)))


def test_every_step_has_its_kill() -> None:
    assert set(KILLS) == set(Step)
    assert all(kill.at is step for step, kills in KILLS.items() for kill in kills)


@pytest.mark.parametrize("kill", CASES, ids=lambda kill: f"{kill.job}: {kill.at.value}, {kill.nth}/{kill.after}")
def test_after_a_kill_nothing_is_lost_and_nothing_is_paid_for_twice(lake: Lake, model: Lake, kill: Kill) -> None:
    kills = run_worker(lake, kill)
    log, known = Log.read(lake), recorded(lake)
    assert len(set(log.asked) - known) <= BATCH * kills, "more calls were lost than can have been under way"
    assert_reported_is_there(lake, log)
    head = model.version()
    assert lake.version(head.number).sha256 == head.sha256
    assert list(lake.rows(TurnRow, head)) == list(model.rows(TurnRow, head)), "readers see what they saw"

    finish(lake, kill.job)
    again = Log.read(lake)
    assert again.repeated() <= BATCH * kills
    assert not {key for key, times in Counter(again.asked).items() if times > 1} & known
    assert_reported_is_there(lake, again)
    assert_sound(lake)
    assert_conserved(lake)
    left = {name: count for name, count in read_status(lake.path).outcomes.items() if count}
    assert left == {"kept": kill.kept}
    assert not list(lake.runs.iterdir())
