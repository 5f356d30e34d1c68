"""What belongs into the table `turns`, gathered from the packages: which samples are kept, their texts, bytes, vectors.

Knows nothing of LanceDB beyond the column type of a picture.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeVar

import lancedb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from storage.errors import LakeDamaged
from storage.lake import Lake, Place
from storage.records import (
    DecisionRow,
    EmbeddingRow,
    Row,
    SampleRow,
    TopicRow,
    TurnRow,
    VectorRow,
    from_arrow,
)
from storage.tables import Among, Holding
from storage.versions import Version

NORM_TOLERANCE = 1e-3
FEW = 4096
"""Vectors that are looked for by name in each package; where more are wanted, all that it has are gone through."""

R = TypeVar("R", bound=Row)
Floats = npt.NDArray[np.float32]

_COLUMNS: "list[pa.Field[Any]]" = [
    pa.field("sample_id", pa.string(), nullable=False),
    pa.field("turn", pa.int64(), nullable=False),
    pa.field("topic_id", pa.string(), nullable=False),
    pa.field("topic", pa.string(), nullable=False),
    pa.field("category", pa.string(), nullable=False),
    pa.field("domain", pa.string(), nullable=False),
    pa.field("question", pa.string(), nullable=False),
    pa.field("answer", pa.string(), nullable=False),
    pa.field("caption", pa.string(), nullable=False),
    pa.field("image_sha256", pa.string(), nullable=False),
    lancedb.blob("image"),
    pa.field("encoder", pa.string(), nullable=False),
    pa.field("flagged", pa.bool_(), nullable=False),
    pa.field("licence", pa.string(), nullable=False),
    pa.field("version", pa.int64(), nullable=False),
]
SCHEMA = pa.schema(_COLUMNS)
"""The columns of an empty table; `image_vector` and `text_vector` join them once their length is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleState:
    """Where a sample stands in a version: whether it is kept, which of its turns repeat another sample's, and by whose
    vectors that was last decided."""

    kept: bool
    flagged: frozenset[int]
    encoder: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTurn:
    """A turn as the table shows it, without its bytes; `version` is the one that completed its sample."""

    row: TurnRow
    vectors: EmbeddingRow
    topic: TopicRow
    flagged: bool
    version: int


def decided_samples(lake: Lake, version: Version) -> dict[str, SampleState]:
    """The samples that this very version decides about, and where they stand in it."""
    added = version.since(version.number - 1)
    sample_ids = _column(lake, DecisionRow, added, "sample_id")
    if not sample_ids:
        return {}
    is_first = sample_ids <= made_in(lake, version)
    decisions = _rows_of(lake, DecisionRow, added if is_first else version, sample_ids)
    latest: dict[str, dict[int | None, str]] = {sample_id: {} for sample_id in sample_ids}
    encoders: dict[str, str] = {}
    for row, _ in decisions:
        latest[row.sample_id][row.turn] = row.outcome
        if row.encoder is not None:
            encoders[row.sample_id] = row.encoder
    return {sample_id: _state(latest[sample_id], encoders.get(sample_id)) for sample_id in sorted(latest)}


def made_in(lake: Lake, version: Version) -> set[str]:
    """The samples that this very version brought in: it is the first to decide about them."""
    return _column(lake, SampleRow, version.since(version.number - 1), "sample_id")


def _state(outcomes: Mapping[int | None, str], encoder: str | None) -> SampleState:
    flagged = frozenset(turn for turn, outcome in outcomes.items() if turn is not None and outcome == "duplicate")
    return SampleState(kept=outcomes.get(None) == "kept", flagged=flagged, encoder=encoder)


def shown_turns(lake: Lake, version: Version, states: Mapping[str, SampleState]) -> list[ShownTurn]:
    """The turns of samples by sample id and turn; LakeDamaged for a sample or topic without a row."""
    added = version.since(version.number - 1)
    wanted = set(states)
    source = added if wanted <= made_in(lake, version) else version
    samples = {row.sample_id: row for row, _ in _rows_of(lake, SampleRow, source, wanted)}
    turns = {(row.sample_id, row.turn): (row, number) for row, number in _rows_of(lake, TurnRow, source, wanted)}
    vectors = {
        (row.sample_id, row.turn): row
        for row, _ in _rows_of(lake, EmbeddingRow, source, wanted)
        if row.encoder == states[row.sample_id].encoder
    }
    completed: dict[str, int] = {}
    for row, number in turns.values():
        completed[row.sample_id] = max(number, completed.get(row.sample_id, 0))
    _refuse_missing("sample", wanted - set(samples))
    topics = _topics(lake, version, {row.topic_id for row in samples.values()})
    _refuse_missing("vectors of a turn of sample", {sample_id for sample_id, _ in turns.keys() - vectors.keys()})
    return [
        ShownTurn(
            row=row,
            vectors=vectors[sample_id, turn],
            topic=topics[samples[sample_id].topic_id],
            flagged=turn in states[sample_id].flagged,
            version=completed[sample_id],
        )
        for (sample_id, turn), (row, _) in sorted(turns.items())
    ]


