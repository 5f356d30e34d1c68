"""The unflagged turns of a version as rows of the table of turns: their names at once, their vectors when asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import polars as pl
from lancedb.table import LanceTable

from storage.lake import Lake
from storage.turn_rows import Floats
from storage.turns_table import VECTORS, matrix, open_at
from storage.versions import Version

READ_ROWS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptVectors:
    """An unflagged turn's unit vectors, float32, of the encoder's length; `version` completed its sample."""

    sample_id: str
    turn: int
    version: int
    encoder: str
    image: Floats
    text: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeptRows:
    """`names` has sample_id, turn, version and encoder, by version, sample id and turn; a place is a row of it."""

    names: pl.DataFrame
    dims: int
    _table: LanceTable
    _row_ids: pl.Series

    @property
    def encoders(self) -> set[str]:
        """Whose vectors they have."""
        return set(self.names["encoder"].unique().to_list())

    def fetch(self, places: Sequence[int]) -> tuple[Floats, Floats]:
        """Image and text vectors at places, each float32 of shape (places, dims)."""
        row_ids = cast("list[int]", self._row_ids[list(places)].to_list())
        found = self._table.take_row_ids(row_ids).select([*VECTORS]).with_row_id().to_arrow()
        rows = {row_id: row for row, row_id in enumerate(found["_rowid"].to_pylist())}
        order = [rows[row_id] for row_id in row_ids]
        image, text = (matrix(found[name])[order] for name in VECTORS)
        return image, text


def kept_rows(lake: Lake, version: Version) -> KeptRows | None:
    """The rows as a version shows them; None while there are none. NoSuchThing for a version without a tag."""
    table = open_at(lake, version)
    if "image_vector" not in table.schema.names:
        return None
    columns = ["version", "sample_id", "turn", "encoder"]
    found = table.search().where("NOT flagged").select(columns).with_row_id(with_row_id=True).to_arrow()
    frame = cast("pl.DataFrame", pl.from_arrow(found)).sort("version", "sample_id", "turn")
    return KeptRows(
        names=frame.select("sample_id", "turn", "version", "encoder"),
        dims=table.schema.field("image_vector").type.list_size,
        _table=table,
        _row_ids=frame["_rowid"],
    )


def kept_vectors(lake: Lake, version: Version) -> Iterator[KeptVectors]:
    """The vectors of all unflagged turns by version, sample id and turn; pictures are not read."""
    rows = kept_rows(lake, version)
    for first in range(0, rows.names.height if rows else 0, READ_ROWS):
        assert rows
        names = rows.names[first : first + READ_ROWS]
        vectors = rows.fetch(range(first, first + names.height))
        for name, image, text in zip(names.iter_rows(named=True), *vectors, strict=True):
            yield KeptVectors(**name, image=image, text=text)
