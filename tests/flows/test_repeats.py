"""`interlake duplicates`: the flagged turns by the latest decisions."""

import json
import shutil
from pathlib import Path

import pytest

from flows.repeats import read_flagged
from flows.rethresholding import AskedThresholds, rethreshold
from storage.errors import NoSuchThing
from storage.lake import Lake
from storage.query import query
from tests.flows.conftest import Interlake
from tests.flows.test_rethreshold import BASE, NONE_SAME, make


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make(tmp_path_factory.mktemp("repeats") / "lake", BASE)


@pytest.fixture
def copied(lake: Lake, tmp_path: Path) -> Lake:
    shutil.copytree(lake.path, tmp_path / "lake")
    return Lake.open(tmp_path / "lake")


def test_every_flagged_turn_is_there_newest_first_with_its_evidence(lake: Lake) -> None:
    found = read_flagged(lake)
    assert found.count == len(found.turns) == query(lake, "SELECT count(*) FROM duplicates").item()
    assert [turn.version for turn in found.turns] == sorted((turn.version for turn in found.turns), reverse=True)
    outcomes = dict(query(lake, "SELECT sample_id, outcome FROM samples").iter_rows())
    assert {turn.outcome for turn in found.turns} == {"kept", "duplicate"}
    for turn in found.turns:
        assert turn.outcome == outcomes[turn.sample_id]
        assert (turn.image_threshold, turn.text_threshold, turn.policy) == (0.75, 0.6, "both")
        assert turn.encoder == "fake-encoder"
        assert turn.beyond == min(turn.image_similarity - 0.75, turn.text_similarity - 0.6) >= 0


def test_those_of_a_sample_are_those_it_was_dropped_for_and_those_that_repeat_it(lake: Lake) -> None:
    every = read_flagged(lake).turns
    for sample_id in {each for turn in every for each in (turn.sample_id, turn.kept_sample_id)}:
        mine = tuple(turn for turn in every if sample_id in (turn.sample_id, turn.kept_sample_id))
        assert read_flagged(lake, sample=sample_id[:12]).turns == mine
    with pytest.raises(NoSuchThing, match="no sample's id begins with"):
        read_flagged(lake, sample="0123456789abcdef")


def test_near_finds_those_that_other_thresholds_would_free_first(lake: Lake) -> None:
    every = read_flagged(lake).turns
    near = sorted(turn.beyond for turn in every)[2]
    assert read_flagged(lake, near=near).turns == tuple(turn for turn in every if turn.beyond <= near)
    assert read_flagged(lake, near=near, limit=1).count == 3


@pytest.mark.parametrize("policy", ["image", "text", "either"])
def test_how_far_beyond_is_told_by_the_policy(copied: Lake, policy: str) -> None:
    rethreshold(copied.path, AskedThresholds(policy=policy))  # type: ignore[arg-type]
    for turn in read_flagged(copied).turns:
        image, text = turn.image_similarity - 0.75, turn.text_similarity - 0.6
        assert turn.beyond == {"image": image, "text": text, "either": max(image, text)}[policy]
        assert turn.version == copied.version().number


def test_turns_that_were_freed_are_not_there(copied: Lake, interlake: Interlake) -> None:
    rethreshold(copied.path, NONE_SAME)
    assert read_flagged(copied).count == 0
    assert interlake("duplicates", "--lake", copied.path) == (0, "0 flagged turns\n", "")


def test_the_command_prints_a_table_or_json(lake: Lake, interlake: Interlake) -> None:
    turn, *rest = read_flagged(lake).turns
    code, out, err = interlake("duplicates", "--lake", lake.path, "--limit", 1)
    assert (code, err) == (0, "")
    assert f"{turn.turn} of {turn.sample_id[:8]}" in out and f"{turn.kept_turn} of {turn.kept_sample_id[:8]}" in out
    assert f"{turn.image_similarity:.4f} of 0.75" in out
    assert f"{len(rest) + 1} flagged turns, {len(rest)} more with --limit {len(rest) + 1}" in out
    code, out, _ = interlake("duplicates", "--lake", lake.path, "--json", "--limit", 1)
    assert (code, json.loads(out)["count"]) == (0, len(rest) + 1)
    assert json.loads(out)["turns"][0]["beyond"] == turn.beyond
