"""A build: what it plans, makes, commits and leaves behind when things go wrong."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.asked import BuildOptions
from flows.errors import UserError
from flows.lakes import add_topics
from flows.opening import open_build
from flows.progress import read_progress
from flows.standing import read_status
from flows.topics.catalogue import TopicEntry
from models.chat import ChatRequest
from models.embedding import Embedding, EmbedRequest
from models.errors import ContentError, TerminalError, TransientError
from models.fakes import FakeEncoder
from storage.lake import Lake
from storage.query import query
from storage.records import CallRow, ClaimRow, DecisionRow, IterationRow, RunEndRow, SampleRow, TurnRow
from storage.slots import slot_states
from tests.flows.casts import Troupe, fake_lake, grow

TWO_BY_TWO = BuildOptions(new_topics=2, samples_per_topic=2)
OUTCOMES = ("kept", "rejected", "duplicate", "failed", "open")


def assert_conserved(lake: Lake) -> None:
    """Every run's planned slots are accounted for, in the history and in the packages."""
    runs = query(lake, "SELECT * FROM runs").to_dicts()
    assert runs
    for run in runs:
        assert run["planned"] == sum(run[name] for name in OUTCOMES), run
        assert run["state"] != "finished" or run["open"] == 0, run
    states = slot_states(lake, lake.version())
    assert set(states["outcome"]) <= set(OUTCOMES)
    ids = [row.sample_id for row in lake.rows(SampleRow, lake.version())]
    assert len(ids) == len(set(ids))
    closed = states.filter(pl.col("outcome") != "open")
    assert set(closed["sample_id"]) == set(ids) & set(states["sample_id"]), "but for those of an earlier recipe"


