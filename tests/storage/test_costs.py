"""The view `costs`: every answer counts once, parts add up to the lake, kept samples pay for dropped ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from storage.canonical import sha256_hex
from storage.history import history_path, publish
from storage.history_schema import create_schema, fingerprint
from storage.lake import Lake
from storage.query import query
from storage.records import CallRow
from tests.storage.lakes import (
    call_row,
    claim_row,
    commit,
    decision_row,
    inquiry_row,
    made_sample,
    make_lake,
    package,
    start_row,
    topic_row,
)

SUMS = ("calls", "tries", "prompt_tokens", "completion_tokens", "seconds")


def a_call(call_id: str, sample_id: str, stage: str, **changes: Any) -> CallRow:
    return replace(call_row(call_id, sample_id, request=f'"{call_id}"'), stage=stage, **changes)


def read(lake: Lake, sql: str) -> list[dict[str, Any]]:
    return query(lake, sql).to_dicts()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Three samples of a topic: one kept after three calls, one duplicate after two, one open."""
    lake = make_lake(tmp_path)
    commit(lake, package(topic_row(), kind="topics"))
    claims = [claim_row(sample_id, "run1") for sample_id in ("s1", "s2", "s3")]
    commit(lake, package(start_row("run1"), *claims, kind="run"), run_id="run1")
    calls = [
        a_call("c1", "s1", "question", tries=3),
        a_call("c2", "s1", "answer", prompt_tokens=None, completion_tokens=None, seconds=0.1),
        a_call("c3", "s1", "image", prompt_tokens=None, completion_tokens=None, seconds=2.0),
        a_call("c4", "s2", "question"),
        a_call("c5", "s2", "image", seconds=1.0),
    ]
    decided = package(decision_row("s1", "kept"), decision_row("s2", "duplicate"), *calls, kind="decision")
    commit(lake, made_sample("s1", 10), made_sample("s2", 10), decided, run_id="run1")
    return lake


def test_the_whole_lake_comes_first_with_what_a_kept_sample_cost(lake: Lake) -> None:
    first = read(lake, "SELECT * FROM costs")[0]
    assert (first["part"], first["name"], first["samples"], first["kept"]) == ("lake", "all", 3, 1)
    assert (first["calls"], first["tries"]) == (5, 7)
    assert (first["prompt_tokens"], first["completion_tokens"], first["seconds"]) == (30, 15, 3.6)
    assert (first["calls_per_kept"], first["tokens_per_kept"], first["seconds_per_kept"]) == (5.0, 45.0, 3.6)


def test_stages_outcomes_and_topics_each_add_up_to_the_lake(lake: Lake) -> None:
    rows = read(lake, "SELECT * FROM costs")
    assert {(row["part"], row["name"]) for row in rows} == {
        ("lake", "all"),
        *(("stage", name) for name in ("question", "answer", "image")),
        *(("outcome", name) for name in ("kept", "duplicate", "open")),
        ("topic", topic_row().name),
    }
    for part in ("stage", "outcome", "topic"):
        for name in (*SUMS, *(("calls_per_kept", "seconds_per_kept"))):
            assert sum(row[name] for row in rows if row["part"] == part) == pytest.approx(rows[0][name])
    open_ones = next(row for row in rows if row["name"] == "open")
    assert (open_ones["samples"], open_ones["calls"], open_ones["kept"]) == (1, 0, 1)
    assert [row["topic_id"] for row in rows if row["topic_id"]] == [topic_row().topic_id]


def test_inquiries_are_in_the_lake_and_in_every_part_and_are_no_samples(lake: Lake) -> None:
    calls = [a_call("c7", "q1", "propose", prompt_tokens=100), a_call("c8", "q1", "propose", prompt_tokens=100)]
    commit(lake, package(inquiry_row("q1"), *calls, kind="inquiry"))
    rows = read(lake, "SELECT * FROM costs")
    assert (rows[0]["calls"], rows[0]["samples"], rows[0]["kept"], rows[0]["calls_per_kept"]) == (7, 3, 1, 7.0)
    for part in ("stage", "outcome", "topic"):
        for name in SUMS:
            assert sum(row[name] for row in rows if row["part"] == part) == pytest.approx(rows[0][name])
    found = {(row["part"], row["name"]): (row["samples"], row["calls"]) for row in rows if row["name"] != "all"}
    assert found["outcome", "inquiry"] == found["topic", "inquiries"] == found["stage", "propose"] == (0, 2)
    assert read(lake, "SELECT calls FROM costs_at(3) WHERE part = 'lake'") == [{"calls": 5}]


def test_an_answer_taken_over_from_the_record_counts_once(lake: Lake) -> None:
    again = replace(a_call("c1", "s3", "question", tries=3), call_id="c6")
    commit(lake, made_sample("s3", 70), package(decision_row("s3", "kept"), again, kind="decision"))
    rows = read(lake, "SELECT * FROM costs WHERE part IN ('lake', 'stage')")
    assert {row["name"]: row["calls"] for row in rows} == {"all": 5, "question": 2, "image": 2, "answer": 1}
    assert {row["kept"] for row in rows} == {2}
    assert sha256_hex(b'"c1"') == again.request_key


def test_without_a_kept_sample_nothing_is_said_of_its_cost(lake: Lake) -> None:
    commit(lake, package(decision_row("s1", "rejected", decision_id="later"), kind="decision"))
    assert {row["calls_per_kept"] for row in read(lake, "SELECT * FROM costs")} == {None}
    assert read(lake, "SELECT calls_per_kept FROM costs_at(3) WHERE part = 'lake'") == [{"calls_per_kept": 5.0}]
    assert query(lake, "SELECT kept FROM costs WHERE part = 'lake'", at=3).rows() == [(1,)]
    assert query(lake, "FROM costs", at=1).is_empty()


def test_other_tools_read_the_view_by_whatever_name_they_give_the_file(lake: Lake) -> None:
    publish(lake, lake.version())
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{history_path(lake)}' AS theirs (READ_ONLY)")
        assert connection.execute("SELECT calls FROM theirs.costs WHERE part = 'lake'").fetchall() == [(5,)]


def test_a_history_from_before_the_view_is_made_anew(lake: Lake) -> None:
    publish(lake, lake.version())
    history_path(lake).unlink()
    with duckdb.connect(str(history_path(lake))) as connection:
        create_schema(connection)
        connection.execute("DROP VIEW costs")
        connection.execute("UPDATE stored.format SET fingerprint = 'of another day'")
    assert read(lake, "SELECT calls FROM costs WHERE part = 'lake'") == [{"calls": 5}]
    with duckdb.connect(str(history_path(lake)), read_only=True) as connection:
        assert connection.execute("FROM stored.format").fetchall() == [(fingerprint(),)]
