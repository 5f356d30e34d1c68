"""Turns a result of DuckDB into rows, CSV or Parquet, and stops where the limits are. Knows nothing of processes."""

import io
import json
import math
from collections.abc import Iterator
from typing import TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from duckdb.sqltypes import DuckDBPyType

from flows.gallery.sql.asking import Form, Limits, Refused
from storage.query import needs_text, with_shown

AT_ONCE = 512
"""Rows that are fetched at a time."""

_AS_THEY_ARE = frozenset(
    ("boolean", "tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "float", "double")
)
_DEEP = frozenset(("list", "array", "struct", "map", "union", "variant"))

Cut: TypeAlias = str


def render(found: duckdb.DuckDBPyRelation, form: Form, limits: Limits) -> tuple[bytes, int, Cut]:
    """A result in a form, how many rows that has, and what was left out, if anything; Refused for one too large row."""
    shown = with_shown(found, [_native(kind) if form is Form.PARQUET else _flat(kind) for kind in found.types])
    table, cut = _collect(shown.to_arrow_reader(AT_ONCE), limits.rows_of(form), limits.result_mb)
    return WRITERS[form](table), table.num_rows, cut


def _flat(kind: DuckDBPyType) -> str:
    """What a column is shown as where cells are numbers and texts: lists and structs as JSON, bytes as hex digits."""
    if kind.id in _AS_THEY_ARE:
        return "{}"
    if kind.id in _DEEP:
        return "to_json({})::VARCHAR"
    return "lower(hex({}))" if kind.id == "blob" else "CAST({} AS VARCHAR)"


def _native(kind: DuckDBPyType) -> str:
    return "CAST({} AS VARCHAR)" if needs_text(kind) else "{}"


def _collect(reader: pa.RecordBatchReader, rows: int, megabytes: int) -> tuple[pa.Table, Cut]:
    """As much of a result as the limits allow."""
    taken: list[pa.RecordBatch] = []
    cut: Cut = ""
    for batch in _within_rows(reader, rows + 1):
        room = (megabytes << 20) - sum(each.nbytes for each in taken)
        part = _within_bytes(batch, room)
        taken.append(part)
        if part.num_rows < batch.num_rows:
            cut = f", at {megabytes} MB"
            break
    table = pa.Table.from_batches(taken, reader.schema)
    if cut and not table.num_rows:
        raise Refused(f"one row of the result is larger than {megabytes} MB; ask for less of it")
    if table.num_rows > rows:
        table, cut = table.slice(0, rows), " "
    counted = f"{table.num_rows:,} row{'s' * (table.num_rows != 1)}"
    return table, f"cut after {counted}{cut.rstrip()}; there are more" if cut else ""


def _within_rows(reader: pa.RecordBatchReader, rows: int) -> Iterator[pa.RecordBatch]:
    for batch in reader:
        yield batch.slice(0, rows)
        rows -= batch.num_rows
        if rows <= 0:
            return


def _within_bytes(batch: pa.RecordBatch, room: int) -> pa.RecordBatch:
    """The first rows of a batch that fit; about as many as can be, none when not even one does."""
    while batch.num_rows and batch.nbytes > room:
        batch = batch.slice(0, batch.num_rows // 2)
    return batch


def _write_json(table: pa.Table) -> bytes:
    columns = [column.to_pylist() for column in table.columns]
    rows = [[_cell(column[at]) for column in columns] for at in range(table.num_rows)]
    return json.dumps(rows, allow_nan=False).encode()


def _cell(value: object) -> object:
    """NaN, the infinities and numbers that a browser would round are text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return str(value)
    return value


def _write_csv(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pyarrow.csv.write_csv(table, buffer)
    return buffer.getvalue()


def _write_parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table.rename_columns(_distinct(table.column_names)), buffer, compression="zstd")
    return buffer.getvalue()


def _distinct(names: list[str]) -> list[str]:
    """Names as they are, and with a number where one comes again: readers of Parquet want them so."""
    found: list[str] = []
    for name in names:
        new, number = name, 1
        while new in found:
            number += 1
            new = f"{name}_{number}"
        found.append(new)
    return found


WRITERS = {Form.JSON: _write_json, Form.CSV: _write_csv, Form.PARQUET: _write_parquet}
