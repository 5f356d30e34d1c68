"""The Prefect flows `replay_lake`, `rerun_lake`, `rethreshold_lake`: tasks, tables, a failed run where one differs."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prefect.client.schemas.objects import StateType

from flows.asked import BuildOptions
from flows.audit import replay_lake
from flows.replay.report import ReplayDiffers
from flows.rerun import rerun_lake
from flows.rethreshold import rethreshold_lake
from storage.lake import Lake
from storage.query import query
from tests.flows.casts import fake_lake, grow
from tests.flows.prefect_runs import read_run

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = fake_lake(tmp_path_factory.mktemp("flows") / "lake")
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=2, turns=1))
    return lake


@pytest.fixture
def lake(built: Lake, tmp_path: Path) -> Lake:
    shutil.copytree(built.path, tmp_path / "lake")
    return Lake.open(tmp_path / "lake")


def test_a_replay_is_a_task_a_version_and_a_table(lake: Lake) -> None:
    state = replay_lake(lake=str(lake.path), return_state=True)
    assert state.type == StateType.COMPLETED
    assert state.state_details.flow_run_id is not None
    versions = range(1, lake.version().number + 1)
    tasks, artifacts = read_run(state.state_details.flow_run_id, tasks=len(versions))
    assert tasks == [f"replay version {number}" for number in versions]
    assert lake.version(3).sha256 in str(artifacts["replay-versions"].data)
    assert "all identical" in str(artifacts["replay-versions"].description)


def test_a_replay_that_finds_a_difference_is_a_failed_run_that_says_where(lake: Lake) -> None:
    (path,) = lake.packages.glob("*-build-*/calls.parquet")
    rows = pq.read_table(path)
    tokens = pa.array([count and count + 1 for count in rows["prompt_tokens"].to_pylist()], pa.int64())
    pq.write_table(rows.set_column(rows.column_names.index("prompt_tokens"), "prompt_tokens", tokens), path)
    state = replay_lake(lake=str(lake.path), return_state=True)
    assert state.type == StateType.FAILED
    assert state.state_details.flow_run_id is not None
    _, artifacts = read_run(state.state_details.flow_run_id, tasks=0)
    assert str(artifacts["replay-differences"].data).count("is not what its own hash says") == 2
    with pytest.raises(ReplayDiffers, match=r"version 3, sample .* is not what was recorded"):
        replay_lake(lake=str(lake.path))


def test_a_rerun_is_made_and_committed_batch_by_batch_and_retires(lake: Lake) -> None:
    settings = lake.path / "interlake.toml"
    settings.write_text(settings.read_text().replace("image = 3", "image = 1").replace("turns = 2", "turns = 1"))
    counts = rerun_lake(lake=str(lake.path), everything=True, retire=True)
    assert counts == {
        "planned": 2, "kept": 2, "rejected": 0, "duplicate": 0, "failed": 0, "open": 0, "retired": 2,
    }  # fmt: skip
    run = query(lake, "SELECT kind, state, flow_run_id FROM runs ORDER BY started_at DESC").row(0, named=True)
    assert (run["kind"], run["state"]) == ("rerun", "finished")
    tasks, _ = read_run(run["flow_run_id"], tasks=3)
    assert {name.split(" ")[0] for name in tasks} == {"make", "commit", "retire"}
    assert replay_lake(lake=str(lake.path))["identical"] is True


def test_a_lake_is_decided_by_other_thresholds_in_one_task_with_a_table(lake: Lake) -> None:
    done = rethreshold_lake(lake=str(lake.path), image=0.0, text=0.0, policy="either")
    assert (done["version"], done["settings_are_written"]) == (lake.version().number, True)
    run = query(lake, "SELECT kind, state, flow_run_id FROM runs ORDER BY started_at DESC").row(0, named=True)
    assert (run["kind"], run["state"]) == ("rethreshold", "finished")
    tasks, artifacts = read_run(run["flow_run_id"], tasks=1)
    assert tasks == ["decide by other thresholds"]
    assert f"decided as version {done['version']}" in str(artifacts["lake-thresholds"].description)
    assert "turns flagged" in str(artifacts["lake-thresholds"].data)
    assert rethreshold_lake(lake=str(lake.path))["version"] is None
    assert replay_lake(lake=str(lake.path))["identical"] is True
