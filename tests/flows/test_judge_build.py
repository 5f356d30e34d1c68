"""Judging while a lake is built: floors reject with their evidence, before duplicates, and all of it replays."""

import json
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from flows.judge.choosing import choose_round
from flows.judge.findings import findings_table, read_findings
from flows.recipe import write_recipe
from flows.replay.replaying import ReplayOptions, replay_lake_at
from flows.settings import Settings, read_settings
from flows.studio import Studio
from models.identity import ModelIdentity
from storage.lake import Lake
from storage.query import query
from storage.records import CallRow, DecisionRow, IterationRow, TurnRow, VerdictRow
from tests.flows.casts import assert_fsck_finds_nothing, fake_lake, grow
from tests.flows.test_build import assert_conserved
from tests.flows.test_judge_lake import judge

GROWN = BuildOptions(new_topics=4, samples_per_topic=2, turns=1)
WHO = {
    role: ModelIdentity(name=role, revision="1", licence="MIT")
    for role in ("writer", "critic", "painter", "viewer", "encoder", "judge:stand-in:model")
}


def add(lake: Lake, text: str) -> None:
    file = lake.path / "interlake.toml"
    file.write_text(file.read_text() + text)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = fake_lake(tmp_path / "lake")
    add(lake, "\n[judge.floors]\nits = 3\n")
    grow(lake.path, GROWN, Studio)
    return lake


def test_a_sample_below_a_floor_is_rejected_with_its_evidence_and_the_rest_is_kept(lake: Lake) -> None:
    head = lake.version()
    its = {row.sample_id: row.its for row in lake.rows(VerdictRow, head)}
    decided = {row.sample_id: row for row in lake.rows(DecisionRow, head) if row.turn is None}
    assert len(its) == len(decided) == 8
    below = {sample_id for sample_id, value in its.items() if value is not None and value < 3}
    assert 0 < len(below) < 8, "the stand-in gives scores on both sides of the floor"
    assert {sample_id for sample_id, row in decided.items() if row.outcome == "rejected"} == below
    for sample_id in below:
        row = decided[sample_id]
        evidence = json.loads(row.evidence)
        assert (row.kind, row.stage, row.reason, row.encoder) == ("build", "judge", "floor:its", None)
        assert (evidence["judge"], evidence["scores"]["its"], evidence["floors"]) == (
            "stand-in", its[sample_id], {"its": 3},
        )  # fmt: skip
    calls = [row for row in lake.rows(CallRow, head) if row.stage == "judge"]
    assert {row.sample_id for row in calls} == set(decided)
    assert query(lake, "SELECT rejected, kept, open FROM runs").rows() == [(len(below), 8 - len(below), 0)]
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)
    report = replay_lake_at(lake.path, ReplayOptions())
    assert report.is_identical, report.differences
    one = replay_lake_at(lake.path, ReplayOptions(sample=min(below)))
    assert one.is_identical, one.differences


def test_a_report_tells_kept_samples_from_those_that_a_floor_rejected(lake: Lake) -> None:
    kept, rejected = read_findings(lake, lake.version())
    assert (kept.samples, rejected.samples, kept.verdicts + rejected.verdicts) == ("kept", "not kept", 8)
    its = kept.scores[-1].mean, rejected.scores[-1].mean
    assert its[0] is not None and its[1] is not None and its[0] >= 3 > its[1], "a mean of both would be of neither"
    assert {row["samples"] for row in findings_table([kept, rejected])} == {"kept", "not kept"}


def test_what_a_build_had_judged_is_not_judged_again(lake: Lake) -> None:
    judged = judge(lake)
    assert (judged.verdicts, judged.version) == (0, None)


def test_settings_of_judges_enter_ids_only_where_they_change_what_is_made(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    file = lake.path / "interlake.toml"
    plain = read_settings(file)
    without = plain.model_copy(update={"judge": Settings.model_fields["judge"].default})
    assert write_recipe(without, WHO) == write_recipe(plain, WHO) == write_recipe(without, {
        role: who for role, who in WHO.items() if not role.startswith("judge:")
    })  # fmt: skip
    add(lake, "\n[judge.floors]\nits = 3\n")
    floors = write_recipe(read_settings(file), WHO)
    assert floors.generation_id == write_recipe(plain, WHO).generation_id
    assert floors.recipe_id != write_recipe(plain, WHO).recipe_id
    assert json.loads(floors.selection)["judge"]["floors"] == {"its": 3}


def test_the_best_round_is_chosen_the_earliest_of_equal_ones(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake", settings={"image = 3": "image = 2"})
    before = write_recipe(read_settings(lake.path / "interlake.toml"), WHO)
    file = lake.path / "interlake.toml"
    file.write_text(file.read_text().replace("[[judge.judges]]", '[judge]\nchoose = "best"\n\n[[judge.judges]]', 1))
    assert write_recipe(read_settings(file), WHO).generation_id != before.generation_id
    grow(lake.path, GROWN, Studio)
    head = lake.version()
    verdicts = [row for row in lake.rows(VerdictRow, head) if row.stage == "image"]
    rounds = [row for row in lake.rows(IterationRow, head) if row.stage == "image"]
    assert len(verdicts) == len(rounds), "each draft of a picture is judged"
    means = {(row.sample_id, row.round): scored(row) for row in verdicts}
    earlier = 0
    for sample_id in {row.sample_id for row in rounds}:
        theirs = {row.round: row for row in rounds if row.sample_id == sample_id}
        (chosen,) = [number for number, row in theirs.items() if row.chosen]
        best = max(means[sample_id, number] for number in theirs)
        assert chosen == min(number for number in theirs if means[sample_id, number] == best)
        (turn,) = [row for row in lake.rows(TurnRow, head) if row.sample_id == sample_id]
        assert (turn.caption, turn.image_sha256) == (theirs[chosen].caption, theirs[chosen].image_sha256)
        earlier += chosen < max(theirs)
    assert earlier, "somewhere the last round is not the best"
    assert_fsck_finds_nothing(lake)
    report = replay_lake_at(lake.path, ReplayOptions())
    assert report.is_identical, report.differences


def scored(row: VerdictRow) -> float:
    values = [row.tcc, row.icc, row.iq, row.its]
    return sum(value for value in values if value is not None) / 4


def verdict_on(number: int, **scores: float | None) -> VerdictRow:
    return VerdictRow(
        verdict_id=f"{number:032x}", sample_id="0" * 32, turn=1, stage="image", round=number, judge="j",
        judge_sha256="0" * 64, rubric_sha256="0" * 64, repeat=0, model_id=None,
        tcc=scores.get("tcc"), icc=scores.get("icc"), iq=scores.get("iq"), its=scores.get("its"),
        unknown="{}", evidence="{}",
    )  # fmt: skip


def test_an_unknown_score_makes_no_draft_look_better() -> None:
    whole, partly = verdict_on(0, tcc=4.0, icc=4.0, iq=4.0, its=4.0), verdict_on(1, tcc=4.0, iq=4.0, its=None)
    assert choose_round([0, 1], [whole, partly]) == 0
    assert choose_round([0, 1], [whole, verdict_on(1, tcc=4.0, iq=5.0)]) == 1
    assert choose_round([0, 1], [verdict_on(0, icc=1.0), verdict_on(1, tcc=5.0, iq=5.0)]) == 1
    assert choose_round([0, 1, 2], [whole, verdict_on(1)]) == 0


def test_where_nothing_is_known_of_any_draft_the_last_one_is_taken() -> None:
    assert choose_round([0, 1, 2], []) == 2
