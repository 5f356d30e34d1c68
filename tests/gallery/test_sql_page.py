"""The SQL page: what it shows of results and refusals, what it draws, what it hands out, and whom it works for."""

import io
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from threading import Thread
from urllib.parse import urlencode

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from flows.gallery.app import make_app
from flows.gallery.page import number
from flows.gallery.sql.fenced import FencedSql
from flows.gallery.sql.plot import HEIGHT, LEFT, WIDTH, Plot, draw, to_number
from flows.gallery.sql.tables import COLUMNS, EXAMPLES, TABLES, Example, read_tables
from flows.gallery.sqlpage import MOST_SHOWN
from storage.history_schema import state_queries
from storage.query import query
from tests.gallery.pages import Page
from tests.storage.lakes import claim_row, commit, decision_row, made_sample, make_lake, package, start_row, topic_row

CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.floats().map(str),
    st.datetimes().map(str),
    st.datetimes(timezones=st.just(UTC)).map(str),
    st.text(max_size=5),
)
HOSTILE = "<script>alert(1)</script> & \"'"


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The gallery of a lake with one kept sample, and a topic that is an attack."""
    lake = make_lake(tmp_path_factory.mktemp("sqlpage"))
    commit(lake, package(topic_row("t1", HOSTILE), start_row("run1"), claim_row("s1", "run1"), kind="run"))
    commit(lake, made_sample("s1", 10, 20), package(decision_row("s1", "kept"), kind="decision"))
    with TestClient(make_app(lake), base_url="http://127.0.0.1:4280") as client:
        yield client


def ask(gallery: TestClient, sql: str, **more: str) -> str:
    answer = gallery.get("/sql", params={"sql": sql, **more})
    assert answer.status_code == 200, answer.text[:300]
    Page(answer.text)
    return answer.text


def test_the_page_without_a_statement_has_tables_and_examples(gallery: TestClient) -> None:
    page = Page(ask(gallery, ""))
    assert all(name in page.text for name in TABLES)
    assert [link for link in page.links() if link.startswith("/sql?")] != []
    assert 'name="sql"' in gallery.get("/sql").text


def test_every_table_and_every_name_that_is_explained_is_there() -> None:
    tables = {table.name: table for table in read_tables()}
    assert set(tables) == {*state_queries("0"), "call_bodies"} == set(TABLES)
    assert all(table.columns for table in tables.values())
    assert set(COLUMNS) <= {column.name for table in tables.values() for column in table.columns}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.words)
def test_every_example_is_answered(gallery: TestClient, example: Example) -> None:
    text = ask(gallery, example.sql, x=example.x, y=example.y)
    assert 'role="alert"' not in text
    assert 'aria-label="Rows of the result"' in text


def test_a_result_is_a_table_whose_texts_are_escaped(gallery: TestClient) -> None:
    text = ask(gallery, f"SELECT name, 'a' AS \"<b>x\", NULL AS none, 12 AS n FROM topics -- {HOSTILE}")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<b>x" not in text
    assert '<span class="soft">null</span>' in text
    assert '<td class="right">12</td>' in text
    assert "1 row in" in text


def test_a_refusal_stands_on_the_page_in_one_sentence_and_the_statement_stays(gallery: TestClient) -> None:
    answer = gallery.get("/sql", params={"sql": "DROP TABLE samples"})
    assert answer.status_code == 400
    assert "the history can only be read; DROP is not a reading statement" in answer.text
    assert "DROP TABLE samples</textarea>" in answer.text
    wrong = gallery.get("/sql", params={"sql": "FROM samples", "at": "x1"})
    assert "a version is a whole number" in wrong.text


def test_the_page_opens_while_somebody_elses_statement_runs(tmp_path: Path) -> None:
    with FencedSql(tmp_path) as fenced:
        with fenced._turn:
            opening = Thread(target=fenced.start, daemon=True)
            opening.start()
            opening.join(20)
            is_waiting = opening.is_alive()
        opening.join()
    assert not is_waiting


def test_a_statement_can_ask_an_earlier_version(gallery: TestClient) -> None:
    assert "<td>open</td>" in ask(gallery, "SELECT outcome FROM samples", at="1")
    assert "<td>kept</td>" in ask(gallery, "SELECT outcome FROM samples")


def test_a_cut_result_says_so(gallery: TestClient) -> None:
    assert "cut after 1,000 rows; there are more" in ask(gallery, "SELECT i FROM range(1001) AS r(i)")


def test_a_long_cell_is_cut_on_the_page_and_whole_in_files(gallery: TestClient) -> None:
    sql = f"SELECT repeat('x', {MOST_SHOWN}) AS fits, repeat('y', {MOST_SHOWN + 1}) AS long"
    text = ask(gallery, sql)
    assert f"<td>{'x' * MOST_SHOWN}</td>" in text
    assert f"<td>{'y' * MOST_SHOWN}…</td>" in text
    assert f"1 cell cut after {number(MOST_SHOWN)} characters" in text
    assert "y" * (MOST_SHOWN + 1) in gallery.get("/sql.csv", params={"sql": sql}).text
    assert "cut after" not in ask(gallery, "SELECT 1")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_page_cannot_have_statements_run(gallery: TestClient, site: str) -> None:
    headers = {"sec-fetch-site": site}
    shown = gallery.get("/sql", params={"sql": "SELECT 40 + 2 AS answer"}, headers=headers)
    assert "This statement came from another page" in shown.text
    assert "SELECT 40 + 2 AS answer</textarea>" in shown.text
    assert "<td" not in shown.text
    assert gallery.get("/sql.csv", params={"sql": "SELECT 1"}, headers=headers).status_code == 403
    assert "<td" in gallery.get("/sql", params={"sql": "SELECT 1"}, headers={"sec-fetch-site": "same-origin"}).text


def test_results_are_handed_out_as_files(gallery: TestClient) -> None:
    sql = urlencode({"sql": "SELECT i, [i] AS deep FROM range(3) AS r(i)"})
    csv, parquet, rows = (gallery.get(f"/sql.{form}?{sql}") for form in ("csv", "parquet", "json"))
    assert pl.read_csv(io.BytesIO(csv.content))["i"].to_list() == [0, 1, 2]
    assert csv.headers["content-disposition"] == 'attachment; filename="result.csv"'
    assert pl.read_parquet(io.BytesIO(parquet.content))["deep"].to_list() == [[0], [1], [2]]
    head = {"columns": ["i", "deep"], "types": ["BIGINT", "BIGINT[]"], "cut": ""}
    assert rows.json() == {**head, "rows": [[0, "[0]"], [1, "[1]"], [2, "[2]"]]}
    assert gallery.get(f"/sql.exe?{sql}").status_code == 404
    assert gallery.get("/sql.csv", params={"sql": "COPY samples TO 'x'"}).status_code == 400


def test_a_cut_file_says_so_in_its_name(gallery: TestClient) -> None:
    answer = gallery.get("/sql.csv", params={"sql": "FROM range(100001)"})
    assert 'filename="first-100000-rows.csv"' in answer.headers["content-disposition"]


def test_two_columns_are_drawn(gallery: TestClient) -> None:
    dots = ask(gallery, "SELECT i, i * i AS square FROM range(5) AS r(i)", x="i", y="square")
    assert dots.count("<circle") == 5
    columns = ask(gallery, "SELECT outcome, count(*) AS n FROM samples GROUP BY ALL", x="outcome", y="n")
    assert columns.count("<rect") == 1
    assert "cannot be drawn" in ask(gallery, "SELECT 1 AS n, 'a' AS word", x="n", y="word")


def drawn(rows: list[list[object]]) -> Plot:
    plot = draw(("x", "y"), rows, "x", "y")
    assert plot is not None
    return plot


def test_dots_lie_within_the_box_and_rows_without_numbers_are_counted() -> None:
    plot = drawn([[0, 1], [10, "3.5"], [5, None], [None, 2], [7, "nan"]])
    assert (plot.shape, len(plot.marks), plot.left_out) == ("dot", 2, 3)
    assert [(mark.x, mark.y) for mark in plot.marks] == [(LEFT, plot.base), (plot.right, plot.top)]
    assert [tick.label for tick in plot.x_ticks] == ["0", "2", "4", "6", "8", "10"]


def test_times_lie_on_a_line_and_words_stand_side_by_side() -> None:
    plot = drawn([["2026-05-01 12:00:00+00", 1], ["2026-05-02 12:00:00+00", 2]])
    assert plot.shape == "dot"
    assert plot.marks[0].told == "05-01 12:00: 1"
    columns = drawn([["a", 2], ["b", -1]])
    assert columns.shape == "column"
    assert columns.marks[0].height == pytest.approx(2 * columns.marks[1].height, abs=0.1)


def test_a_column_is_numbers_if_any_is_one_and_times_of_all_years_have_a_place(gallery: TestClient) -> None:
    plot = drawn([["abc", 1], ["1e20", 2], ["2026-05-01", 3]])
    assert (plot.shape, len(plot.marks), plot.left_out) == ("dot", 1, 2)
    assert plot.marks[0].told == "1e+20: 2"
    for day in ("9999-12-31", "0001-01-01", "9999-12-31 23:59:59.999999", "9999-12-31 23:00:00-14:00"):
        assert len(drawn([[day, 1]]).marks) == 1
    assert len(drawn([["0001-01-01 00:00:00+14:00", 1], ["9999-12-31", 2]]).marks) == 2
    assert "<circle" in ask(gallery, "SELECT DATE '9999-12-31' AS day, 1 AS n", x="day", y="n")


@given(st.lists(st.tuples(CELLS, CELLS), max_size=6))
def test_whatever_stands_in_two_columns_is_drawn_or_not(pairs: list[tuple[object, object]]) -> None:
    plot = draw(("x", "y"), pairs, "x", "y")
    for mark in plot.marks if plot else ():
        assert 0 <= mark.x <= WIDTH and 0 <= mark.y <= HEIGHT


@pytest.mark.parametrize("value", [0, 1e-9, -1e299, 1e15])
def test_a_single_value_has_a_plot(value: float) -> None:
    (mark,) = drawn([[value, value]]).marks
    assert 0 <= mark.x <= WIDTH
    assert 0 <= mark.y <= HEIGHT


def test_many_words_are_cut_and_counted() -> None:
    plot = drawn([[f"word {n}", n] for n in range(100)])
    assert (len(plot.marks), plot.left_out) == (40, 60)
    assert draw(("x", "y"), [["a", "b"]], "x", "y") is None
    assert draw(("x",), [["a"]], "x", "z") is None
    assert [to_number(value) for value in (True, None, "x", float("inf"), "2026-05-01")] == [None] * 5


def test_the_numbers_are_those_that_the_command_line_has(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    commit(lake, package(topic_row(), kind="topics"))
    sql = "SELECT topic_id, version FROM topics"
    expected = [list(row) for row in query(lake, sql).rows()]
    with TestClient(make_app(lake), base_url="http://127.0.0.1:4280") as other:
        assert other.get("/sql.json", params={"sql": sql}).json()["rows"] == expected
