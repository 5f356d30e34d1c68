"""JSON lines with pictures as files, as LLaVA's training scripts read them, and as messages of OpenAI's protocol."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flows.export.choosing import Shard
from flows.export.forms.form import picture_name
from flows.export.forms.parquet import about, provenance
from flows.export.reading import ExportSample

Row = dict[str, Any]


class JsonLines:
    """`row_of` makes a row of a sample and the names of its pictures."""

    def __init__(self, row_of: Callable[[ExportSample, list[str]], Row]) -> None:
        self._row_of = row_of

    def write(self, folder: Path, shard: Shard, samples: Iterator[ExportSample]) -> None:
        """`SPLIT-NUMBER-of-COUNT.jsonl` and `images/SPLIT-NUMBER/SHA256.SUFFIX`."""
        with (folder / f"{shard.name}.jsonl").open("w", encoding="utf-8", newline="\n") as lines:
            for sample in samples:
                names = []
                for turn in sample.turns:
                    name = picture_name(shard, turn.image_sha256, turn.suffix)
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / name).write_bytes(turn.image)
                    names.append(name)
                lines.write(json.dumps(self._row_of(sample, names), ensure_ascii=False) + "\n")


def llava_row(sample: ExportSample, names: list[str]) -> Row:
    """`conversations` with `from` and `value`; one `<image>` for each picture, in their order.

    `<image>` in a text would count as one more, so it is written with a space there.
    """
    said = []
    for turn in sample.turns:
        said.append({"from": "human", "value": _plain(turn.question)})
        said.append({"from": "gpt", "value": f"{_plain(turn.answer)}\n<image>"})
    pictures = names[0] if len(names) == 1 else names
    return {**about(sample), "image": pictures, "conversations": said, **_more(sample)}


def openai_row(sample: ExportSample, names: list[str]) -> Row:
    """`messages` with parts; a picture is an `image_url` part of the answer, with its file's name as the address."""
    said: list[Row] = []
    for turn, name in zip(sample.turns, names, strict=True):
        shown = [{"type": "text", "text": turn.answer}, {"type": "image_url", "image_url": {"url": name}}]
        said.append({"role": "user", "content": turn.question})
        said.append({"role": "assistant", "content": shown})
    return {**about(sample), "messages": said, **_more(sample)}


def _plain(text: str) -> str:
    return text.replace("<image>", "< image>")


def _more(sample: ExportSample) -> Row:
    known = {name: value for name, value in provenance(sample).items() if value is not None}
    return {"captions": [turn.caption for turn in sample.turns], **known, "licences": dict(sample.licences)}
