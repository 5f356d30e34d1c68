"""Parquet as Hugging Face `datasets` reads it, in two layouts: `messages`, and the columns of the published dataset."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from flows.export.asked import SCORES
from flows.export.choosing import Shard
from flows.export.reading import ExportSample, ExportTurn

GROUP_BYTES = 16 << 20
"""Of pictures in a row group, after which the next one begins: what is held in memory."""
Cell: TypeAlias = Any

_TEXT = {"dtype": "string", "_type": "Value"}
_TRUE = {"dtype": "bool", "_type": "Value"}
_NUMBER = {"dtype": "float64", "_type": "Value"}
_PICTURE = {"_type": "Image"}
_IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
_PART = pa.struct([pa.field("type", pa.string()), pa.field("text", pa.string())])
_MESSAGE = pa.struct([pa.field("role", pa.string()), pa.field("content", pa.list_(_PART))])
_MESSAGE_FEATURE = [{"role": _TEXT, "content": [{"type": _TEXT, "text": _TEXT}]}]
_ABOUT: Mapping[str, tuple[pa.DataType, Cell]] = {
    "id": (pa.string(), _TEXT),
    "topic": (pa.string(), _TEXT),
    "category": (pa.string(), _TEXT),
    "domain": (pa.string(), _TEXT),
}
_PROVENANCE: Mapping[str, tuple[pa.DataType, Cell]] = {
    **{name: (pa.float64(), _NUMBER) for name in SCORES},
    "licences": (pa.string(), _TEXT),
    "image_licences": (pa.list_(pa.string()), {"feature": _TEXT, "_type": "Sequence"}),
    "recipe_id": (pa.string(), _TEXT),
    "ai_generated": (pa.bool_(), _TRUE),
}


class MessagesParquet:
    """A sample a row: `images`, a list, and `messages`, whose image parts stand for them in their order."""

    def __init__(self) -> None:
        pictures = {"feature": _PICTURE, "_type": "Sequence"}
        self._columns: dict[str, tuple[pa.DataType, Cell]] = {
            **_ABOUT,
            "images": (pa.list_(_IMAGE), pictures),
            "messages": (pa.list_(_MESSAGE), _MESSAGE_FEATURE),
            "captions": (pa.list_(pa.string()), {"feature": _TEXT, "_type": "Sequence"}),
            **_PROVENANCE,
        }

    def write(self, folder: Path, shard: Shard, samples: Iterator[ExportSample]) -> None:
        """`data/SPLIT-NUMBER-of-COUNT.parquet`."""
        write_rows(folder, shard, self._columns, samples, self._row)

    def _row(self, sample: ExportSample) -> dict[str, Cell]:
        return {
            **about(sample),
            "images": [picture(turn) for turn in sample.turns],
            "messages": list(chain.from_iterable(map(_messages, sample.turns))),
            "captions": [turn.caption for turn in sample.turns],
            **provenance(sample),
        }


class PublishedParquet:
    """The columns of the published dataset: human, gpt, caption, image; numbered by turn where samples have several.

    `most` is how many turns the longest sample has.
    """

    def __init__(self, most: int) -> None:
        self._ends = [""] if most == 1 else [str(number) for number in range(1, most + 1)]
        self._columns: dict[str, tuple[pa.DataType, Cell]] = {"id": _ABOUT["id"], "topic": _ABOUT["topic"]}
        for end in self._ends:
            self._columns |= {f"{name}{end}": (pa.string(), _TEXT) for name in ("human", "gpt", "caption")}
            self._columns[f"image{end}"] = (_IMAGE, _PICTURE)
        self._columns |= {**{name: _ABOUT[name] for name in ("category", "domain")}, **_PROVENANCE}

    def write(self, folder: Path, shard: Shard, samples: Iterator[ExportSample]) -> None:
        """`data/SPLIT-NUMBER-of-COUNT.parquet`."""
        write_rows(folder, shard, self._columns, samples, self._row)

    def _row(self, sample: ExportSample) -> dict[str, Cell]:
        cells: dict[str, Cell] = dict.fromkeys(self._columns)
        for end, turn in zip(self._ends, sample.turns, strict=False):
            said = {"human": turn.question, "gpt": turn.answer, "caption": turn.caption, "image": picture(turn)}
            cells |= {f"{name}{end}": value for name, value in said.items()}
        return cells | about(sample) | provenance(sample)


def write_rows(
    folder: Path,
    shard: Shard,
    columns: Mapping[str, tuple[pa.DataType, Cell]],
    samples: Iterator[ExportSample],
    row_of: Any,
) -> None:
    """Write rows as one Parquet file that says itself what its columns are."""
    schema = pa.schema([pa.field(name, kind) for name, (kind, _) in columns.items()])
    features = {"info": {"features": {name: feature for name, (_, feature) in columns.items()}}}
    schema = schema.with_metadata({"huggingface": json.dumps(features)})
    path = folder / "data" / f"{shard.name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        for group in groups(samples):
            writer.write_table(pa.Table.from_pylist([row_of(sample) for sample in group], schema=schema))


def groups(samples: Iterator[ExportSample]) -> Iterator[Sequence[ExportSample]]:
    """Samples by some megabytes of pictures at a time."""
    held: list[ExportSample] = []
    size = 0
    for sample in samples:
        held.append(sample)
        size += sum(len(turn.image) for turn in sample.turns)
        if size >= GROUP_BYTES:
            yield held
            held, size = [], 0
    if held:
        yield held


def about(sample: ExportSample) -> dict[str, Cell]:
    """What a sample is about."""
    named = {"topic": sample.topic, "category": sample.category, "domain": sample.domain}
    return {"id": sample.sample_id, **named}


def provenance(sample: ExportSample) -> dict[str, Cell]:
    """Whence a sample is: that models made it, which recipe, under which licences, and what judges say of it."""
    return {
        **sample.scores,
        "licences": json.dumps(dict(sample.licences), sort_keys=True),
        "image_licences": [turn.licence for turn in sample.turns],
        "recipe_id": sample.recipe_id,
        "ai_generated": True,
    }


def picture(turn: ExportTurn) -> dict[str, Cell]:
    """A picture as `datasets` keeps one."""
    return {"bytes": turn.image, "path": f"{turn.image_sha256}.{turn.suffix}"}


def _messages(turn: ExportTurn) -> Iterator[dict[str, Cell]]:
    yield {"role": "user", "content": [{"type": "text", "text": turn.question}]}
    said = [{"type": "text", "text": turn.answer}, {"type": "image", "text": None}]
    yield {"role": "assistant", "content": said}
