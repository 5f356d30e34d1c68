"""Which turns have vectors of an encoder, which still lack them, and those vectors; read from the packages."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import polars as pl

from storage.kept_rows import KeptVectors
from storage.lake import Lake
from storage.records import DecisionRow, EmbeddingRow, TurnRow, VectorRow, from_arrow
from storage.reviews import REVIEW
from storage.tables import Among
from storage.turn_rows import Floats, find_vectors
from storage.versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class BareTurn:
    """A turn without vectors of some encoder: what of it is to be embedded."""

    sample_id: str
    turn: int
    caption: str
    image_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the finished samples of a version stand: all that duplicates were looked for among.

    `kept` says of each whether it is kept; `flagged` are turns that repeat another sample's; `encoders` are those by
    which their latest decisions were made: one, unless the lake is empty; `decided_at` the versions that made these, as
    far as thresholds did, and not a person.
    """

    kept: dict[str, bool]
    flagged: frozenset[tuple[str, int]]
    encoders: frozenset[str]
    decided_at: frozenset[int]


def bare_turns(lake: Lake, version: Version, encoder: str) -> list[BareTurn]:
    """Turns that an encoder has not seen, by the version that brought them in, sample id and turn."""
    columns = ["sample_id", "turn", "caption", "image_sha256"]
    seen = lake.scan(EmbeddingRow, version, ["sample_id", "turn", "encoder"]).filter(pl.col("encoder") == encoder)
    missing = (
        lake.scan(TurnRow, version, columns)
        .join(seen, on=["sample_id", "turn"], how="anti")
        .sort("version", "sample_id", "turn")
        .select(columns)
        .collect()
    )
    return [BareTurn(**row) for row in missing.iter_rows(named=True)]


def read_standing(lake: Lake, version: Version) -> Standing:
    """Kept samples, and those that repeat others; rejected, failed and open ones are not among them."""
    columns = ["sample_id", "turn", "kind", "outcome", "encoder"]
    by_rule = pl.col("version").filter(pl.col("kind") != REVIEW).max().over("sample_id", "turn")
    latest = (
        lake.scan(DecisionRow, version, columns)
        .sort("version", maintain_order=True)
        .with_columns(encoder=pl.col("encoder").forward_fill().over("sample_id"), by_rule=by_rule)
        .unique(["sample_id", "turn"], keep="last", maintain_order=True)
        .collect()
    )
    whole = latest.filter(pl.col("turn").is_null() & pl.col("outcome").is_in(["kept", "duplicate"]))
    turns = latest.filter(pl.col("turn").is_not_null() & (pl.col("outcome") == "duplicate"))
    return Standing(
        kept={row["sample_id"]: row["outcome"] == "kept" for row in whole.iter_rows(named=True)},
        flagged=frozenset(turns.select("sample_id", "turn").iter_rows()),
        encoders=frozenset(whole["encoder"].drop_nulls()),
        decided_at=frozenset(whole["by_rule"].drop_nulls()),
    )


def embedded_turns(lake: Lake, version: Version, encoder: str, sample_ids: Collection[str]) -> Iterator[KeptVectors]:
    """The vectors of some samples' turns by one encoder, by the version that completed the sample, sample id and turn.

    LakeDamaged when a vector is nowhere, ValueError when it is no unit vector.
    """
    wanted = pl.col("sample_id").is_in(list(sample_ids))
    completed = lake.scan(TurnRow, version, ["sample_id"]).filter(wanted).group_by("sample_id").agg(pl.max("version"))
    rows = lake.scan(EmbeddingRow, version).filter(wanted & (pl.col("encoder") == encoder)).drop("version")
    frame = rows.join(completed, on="sample_id").sort("version", "sample_id", "turn").collect()
    named = list(from_arrow(EmbeddingRow, frame.to_arrow()))
    vectors = find_vectors(lake, version, named)
    for row, number in zip(named, frame["version"].to_list(), strict=True):
        yield KeptVectors(
            sample_id=row.sample_id,
            turn=row.turn,
            version=number,
            encoder=encoder,
            image=vectors[row.image_vector_sha256, encoder],
            text=vectors[row.text_vector_sha256, encoder],
        )


def all_vectors(lake: Lake, version: Version, encoder: str) -> Iterator[tuple[list[str], Floats]]:
    """Every vector of an encoder, some at a time: their hashes, and float32 of shape (vectors, dims), as recorded.

    For those who go through all of them; `find_vectors` looks up a few, and checks them.
    """
    for holding in lake.holdings_of(VectorRow, version):
        table = holding.read(VectorRow.table, ("vector_sha256", "vector"), Among(column="encoder", values={encoder}))
        for batch in table.to_batches() if table is not None else ():
            if len(batch):
                data = b"".join(cast("list[bytes]", batch["vector"].to_pylist()))
                rows = np.frombuffer(data, dtype="<f4").astype(np.float32).reshape(len(batch), -1)
                yield cast("list[str]", batch["vector_sha256"].to_pylist()), rows
