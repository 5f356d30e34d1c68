"""What a lake weighs, part by part, and for each sample. Follows no link twice."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.lake import Lake
from storage.records import SampleRow
from storage.versions import Version

PARTS = ("packages", "compact", "versions", "lance", "history", "runs", "aside")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Bytes on the disk by part; pictures that a compact folder shares with packages count among the packages."""

    samples: int
    packages: int
    compact: int
    versions: int
    lance: int
    history: int
    runs: int
    aside: int

    @property
    def total(self) -> int:
        return sum(getattr(self, part) for part in PARTS)

    def table(self) -> list[dict[str, str | int | None]]:
        """A row a part: bytes, and bytes for each sample that was made, kept or not; None while there is none."""
        rows = [(part, getattr(self, part)) for part in PARTS] + [("total", self.total)]
        each = self.samples or None
        return [{"part": part, "bytes": size, "bytes_per_sample": each and round(size / each)} for part, size in rows]


def measure(lake: Lake, version: Version) -> Sizes:
    """Weigh a lake; files that go away meanwhile weigh nothing."""
    seen: set[tuple[int, int]] = set()
    weights = {part: sum(_weights(_place(lake, part), seen)) for part in PARTS}
    return Sizes(samples=lake.scan(SampleRow, version, ["sample_id"]).collect().height, **weights)


def _place(lake: Lake, part: str) -> Path:
    return lake.path / ("history.duckdb" if part == "history" else part)


def _weights(place: Path, seen: set[tuple[int, int]]) -> Iterator[int]:
    paths = [place] if place.is_file() else [Path(root, name) for root, _, names in os.walk(place) for name in names]
    for path in paths:
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            yield status.st_blocks * 512
