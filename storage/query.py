"""Read-only SQL over the history of a lake, as of now or as of an earlier version. Writes nothing but the history."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
from duckdb.sqltypes import DuckDBPyType

from storage.errors import LakeBusy, NoSuchThing
from storage.fence import Allowance, QueryError, check_statement, confine, shorten
from storage.history import Connection, Published, history_path, is_current, open_published, publish, shown_in
from storage.history_schema import create_schema, state_queries
from storage.lake import Lake
from storage.records import CallRow
from storage.tables import check_end
from storage.versions import Version

_NESTED = ("list", "array", "struct", "map")
_FOREIGN = ("interval", "union", "bit", "variant", "bignum", "time with time zone", "geometry")
_PER_DAY = {"ms": 86_400_000, "us": 86_400_000_000}
_FIRST_DAY, _LAST_DAY = (day.toordinal() - date(1970, 1, 1).toordinal() for day in (date.min, date.max))
_BODIES = pa.schema([("call_id", pa.string()), ("request", pa.string()), ("response", pa.string())])


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
        confine(connection)
        with asking(connection, lake, sql, at=at) as found:
            frame = _fetch(found)
    return frame.with_columns(_integers(frame))


@contextmanager
def asking(connection: Connection, lake: Lake, sql: str, *, at: int | None = None) -> Iterator[duckdb.DuckDBPyRelation]:
    """The result of one reading statement over a confined connection, to be fetched in the block.

    Raises QueryError, also for what goes wrong while it is fetched, and NoSuchThing for a version that is not shown.
    """
    statement = check_statement(connection, sql)
    number = _choose_version(connection, at)
    if "call_bodies" in sql.lower():
        connection.register("call_bodies", _call_bodies(lake, number))
    connection.execute("BEGIN TRANSACTION READ ONLY")
    try:
        yield connection.sql(statement)
    except duckdb.Error as error:
        raise QueryError(shorten(error)) from error
    except pl.exceptions.PolarsError as error:
        raise QueryError(f"the result cannot be shown ({error}); cast its columns to VARCHAR") from error


def open_history(lake: Lake, *, at: int | None = None, timeout: float = 30.0) -> Connection:
    """The history, brought up to date, read-only and as of a version; errors as `query`, whose fence it has not."""
    if at is not None:
        lake.version(at)
    connection = _open(lake, at, timeout)
    try:
        _choose_version(connection, at)
    except BaseException:
        connection.close()
        raise
    return connection


class Shown:
    """The history as it was published last, kept open and confined; writes nothing, and is for one thread."""

    def __init__(self, lake: Lake, allowance: Allowance) -> None:
        self._lake, self._allowance = lake, allowance
        self._opened: tuple[object, Connection] | None = None

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for one statement: what it leaves behind is gone with it.

        The history of a lake without a version is empty; QueryError when it was never published, or cannot be opened.
        """
        mark = _mark(self._lake)
        if self._opened is None or self._opened[0] != mark:
            self.close()
            self._opened = mark, self._open()
        with closing(self._opened[1].cursor()) as connection:
            connection.execute("USE history")
            yield connection

    def _open(self) -> Connection:
        try:
            connection = _open_empty() if self._lake.head() is None else open_published(self._lake)
        except duckdb.Error as error:
            raise QueryError("the history of this lake was not published yet; 'interlake sql' does it") from error
        confine(connection, self._allowance)
        return connection

    def close(self) -> None:
        if self._opened:
            self._opened[1].close()
        self._opened = None


def _mark(lake: Lake) -> object:
    """What changes when the file is replaced; the lake's first version when there is none."""
    try:
        found = history_path(lake).stat()
    except FileNotFoundError:
        return lake.head() is None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _open(lake: Lake, at: int | None, timeout: float) -> Connection:
    head = lake.head()
    if head is None:
        return _open_empty()
    connection, present = _open_current(lake, head)
    if connection is None:
        _bring_up(lake, head, present, at, timeout)
        connection = open_published(lake)
    return connection


