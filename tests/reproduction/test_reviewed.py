"""Versions by which persons decided are replayed, and their word outlives other thresholds, encoders and builds."""

import shutil
from pathlib import Path

import pytest

from flows.replay.replaying import ReplayOptions, replay_lake_at
from flows.rethresholding import AskedThresholds, rethreshold
from storage.embeddings import read_standing
from storage.lake import Lake
from storage.records import DecisionRow
from storage.reviews import read_words
from tests.flows.casts import GradedEncoder, assert_fsck_finds_nothing, maintain
from tests.flows.test_reembed import OtherEncoder, move
from tests.flows.test_rethreshold import NONE_SAME, OTHERS, grow_on
from tests.flows.test_review import MORE, make_asking, missed, of_dropped, say
from tests.reproduction.bare_process import run_bare

ALL_SAME = AskedThresholds(image=0.05, policy="image")


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with questions, some answered one way and some the other, and a build after that."""
    lake = make_asking(tmp_path_factory.mktemp("reviewed") / "lake")
    say(lake, "kept", *of_dropped(lake))
    say(lake, "duplicate", *missed(lake)[:1])
    grow_on(lake, MORE)
    return lake


@pytest.fixture
def lake(reviewed: Lake, tmp_path: Path) -> Lake:
    shutil.copytree(reviewed.path, tmp_path / "lake")
    return Lake.open(tmp_path / "lake")


def assert_persons_win(lake: Lake) -> None:
    """Every turn stands as a person said last, and the lake is sound."""
    standing, words = read_standing(lake, lake.version()), read_words(lake, lake.version())
    assert {word.outcome for word in words.values()} == {"kept", "duplicate"}
    for key, word in words.items():
        assert (key in standing.flagged) == (word.outcome == "duplicate")
        assert word.outcome == "duplicate" or standing.kept[word.sample_id]
    assert_fsck_finds_nothing(lake)


def test_they_are_made_again_to_their_hashes_without_models_and_network(lake: Lake) -> None:
    done = run_bare("replay", "--lake", lake.path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.count("a person's decisions") == 2
    assert done.stdout.splitlines()[-1].endswith("all identical")
    maintain(lake, days=0)
    assert replay_lake_at(lake.path, ReplayOptions()).is_identical
    assert_persons_win(lake)


@pytest.mark.parametrize("asked", [*OTHERS, NONE_SAME, ALL_SAME], ids=str)
def test_a_persons_word_outlives_other_thresholds(lake: Lake, asked: AskedThresholds) -> None:
    assert rethreshold(lake.path, asked).version == lake.version().number
    assert_persons_win(lake)
    assert replay_lake_at(lake.path, ReplayOptions(since=lake.version().number - 1)).is_identical
    grow_on(lake, MORE)
    assert_persons_win(lake)
    assert replay_lake_at(lake.path, ReplayOptions(since=lake.version().number - 3)).is_identical


@pytest.mark.parametrize("alike", [True, False])
def test_a_persons_word_outlives_another_encoder_and_the_way_back(lake: Lake, *, alike: bool) -> None:
    before = lake.version().number
    assert move(lake, OtherEncoder(alike=alike))
    assert_persons_win(lake)
    assert move(lake, GradedEncoder())
    assert_persons_win(lake)
    report = replay_lake_at(lake.path, ReplayOptions(since=before))
    assert report.is_identical, report.differences


def test_each_sample_is_replayed_by_itself(reviewed: Lake) -> None:
    for sample_id in {row.sample_id for row in reviewed.rows(DecisionRow, reviewed.version())}:
        report = replay_lake_at(reviewed.path, ReplayOptions(sample=sample_id[:12]))
        assert report.is_identical, report.differences