def _topics(lake: Lake, version: Version, topic_ids: Set[str]) -> dict[str, TopicRow]:
    """Topics by id; the first row of an id holds."""
    topics: dict[str, TopicRow] = {}
    for row in lake.rows(TopicRow, version, Among(column="topic_id", values=topic_ids)):
        topics.setdefault(row.topic_id, row)
    _refuse_missing("topic", topic_ids - topics.keys())
    return topics


def _rows_of(lake: Lake, kind: type[R], version: Version, sample_ids: Collection[str]) -> list[tuple[R, int]]:
    """Rows of some samples in commit order, each with the version that brought it in."""
    frame = lake.scan(kind, version, among=Among(column="sample_id", values=sample_ids)).collect()
    return list(zip(from_arrow(kind, frame.to_arrow()), frame["version"].to_list(), strict=True))


def _column(lake: Lake, kind: type[Row], version: Version, name: str) -> set[str]:
    return set(lake.scan(kind, version, [name]).collect()[name].to_list())


def _refuse_missing(what: str, ids: Collection[str]) -> None:
    if ids:
        raise LakeDamaged(f"no package has {what} {min(ids)}; put the lake back from a copy")


def find_pictures(lake: Lake, version: Version, sha256s: Set[str]) -> dict[str, Place]:
    """Where pictures lie, the newest package first; LakeDamaged when one is nowhere."""
    found: dict[str, Place] = {}
    if sha256s:
        for place in lake.find_pictures(version, sha256s):
            found.setdefault(place.image.image_sha256, place)
            if len(found) == len(sha256s):
                break
    _refuse_missing("picture", sha256s - found.keys())
    return found


def find_vectors(lake: Lake, version: Version, named: Iterable[EmbeddingRow]) -> dict[tuple[str, str], Floats]:
    """Checked vectors by hash and encoder; LakeDamaged when one is nowhere, ValueError when it is no unit vector."""
    missing = {(sha256, row.encoder) for row in named for sha256 in (row.image_vector_sha256, row.text_vector_sha256)}
    found: dict[tuple[str, str], Floats] = {}
    for holding in lake.holdings_of(VectorRow, version, newest_first=True):
        if not missing:
            break
        for row in _vector_rows(holding, missing):
            if (row.vector_sha256, row.encoder) in missing:
                found[row.vector_sha256, row.encoder] = checked_vector(row)
                missing.discard((row.vector_sha256, row.encoder))
    _refuse_missing("vector", {sha256 for sha256, _ in missing})
    return found


def _vector_rows(holding: Holding, wanted: Set[tuple[str, str]]) -> Iterator[VectorRow]:
    """The vectors of a holding, some of which are wanted; those alone while they are few."""
    few = Among(column="vector_sha256", values={sha256 for sha256, _ in wanted}) if len(wanted) <= FEW else None
    table = holding.read(VectorRow.table, VectorRow.columns(), few)
    for batch in table.to_batches(max_chunksize=FEW) if table is not None else ():
        yield from from_arrow(VectorRow, pa.Table.from_batches([batch]))


def checked_vector(row: VectorRow) -> Floats:
    """A row's vector, float32 of shape (dims,); ValueError unless it is finite and of unit norm."""
    vector = np.frombuffer(row.vector, dtype="<f4").astype(np.float32)
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    if len(vector) != row.dims or not abs(norm - 1.0) <= NORM_TOLERANCE:
        raise ValueError(
            f"vector {row.vector_sha256[:12]} of encoder {row.encoder} has {len(vector)} numbers ({row.dims} expected)"
            f" and length {norm:.4g}; it must be finite and of length 1"
        )
    return vector


def arrow_table(
    turns: Sequence[ShownTurn], places: Mapping[str, Place], vectors: Mapping[tuple[str, str], Floats]
) -> pa.Table:
    """The turns with pictures and vectors; ValueError when the vectors have different lengths."""
    rows = [turn.row for turn in turns]
    columns: dict[str, pa.Array[Any]] = {
        name: pa.array([getattr(row, name) for row in rows], SCHEMA.field(name).type)
        for name in SCHEMA.names
        if name in TurnRow.columns()
    }
    columns["topic_id"] = pa.array([turn.topic.topic_id for turn in turns])
    columns["topic"] = pa.array([turn.topic.name for turn in turns])
    columns["category"] = pa.array([turn.topic.category for turn in turns])
    columns["domain"] = pa.array([turn.topic.domain for turn in turns])
    columns["flagged"] = pa.array([turn.flagged for turn in turns])
    columns["version"] = pa.array([turn.version for turn in turns], pa.int64())
    columns["image"] = pa.array([places[row.image_sha256].read() for row in rows], pa.large_binary())
    named = [turn.vectors for turn in turns]
    columns["encoder"] = pa.array([row.encoder for row in named])
    columns["image_vector"] = _vector_array([vectors[row.image_vector_sha256, row.encoder] for row in named])
    columns["text_vector"] = _vector_array([vectors[row.text_vector_sha256, row.encoder] for row in named])
    return pa.table({name: columns[name] for name in (*SCHEMA.names, "image_vector", "text_vector")})


def _vector_array(vectors: Sequence[Floats]) -> "pa.Array[Any]":
    lengths = {len(vector) for vector in vectors}
    if len(lengths) != 1:
        raise ValueError(f"vectors of one table must have one length, not {sorted(lengths)}")
    return pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(vectors)), lengths.pop())
