"""A build with a budget: what it asks at most, what it leaves open, and that the next build asks nothing twice."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from flows.budget import Budget, BudgetUsed, Meter
from flows.replay.replaying import Replaying, ReplayOptions
from flows.standing import read_status
from models.chat import ChatRequest
from models.errors import TerminalError, TransientError
from storage.lake import Lake
from storage.query import query
from storage.records import CallRow, RunEndRow, TurnRow
from storage.spool import read_calls_of
from tests.flows.casts import Troupe, assert_fsck_finds_nothing, fake_lake, grow
from tests.flows.test_build import assert_conserved
from tests.flows.test_models_cli import interlake

SIX = BuildOptions(new_topics=3, samples_per_topic=2, turns=1)
BATCHES_OF_TWO = {"batch_size = 8": "batch_size = 2"}


def bounded(calls: int | None = None, tokens: int | None = None, seconds: float | None = None) -> BuildOptions:
    return BuildOptions(
        new_topics=3, samples_per_topic=2, turns=1, budget_calls=calls, budget_tokens=tokens, budget_seconds=seconds
    )


def a_lake(path: Path) -> Lake:
    return fake_lake(path, settings=BATCHES_OF_TWO)


def spooled(lake: Lake) -> Iterator[CallRow]:
    for path in lake.runs.glob("*/spool/*.log"):
        yield from (call.row for call in read_calls_of(path))


def asked(lake: Lake) -> int:
    """How many requests were ever sent, by what packages and spools have of them."""
    rows = {row.call_id: row.tries for row in (*lake.rows(CallRow, lake.version()), *spooled(lake))}
    return sum(rows.values())


def states(lake: Lake) -> list[tuple[str, str | None]]:
    return [(row.state, row.reason) for row in lake.rows(RunEndRow, lake.version())]


def turns(lake: Lake) -> list[TurnRow]:
    return sorted(lake.rows(TurnRow, lake.version()), key=TurnRow.identity)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The lake that comes out without a budget."""
    lake = a_lake(tmp_path_factory.mktemp("straight") / "lake")
    grow(lake.path, SIX)
    return lake


@pytest.mark.parametrize("calls", [0, 1, 30, 100_000])
def test_no_call_is_made_beyond_the_budget_and_the_next_build_makes_the_rest(
    tmp_path: Path, straight: Lake, calls: int
) -> None:
    lake = a_lake(tmp_path / "lake")
    run = grow(lake.path, bounded(calls))
    is_enough = calls >= asked(straight)
    assert asked(lake) == run.used()["calls"] == min(calls, asked(straight))
    assert states(lake) == [("finished", None) if is_enough else ("stopped", "budget")]
    assert (run.counts()["open"] == 0) == is_enough
    assert sum(run.counts().values()) == 2 * run.counts()["planned"]
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)

    again = grow(lake.path, SIX)
    assert (again.plan.resumed, again.plan.new_topics) == (run.counts()["open"], 3 if is_enough else 0)
    if not is_enough:
        assert turns(lake) == turns(straight)
        assert asked(lake) == asked(straight), "no call is asked twice"
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)


