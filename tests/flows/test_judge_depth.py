"""Drafts judged round by round: what is due, what is asked, what each round was worth and cost."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import polars as pl
import pytest

from flows.asked import BuildOptions
from flows.judge import judging as judging_module
from flows.judge.candidate import SCORES
from flows.judge.depth import Depth, ScoreDepth, depth_table, read_depth
from flows.judge.depth_chart import draw_depth
from flows.judge.intervals import Estimate, Paired
from flows.soundness import check_soundness
from models.chat import ChatRequest, ImagePart
from models.errors import TerminalError
from storage.fsck.rows import chains_of
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.query import query
from storage.records import CallRow, IterationRow, TurnRow, VerdictRow
from storage.writing import writing
from tests.flows.casts import assert_fsck_finds_nothing, fake_lake, grow
from tests.flows.conftest import Interlake
from tests.flows.test_judge_lake import Chamber, assert_replays, judge

GROWN = BuildOptions(new_topics=3, samples_per_topic=1, turns=1)
LATE = 9
PLACE = ("sample_id", "turn", "stage", "round")


def has_picture(request: ChatRequest) -> bool:
    return any(isinstance(part, ImagePart) for message in request.messages for part in message.parts)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake that is to be copied."""
    path = tmp_path_factory.mktemp("built") / "lake"
    grow(fake_lake(path).path, GROWN)
    return path


@pytest.fixture(scope="module")
def judged(built: Path) -> Lake:
    """A lake whose drafts were judged, to be read and not to be written."""
    path = built.parent / "judged"
    shutil.copytree(built, path)
    judge(Lake.open(path), rounds=True, repeats=2)
    return Lake.open(path)


@pytest.fixture
def lake(built: Path, tmp_path: Path) -> Lake:
    shutil.copytree(built, tmp_path / "lake")
    return Lake.open(tmp_path / "lake")


def drafts_of(lake: Lake) -> list[IterationRow]:
    return [row for row in lake.rows(IterationRow, lake.version()) if row.stage != "question"]


def verdicts_of(lake: Lake) -> list[VerdictRow]:
    return list(lake.rows(VerdictRow, lake.version()))


def place(row: IterationRow | VerdictRow) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in PLACE)


def test_every_draft_of_an_answer_and_of_a_picture_is_judged_once_beside_the_finished_turn(lake: Lake) -> None:
    schemas: Counter[str] = Counter()

    def say(request: ChatRequest) -> str:
        names = json.loads(json.dumps(request.schema))["required"]
        schemas[f"{'picture' if has_picture(request) else 'words'}: {' '.join(names)}"] += 1
        return json.dumps(dict.fromkeys(names, 4))

    drafts, turns = drafts_of(lake), judge(lake).verdicts
    more = judge(lake, Chamber(say=say), rounds=True)
    assert more.unknown == 0, "what a draft cannot have yet is not unknown"
    rows = verdicts_of(lake)
    assert sorted(place(row) for row in rows if row.stage) == sorted(map(place, drafts))
    assert (more.verdicts, len(rows)) == (len(drafts), len(drafts) + turns), "turns were judged already"
    answers = [row for row in rows if row.stage == "answer"]
    assert {(row.tcc, row.icc, row.iq, row.its) for row in answers} == {(4, None, None, None)}
    assert {row.unknown for row in answers} == {'{"icc":"not_yet","iq":"not_yet","its":"not_yet"}'}
    assert schemas == {"words: tcc": len(answers), "picture: tcc icc iq its": len(drafts) - len(answers)}
    assert max(row.round or 0 for row in rows) > 0
    again = judge(lake, chamber := Chamber(), rounds=True)
    assert (again.verdicts, again.version, chamber.asked) == (0, None, [])
    assert_fsck_finds_nothing(lake)
    assert_replays(lake)


def test_a_run_over_rounds_that_was_interrupted_goes_on_and_asks_nothing_twice(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging_module, "SAMPLES_OF_ROUNDS", 1)
    heard: list[str] = []

    def give_up(request: ChatRequest) -> Exception | None:
        heard.append(request.key())
        return TerminalError("the card fell out of the machine") if len(heard) > LATE else None

    first, second = Chamber(fails=give_up), Chamber()
    with pytest.raises(TerminalError, match="fell out"):
        judge(lake, first, rounds=True)
    judge(lake, second, rounds=True)
    assert not set(first.asked) & set(second.asked)
    assert {place(row) for row in verdicts_of(lake) if row.stage} == set(map(place, drafts_of(lake)))
    assert len(first.asked) + len(second.asked) == len(verdicts_of(lake))
    assert_fsck_finds_nothing(lake)


