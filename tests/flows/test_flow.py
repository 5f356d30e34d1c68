"""The Prefect flow: a task a batch, names a person can read, artifacts, and a failed state when a backend is wrong."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from flows.asked import BuildOptions
from flows.build import build_lake
from flows.errors import UserError
from flows.reembed import reembed_lake
from flows.standing import read_status
from flows.tasks import embed_turns, make_batch
from flows.topics.catalogue import TopicEntry
from storage.lake import Lake
from storage.query import query
from storage.steps import Step
from tests.faults.test_hostile_content import HOSTILE
from tests.faults.test_waiting import AT_A_STEP, PATIENCE, stopped
from tests.flows.casts import fake_lake, grow
from tests.flows.prefect_runs import read_run
from tests.flows.test_build import assert_conserved
from tests.flows.test_models_cli import interlake

pytestmark = pytest.mark.usefixtures("prefect_server")


def build(lake: Lake, **parameters: Any) -> tuple[dict[str, int], str]:
    counts = build_lake(lake=str(lake.path), **parameters)
    flow_run_id = query(lake, "SELECT flow_run_id FROM runs ORDER BY started_at DESC")["flow_run_id"][0]
    return counts, flow_run_id


def test_a_run_is_a_task_a_batch_with_progress_and_a_summary(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake", settings={"batch_size = 8": "batch_size = 3"})
    counts, flow_run_id = build(lake, new_topics=2, samples_per_topic=2, turns=1)
    assert counts == {"planned": 4, "kept": 4, "rejected": 0, "duplicate": 0, "failed": 0, "open": 0}
    names, artifacts = read_run(flow_run_id, tasks=4)
    assert [name.split(",")[0] for name in names] == [
        "commit batch 1/2",
        "commit batch 2/2",
        "make batch 1/2",
        "make batch 2/2",
    ]
    assert all("samples: " in name for name in names)
    assert artifacts["build-progress"].data == 100.0
    assert '"kept": 4' in str(artifacts["build-conservation"].data)
    assert str(artifacts["build-topics"].data).count('"topic"') == 2


def test_hostile_topics_are_only_text_in_the_ui(tmp_path: Path) -> None:
    topics = [TopicEntry(name=name, category="", domain="") for name in HOSTILE.values()]
    lake = fake_lake(tmp_path / "lake", settings={"batch_size = 8": "batch_size = 3"}, topics=topics)
    counts, flow_run_id = build(lake, new_topics=len(topics), samples_per_topic=1, turns=1)
    assert counts["kept"] == len(topics)
    names, artifacts = read_run(flow_run_id, tasks=2 * -(-len(topics) // 3))
    data = artifacts["build-topics"].data
    rows = json.loads(data) if isinstance(data, str) else data
    assert isinstance(rows, list)
    assert {row["topic"] for row in rows} == set(HOSTILE.values())
    assert all(name in " ".join(names) for name in HOSTILE.values())


def test_the_form_in_the_ui_has_descriptions_and_bounds() -> None:
    from prefect.utilities.callables import parameter_schema

    fields = parameter_schema(build_lake.fn).properties
    assert all(field["description"] for field in fields.values())
    assert (fields["new_topics"]["minimum"], fields["samples_per_topic"]["minimum"]) == (0, 1)


def test_a_run_with_nothing_to_do_ends_well(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    assert build_lake(lake=str(lake.path), new_topics=0)["planned"] == 0
    assert lake.version().number == 1


def test_a_lake_with_bad_settings_fails_the_run_and_stays(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake", settings={"turns = 2 ": "turns = 200 "})
    with pytest.raises(UserError, match=r"generation\.turns"):
        build_lake(lake=str(lake.path), new_topics=1)
    assert lake.version().number == 1


def test_the_command_moves_a_lake_to_another_encoder_and_says_what_that_came_to(
    tmp_path: Path, prefect_server: str
) -> None:
    lake = fake_lake(tmp_path / "lake")
    grow(lake.path, BuildOptions(new_topics=2, samples_per_topic=2, turns=1))
    code, out, err = interlake(
        "reembed", "--lake", lake.path, "--encoder", "descriptor", environment={"PREFECT_API_URL": prefect_server}
    )
    assert (code, err) == (0, "")
    assert out.startswith("4 turns embedded by descriptor; kept 4 samples (before 4), duplicate 0 (before 0); version ")
    flow_run_id = query(lake, "SELECT flow_run_id FROM runs WHERE kind = 'reembed'")["flow_run_id"][0]
    names, _ = read_run(flow_run_id, tasks=2)
    assert names == ["decide anew what is kept", "embed turns 1-4 of 4"]
    assert reembed_lake(lake=str(lake.path)) is None


def test_prefect_repeats_no_work_of_models_so_that_patience_is_the_bound() -> None:
    assert [each.retries for each in (make_batch, embed_turns)] == [0, 0]


def test_a_build_that_waits_in_vain_says_for_whom_and_ends_with_3(tmp_path: Path, prefect_server: str) -> None:
    lake = fake_lake(tmp_path / "lake")
    with stopped(AT_A_STEP, lake.path, Step.PICTURES_WRITTEN) as holder:
        run_id = next(lake.runs.iterdir()).name
        code, out, err = interlake(
            "build", "--lake", lake.path, "--lock-timeout", 2, environment={"PREFECT_API_URL": prefect_server}
        )
        assert (code, out) == (3, "")
        holds = f"interlake: {lake.path} is held by process {holder.pid} on "
        waits, ends = err.splitlines()
        assert waits.startswith(holds)
        assert f"(commit of run {run_id[:8]}) since 20" in waits
        assert waits.endswith("; waiting up to 1 s more")
        assert ends.startswith(holds)
        assert ends.endswith("; wait, or give a longer --lock-timeout")
        assert read_status(lake.path).outcomes["open"] == 2, "who reads does not wait"
        holder.send_signal(signal.SIGCONT)
        assert holder.wait(PATIENCE) == 0
    assert read_status(lake.path).outcomes["kept"] == 2
    assert_conserved(lake)
