"""How much the turns of a dialogue repeat each other: two tables of the history, reckoned from texts and vectors.

`dialogue_similarity` has a row for each pair of turns of a sample and each encoder that saw both: cosines of the
pictures' and of the captions' vectors, and how many words questions and answers share. `redundancy` has a row for each
turn but the first: the largest of each, and the earlier turn that it is with. Nothing of it is in the packages: it
follows from what is, so that lakes of any age have it, and a move to another encoder adds rows of its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage.lake import Lake
from storage.records import VectorRow
from storage.tables import Among
from storage.versions import Version
from storage.wording import shared_words

Floats: TypeAlias = NDArray[np.float32]

SIMILARITIES = ("image", "caption", "question", "answer")

COLUMNS = {
    "dialogue_similarity": f"""
        sample_id VARCHAR, turn BIGINT, earlier_turn BIGINT, encoder VARCHAR,
        {", ".join(f"{name}_similarity DOUBLE" for name in SIMILARITIES)}, version BIGINT""",
    "redundancy": f"""
        sample_id VARCHAR, turn BIGINT, encoder VARCHAR,
        {", ".join(f"{name}_similarity DOUBLE, {name}_turn BIGINT" for name in SIMILARITIES)}, version BIGINT""",
}
"""The tables; `version` is the one that brought in the vectors of the later turn."""

MEASURE = "exact cosines, wording 1"
"""Part of the history's fingerprint: change it with whatever changes a number here, and every file is made anew."""

PAIRS = """
SELECT later.sample_id, later.turn, earlier.turn AS earlier_turn, later.encoder, later.version,
    earlier.version AS earlier_version, later.image_vector_sha256, earlier.image_vector_sha256,
    later.text_vector_sha256, earlier.text_vector_sha256, says.question, said.question, says.answer, said.answer
FROM main.embeddings later
JOIN main.embeddings earlier ON earlier.sample_id = later.sample_id AND earlier.encoder = later.encoder
    AND earlier.turn < later.turn AND earlier.version <= later.version
JOIN main.turns says ON says.sample_id = later.sample_id AND says.turn = later.turn
JOIN main.turns said ON said.sample_id = earlier.sample_id AND said.turn = earlier.turn
WHERE later.version BETWEEN {first} AND {last}
ORDER BY later.version, later.sample_id, later.encoder, later.turn, earlier.turn
"""


def _largest(name: str) -> str:
    """The largest similarity of a kind, and the first of the turns that it is with."""
    value = f"{name}_similarity"
    known = f"FILTER ({value} IS NOT NULL)"
    return f"max({value}) AS {value}, arg_max(earlier_turn, ({value}, -earlier_turn)) {known} AS {name}_turn"


TURNS = f"""
INSERT INTO redundancy
SELECT sample_id, turn, encoder, {", ".join(map(_largest, SIMILARITIES))}, version
FROM main.dialogue_similarity WHERE version BETWEEN {{first}} AND {{last}}
GROUP BY sample_id, turn, encoder, version ORDER BY version, sample_id, encoder, turn
"""

_PAIR_COLUMNS: "list[pa.Field[Any]]" = [
    pa.field("sample_id", pa.string()),
    pa.field("turn", pa.int64()),
    pa.field("earlier_turn", pa.int64()),
    pa.field("encoder", pa.string()),
    *(pa.field(f"{name}_similarity", pa.float64()) for name in SIMILARITIES),
    pa.field("version", pa.int64()),
]


@dataclass(frozen=True, slots=True)
class Known:
    """A vector, float32 of shape (dims,), and its squared length."""

    vector: Floats
    square: float

    @classmethod
    def of(cls, data: bytes) -> "Known":
        """A vector as it lies in a package: little-endian float32."""
        vector = np.frombuffer(data, dtype="<f4").astype(np.float32)
        return cls(vector, _dot(vector, vector))


def append_redundancy(
    connection: duckdb.DuckDBPyConnection, lake: Lake, version: Version, *, first: int, last: int
) -> None:
    """Add the rows of the versions `first` to `last`, whose turns and embeddings the history has already.

    A similarity is null where a vector is missing or none of unit length, which `fsck` names. LakeDamaged when a
    package cannot be read.
    """
    pairs = connection.execute(PAIRS.format(first=first, last=last)).fetchall()
    if not pairs:
        return
    vectors = _read_vectors(lake, version, pairs)
    rows = [_measure(pair, vectors) for pair in pairs]
    names = [column.name for column in _PAIR_COLUMNS]
    columns = {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    connection.register("pairs", pa.Table.from_pydict(columns, schema=pa.schema(_PAIR_COLUMNS)))
    connection.execute("INSERT INTO dialogue_similarity SELECT * FROM pairs")
    connection.unregister("pairs")
    connection.execute(TURNS.format(first=first, last=last))


def _measure(pair: tuple[Any, ...], vectors: dict[tuple[str, str], Known]) -> tuple[Any, ...]:
    sample_id, turn, earlier_turn, encoder, version, _, image, image_2, text, text_2, *texts = pair
    question, question_2, answer, answer_2 = texts
    return (
        sample_id,
        turn,
        earlier_turn,
        encoder,
        cosine(vectors.get((image, encoder)), vectors.get((image_2, encoder))),
        cosine(vectors.get((text, encoder)), vectors.get((text_2, encoder))),
        shared_words(question, question_2),
        shared_words(answer, answer_2),
        version,
    )


def _read_vectors(lake: Lake, version: Version, pairs: Sequence[tuple[Any, ...]]) -> dict[tuple[str, str], Known]:
    """The vectors of some pairs, read from the packages of the versions that name them: there they lie."""
    numbers = {number for pair in pairs for number in pair[4:6]}
    wanted = {sha256 for pair in pairs for sha256 in pair[6:10]}
    named = replace(version, packages=tuple(entry for entry in version.packages if entry.version in numbers))
    found: dict[tuple[str, str], Known] = {}
    columns = ["vector_sha256", "encoder", "vector"]
    for holding in lake.holdings_of(VectorRow, named):
        table = holding.read(VectorRow.table, columns, Among(column="vector_sha256", values=wanted))
        for row in table.select(columns).to_pylist() if table is not None else ():
            found[row["vector_sha256"], row["encoder"]] = Known.of(row["vector"])
    return found


def cosine(one: Known | None, other: Known | None) -> float | None:
    """The cosine to the last bit as `dedup.similarity` has it: exact sums, rounded once, on every machine the same."""
    if one is None or other is None or len(one.vector) != len(other.vector):
        return None
    length = math.sqrt(one.square * other.square)
    if not 0.0 < length < math.inf:
        return None
    return max(-1.0, min(1.0, _dot(one.vector, other.vector) / length))


def _dot(a: Floats, b: Floats) -> float:
    """The scalar product, exact but for one final rounding; NaN where a number is none."""
    products: list[float] = np.multiply(a, b, dtype=np.float64).tolist()
    try:
        return math.fsum(products)
    except (ValueError, OverflowError):  # infinities of both signs
        return math.nan
