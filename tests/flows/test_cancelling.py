"""A run that is told to end (SIGTERM, as a process worker sends it when a run is cancelled) ends within seconds, says
so in the lake and in Prefect, and leaves everything for the next one."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client

from flows.asked import BuildOptions
from storage.lake import Lake
from storage.query import query
from tests.flows.casts import Troupe, assert_fsck_finds_nothing, fake_lake, grow
from tests.flows.test_build import assert_conserved

SLOW_FLOW = """
import sys
from pathlib import Path
from prefect import flow
from prefect.runtime import flow_run
from flows.opening import open_build
from flows.tasks import commit_batch, make_in_order
from flows.ui.live import live_progress
from tests.flows.casts import Troupe
from tests.flows.test_cancelling import FOUR

@flow(name="a slow build")
def build(lake: str) -> None:
    with open_build(Path(lake), FOUR, flow_run_id=flow_run.id, studio=Troupe(latency=0.5)) as run, live_progress(run):
        for number in make_in_order(run):
            commit_batch(run, number, run.label(number))

build(sys.argv[1])
"""
FOUR = BuildOptions(new_topics=2, samples_per_topic=2, turns=1)
COMMAND = [sys.executable, "-c", "from flows.cli.main import main; main()"]
PATIENCE = 60.0
SOON = 15.0
"""Seconds; alone on two cores it is less than one, and tests run beside each other."""


@contextmanager
def at_work(words: list[str], lake: Lake, server: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has begun to ask models; killed at the end if it is still there."""
    environment: Mapping[str, str] = {**os.environ, "PREFECT_API_URL": server}
    child = subprocess.Popen(words, env=environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while not any(path.stat().st_size for path in lake.runs.glob("*/spool/*.log")):
            assert child.poll() is None, "it ended before it asked"
            time.sleep(0.02)
        yield child
    finally:
        child.kill()
        child.wait()


def end(child: subprocess.Popen[str]) -> str:
    """Ask a process to end, and see that it soon does; returns what it said on standard error."""
    since = time.monotonic()
    child.send_signal(signal.SIGTERM)
    _, said = child.communicate(timeout=PATIENCE)
    assert time.monotonic() - since < SOON
    return said


def state_of(flow_run_id: str) -> str:
    async def read() -> str:
        async with get_client() as client:
            return (await client.read_flow_run(UUID(flow_run_id))).state_name or ""

    return asyncio.run(read())


def assert_all_is_left_open(lake: Lake, planned: int) -> None:
    (run,) = query(lake, "SELECT state, planned, kept, open, flow_run_id FROM runs").to_dicts()
    assert (run["state"], run["planned"], run["kept"] + run["open"]) == ("cancelled", planned, planned)
    assert run["open"] > 0
    assert state_of(run["flow_run_id"]) == "Crashed", "nobody cancelled it in Prefect: a worker would have said so"
    assert_fsck_finds_nothing(lake)
    assert_conserved(lake)


def test_a_flow_that_is_ended_leaves_its_slots_and_answers_to_the_next(tmp_path: Path, prefect_server: str) -> None:
    lake = fake_lake(tmp_path / "lake")
    with at_work([sys.executable, "-c", SLOW_FLOW, str(lake.path)], lake, prefect_server) as child:
        end(child)
        assert child.returncode == -signal.SIGTERM
    assert_all_is_left_open(lake, 4)
    whole, rest = Troupe(), Troupe()
    another = fake_lake(tmp_path / "another")
    assert grow(lake.path, FOUR, rest).counts() == grow(another.path, FOUR, whole).counts()
    assert len(rest.asked) < len(whole.asked), "what was answered is not asked again"
    assert_fsck_finds_nothing(lake)


def test_a_command_that_is_ended_says_how_to_go_on_and_can(tmp_path: Path, prefect_server: str) -> None:
    lake = fake_lake(tmp_path / "lake")
    build = [*COMMAND, "build", "--lake", str(lake.path), "--new-topics", "60", "--samples-per-topic", "2"]
    with at_work(build, lake, prefect_server) as child:
        said = end(child)
        assert child.returncode == 128 + signal.SIGTERM
    assert said == "interlake: stopped; what was finished is kept, and the same command goes on from there\n"
    assert_all_is_left_open(lake, 120)