def test_whole_batches_are_committed_and_the_half_made_one_stays_open(tmp_path: Path, straight: Lake) -> None:
    lake = a_lake(tmp_path / "lake")
    run = grow(lake.path, bounded(asked(straight) // 2))
    assert 0 < run.counts()["kept"] < 6
    assert run.counts()["kept"] % 2 == 0
    assert set(query(lake, "SELECT state, reason FROM runs").rows()) == {("stopped", "budget")}
    assert list(spooled(lake)), "what the open batch was answered waits for the next build"


def test_many_small_budgets_come_to_the_same_lake_at_the_same_cost(tmp_path: Path, straight: Lake) -> None:
    lake = a_lake(tmp_path / "lake")
    runs = 0
    while (read_status(lake.path).outcomes["kept"] if runs else 0) < 6:
        grow(lake.path, bounded(20))
        runs += 1
        assert asked(lake) <= 20 * runs
    assert runs == -(-asked(straight) // 20)
    assert Counter(states(lake)) == {("stopped", "budget"): runs - 1, ("finished", None): 1}
    assert turns(lake) == turns(straight)
    assert asked(lake) == asked(straight)
    assert list(lake.runs.iterdir()) == []
    assert_fsck_finds_nothing(lake)


def test_answers_from_the_record_are_free(tmp_path: Path, straight: Lake) -> None:
    lake = a_lake(tmp_path / "lake")
    sent: list[ChatRequest] = []

    def go_down(request: ChatRequest) -> Exception | None:
        sent.append(request)
        return TerminalError("the key was refused") if len(sent) == 40 else None

    with pytest.raises(TerminalError):
        grow(lake.path, SIX, Troupe(writer_fails=go_down))
    missing = asked(straight) - asked(lake)
    run = grow(lake.path, bounded(missing))
    assert run.used()["calls"] == missing
    assert read_status(lake.path).outcomes["kept"] == 6


def test_repeats_after_transient_errors_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.recorder.FIRST_WAIT_SECONDS", 0.001)
    lake = a_lake(tmp_path / "lake")
    troupe = Troupe(writer_fails=lambda _: TransientError("busy"))
    run = grow(lake.path, bounded(7), troupe)
    assert (len(troupe.asked), run.used()["calls"], asked(lake)) == (7, 7, 0)
    assert states(lake) == [("stopped", "budget")]


def test_tokens_are_overspent_by_what_was_under_way_at_most(tmp_path: Path) -> None:
    lake = a_lake(tmp_path / "lake")
    run = grow(lake.path, bounded(tokens=1))
    rows = list(spooled(lake))
    assert len(rows) == run.used()["calls"] == 2, "the first batch has two samples, each with a first question"
    assert run.used()["tokens"] == sum((row.prompt_tokens or 0) + (row.completion_tokens or 0) for row in rows) > 1
    assert states(lake) == [("stopped", "budget")]
    assert grow(lake.path, bounded(tokens=0)).used()["calls"] == 0


def test_seconds_end_a_build_as_well(tmp_path: Path) -> None:
    lake = a_lake(tmp_path / "lake")
    assert grow(lake.path, bounded(seconds=0)).used()["calls"] == 0
    since = time.monotonic()
    run = grow(lake.path, bounded(seconds=0.3), Troupe(latency=0.1))
    assert time.monotonic() - since < 5
    assert 0 < run.used()["calls"] < 20
    assert states(lake) == [("stopped", "budget")] * 2


def test_a_meter_that_is_paused_counts_no_seconds_and_keeps_those_before() -> None:
    now = [100.0]
    meter = Meter(Budget(seconds=10), clock=lambda: now[0])
    now[0] += 4
    meter.pause()
    now[0] += 1000
    meter.go_on()
    now[0] += 5
    meter.admit()
    assert meter.used() == {"calls": 1, "tokens": 0, "seconds": 9}
    now[0] += 1
    with pytest.raises(BudgetUsed):
        meter.admit()


def test_a_build_without_a_budget_says_nothing_of_one(straight: Lake, tmp_path: Path) -> None:
    assert grow(a_lake(tmp_path / "lake").path, SIX).used() == {}
    assert states(straight) == [("finished", None)]


SLOW_BUILD = """
import sys
from pathlib import Path
from tests.flows.casts import Troupe, grow
from tests.flows.test_budget import bounded
grow(Path(sys.argv[1]), bounded(100_000), Troupe(latency=0.05))
"""


def test_killed_after_a_budget_the_next_build_completes_and_replay_is_identical(tmp_path: Path, straight: Lake) -> None:
    lake = a_lake(tmp_path / "lake")
    grow(lake.path, bounded(20))
    child = subprocess.Popen([sys.executable, "-c", SLOW_BUILD, str(lake.path)])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and asked(lake) < 30:
        assert child.poll() is None, "the build ended before it could be killed"
        time.sleep(0.02)
    child.kill()
    child.wait()
    troupe = Troupe()
    grow(lake.path, bounded(100_000), troupe)
    assert read_status(lake.path).outcomes["kept"] == 6
    assert {state for state, _ in states(lake)} == {"stopped", "died", "finished"}
    assert turns(lake) == turns(straight)
    earlier = {row.request_key for row in lake.rows(CallRow, lake.version()) if row.run_id != last_run(lake)}
    assert not earlier & set(troupe.asked)
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)
    replaying = Replaying(lake.path, ReplayOptions())
    report = replaying.report([replaying.replay(number) for number in replaying.numbers])
    assert not report.differences


def last_run(lake: Lake) -> str:
    return str(query(lake, "SELECT run_id FROM runs ORDER BY version DESC")["run_id"][0])


@pytest.mark.usefixtures("prefect_server")
def test_the_flow_run_is_completed_and_the_command_says_what_is_open(tmp_path: Path, prefect_server: str) -> None:
    from flows.build import build_lake

    lake = a_lake(tmp_path / "lake")
    state = build_lake(lake=str(lake.path), new_topics=3, turns=1, budget_calls=30, return_state=True)
    assert state.is_completed()
    counts = state.result()
    assert isinstance(counts, dict)
    assert (counts["calls"], counts["planned"]) == (30, 6)
    assert counts["open"] > 0
    words = ("build", "--lake", lake.path, "--new-topics", "3", "--turns", "1", "--budget-calls")
    environment = {"PREFECT_API_URL": prefect_server}
    code, out, err = interlake(*words, "1", environment=environment)
    assert (code, err) == (0, "")
    assert "used of the budget: 1 call, " in out
    assert f"{counts['open']} samples are open, and the same command goes on" in out
    code, out, _ = interlake(*words, "1000", environment=environment)
    assert code == 0
    assert "nothing is open" in out
    assert read_status(lake.path).outcomes["kept"] == 6
    assert interlake(*words, "-1")[0] == 2
