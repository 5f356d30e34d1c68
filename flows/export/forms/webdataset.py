"""WebDataset: tar files in which the members of a sample stand together under its id."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

from flows.export.choosing import Shard
from flows.export.forms.parquet import about, provenance
from flows.export.reading import ExportSample


class WebDatasetTars:
    """`ID.json` with all texts, then `ID.0.png`, `ID.1.png`, …, a picture for each turn."""

    def write(self, folder: Path, shard: Shard, samples: Iterator[ExportSample]) -> None:
        """`SPLIT-NUMBER-of-COUNT.tar`; owners and times are all the same, so that bytes are."""
        with tarfile.open(folder / f"{shard.name}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for sample in samples:
                _add(tar, f"{sample.sample_id}.json", _text_of(sample))
                for place, turn in enumerate(sample.turns):
                    _add(tar, f"{sample.sample_id}.{place}.{turn.suffix}", turn.image)


def _text_of(sample: ExportSample) -> bytes:
    turns = [
        {
            "question": turn.question,
            "answer": turn.answer,
            "caption": turn.caption,
            "image": f"{place}.{turn.suffix}",
            "image_sha256": turn.image_sha256,
        }
        for place, turn in enumerate(sample.turns)
    ]
    told = {**about(sample), "turns": turns, **provenance(sample), "licences": dict(sample.licences)}
    return json.dumps(told, ensure_ascii=False).encode()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))
