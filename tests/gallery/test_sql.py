"""The fence around statements: what is answered, what is refused and in which words, and that nothing stays broken."""

import io
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from flows.gallery.sql.asking import Form, Question, Refused
from flows.gallery.sql.fenced import FencedSql
from storage.history import history_path, publish
from storage.lake import Lake
from tests.gallery.hostile import ENDLESS, LIMITS, REFUSED, TOO_LARGE
from tests.storage.lakes import claim_row, commit, decision_row, made_sample, make_lake, package, start_row, topic_row

SHORT = 0.4
"""Seconds for what never ends; no other statement has so few."""


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Version 1: a slot is claimed; version 2: it is kept."""
    lake = make_lake(tmp_path_factory.mktemp("sql"))
    commit(lake, package(topic_row(), start_row("run1"), claim_row("s1", "run1"), kind="run"))
    commit(lake, made_sample("s1", 10, 20), package(decision_row("s1", "kept"), kind="decision"))
    publish(lake, lake.version())
    return lake


@pytest.fixture(scope="module")
def fenced(lake: Lake) -> Iterator[FencedSql]:
    with FencedSql(lake.path, LIMITS) as fenced:
        yield fenced


def rows(fenced: FencedSql, sql: str, at: int | None = None) -> list[list[object]]:
    return fenced.ask(Question(sql=sql, at=at)).cells()


def assert_still_there(fenced: FencedSql) -> None:
    assert rows(fenced, "SELECT sample_id, outcome FROM samples") == [["s1", "kept"]]


@pytest.mark.parametrize("sql", REFUSED, ids=lambda sql: " ".join(sql.split())[:60] or "nothing")
def test_what_may_not_be_is_refused_in_one_line_and_the_next_query_works(fenced: FencedSql, sql: str) -> None:
    before = fenced.pid
    with pytest.raises(Refused) as caught:
        fenced.ask(Question(sql=sql))
    assert REFUSED[sql] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert_still_there(fenced)
    assert before in (fenced.pid, None), "a refusal costs no process"


@pytest.mark.parametrize("sql", TOO_LARGE[:2])
def test_what_needs_too_much_memory_is_stopped_and_the_next_query_works(fenced: FencedSql, sql: str) -> None:
    with pytest.raises(Refused, match="the statement needs more memory than the 64 MB that it may have"):
        fenced.ask(Question(sql=sql), seconds=60)
    assert_still_there(fenced)


@pytest.mark.parametrize("sql", ENDLESS[:1])
def test_what_never_ends_is_stopped_and_the_next_query_works(fenced: FencedSql, sql: str) -> None:
    assert_still_there(fenced)
    before = fenced.pid
    with pytest.raises(Refused, match=r"the statement was stopped after 0\.4 s"):
        fenced.ask(Question(sql=sql), seconds=SHORT)
    assert_still_there(fenced)
    assert fenced.pid != before


def test_nothing_was_written_by_any_of_them(fenced: FencedSql, lake: Lake) -> None:
    names = {path.name for path in (*Path("/tmp").glob("stolen*"), *Path().glob("stolen*"), *lake.path.glob("stolen*"))}
    assert names == set()
    assert_still_there(fenced)


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("FROM (VALUES (1, 'a'), (2, NULL)) AS t(n, s);  -- a remark", [[1, "a"], [2, None]]),
        ("WITH kept AS (FROM samples) SELECT count(*) FROM kept", [[1]]),
        ("SELECT 1 AS a, 2 AS a", [[1, 2]]),
        ("SELECT [1, 2], {'a': DATE '20000-01-01'}, 'a'::BLOB", [["[1,2]", '{"a":"20000-01-01"}', "61"]]),
        (
            "SELECT 'nan'::DOUBLE, 9007199254740993, 1.50::DECIMAL(5, 2), true",
            [["nan", "9007199254740993", "1.50", True]],
        ),
        ("SELECT '<script>' AS \"<b>{}\"", [["<script>"]]),
        ("SELECT count(*) FROM call_bodies", [[0]]),
        ("SELECT outcome FROM samples_at(1)", [["open"]]),
    ],
)
def test_a_reading_statement_is_answered_in_numbers_and_texts(fenced: FencedSql, sql: str, found: object) -> None:
    assert rows(fenced, sql) == found


@pytest.mark.parametrize("sql", ["DESCRIBE topics", "SUMMARIZE topics", "SHOW TABLES", "EXPLAIN FROM topics"])
def test_a_lake_can_be_looked_over(fenced: FencedSql, sql: str) -> None:
    assert rows(fenced, sql)


def test_a_lake_is_asked_as_of_a_version(fenced: FencedSql) -> None:
    assert rows(fenced, "SELECT outcome FROM samples", at=1) == [["open"]]
    with pytest.raises(Refused, match="the history shows version 2 so far, not 9"):
        rows(fenced, "FROM samples", at=9)


@pytest.mark.parametrize(
    ("count", "cut"), [(5, ""), (6, "cut after 5 rows; there are more"), (9_999, "cut after 5 rows")]
)
def test_a_result_is_cut_after_so_many_rows_and_says_so(fenced: FencedSql, count: int, cut: str) -> None:
    answer = fenced.ask(Question(sql=f"FROM range({count})"))
    assert (answer.rows, answer.cut.partition(";")[0]) == (5, cut.partition(";")[0])
    assert answer.cells() == [[number] for number in range(5)]


def test_a_result_is_cut_at_so_many_megabytes_and_says_so(fenced: FencedSql) -> None:
    answer = fenced.ask(Question(sql="SELECT i, repeat('x', 1_000_000) AS x FROM range(9) AS r(i)"))
    assert 1 <= answer.rows < 5
    assert answer.cut == f"cut after {answer.rows} rows, at 4 MB; there are more"


def test_a_result_comes_as_csv(fenced: FencedSql) -> None:
    sql = "SELECT i, [i] AS deep, 'a \"word\", two' AS text, NULL AS none FROM range(70) AS r(i)"
    answer = fenced.ask(Question(sql=sql, form=Form.CSV))
    frame = pl.read_csv(io.BytesIO(answer.body))
    assert (answer.rows, answer.cut) == (50, "cut after 50 rows; there are more")
    assert frame.height == 50
    assert frame.row(3) == (3, "[3]", 'a "word", two', None)


def test_a_result_comes_as_parquet_with_its_types(fenced: FencedSql) -> None:
    sql = "SELECT i, [i] AS deep, DATE '2026-05-01' AS day, 1 AS i, INTERVAL 1 DAY AS wait FROM range(70) AS r(i)"
    answer = fenced.ask(Question(sql=sql, form=Form.PARQUET))
    frame = pl.read_parquet(io.BytesIO(answer.body))
    assert frame.columns == ["i", "deep", "day", "i_2", "wait"]
    assert frame.height == 50
    assert frame.schema["deep"] == pl.List(pl.Int64)
    assert frame.schema["day"] == pl.Date
    assert frame["wait"][0] == "1 day"


def test_what_was_published_meanwhile_is_seen(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    with FencedSql(lake.path, LIMITS) as fenced:
        assert rows(fenced, "SELECT count(*) FROM topics") == [[0]]
        commit(lake, package(topic_row(), kind="topics"))
        with pytest.raises(Refused, match="was not published yet; 'interlake sql' does it"):
            rows(fenced, "FROM topics")
        publish(lake, lake.version())
        assert rows(fenced, "SELECT count(*) FROM topics") == [[1]]
        history_path(lake).write_bytes(b"no database")
        with pytest.raises(Refused, match="was not published yet"):
            rows(fenced, "FROM topics")


def test_a_process_that_dies_is_replaced_and_says_how_it_died(fenced: FencedSql) -> None:
    assert_still_there(fenced)
    assert fenced.pid is not None
    os.kill(fenced.pid, signal.SIGSTOP)
    with pytest.raises(Refused, match="stopped after"):
        fenced.ask(Question(sql="SELECT 1"), seconds=SHORT)
    assert_still_there(fenced)


def test_the_process_has_nothing_of_our_environment_and_can_write_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLAKE_SECRET", "hush")
    with FencedSql(lake.path, LIMITS) as fenced:
        assert_still_there(fenced)
        there = Path(f"/proc/{fenced.pid}")
        assert b"hush" not in (there / "environ").read_bytes()
        limits = {line[:20].strip(): line[20:].split()[0] for line in (there / "limits").read_text().splitlines()}
        assert limits["Max file size"] == "0"
        assert int(limits["Max data size"]) < 4 << 30


def test_a_closed_fence_leaves_no_process(lake: Lake) -> None:
    fenced = FencedSql(lake.path, LIMITS)
    fenced.start()
    pid = fenced.pid
    assert pid
    fenced.close()
    assert not Path(f"/proc/{pid}").exists()


def test_questions_and_limits_survive_the_pipe() -> None:
    question = Question(sql="SELECT 'é\n'", at=3, form=Form.CSV)
    assert Question.decode(question.encode()) == question
    assert json.loads(question.encode())["form"] == "csv"
