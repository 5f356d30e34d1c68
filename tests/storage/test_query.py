"""Queries: what they may do, what they show now and as of a version, and that builds and readers never disturb."""

import fcntl
import multiprocessing
import stat
import sys
import time
from collections.abc import Iterator
from datetime import date, datetime
from multiprocessing.synchronize import Event
from pathlib import Path

import polars as pl
import pytest

from storage.errors import LakeBusy, LakeDamaged, NoSuchThing
from storage.fence import QueryError
from storage.history import history_path, publish
from storage.history_schema import state_queries
from storage.lake import Lake
from storage.lock import hold
from storage.query import query
from tests.storage.lakes import (
    call_row,
    claim_row,
    commit,
    decision_row,
    made_sample,
    make_lake,
    package,
    start_row,
    topic_row,
)

PUBLISHES = 30


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Version 1: two slots are claimed; version 2: one of them is kept; version 3: and no longer."""
    lake = make_lake(tmp_path)
    claims = [claim_row("s1", "run1"), claim_row("s2", "run1")]
    commit(lake, package(topic_row(), start_row("run1"), *claims, kind="run"))
    made = [made_sample("s1", 10, 20), package(decision_row("s1", "kept"), kind="decision")]
    commit(lake, *made, package(call_row("c1", "s1", request='{"ask":"owl"}', response='{"say":"hoo"}')))
    later = call_row("c2", "s1", request='{"ask":"moth"}', response='{"say":"ff"}')
    commit(lake, package(decision_row("s1", "rejected", reason="low_score"), later, kind="judge"))
    return lake


def test_a_query_sees_the_newest_version_unasked(lake: Lake) -> None:
    outcomes = "SELECT outcome FROM samples ORDER BY sample_id"
    assert query(lake, outcomes)["outcome"].to_list() == ["rejected", "open"]
    commit(lake, package(decision_row("s1", "kept", decision_id="review")))
    assert query(lake, outcomes)["outcome"].to_list() == ["kept", "open"]


@pytest.mark.parametrize(
    ("version", "outcomes"), [(1, ["open", "open"]), (2, ["kept", "open"]), (3, ["rejected", "open"])]
)
def test_at_a_version_every_name_means_its_state_then(lake: Lake, version: int, outcomes: list[str]) -> None:
    frame = query(lake, "SELECT outcome FROM samples ORDER BY sample_id", at=version)
    assert frame["outcome"].to_list() == outcomes
    assert query(lake, "SELECT max(version) AS newest FROM versions", at=version)["newest"].item() == version
    assert query(lake, "SELECT count(*) FROM decisions", at=version).item() == version - 1
    assert query(lake, "SELECT planned, open FROM runs", at=version).row(0) == (2, outcomes.count("open"))
    assert query(lake, "FROM main.samples ORDER BY sample_id", at=version)["outcome"].to_list() == outcomes


def test_macros_work_as_of_a_version_too(lake: Lake) -> None:
    outcomes = "SELECT outcome FROM samples_at(2) ORDER BY sample_id"
    assert query(lake, outcomes)["outcome"].to_list() == ["kept", "open"]
    assert query(lake, outcomes, at=3)["outcome"].to_list() == ["kept", "open"]


@pytest.mark.parametrize("version", [0, 4, -1])
def test_a_version_that_is_not_there_is_said_to_be_missing(lake: Lake, version: int) -> None:
    with pytest.raises(NoSuchThing, match=f"no version {version}"):
        query(lake, "FROM samples", at=version)


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("WITH kept AS (FROM samples) SELECT count(*) FROM kept", 1),
        ("FROM samples", 2),
        ("VALUES (1), (2), (3);", 3),
        ("DESCRIBE topics", 8),
        ("SUMMARIZE topics", 8),
        ("SHOW TABLES", len(state_queries("0"))),
        ("EXPLAIN SELECT 1", 1),
        ("EXPLAIN ANALYZE (SELECT 'é')", 1),
        ("EXPLAIN (FORMAT json) SELECT 1", 1),
        ("-- a remark\nSELECT 1 -- and another", 1),
        ("/* é */ SELECT ';' ; -- a remark", 1),
    ],
)
def test_reading_statements_are_answered(lake: Lake, sql: str, rows: int) -> None:
    assert query(lake, sql).height == rows


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("DROP TABLE samples", "DROP is not a reading statement"),
        ("INSERT INTO topics SELECT * FROM topics", "INSERT is not a reading statement"),
        ("COPY samples TO 'samples.csv'", "COPY is not a reading statement"),
        ("ATTACH 'other.duckdb'", "ATTACH is not a reading statement"),
        ("SET threads = 1", "SET is not a reading statement"),
        ("SELECT 1; SELECT 2", "give one statement, not 2"),
        ("  ", "give one statement, not 0"),
        ("EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1", "CREATE is not a reading statement"),
        ("/* é */ EXPLAIN -- é\n ANALYZE CREATE TEMP TABLE t AS SELECT 1", "CREATE is not a reading statement"),
        ("EXPLAIN (FORMAT json) COPY samples TO 's.csv'", "COPY is not a reading statement"),
        ("WITH gone AS (DELETE FROM samples RETURNING *) FROM gone", "read-only"),
        ("FROM enable_logging(storage := 'file')", "configuration has been locked"),
        ("SELECT * FROM read_text('/etc/hostname')", "file system operations are disabled"),
        ("SELECT * FROM '/etc/hostname'", "does not exist"),
        ("SELECT * FROM local_frame", "local_frame does not exist"),
    ],
)
def test_nothing_but_the_history_can_be_reached(lake: Lake, sql: str, message: str) -> None:
    local_frame = pl.DataFrame({"a": [1]})
    with pytest.raises(QueryError, match=message):
        query(lake, sql)
    assert local_frame.height == 1


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT * FROM sampels", 'Catalog Error: Table with name sampels does not exist! Did you mean "samples"?'),
        ("SELEC 1", 'Parser Error: syntax error at or near "SELEC"'),
        ("SELECT 'a'::INT", "Conversion Error: Could not convert string 'a' to INT32"),
    ],
)
def test_errors_are_one_line_in_the_words_of_duckdb(lake: Lake, sql: str, message: str) -> None:
    with pytest.raises(QueryError) as caught:
        query(lake, sql)
    assert str(caught.value) == message


def test_sums_of_integers_are_integers(lake: Lake) -> None:
    frame = query(lake, "SELECT sum(turns) AS turns, sum(9223372036854775807 + turns::HUGEINT) AS huge FROM samples")
    assert frame["turns"].dtype == pl.Int64
    assert frame["turns"].item() == 4
    assert int(frame["huge"].item()) == 2 * 9223372036854775807 + 4


def test_call_bodies_are_read_from_the_packages(lake: Lake) -> None:
    bodies = "SELECT call_id, request, response FROM call_bodies JOIN calls USING (call_id) ORDER BY call_id"
    first, second = ("c1", '{"ask":"owl"}', '{"say":"hoo"}'), ("c2", '{"ask":"moth"}', '{"say":"ff"}')
    assert query(lake, bodies).rows() == [first, second]
    assert query(lake, "SELECT * FROM call_bodies WHERE call_id = 'c1'").rows() == [first]
    assert query(lake, "FROM CALL_BODIES", at=2).rows() == [first]
    assert query(lake, "FROM call_bodies", at=1).rows() == []


@pytest.mark.parametrize("data", [None, b"PAR1 torn"])
def test_call_bodies_of_a_damaged_package_are_no_empty_table(lake: Lake, data: bytes | None) -> None:
    publish(lake, lake.version())
    (file,) = lake.packages.glob("000003-*/calls.parquet")
    if data is None:
        file.unlink()
    else:
        file.write_bytes(data)
    with pytest.raises(LakeDamaged, match=r"calls\.parquet"):
        query(lake, "FROM call_bodies")


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("SELECT INTERVAL 1 MONTH", "1 month"),
        ("SELECT [INTERVAL 1 DAY]", "[1 day]"),
        ("SELECT {'a': MAP {1: INTERVAL 1 DAY}}", "{'a': {1=1 day}}"),
        ("SELECT union_value(k := 5)", "5"),
        ("SELECT '101'::BIT", "101"),
        ("SELECT TIMESTAMP 'infinity'", "infinity"),
        ("SELECT DATE '20000-01-01'", "20000-01-01"),
        ("SELECT DATE '9999-12-31'", date(9999, 12, 31)),
        ("SELECT TIMESTAMP '9999-12-31 23:59:59'", datetime(9999, 12, 31, 23, 59, 59)),
        ("SELECT [1, 2]", [1, 2]),
    ],
)
def test_kinds_of_values_that_only_duckdb_has_come_as_its_text(lake: Lake, sql: str, value: object) -> None:
    assert query(lake, sql).row(0) == (value,)


def test_text_in_place_of_a_value_changes_no_other_column(lake: Lake) -> None:
    sql = """SELECT i AS "a""b", INTERVAL (i) DAY AS "é, ""b", i AS c FROM range(3) AS r(i) ORDER BY i DESC"""
    frame = query(lake, sql)
    assert frame.columns == ['a"b', 'é, "b', "c"]
    assert frame.rows() == [(2, "2 days", 2), (1, "1 day", 1), (0, "00:00:00", 0)]


def test_an_empty_lake_has_empty_tables(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    assert query(lake, "SELECT count(*) FROM samples").item() == 0
    assert query(lake, "FROM call_bodies").height == 0
    assert not history_path(lake).exists()
    with pytest.raises(QueryError, match="file system operations are disabled"):
        query(lake, "SELECT * FROM read_text('/etc/hostname')")


def test_while_another_publishes_the_present_file_answers(lake: Lake) -> None:
    publish(lake, lake.version(2))
    with hold(lake.path / ".history.lock", purpose="publishing the history", timeout=0):
        assert query(lake, "SELECT max(version) FROM versions").item() == 2
        assert query(lake, "SELECT max(version) FROM versions", at=1).item() == 1
        with pytest.raises(LakeBusy):
            query(lake, "FROM samples", at=3, timeout=0.1)


def test_who_holds_the_lock_for_long_keeps_no_query_waiting(lake: Lake) -> None:
    publish(lake, lake.version(2))
    with (lake.path / ".history.lock").open("a") as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        before = time.monotonic()
        assert query(lake, "SELECT max(version) FROM versions", timeout=60).item() == 2
        assert time.monotonic() - before < 10


def test_with_nothing_published_yet_a_query_waits_and_then_says_so(lake: Lake) -> None:
    with (
        hold(lake.path / ".history.lock", purpose="publishing the history", timeout=0),
        pytest.raises(LakeBusy, match="publishing the history"),
    ):
        query(lake, "FROM samples", timeout=0.1)


@pytest.fixture
def unwritable(lake: Lake) -> Iterator[Lake]:
    """A lake that was published at version 2 and then became read-only."""
    publish(lake, lake.version(2))
    lock = lake.path / ".history.lock"
    lock.unlink()
    lock.symlink_to("/proc/version")  # which not even root can open for writing
    yield lake
    lock.unlink()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a file that root cannot write")
def test_a_lake_that_cannot_be_written_is_read_as_it_is(unwritable: Lake) -> None:
    assert query(unwritable, "SELECT max(version) FROM versions").item() == 2
    with pytest.raises(NoSuchThing, match="shows version 2 so far, not 3"):
        query(unwritable, "FROM samples", at=3)
    history_path(unwritable).unlink()
    with pytest.raises(QueryError, match="never published, and cannot be now"):
        query(unwritable, "FROM samples")


def test_querying_needs_no_more_than_reading_the_file(lake: Lake) -> None:
    publish(lake, lake.version())
    history_path(lake).chmod(stat.S_IRUSR)
    assert query(lake, "SELECT count(*) FROM samples").item() == 2


def test_readers_and_a_publishing_build_never_disturb_each_other(lake: Lake) -> None:
    publish(lake, lake.version())
    context = multiprocessing.get_context("spawn")
    is_done = context.Event()
    seen: multiprocessing.Queue[list[int] | str] = context.Queue()
    reader = context.Process(target=_read_until, args=(lake.path, is_done, seen))
    reader.start()
    assert seen.get(timeout=60) == [3]
    try:
        for number in range(PUBLISHES):
            version = commit(lake, package(topic_row(f"extra{number}"), kind="topics"))
            publish(lake, version)
    finally:
        is_done.set()
    versions = seen.get(timeout=60)
    reader.join(timeout=60)
    assert isinstance(versions, list), versions
    assert versions == sorted(versions)
    assert len(set(versions)) > 3
    assert query(lake, "SELECT count(*) FROM topics").item() == PUBLISHES + 1


def _read_until(path: Path, is_done: Event, seen: "multiprocessing.Queue[list[int] | str]") -> None:
    """Query without a pause in a process of its own; report the versions seen, or the error."""
    lake = Lake.open(path)
    sql = "SELECT max(version), (SELECT count(*) FROM topics), (SELECT count(*) FROM samples_at(2)) FROM versions"
    versions: list[int] = []
    try:
        while not is_done.is_set():
            newest, topics, samples = query(lake, sql).row(0)
            assert (topics, samples) == (newest - 2, 2), (newest, topics, samples)
            versions.append(newest)
            if len(versions) == 1:
                seen.put(list(versions))
        seen.put(versions)
    except Exception as error:
        seen.put(f"{type(error).__name__}: {error}")
