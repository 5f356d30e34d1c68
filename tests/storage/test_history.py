"""The published history: what it shows, from where it is brought up, and that any DuckDB tool opens it."""

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from storage.durable import write_durably
from storage.errors import LakeBusy, LakeDamaged
from storage.history import history_path, publish
from storage.history_schema import state_queries
from storage.lake import Lake
from storage.lock import hold
from storage.turns_table import bring_up, lance_version_of
from storage.turns_table import rebuild as rebuild_table
from storage.versions import Version
from tests.storage.lakes import (
    NOON,
    call_row,
    claim_row,
    commit,
    decision_row,
    duplicate_row,
    end_row,
    iteration_row,
    made_sample,
    make_lake,
    model_row,
    package,
    png,
    recipe_row,
    start_row,
    topic_row,
)

RUNS = "SELECT run_id, state, planned, kept, rejected, duplicate, failed, open FROM runs ORDER BY run_id"
SAMPLES = "SELECT sample_id, run_id, version, turns, outcome, stage, reason FROM samples ORDER BY sample_id"


def read(lake: Lake, sql: str) -> list[tuple[Any, ...]]:
    """What a plain DuckDB tool reads from the published file."""
    with duckdb.connect(str(history_path(lake)), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def everything(lake: Lake) -> dict[str, list[tuple[Any, ...]]]:
    names = [*state_queries("0"), "stored.samples", "stored.run_starts", "stored.run_ends"]
    return {name: sorted(read(lake, f"FROM {name}"), key=repr) for name in names}


def begin(lake: Lake, run_id: str, *sample_ids: str, **claims: Any) -> Version:
    rows = [claim_row(sample_id, run_id, **claims) for sample_id in sample_ids]
    return commit(lake, package(start_row(run_id), *rows, kind="run"), run_id=run_id)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = make_lake(tmp_path)
    commit(lake, package(topic_row(), kind="topics"))
    return lake


@pytest.fixture
def grown(lake: Lake) -> Lake:
    """Five versions: a topic, run1 with four slots, two commits of it, its end."""
    begin(lake, "run1", "s1", "s2", "s3", "s4")
    first = [made_sample("s1", 10, 20), package(decision_row("s1", "kept"), recipe_row(), model_row(), kind="decision")]
    commit(lake, *first, run_id="run1")
    drafts = [made_sample("s2", 10), made_sample("s3", 40)]
    failed = decision_row("s3", "failed", stage="image", reason="no_picture")
    same = [decision_row("s2", "duplicate"), decision_row("s2", "duplicate", turn=1), duplicate_row("s2", 1, "s1", 1)]
    more = [iteration_row("s3", 1, "question", 0), call_row("c1", "s3", request="long", response="longer")]
    commit(lake, *drafts, package(failed, *same, *more, kind="decision"), run_id="run1")
    commit(lake, package(end_row("run1", "stopped"), kind="run"), run_id="run1")
    return lake


def test_samples_have_the_outcome_of_their_latest_decision(grown: Lake) -> None:
    publish(grown, grown.version())
    assert read(grown, SAMPLES) == [
        ("s1", "run1", 3, 2, "kept", None, None),
        ("s2", "run1", 4, 1, "duplicate", None, None),
        ("s3", "run1", 4, 1, "failed", "image", "no_picture"),
        ("s4", "run1", 2, 2, "open", None, None),
    ]


def test_every_planned_slot_of_a_run_is_accounted_for(grown: Lake) -> None:
    publish(grown, grown.version())
    assert read(grown, RUNS) == [("run1", "stopped", 4, 1, 0, 1, 1, 1)]
    assert read(grown, "SELECT started_at, finished_at FROM runs") == [(NOON, NOON)]


def test_macros_show_every_table_as_it_was(grown: Lake) -> None:
    publish(grown, grown.version())
    outcomes = "SELECT outcome FROM samples_at({}) ORDER BY sample_id"
    assert [read(grown, outcomes.format(number)) for number in (1, 2, 3)] == [
        [],
        [("open",)] * 4,
        [("kept",), ("open",), ("open",), ("open",)],
    ]
    assert read(grown, "SELECT state, kept, failed, open FROM runs_at(3)") == [("running", 1, 0, 3)]
    assert read(grown, "SELECT count(*) FROM decisions_at(3)") == [(1,)]
    assert read(grown, "SELECT count(*) FROM calls_at(3)") == [(0,)]
    assert read(grown, "SELECT max(version) FROM versions_at(2)") == [(2,)]
    for name in state_queries("0"):
        assert read(grown, f"FROM {name}_at(0)") == []
        assert sorted(read(grown, f"FROM {name}_at(5)"), key=repr) == sorted(read(grown, f"FROM {name}"), key=repr)


def test_step_by_step_shows_what_a_rebuild_shows(grown: Lake) -> None:
    for number in range(1, 6):
        publish(grown, grown.version(number))
    begin(grown, "run2", "s3", "s4")
    publish(grown, grown.version())
    commit(grown, package(decision_row("s3", "kept", decision_id="retried"), end_row("run2")))
    publish(grown, grown.version())
    stepwise = everything(grown)
    history_path(grown).unlink()
    publish(grown, grown.version())
    assert everything(grown) == stepwise
    assert len(stepwise["versions"]) == 7


def test_publishing_twice_leaves_the_file_alone(grown: Lake) -> None:
    publish(grown, grown.version())
    before = history_path(grown).stat()
    publish(grown, grown.version())
    publish(grown, grown.version(2))
    after = history_path(grown).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_nothing_is_left_beside_the_published_file(grown: Lake) -> None:
    write_durably(grown.path / ".history-crashed.duckdb", b"half")
    publish(grown, grown.version())
    assert sorted(path.name for path in grown.path.glob("*history*")) == [".history.lock", "history.duckdb"]


def test_a_slot_taken_over_is_open_in_the_dead_run_and_counts_in_the_next(lake: Lake) -> None:
    begin(lake, "run1", "s1", "s2")
    commit(lake, made_sample("s1", 10), package(decision_row("s1", "kept")))
    begin(lake, "run2", "s2")
    commit(lake, package(end_row("run1", "died"), kind="run"))
    commit(lake, made_sample("s2", 20, run_id="run2"), package(decision_row("s2", "rejected")))
    publish(lake, lake.version())
    assert read(lake, RUNS) == [("run1", "died", 2, 1, 0, 0, 0, 1), ("run2", "running", 1, 0, 1, 0, 0, 0)]
    assert read(lake, SAMPLES)[1] == ("s2", "run2", 6, 1, "rejected", None, None)


def test_a_retried_slot_is_failed_in_one_run_and_kept_in_the_next(lake: Lake) -> None:
    begin(lake, "run1", "s1")
    commit(lake, made_sample("s1", 10), package(decision_row("s1", "failed")))
    publish(lake, lake.version())
    begin(lake, "run2", "s1", retry=1)
    publish(lake, lake.version())
    assert read(lake, SAMPLES) == [("s1", "run2", 4, 2, "open", None, None)]
    assert read(lake, RUNS) == [("run1", "running", 1, 0, 0, 0, 1, 0), ("run2", "running", 1, 0, 0, 0, 0, 1)]
    commit(lake, package(decision_row("s1", "kept", decision_id="retried")))
    publish(lake, lake.version())
    assert read(lake, RUNS) == [("run1", "running", 1, 0, 0, 0, 1, 0), ("run2", "running", 1, 1, 0, 0, 0, 0)]
    assert read(lake, "SELECT outcome FROM samples_at(4)") == [("open",)]


def test_a_claim_that_another_recipe_took_over_leaves_no_open_sample(lake: Lake) -> None:
    begin(lake, "run1", "old", slot_id="slot")
    begin(lake, "run2", "new", slot_id="slot")
    publish(lake, lake.version())
    assert [row[0] for row in read(lake, SAMPLES)] == ["new"]
    assert read(lake, "SELECT sample_id FROM samples_at(2)") == [("old",)]


def test_a_decision_of_a_later_version_changes_sample_and_run(grown: Lake) -> None:
    publish(grown, grown.version())
    commit(grown, package(decision_row("s1", "rejected", reason="low_score"), kind="decision"))
    publish(grown, grown.version())
    assert read(grown, SAMPLES)[0] == ("s1", "run1", 3, 2, "rejected", None, "low_score")
    assert read(grown, RUNS) == [("run1", "stopped", 4, 0, 1, 1, 1, 1)]


def test_of_two_decisions_in_one_version_the_later_one_holds(lake: Lake) -> None:
    begin(lake, "run1", "s1")
    drafts = [
        package(decision_row("s1", "kept"), kind="build"),
        package(decision_row("s1", "duplicate"), kind="decision"),
    ]
    commit(lake, made_sample("s1", 10), *drafts)
    publish(lake, lake.version())
    assert read(lake, "SELECT outcome FROM samples") == [("duplicate",)]
    assert read(lake, "SELECT duplicate, kept FROM runs") == [(1, 0)]


def test_an_imported_sample_needs_no_claim(lake: Lake) -> None:
    commit(lake, made_sample("s1", 10), package(decision_row("s1", "kept")))
    publish(lake, lake.version())
    assert read(lake, SAMPLES) == [("s1", "run1", 2, 1, "kept", None, None)]


def test_what_comes_again_is_listed_once_with_its_first_version(grown: Lake) -> None:
    publish(grown, grown.version())
    commit(grown, package(topic_row(name="owls again"), topic_row("t2"), recipe_row(), model_row(), pictures=[png(10)]))
    publish(grown, grown.version())
    assert read(grown, "SELECT topic_id, name, version FROM topics ORDER BY 1") == [
        ("t1", "owls", 1),
        ("t2", "owls", 6),
    ]
    assert read(grown, "SELECT version FROM recipes") == [(3,)]
    assert read(grown, "SELECT version FROM models") == [(3,)]
    first = grown.version(3).added()[0].name
    assert read(grown, "SELECT package, version FROM images WHERE length > 0 AND version = 3 AND start = 0") == [
        (first, 3)
    ]
    assert read(grown, "SELECT count(*), count(DISTINCT image_sha256) FROM images") == [(3, 3)]


def test_calls_come_without_their_bodies(grown: Lake) -> None:
    publish(grown, grown.version())
    columns = [row[0] for row in read(grown, "DESCRIBE calls")]
    assert {"key", "error", "seconds", "version"} <= set(columns)
    assert {"request", "response", "request_key"}.isdisjoint(columns)
    assert read(grown, "SELECT call_id, key FROM calls") == [
        ("c1", call_row("c1", "s3", request="long", response="longer").request_key)
    ]


def test_versions_count_packages_and_samples_up_to_them(grown: Lake) -> None:
    bring_up(grown, grown.version())
    publish(grown, grown.version())
    chain = [grown.version(number) for number in range(1, 6)]
    assert read(grown, "SELECT version, parent, sha256, created_at, run_id FROM versions ORDER BY 1") == [
        (version.number, version.parent, version.sha256, version.created_at, version.run_id) for version in chain
    ]
    counted = "SELECT packages, samples, lance_version FROM versions ORDER BY version"
    assert read(grown, counted) == [
        (packages, samples, lance_version_of(grown, number))
        for number, packages, samples in [(1, 1, 0), (2, 2, 0), (3, 4, 1), (4, 7, 3), (5, 8, 3)]
    ]


def test_lance_versions_follow_a_table_that_was_tagged_or_made_anew_later(grown: Lake) -> None:
    looked_up = "SELECT version, lance_version FROM versions ORDER BY version"
    publish(grown, grown.version())
    assert read(grown, looked_up) == [(number, None) for number in range(1, 6)]
    bring_up(grown, grown.version())
    publish(grown, grown.version())
    assert read(grown, looked_up) == [(number, lance_version_of(grown, number)) for number in range(1, 6)]
    commit(grown, package(decision_row("s1", "rejected"), decision_row("s3", "kept", decision_id="late")))
    rebuild_table(grown, grown.version())
    publish(grown, grown.version())
    assert read(grown, looked_up) == [(number, lance_version_of(grown, number)) for number in range(1, 7)]


@pytest.mark.parametrize("damage", ["torn", "empty", "other lake", "older make"])
def test_a_file_that_is_not_ours_is_made_anew(grown: Lake, tmp_path: Path, damage: str) -> None:
    publish(grown, grown.version())
    before = everything(grown)
    path = history_path(grown)
    if damage == "torn":
        write_durably(path, path.read_bytes()[:5000])
    elif damage == "empty":
        write_durably(path, b"")
    elif damage == "other lake":
        other = make_lake(tmp_path / "other")
        commit(other, package(topic_row("t9", "moss"), kind="topics"))
        publish(other, other.version())
        shutil.copyfile(history_path(other), path)
    else:
        with duckdb.connect(str(path)) as connection:
            connection.execute("UPDATE stored.format SET fingerprint = 'older'; DROP TABLE samples")
    publish(grown, grown.version())
    assert everything(grown) == before


def test_a_damaged_package_leaves_the_file_as_it_was(grown: Lake) -> None:
    publish(grown, grown.version(3))
    folder = grown.folder(grown.version(4).added()[0])
    write_durably(folder / "samples.parquet", b"not parquet")
    with pytest.raises(LakeDamaged, match=r"samples\.parquet cannot be read"):
        publish(grown, grown.version())
    assert read(grown, "SELECT max(version) FROM versions") == [(3,)]


def test_a_table_file_that_is_gone_leaves_the_file_as_it_was(grown: Lake) -> None:
    publish(grown, grown.version())
    before = history_path(grown).read_bytes()
    version = commit(grown, package(topic_row("t9"), kind="topics"))
    (file,) = grown.packages.glob(f"{version.number:06d}-*/topics.parquet")
    file.unlink()
    with pytest.raises(LakeDamaged, match=r"topics\.parquet is missing"):
        publish(grown, version)
    assert history_path(grown).read_bytes() == before


def test_who_publishes_waits_for_who_publishes_already(grown: Lake) -> None:
    with (
        hold(grown.path / ".history.lock", purpose="publishing the history", timeout=0),
        pytest.raises(LakeBusy, match="publishing the history"),
    ):
        publish(grown, grown.version(), timeout=0.1)
    assert not history_path(grown).exists()


def test_an_open_reader_keeps_what_it_opened(grown: Lake) -> None:
    publish(grown, grown.version(3))
    with duckdb.connect(str(history_path(grown)), read_only=True) as reader:
        publish(grown, grown.version())
        assert reader.execute("SELECT max(version) FROM versions").fetchall() == [(3,)]


def test_the_file_moves_and_opens_elsewhere_by_itself(
    grown: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(grown, grown.version())
    moved = tmp_path / "elsewhere" / "copy.duckdb"
    moved.parent.mkdir()
    shutil.copyfile(history_path(grown), moved)
    shutil.rmtree(grown.path)
    monkeypatch.chdir(moved.parent)
    with duckdb.connect("copy.duckdb", read_only=True, config={"enable_external_access": "false"}) as connection:
        assert connection.execute("SELECT count(*) FROM samples_at(4)").fetchall() == [(4,)]


def test_the_file_is_written_in_the_format_of_older_tools(grown: Lake) -> None:
    publish(grown, grown.version())
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{history_path(grown)}' AS history (READ_ONLY)")
        found = connection.execute(
            "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = 'history'"
        )
        assert found.fetchall()[0][0].startswith("v1.5.0")


def test_verdicts_are_there_and_empty(grown: Lake) -> None:
    publish(grown, grown.version())
    columns = ["sample_id", "turn", "judge", "rubric_sha256", "repeat", "tcc", "icc", "iq", "its", "version"]
    assert {row[0] for row in read(grown, "DESCRIBE verdicts")} >= set(columns)
    assert read(grown, "FROM verdicts") == []
