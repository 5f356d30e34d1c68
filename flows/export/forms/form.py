"""What all forms have in common."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from flows.export.choosing import Shard
from flows.export.reading import ExportSample


class Form(Protocol):
    """Writes shards."""

    def write(self, folder: Path, shard: Shard, samples: Iterator[ExportSample]) -> None:
        """Write a shard as files below a folder, where nothing else lies; goes through the samples once."""
        ...


def picture_name(shard: Shard, image_sha256: str, suffix: str) -> str:
    """Where a picture lies in an export with pictures as files, relative to its folder."""
    return f"images/{shard.split}-{shard.number:05d}/{image_sha256}.{suffix}"
