"""What every row is: typed columns, each content, provenance or a blob; and rows as Arrow. Knows no table of a lake."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

import pyarrow as pa

PROVENANCE = "provenance"
"""Marks a field that says how a row came about and may differ between two equal builds."""
BLOB = "blob"
"""Marks a field of bytes whose sha256 is a content column of the same row."""

_ARROW = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    bytes: pa.large_binary(),
    datetime: pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of one table; `key` names the columns that identify it, in their order."""

    table: ClassVar[str]
    key: ClassVar[tuple[str, ...]]

    @classmethod
    def columns(cls, *, only_content: bool = False) -> tuple[str, ...]:
        if not only_content:
            return tuple(f.name for f in fields(cls))
        hints = get_type_hints(cls, include_extras=True)
        return tuple(f.name for f in fields(cls) if get_origin(hints[f.name]) is not Annotated)

    @classmethod
    def schema(cls) -> pa.Schema:
        """The Arrow schema: optional fields are nullable, text is UTF-8, times are UTC microseconds."""
        hints = get_type_hints(cls)
        return pa.schema([_arrow_field(f.name, hints[f.name]) for f in fields(cls)])

    def content(self, columns: Sequence[str]) -> list[str | int | float | bool | None]:
        return [getattr(self, name) for name in columns]

    def identity(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.key)


def _arrow_field(name: str, hint: Any) -> "pa.Field[Any]":
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
    return pa.field(name, _ARROW[kinds[0]], nullable=type(None) in get_args(hint))


R = TypeVar("R", bound=Row)


def to_arrow(kind: type[R], rows: Sequence[R]) -> pa.Table:
    columns = {name: [getattr(row, name) for row in rows] for name in kind.columns()}
    return pa.Table.from_pydict(columns, schema=kind.schema())


def with_later_columns(kind: type[Row], table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """An Arrow table with columns that came later than it, null in all its rows; KeyError for one that may not be."""
    for name in columns:
        if name not in table.column_names:
            field = kind.schema().field(name)
            if not field.nullable:
                raise KeyError(f"table {kind.table} lacks the column {name}")
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table


def from_arrow(kind: type[R], table: pa.Table) -> Iterator[R]:
    """Rows of an Arrow table that may have other columns than this code knows: more, or fewer that came later."""
    names = list(kind.columns())
    for values in with_later_columns(kind, table, names).select(names).to_pylist():
        yield kind(**values)
