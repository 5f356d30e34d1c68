"""The LanceDB table `sketches`: what was reckoned once of the vectors of kept turns, in pieces with a hash each.

A cache, and no more: any part that is missing, torn or altered counts as not there, and whoever needs it reckons it
anew from the vectors. Knows nothing of what a sketch is.
"""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lancedb
import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from storage.canonical import canonical_bytes
from storage.lake import Lake
from storage.projection import SKETCHES, lance_folder

PIECE_ROWS = 1 << 14

_TEXT, _BYTES = pa.string(), pa.large_binary()
_COLUMNS: dict[str, pa.DataType] = {
    "encoder": _TEXT,
    "kind": _TEXT,
    "basis": _BYTES,
    "sample_id": pa.list_(_TEXT),
    "turn": pa.list_(pa.int64()),
    "sketches": _BYTES,
    "sha256": _TEXT,
}
_SCHEMA = pa.schema([pa.field(name, kind, nullable=False) for name, kind in _COLUMNS.items()])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredSketches:
    """Sketches by one basis: `keys` (sample_id, turn) name the rows of `packed`, uint8 of shape (rows, any)."""

    basis: bytes
    keys: pl.DataFrame
    packed: NDArray[np.uint8]


def read_sketches(lake: Lake, encoder: str, kind: str) -> StoredSketches | None:
    """What is stored of an encoder's vectors of one kind, by the basis that was stored last; None for nothing."""
    pieces = [piece for piece in _read_pieces(lake) or () if (piece["encoder"], piece["kind"]) == (encoder, kind)]
    if not pieces:
        return None
    basis = pieces[-1]["basis"]
    ours = [piece for piece in pieces if piece["basis"] == basis]
    keys = [pl.DataFrame({name: piece[name] for name in ("sample_id", "turn")}) for piece in ours]
    packed = [np.frombuffer(piece["sketches"], np.uint8).reshape(len(piece["turn"]), -1) for piece in ours]
    return StoredSketches(basis=basis, keys=pl.concat(keys), packed=np.concatenate(packed))


def store_sketches(lake: Lake, encoder: str, kind: str, new: StoredSketches) -> None:
    """Add sketches; those of the same vectors by another basis go, since no two are ever compared."""
    rows = [
        _sealed(
            {
                "encoder": encoder,
                "kind": kind,
                "basis": new.basis,
                "sample_id": new.keys["sample_id"][first : first + PIECE_ROWS].to_list(),
                "turn": new.keys["turn"][first : first + PIECE_ROWS].to_list(),
                "sketches": new.packed[first : first + PIECE_ROWS].tobytes(),
            }
        )
        for first in range(0, new.keys.height, PIECE_ROWS)
    ]
    there = _read_pieces(lake)
    kept = [row for row in there or () if not _is_of_another_basis(row, rows[:1])]
    connection = lancedb.connect(str(lance_folder(lake)))
    if there is not None and len(kept) == len(there):
        connection.open_table(SKETCHES).add(pa.Table.from_pylist(rows, schema=_SCHEMA))
    else:
        if there is None:
            shutil.rmtree(lance_folder(lake) / f"{SKETCHES}.lance", ignore_errors=True)
        whole = pa.Table.from_pylist([*kept, *rows], schema=_SCHEMA)
        connection.create_table(SKETCHES, whole, mode="create" if there is None else "overwrite")


def _is_of_another_basis(row: dict[str, Any], new: Sequence[dict[str, Any]]) -> bool:
    return any(
        (row["encoder"], row["kind"]) == (each["encoder"], each["kind"]) and row["basis"] != each["basis"]
        for each in new
    )


def _read_pieces(lake: Lake) -> list[dict[str, Any]] | None:
    """Every piece that is as it was written, in that order; None when there is no table, or none that can be read."""
    try:
        rows = lancedb.connect(str(lance_folder(lake))).open_table(SKETCHES).to_arrow().to_pylist()
    except (OSError, RuntimeError, ValueError):
        return None
    return [row for row in rows if row == _sealed({name: value for name, value in row.items() if name != "sha256"})]


def _sealed(row: dict[str, Any]) -> dict[str, Any]:
    digest = hashlib.sha256(canonical_bytes([row["encoder"], row["kind"], row["sample_id"], row["turn"]]))
    digest.update(row["basis"] + row["sketches"])
    return {**row, "sha256": digest.hexdigest()}