def test_the_view_depth_tells_what_each_round_was_worth_and_cost(judged: Lake) -> None:
    lake = judged
    rows, drafts = [row for row in verdicts_of(lake) if row.stage], drafts_of(lake)
    told = query(lake, "SELECT * FROM depth").to_dicts()
    assert {(row["stage"], row["round"]) for row in told} == {(row.stage, row.round) for row in drafts}
    calls = [row for row in lake.rows(CallRow, lake.version()) if row.vector_sha256 is None and row.stage != "judge"]
    for line in told:
        here = [row for row in drafts if (row.stage, row.round) == (line["stage"], line["round"])]
        assert (line["drafts"], line["unknown"]) == (len(here), 0)
        assert line["satisfied"] == sum(row.stopped == "satisfied" for row in here)
        assert line["rounds_spent"] == sum(row.stopped == "rounds_spent" for row in here)
        asked = [row for row in calls if (row.stage, row.round) == (line["stage"], line["round"])]
        assert (line["calls"], line["seconds"]) == (
            len(asked),
            pytest.approx(sum(row.seconds for row in asked), abs=1e-4),
        )
        for name in SCORES:
            now = means_of(rows, name, line["stage"], line["round"])
            then = means_of(rows, name, line["stage"], line["round"] - 1)
            assert line[name] == (pytest.approx(fmean(now.values()), abs=1e-4) if now else None)
            gains = [value - then[key] for key, value in now.items() if key in then]
            assert line[f"{name}_gain"] == (pytest.approx(fmean(gains), abs=1e-4) if gains else None)
        points = (line["gain"] or 0) * line["pairs"]
        assert line["calls_per_point"] == (pytest.approx(len(asked) / points, rel=0.01) if points > 0.01 else None)
    assert query(lake, "SELECT count(*) FROM depth_at(1)").item() == 0


def means_of(rows: list[VerdictRow], name: str, stage: str, number: int) -> dict[tuple[str, int], float]:
    """The mean over repeats of a score, by turn, of those that have the round."""
    found: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        value = getattr(row, name)
        if (row.stage, row.round) == (stage, number) and value is not None:
            found.setdefault((row.sample_id, row.turn), []).append(value)
    return {key: fmean(values) for key, values in found.items()}


ROUNDS = [("answer", 0), ("answer", 1), ("image", 0), ("image", 1), ("image", 2)]


def worlds(lake: Lake, *, samples: int, its: dict[int, float], stop_at: int | None = None) -> Depth:
    """A lake with verdicts that are made up: ITS of a draft of a picture is `its` by its round, more or less.

    Every other sample stops at round `stop_at` and lacks what comes after.
    """
    rows = []
    for number in range(samples):
        for stage, k in ROUNDS:
            if stage == "image" and stop_at is not None and number % 2 and k > stop_at:
                continue
            value = its.get(k, 2.0) + (number % 5 - 2) / 10 + (number * 7 + k * 3) % 4 / 10
            tcc = 3.0 if stage == "answer" else value
            rest = (None, None, None) if stage == "answer" else (value, value, value)
            rows.append(made_up(f"s{number:03d}", stage, k, (tcc, *rest)))
    with writing(lake, purpose="made up", timeout=5) as writer:
        writer.commit([PackageDraft("judge", rows)], run_id="made-up")
    (found,) = read_depth(lake, lake.version())
    return found


def made_up(sample_id: str, stage: str, number: int, scores: tuple[float | None, ...]) -> VerdictRow:
    tcc, icc, iq, its = scores
    return VerdictRow(
        verdict_id=f"{sample_id}-{stage}-{number}", sample_id=sample_id, turn=1, stage=stage, round=number,
        judge="j", judge_sha256="0" * 64, rubric_sha256="1" * 64, repeat=0, model_id=None,
        tcc=tcc, icc=icc, iq=iq, its=its, unknown="{}", evidence="{}",
    )  # fmt: skip


def round_of(found: Depth, stage: str, number: int) -> str | None:
    (each,) = [each for each in found.rounds if (each.stage, each.round) == (stage, number)]
    return each.score("its" if stage == "image" else "tcc").outcome


@pytest.fixture
def bare(tmp_path: Path) -> Lake:
    return fake_lake(tmp_path / "bare")


