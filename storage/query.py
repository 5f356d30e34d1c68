"""Read-only SQL over the history of a lake, as of now or as of an earlier version. Writes nothing but the history."""

import tempfile
from contextlib import closing
from itertools import takewhile

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds

from storage.errors import LakeBusy, LakeError, NoSuchThing
from storage.history import Connection, Published, is_current, open_published, publish, published
from storage.history_schema import create_schema, state_queries
from storage.lake import Lake
from storage.records import CallRow
from storage.versions import Version

_READING = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
_BODIES = pa.schema([("call_id", pa.string()), ("request", pa.string()), ("response", pa.string())])


class QueryError(LakeError):
    """A statement that does not read, or that DuckDB cannot make sense of; the message says why."""


def query(lake: Lake, sql: str, *, at: int | None = None, timeout: float = 30.0) -> pl.DataFrame:
    """The result of one reading statement (SELECT, WITH, FROM, VALUES, DESCRIBE, SHOW, SUMMARIZE, EXPLAIN).

    The history is brought up to date first. When the lake cannot be written, or somebody else is publishing, the
    present file is used as it is; when there is none yet, `timeout` is how many seconds to wait for it. With `at`,
    every table is as it was at that version. The view `call_bodies` has the request and response of every call.

    Raises QueryError, NoSuchThing for a version that is not there, LakeBusy after waiting in vain.
    """
    if at is not None:
        lake.version(at)
    with closing(_open(lake, at, timeout)) as connection:
        _refuse_writing(connection, sql)
        number = _choose_version(connection, at)
        if "call_bodies" in sql.lower():
            connection.register("call_bodies", _call_bodies(lake, number))
        _confine(connection)
        return _run(connection, sql)


def _open(lake: Lake, at: int | None, timeout: float) -> Connection:
    head = lake.head()
    if head is None:
        return _open_empty()
    present = published(lake)
    if present is None or not is_current(lake, present, head):
        _bring_up(lake, head, present, at, timeout)
    return open_published(lake)


def _bring_up(lake: Lake, head: Version, present: Published | None, at: int | None, timeout: float) -> None:
    """Publish the newest version, or make do with the present file when that cannot be now."""
    is_enough = present is not None and present.number >= (at or 1)
    try:
        publish(lake, head, timeout=0 if is_enough else timeout)
    except LakeBusy:
        if not is_enough:
            raise
    except OSError as error:
        if present is None:
            raise QueryError(f"the history was never published, and cannot be now ({error})") from error


def _open_empty() -> Connection:
    """The history of a lake that has no version yet."""
    connection = duckdb.connect(":memory:", config={"python_enable_replacements": False})
    connection.execute("ATTACH ':memory:' AS history; USE history")
    create_schema(connection)
    return connection


def _refuse_writing(connection: Connection, sql: str) -> None:
    try:
        kinds = [statement.type for statement in connection.extract_statements(sql)]
    except duckdb.Error as error:
        raise QueryError(_shorten(error)) from error
    if len(kinds) != 1:
        raise QueryError(f"give one statement, not {len(kinds)}")
    if kinds[0] not in _READING:
        raise QueryError(f"the history can only be read; {kinds[0].name} is not a reading statement")


def _choose_version(connection: Connection, at: int | None) -> int:
    """The version to show: the newest, or `at`, whose state is then laid over every table's name."""
    number = int(connection.execute("SELECT coalesce(max(version), 0) FROM versions").fetchall()[0][0])
    if at is None:
        return number
    if at > number:
        raise NoSuchThing(f"the history shows version {number} so far, not {at} yet; ask again later")
    for name, state in state_queries(str(at), source="history.").items():
        connection.execute(f"CREATE TEMP VIEW {name} AS {state}")
    return at


def _call_bodies(lake: Lake, number: int) -> ds.Dataset | pa.Table:
    """The bodies of all calls, read from the packages as far as a query needs them."""
    packages = lake.version(number).packages if number else ()
    paths = [lake.folder(entry) / f"{CallRow.table}.parquet" for entry in packages]
    there = [str(path) for path in paths if path.exists()]
    return ds.dataset(there, schema=_BODIES, format="parquet") if there else _BODIES.empty_table()


def _confine(connection: Connection) -> None:
    """From here on nothing but the history can be reached: no files, no network, no settings."""
    connection.execute("SET temp_directory = $folder", {"folder": tempfile.gettempdir()})
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _run(connection: Connection, sql: str) -> pl.DataFrame:
    try:
        frame: pl.DataFrame = connection.sql(sql).pl()
    except duckdb.Error as error:
        raise QueryError(_shorten(error)) from error
    return frame.with_columns(_integers(frame))


def _integers(frame: pl.DataFrame) -> list[pl.Series]:
    """Sums of integers, which DuckDB gives 128 bits, as the 64 bits that they nearly always fit into."""
    wide = [column for column in frame if column.dtype == pl.Decimal(38, 0)]
    narrow = [column.cast(pl.Int64, strict=False) for column in wide]
    return [after for before, after in zip(wide, narrow, strict=True) if after.null_count() == before.null_count()]


def _shorten(error: duckdb.Error) -> str:
    """DuckDB's own words without the copy of the statement below them."""
    lines = takewhile(lambda line: not line.startswith("LINE "), str(error).splitlines())
    return " ".join(line.strip() for line in lines if line.strip())
