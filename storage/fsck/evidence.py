"""What lies in a lake about its versions beside the chain itself: packages by name, what the projections remember.

None of it is trusted: a version is made anew from it only when the chain's hashes add up.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from storage.canonical import Json
from storage.errors import LakeDamaged
from storage.history import open_published
from storage.lake import Lake
from storage.packages import MANIFEST, read_manifest, unseal
from storage.projection import lance_folder, table_folder, tag_of
from storage.tables import COMPACT
from storage.turns_table import CHAIN_FILE
from storage.versions import PackageEntry

_SAY_RUN = ("run_starts", "samples", "calls", "run_ends")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What the history knows of a version."""

    sha256: str
    created_at: datetime
    run_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Packages by the version in their names, and what the history and the table's chain file say of versions."""

    lake: Lake
    packages: dict[int, list[PackageEntry]] = field(default_factory=dict)
    remembered: dict[int, Remembered] = field(default_factory=dict)
    shown: tuple[int, str] | None = None

    @property
    def newest(self) -> int:
        """The highest version number that a projection remembers."""
        return max([*self.remembered, self.shown[0] if self.shown else 0], default=0)

    def hashes(self, number: int) -> set[str]:
        """What a version's sha256 is said to be."""
        said = {self.remembered[number].sha256} if number in self.remembered else set()
        return said | ({self.shown[1]} if self.shown and self.shown[0] == number else set())

    def created_at(self, number: int) -> datetime:
        """When a version was committed, as well as anybody knows: its tag came some milliseconds later."""
        if number in self.remembered:
            return self.remembered[number].created_at
        tag = table_folder(self.lake) / "_refs" / "tags" / f"{tag_of(number)}.json"
        try:
            return datetime.fromisoformat(json.loads(tag.read_bytes())["createdAt"]).astimezone(UTC)
        except (OSError, ValueError, KeyError, TypeError):
            return datetime.now(UTC)

    def run_id(self, number: int, entries: tuple[PackageEntry, ...]) -> str | None:
        """The run that committed a version."""
        if number in self.remembered:
            return self.remembered[number].run_id
        return next(self._runs_named(entries), None)

    def _runs_named(self, entries: tuple[PackageEntry, ...]) -> Iterator[str]:
        for table in _SAY_RUN:
            for entry in entries:
                try:
                    rows = pq.read_table(self.lake.folder(entry) / f"{table}.parquet", columns=["run_id"])
                except (OSError, pa.ArrowException):
                    continue
                yield from cast("list[str]", rows["run_id"].to_pylist()[:1])


def gather(lake: Lake) -> Evidence:
    """Read all evidence that can be read."""
    return Evidence(
        lake=lake, packages=_read_packages(lake), remembered=_read_history(lake), shown=read_chain_file(lake)
    )


def _read_packages(lake: Lake) -> dict[int, list[PackageEntry]]:
    found: dict[str, PackageEntry] = {entry.name: entry for entry in _covered(lake)}
    for folder in sorted(lake.packages.glob("[0-9]*-*")):
        number = folder.name.partition("-")[0]
        try:
            manifest = read_manifest(folder)
        except LakeDamaged:
            continue
        found[folder.name] = PackageEntry(
            version=int(number) if number.isdecimal() else 0,
            kind=manifest.kind,
            name=folder.name,
            content_sha256=manifest.content_sha256,
            tables=frozenset(manifest.tables),
        )
    by_version: dict[int, list[PackageEntry]] = {}
    for entry in found.values():
        by_version.setdefault(entry.version, []).append(entry)
    return by_version


def _covered(lake: Lake) -> Iterator[PackageEntry]:
    """Packages that compact folders hold."""
    for manifest in sorted((lake.path / COMPACT).glob(f"[0-9]*/{MANIFEST}")):
        try:
            covers = cast("list[dict[str, Json]]", unseal(manifest, "covers")["covers"])
            yield from [PackageEntry.of(value) for value in covers]
        except (LakeDamaged, KeyError, TypeError, AttributeError):
            continue


def _read_history(lake: Lake) -> dict[int, Remembered]:
    try:
        with closing(open_published(lake)) as connection:
            rows = connection.execute("SELECT version, sha256, created_at, run_id FROM versions").fetchall()
    except (duckdb.Error, UnicodeError):
        return {}
    return {
        number: Remembered(sha256=sha256, created_at=created_at.astimezone(UTC), run_id=run_id)
        for number, sha256, created_at, run_id in rows
        if number is not None and sha256 is not None and created_at is not None
    }


def read_chain_file(lake: Lake) -> tuple[int, str] | None:
    """The version that the table of turns was last brought to, and its sha256; None when nothing says it."""
    try:
        body = unseal(lance_folder(lake) / CHAIN_FILE, "number", "sha256")
        return cast("int", body["number"]), str(body["sha256"])
    except LakeDamaged:
        return None