def test_a_second_build_adds_only_new_topics(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    first, second = grow(lake.path, TWO_BY_TWO), grow(lake.path, TWO_BY_TWO)
    assert first.counts() == {"planned": 4, "kept": 4, "rejected": 0, "duplicate": 0, "failed": 0, "open": 0}
    topics = [{slot.topic_id for slot in run.plan.slots} for run in (first, second)]
    assert len(topics[0]) == len(topics[1]) == 2
    assert not topics[0] & topics[1]
    assert_conserved(lake)


def test_topics_are_taken_evenly_from_the_domains(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    grow(lake.path, BuildOptions(new_topics=8, samples_per_topic=1))
    per_domain = query(
        lake, "SELECT count(DISTINCT topic_id) AS n FROM samples JOIN topics USING (topic_id) GROUP BY domain"
    )
    assert per_domain["n"].to_list() == [1] * 8


def test_the_turns_of_a_dialogue_start_from_different_templates(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    run = grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1, turns=10))
    assert all(len(set(slot.templates)) == 10 for slot in run.plan.slots)


def test_equal_lakes_have_equal_chains_pictures_and_vectors(tmp_path: Path) -> None:
    lakes = [fake_lake(tmp_path / name) for name in ("one", "two")]
    for lake in lakes:
        grow(lake.path, TWO_BY_TWO)
        grow(lake.path, TWO_BY_TWO)
    one, two = (lake.version() for lake in lakes)
    assert one.sha256 == two.sha256
    for ours, theirs in zip(one.packages, two.packages, strict=True):
        folders = (lakes[0].folder(ours), lakes[1].folder(theirs))
        assert folders[0].name == folders[1].name
        for name in ("images.pack", "vectors.parquet", "turns.parquet"):
            files = [folder / name for folder in folders if (folder / name).exists()]
            assert len(files) in (0, 2)
            assert len({path.read_bytes() for path in files}) <= 1, (ours, name)


def test_another_seed_makes_another_lake(tmp_path: Path) -> None:
    one, two = fake_lake(tmp_path / "one", seed=1), fake_lake(tmp_path / "two", seed=2)
    slots = [{slot.slot_id for slot in grow(lake.path, TWO_BY_TWO).plan.slots} for lake in (one, two)]
    assert not slots[0] & slots[1]


def test_every_stage_leaves_its_rounds_and_every_call_is_recorded(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    troupe = Troupe()
    grow(lake.path, TWO_BY_TWO, troupe)
    iterations = list(lake.rows(IterationRow, lake.version()))
    assert {row.stage for row in iterations} == {"question", "answer", "image"}
    for turn in lake.rows(TurnRow, lake.version()):
        for stage in ("question", "answer", "image"):
            rounds = [
                row for row in iterations if (row.sample_id, row.turn, row.stage) == (turn.sample_id, turn.turn, stage)
            ]
            assert [row.round for row in rounds] == list(range(len(rounds)))
            assert [row.chosen for row in rounds] == [False] * (len(rounds) - 1) + [True]
    recorded = {row.request_key for row in lake.rows(CallRow, lake.version())}
    assert set(troupe.asked) <= recorded
    assert len(troupe.asked) == len(set(troupe.asked)), "nothing is asked twice"


def test_seeds_and_ids_do_not_change_when_the_recipe_does(tmp_path: Path) -> None:
    plain = fake_lake(tmp_path / "plain")
    other = fake_lake(tmp_path / "other", settings={"image = 3": "image = 1"})
    runs = [grow(lake.path, TWO_BY_TWO) for lake in (plain, other)]
    assert [slot.slot_id for slot in runs[0].plan.slots] == [slot.slot_id for slot in runs[1].plan.slots]
    assert not {s.sample_id for s in runs[0].plan.slots} & {s.sample_id for s in runs[1].plan.slots}
    seeds = [{row.seed for row in lake.rows(CallRow, lake.version()) if row.round == 0} for lake in (plain, other)]
    assert seeds[0] == seeds[1]


def test_unusable_content_fails_one_slot_and_retry_finishes_it(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    broken: set[str] = set()

    def refuse_first_topic(request: ChatRequest) -> Exception | None:
        first = str(request.messages)
        if not broken:
            broken.add(first)
        return ContentError("refused", "not this one") if first in broken else None

    run = grow(lake.path, TWO_BY_TWO, Troupe(writer_fails=refuse_first_topic))
    assert run.counts() == {"planned": 4, "kept": 3, "rejected": 0, "duplicate": 0, "failed": 1, "open": 0}
    failed = next(row for row in lake.rows(DecisionRow, lake.version()) if row.outcome == "failed")
    assert (failed.stage, failed.reason) == ("question", "refused")
    attempts = json.loads(failed.evidence)["attempts"]
    calls = {row.call_id: row for row in lake.rows(CallRow, lake.version())}
    assert [calls[attempt["call_id"]].attempt for attempt in attempts] == [0, 1, 2]
    assert len({calls[attempt["call_id"]].seed for attempt in attempts}) == 3

    troupe = Troupe()
    again = grow(lake.path, BuildOptions(new_topics=0, samples_per_topic=1, retry_failed=True), troupe)
    assert again.counts()["kept"] == again.counts()["planned"] == 1
    assert again.plan.slots[0].sample_id == failed.sample_id
    assert not set(troupe.asked) & {calls[attempt["call_id"]].request_key for attempt in attempts}
    assert read_status(lake.path).outcomes["kept"] == 4
    assert_conserved(lake)


def test_a_backend_that_goes_down_stops_the_run_and_a_plain_rerun_finishes_it(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake", settings={"batch_size = 8": "batch_size = 2"})
    wanted = BuildOptions(new_topics=3, samples_per_topic=2)
    before: list[ChatRequest] = []

    def go_down(request: ChatRequest) -> Exception | None:
        before.append(request)
        return TerminalError("the key was refused") if len(before) > 60 else None

    troupe = Troupe(writer_fails=go_down)
    with pytest.raises(TerminalError, match="key was refused"):
        grow(lake.path, wanted, troupe)
    stopped = read_status(lake.path)
    assert stopped.outcomes["kept"] >= 2
    assert stopped.interrupted == stopped.outcomes["open"] > 0
    assert [row.state for row in lake.rows(RunEndRow, lake.version())] == ["stopped"]
    assert_conserved(lake)

    rerun = Troupe()
    run = grow(lake.path, wanted, rerun)
    assert run.plan.resumed == stopped.outcomes["open"]
    assert run.plan.new_topics == 0, "the topics of the stopped run count among those asked for"
    assert not set(rerun.asked) & set(troupe.asked[:60]), "no answered question is asked again"
    assert read_status(lake.path).outcomes == {"kept": 6, "rejected": 0, "duplicate": 0, "failed": 0, "open": 0}
    assert list(lake.runs.iterdir()) == [], "spools are gone once nothing needs them"
    assert_conserved(lake)

    straight = fake_lake(tmp_path / "straight", settings={"batch_size = 8": "batch_size = 2"})
    grow(straight.path, wanted)
    turns = [sorted(lake_.rows(TurnRow, lake_.version()), key=TurnRow.identity) for lake_ in (lake, straight)]
    assert turns[0] == turns[1], "an interruption leaves no trace in the samples"


def test_a_larger_request_after_an_interruption_adds_the_difference(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    with pytest.raises(TerminalError):
        grow(lake.path, TWO_BY_TWO, Troupe(writer_fails=lambda _: TerminalError("down")))
    run = grow(lake.path, BuildOptions(new_topics=5, samples_per_topic=2))
    assert (run.plan.resumed, run.plan.new_topics) == (4, 3)


def test_transient_errors_are_tried_again_with_the_same_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.recorder.FIRST_WAIT_SECONDS", 0.001)
    lake = fake_lake(tmp_path / "lake")
    seen: set[str] = set()

    def hiccup(request: ChatRequest) -> Exception | None:
        is_first = request.key() not in seen
        seen.add(request.key())
        return TransientError("busy") if is_first else None

    run = grow(lake.path, TWO_BY_TWO, Troupe(writer_fails=hiccup))
    assert run.counts()["kept"] == 4
    tries = {
        row.tries for row in lake.rows(CallRow, lake.version()) if row.stage == "question" and row.purpose == "draft"
    }
    assert tries == {2}


class SameEncoder(FakeEncoder):
    """Takes all pictures and all texts for the same one."""

    async def embed(self, request: EmbedRequest) -> Embedding:
        await super().embed(request)
        return Embedding(vector=np.eye(1, self.dims, dtype=np.float32)[0])


def test_near_duplicates_are_dropped_with_keeper_and_evidence(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    run = grow(lake.path, TWO_BY_TWO, Troupe(encoder=SameEncoder()))
    assert (run.counts()["kept"], run.counts()["duplicate"]) == (1, 3)
    pairs = query(lake, "SELECT * FROM duplicates ORDER BY sample_id, turn").to_dicts()
    keeper = min(slot.sample_id for slot in run.plan.slots)
    assert {(row["kept_sample_id"], row["kept_turn"]) for row in pairs} == {(keeper, 1)}
    assert {row["image_similarity"] for row in pairs} == {1.0}
    assert len(pairs) == 6
    assert_conserved(lake)


def test_a_lake_of_one_encoder_refuses_another(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    grow(lake.path, TWO_BY_TWO)
    before = lake.version().number
    renamed = FakeEncoder(dims=16)
    renamed._identity = type(renamed.identity)(name="other", revision="1", licence="CC0-1.0")
    with pytest.raises(UserError, match="cannot be compared"):
        grow(lake.path, TWO_BY_TWO, Troupe(encoder=renamed))
    assert lake.version().number == before


@pytest.mark.parametrize(("when", "planned"), [("stop", 2), ("deepen", 3)])
def test_when_topics_run_out_the_build_says_so_or_deepens(tmp_path: Path, when: str, planned: int) -> None:
    topics = [TopicEntry(name=name, category="", domain="") for name in ("owls", "oaks", "kites")]
    lake = fake_lake(tmp_path / "lake", settings={'"stop"': f'"{when}"'}, topics=topics)
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1, turns=1))
    run = grow(lake.path, BuildOptions(new_topics=3, samples_per_topic=1, turns=1))
    assert len(run.plan.slots) == planned
    before = lake.version().number
    last = grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1, turns=1))
    if when == "stop":
        assert "every topic has samples" in last.plan.note()
        assert lake.version().number == before, "a build with nothing to do leaves no version"
        add_topics(lake.path, _file(tmp_path, "my own topic\n"))
        assert grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1)).counts()["kept"] == 1
    else:
        assert last.plan.deepened == 1
        assert last.plan.slots[0].slot_number == 1


def _file(folder: Path, text: str) -> Path:
    path = folder / "topics.txt"
    path.write_text(text)
    return path


def test_two_builds_at_once_share_the_topics(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    runs = []
    threads = [
        threading.Thread(target=lambda: runs.append(grow(lake.path, TWO_BY_TWO, Troupe(latency=0.01))))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    claims = [row.slot_id for row in lake.rows(ClaimRow, lake.version())]
    assert len(claims) == len(set(claims)) == 8
    assert read_status(lake.path).outcomes["kept"] == 8
    assert_conserved(lake)


SLOW_BUILD = """
import sys
from pathlib import Path
from flows.asked import BuildOptions
from tests.flows.casts import Troupe, grow
troupe = Troupe(latency=0.02)
grow(Path(sys.argv[1]), BuildOptions(new_topics=4, samples_per_topic=2), troupe)
"""


def test_after_kill_9_a_plain_rerun_asks_nothing_twice(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake", settings={"batch_size = 8": "batch_size = 2"})
    child = subprocess.Popen([sys.executable, "-c", SLOW_BUILD, str(lake.path)])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and read_status(lake.path).outcomes["kept"] < 2:
        assert child.poll() is None, "the build ended before it could be killed"
        time.sleep(0.02)
    folder = next(lake.runs.iterdir())
    progress = read_progress(folder)
    child.kill()
    child.wait()
    assert progress is not None
    left = read_status(lake.path)
    assert left.interrupted > 0

    troupe = Troupe()
    grow(lake.path, BuildOptions(new_topics=4, samples_per_topic=2), troupe)
    assert read_status(lake.path).outcomes["kept"] == 8
    calls = list(lake.rows(CallRow, lake.version()))
    assert len({row.call_id for row in calls}) == len(calls)
    first_run = {row.request_key for row in calls if row.run_id == progress.run_id}
    assert first_run
    assert not first_run & set(troupe.asked)
    states = {row.state for row in lake.rows(RunEndRow, lake.version())}
    assert states == {"died", "finished"}
    assert_conserved(lake)


READER = """
import sys
from pathlib import Path
from storage.lake import Lake
from storage.query import query
lake, asked = Lake.open(Path(sys.argv[1])), 0
while not Path(sys.argv[2]).exists() or asked == 0:
    frame = query(lake, "SELECT count(*) AS n, count(DISTINCT sample_id) AS ids FROM iterations")
    assert frame["n"][0] >= frame["ids"][0]
    asked += 1
print(asked)
"""


def test_another_process_asks_sql_all_the_while_and_neither_fails(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake", settings={"batch_size = 8": "batch_size = 1"})
    done = tmp_path / "done"
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(lake.path), str(done)], stdout=subprocess.PIPE, text=True
    )
    try:
        run = grow(lake.path, BuildOptions(new_topics=6, samples_per_topic=2), Troupe(latency=0.005))
    finally:
        done.touch()
    out, _ = reader.communicate(timeout=60)
    assert reader.returncode == 0
    assert int(out) >= 1
    assert run.counts()["kept"] == 12


def test_a_run_that_is_at_work_is_shown_and_its_slots_are_not_taken(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    with open_build(lake.path, TWO_BY_TWO, studio=Troupe()) as run:
        status = read_status(lake.path)
        assert status.interrupted == 0
        assert [line.split()[1] for line in status.running] == [f"{run.shop.run_id[:8]}:"]
        with open_build(lake.path, TWO_BY_TWO, studio=Troupe()) as other:
            assert other.plan.resumed == 0
            assert not {s.slot_id for s in run.plan.slots} & {s.slot_id for s in other.plan.slots}
