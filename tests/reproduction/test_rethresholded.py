"""Versions that decide by other thresholds are replayed: identical where nothing was altered, named where it was."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.replay.replaying import ReplayOptions, replay_lake_at
from flows.rethresholding import AskedThresholds, rethreshold
from storage.lake import Lake
from storage.records import DecisionRow
from tests.flows import eventful_lake
from tests.flows.casts import assert_fsck_finds_nothing, maintain
from tests.reproduction.bare_process import run_bare


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake in which everything happened, decided anew by other thresholds twice."""
    lake = eventful_lake.make(tmp_path_factory.mktemp("rethresholded") / "lake")
    for asked in (AskedThresholds(image=0.05, policy="image"), AskedThresholds(image=0.3, text=0.2, policy="either")):
        assert rethreshold(lake.path, asked).version == lake.version().number
    return lake


@pytest.fixture
def copied(decided: Lake, tmp_path: Path) -> Lake:
    shutil.copytree(decided.path, tmp_path / "lake")
    return Lake.open(tmp_path / "lake")


def test_they_are_made_again_to_their_hashes_without_models_and_network(copied: Lake) -> None:
    done = run_bare("replay", "--lake", copied.path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    head = copied.version()
    assert f"version {head.number}, decisions anew: " in done.stdout
    assert f"identical, sha256 {head.sha256[:16]}" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("all identical")
    maintain(copied, days=0)
    report = replay_lake_at(copied.path, ReplayOptions(since=head.number - 2))
    assert report.is_identical
    assert [each.made_sha256 for each in report.versions] == [
        copied.version(number).sha256 for number in (head.number - 1, head.number)
    ]


def test_they_decide_otherwise_than_what_was_before_and_leave_rejected_samples_alone(decided: Lake) -> None:
    head = decided.version()
    now, before = (
        {row.sample_id: row.outcome for row in decided.rows(DecisionRow, decided.version(number)) if row.turn is None}
        for number in (head.number, head.number - 2)
    )
    changed = {(before[name], now[name]) for name in now if now[name] != before[name]}
    assert ("kept", "duplicate") in changed
    assert changed <= {("kept", "duplicate"), ("duplicate", "kept")}  # some keepers were retired since
    assert {name for name in now if now[name] in ("rejected", "failed")} == {
        name for name in before if before[name] in ("rejected", "failed")
    }
    assert_fsck_finds_nothing(decided)


def test_each_sample_is_replayed_by_itself(decided: Lake) -> None:
    rows = decided.rows(DecisionRow, decided.version().since(decided.version().number - 1))
    for sample_id in {row.sample_id for row in rows}:
        report = replay_lake_at(decided.path, ReplayOptions(sample=sample_id[:12]))
        assert report.is_identical, report.differences
        assert report.versions[-1].version == decided.version().number


def test_a_similarity_that_was_altered_is_named_by_its_sample(copied: Lake) -> None:
    number = copied.version().number
    (path,) = copied.packages.glob(f"{number:06d}-decision-*/duplicates.parquet")
    rows = pq.read_table(path)
    place = rows.column_names.index("image_similarity")
    values: list[float] = np.array(rows["image_similarity"]).tolist()
    values[0] += 1e-9
    pq.write_table(rows.set_column(place, rows.schema.field(place), pa.array(values)), path)
    report = replay_lake_at(copied.path, ReplayOptions())
    (difference,) = report.differences
    assert (difference.version, difference.sample_id) == (number, rows["sample_id"][0].as_py())