def test_a_round_that_helps_is_told_from_one_that_harms_and_from_one_that_does_nothing(bare: Lake) -> None:
    found = worlds(bare, samples=30, its={0: 1.0, 1: 3.0, 2: 2.0})
    gains = query(bare, "SELECT its_gain, tcc_gain FROM depth WHERE stage = 'image' ORDER BY round").rows()
    assert gains[0] == (None, None)
    assert [its for its, _ in gains[1:]] == pytest.approx([2.0, -1.0], abs=0.2), (
        "against the round before, not the first"
    )
    assert round_of(found, "image", 0) is None
    assert round_of(found, "image", 1) == "helped"
    assert round_of(found, "image", 2) == "made it worse"
    assert round_of(found, "answer", 1) == "not shown to help", "nothing changed at all"
    sentences = list(found.sentences())
    assert sentences[1].startswith("round 1 of the image stage changed ITS by +2.01 (95 % ")
    assert sentences[1].endswith(", 30 turns): helped")
    rows = list(depth_table(found))
    assert len(rows) == 2 + 3 * 4
    assert {row["outcome"] for row in rows if row["round"] == 0} == {"-"}


def test_a_change_that_alone_would_count_does_not_among_many() -> None:
    sure = Estimate(value=0.4, low=0.1, high=0.7)
    change = Paired(items=30, clusters=30, unknown=0, difference=sure, p=0.02, least_p=0.001)
    score = ScoreDepth(score="its", known=30, mean=sure, change=change, p=0.02)
    assert score.outcome == "helped"
    assert (replace(score, p=0.3).outcome or "").startswith("not sure")
    assert replace(score, p=0.3, change=replace(change, p=0.3)).outcome == "not shown to help"


def test_few_samples_tell_nothing_however_large_the_change(bare: Lake) -> None:
    found = worlds(bare, samples=9, its={0: 0.5, 1: 4.0})
    assert round_of(found, "image", 1) == "too few samples to tell"


def test_a_change_is_of_the_turns_that_went_on_and_not_of_those_that_stopped(bare: Lake) -> None:
    found = worlds(bare, samples=40, its={0: 1.0, 1: 3.0, 2: 3.0}, stop_at=0)
    (first, second) = [each for each in found.rounds if each.stage == "image"][:2]
    assert (first.drafts, second.drafts) == (40, 20)
    change = second.score("its").change
    assert change is not None and (change.items, change.clusters) == (20, 20)
    assert change.difference.value == pytest.approx(2.0, abs=0.2)


def test_a_verdict_on_a_draft_that_was_never_made_is_found(lake: Lake) -> None:
    sample_id = next(iter(lake.rows(TurnRow, lake.version()))).sample_id
    with writing(lake, purpose="made up", timeout=5) as writer:
        writer.commit([PackageDraft("judge", [made_up(sample_id, "image", 9, (1, 1, 1, 1))])], run_id="made-up")
    report = check_soundness(lake.path)
    assert not report.is_sound
    assert "round 9 of stage image of turn 1" in str(report)


def test_a_later_verdict_on_drafts_excuses_no_choice() -> None:
    """Another round than the last may be chosen only where the build itself had the drafts judged."""
    drafts = {"sample_id": ["a", "a"], "turn": [1, 1], "stage": ["image"] * 2, "round": [0, 1], "version": [3, 3]}
    rounds = pl.DataFrame({**drafts, "stopped": [None, "satisfied"], "chosen": [True, False]})
    judged = pl.DataFrame({"sample_id": ["a"], "turn": [1], "stage": ["image"], "is_judged": [True]})
    for version, strange in ((3, 0), (4, 2)):
        chains = chains_of(rounds, judged.with_columns(version=pl.lit(version, pl.Int64)))
        assert chains["strange_choices"].to_list() == [strange]


def test_equal_depths_are_drawn_alike(bare: Lake) -> None:
    found = worlds(bare, samples=30, its={0: 1.0, 1: 3.0, 2: 2.0})
    svg = draw_depth(found, "svg")
    assert svg == draw_depth(found, "svg")
    assert b"Drafts of the image stage" in svg and b"30 drafts" in svg


def test_the_command_tells_tables_and_sentences_and_draws(
    judged: Lake, bare: Lake, tmp_path: Path, interlake: Interlake
) -> None:
    depth = ("judge", "depth", "--lake")
    worlds(bare, samples=1, its={})
    assert interlake(*depth, bare.path, "--version", 1)[0] == 0
    code, out, _ = interlake(*depth, judged.path, "--plot", tmp_path / "x.png")
    assert code == 0 and "round 1 of the image stage changed ITS by" in out and "one that stopped earlier" in out
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    (told,) = json.loads(interlake(*depth, judged.path, "--json")[1])
    assert {each["stage"] for each in told["rounds"]} == {"answer", "image"}
    assert len(told["sentences"]) == sum(each["round"] > 0 for each in told["rounds"])
    assert interlake(*depth, judged.path, "--plot", tmp_path / "x.jpg")[0] == 2
    assert interlake(*depth, judged.path, "--judge", "nobody")[1].startswith("no draft was judged yet")
    assert interlake(*depth, judged.path, "--judge", "nobody", "--plot", tmp_path / "y.png")[0] == 2
