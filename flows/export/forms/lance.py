"""Lance: a table a split, a turn a row, as LanceDB opens it. Lance names its files by lot: their bytes differ."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from flows.export.asked import SCORES
from flows.export.choosing import Shard
from flows.export.forms.parquet import about, groups, provenance
from flows.export.reading import ExportSample

_TEXTS = ("id", "topic", "category", "domain", "question", "answer", "caption", "image_sha256", "licences")
_COLUMNS: dict[str, pa.DataType] = {
    **dict.fromkeys(_TEXTS, pa.string()),
    "image_licence": pa.string(),
    "recipe_id": pa.string(),
    "turn": pa.int64(),
    "image": pa.large_binary(),
    **dict.fromkeys(SCORES, pa.float64()),
    "ai_generated": pa.bool_(),
}
SCHEMA = pa.schema(_COLUMNS)


class LanceTables:
    """`SPLIT.lance` in the folder, each shard of it added as some fragments."""

    def write(self, folder: Path, shard: Shard, samples: Iterator[ExportSample]) -> None:
        """A table with the rows of all shards of a split: see `flows.export.exporting`, which makes them one shard."""
        # LanceDB takes seconds to import: other forms do without.
        import lancedb  # noqa: PLC0415

        batches = (
            pa.RecordBatch.from_pylist([row for sample in group for row in _rows(sample)], schema=SCHEMA)
            for group in groups(samples)
        )
        reader = pa.RecordBatchReader.from_batches(SCHEMA, batches)
        lancedb.connect(str(folder)).create_table(shard.split, reader)


def _rows(sample: ExportSample) -> Iterator[dict[str, Any]]:
    known = {name: value for name, value in provenance(sample).items() if name != "image_licences"}
    for turn in sample.turns:
        yield {
            **about(sample),
            "turn": turn.number,
            "question": turn.question,
            "answer": turn.answer,
            "caption": turn.caption,
            "image_sha256": turn.image_sha256,
            "image": turn.image,
            "image_licence": turn.licence,
            **known,
        }