def _open_current(lake: Lake, head: Version) -> tuple[Connection | None, Published | None]:
    """The present file, if it shows the newest version, and what it shows."""
    try:
        connection = open_published(lake)
    except duckdb.Error:
        return None, None
    present = shown_in(connection, lake, head)
    if present is not None and is_current(lake, present, head):
        return connection, present
    connection.close()
    return None, present


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
    holdings = lake.holdings(lake.version(number)) if number else []
    there = [holding for holding in holdings if holding.has(CallRow.table)]
    for holding in there:
        check_end(holding.path(CallRow.table))
    paths = [str(holding.path(CallRow.table)) for holding in there if holding.is_whole]
    cut = (holding.read(CallRow.table, _BODIES.names) for holding in there if not holding.is_whole)
    rows = [table.select(_BODIES.names).cast(_BODIES) for table in cut if table is not None]
    parts: list[ds.Dataset] = [ds.dataset(table) for table in rows]
    if paths:
        parts.append(ds.dataset(paths, schema=_BODIES, format="parquet"))
    return ds.UnionDataset(_BODIES, parts) if parts else _BODIES.empty_table()  # type: ignore[call-arg]


def _fetch(found: duckdb.DuckDBPyRelation) -> pl.DataFrame:
    """A result; what only DuckDB knows (intervals, unions, times after the year 9999, …) as DuckDB's own text."""
    are_text = [needs_text(kind) for kind in found.types]
    frame: pl.DataFrame = _with_text(found, are_text).pl()
    are_beyond = [_is_beyond_calendar(column) for column in frame]
    if any(are_beyond):
        frame = _with_text(found, [old or new for old, new in zip(are_text, are_beyond, strict=True)]).pl()
    return frame


def _with_text(found: duckdb.DuckDBPyRelation, are_text: Sequence[bool]) -> duckdb.DuckDBPyRelation:
    """The same result, some columns cast to text."""
    return with_shown(found, ["CAST({} AS VARCHAR)" if is_text else "{}" for is_text in are_text])


def with_shown(found: duckdb.DuckDBPyRelation, shown_as: Sequence[str]) -> duckdb.DuckDBPyRelation:
    """The same result, each column as an expression of it, in which {} stands for the column."""
    if all(each == "{}" for each in shown_as):
        return found
    places = [f"c{place}" for place in range(len(shown_as))]
    shown = [
        f"{each.format(place)} AS {_quoted(name)}"
        for place, name, each in zip(places, found.columns, shown_as, strict=True)
    ]
    changed = found.query("found", f"SELECT {', '.join(shown)} FROM found AS found({', '.join(places)})")
    assert changed is not None, "a SELECT has a result"
    return changed


def needs_text(kind: DuckDBPyType) -> bool:
    """Whether only DuckDB has a word for the values of a kind."""
    if kind.id in _NESTED:
        return any(needs_text(child) for _, child in kind.children if isinstance(child, DuckDBPyType))
    return kind.id in _FOREIGN


def _is_beyond_calendar(column: pl.Series) -> bool:
    """Whether a column has days or times that Python has no word for, `infinity` among them."""
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_unit in _PER_DAY:
        per_day = _PER_DAY[column.dtype.time_unit]
    elif column.dtype == pl.Date:
        per_day = 1
    else:
        return False
    return not column.to_physical().is_between(_FIRST_DAY * per_day, (_LAST_DAY + 1) * per_day, closed="left").all()


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _integers(frame: pl.DataFrame) -> list[pl.Series]:
    """Sums of integers, which DuckDB gives 128 bits, as the 64 bits that they nearly always fit into."""
    wide = [column for column in frame if column.dtype == pl.Decimal(38, 0)]
    narrow = [column.cast(pl.Int64, strict=False) for column in wide]
    return [after for before, after in zip(wide, narrow, strict=True) if after.null_count() == before.null_count()]
