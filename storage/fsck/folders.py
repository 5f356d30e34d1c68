"""The folders of packages and compact folders, file by file: what is wrong, and what their rows prove nevertheless.

Every file is read and hashed; nothing that another part of the process remembers is trusted.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq

from storage.canonical import Json, content_sha256
from storage.errors import LakeDamaged
from storage.fsck.findings import counted
from storage.packages import (
    IMAGE_PACK,
    MANIFEST,
    Manifest,
    file_sha256,
    read_manifest,
    read_picture,
    table_sha256,
    unseal,
)
from storage.records import TABLES, ImageRow, Row, from_arrow
from storage.tables import PLACE
from storage.versions import PackageEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """A package's folder: what is wrong with its files, which tables it should have, and which can be read.

    `remakes_manifest` says that only the manifest is damaged, and that the tables prove to be those of the version.
    """

    entry: PackageEntry
    folder: Path
    is_there: bool
    wrong: tuple[tuple[Path, str], ...]
    extra: tuple[Path, ...]
    expected: frozenset[str]
    tables: frozenset[str]
    remakes_manifest: bool

    @property
    def is_whole(self) -> bool:
        return self.is_there and not self.wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedCompact:
    """A compact folder: the packages that it covers, and what is wrong with its files.

    `remakes_manifest` says that only the manifest is damaged, and that the rows prove to be those of the packages.
    """

    folder: Path
    covers: tuple[PackageEntry, ...]
    tables: frozenset[str]
    wrong: tuple[tuple[Path, str], ...]
    extra: tuple[Path, ...]
    remakes_manifest: bool

    @property
    def is_whole(self) -> bool:
        return not self.wrong


def inspect(folder: Path, entry: PackageEntry) -> Inspected:
    wrong: list[tuple[Path, str]] = []
    is_there = folder.is_dir()
    manifest = _read_manifest(folder, entry, wrong) if is_there else None
    if not is_there:
        wrong.append((folder, "is missing"))
    files = {path.name: path for path in folder.iterdir()} if is_there else {}
    hashes, good = _table_hashes(folder, files, manifest, wrong)
    agrees = content_sha256(hashes) == entry.content_sha256
    if manifest and not wrong and not agrees:
        wrong.append((folder, "has rows that do not add up to the hash by which its version names it"))
    extra = [path for name, path in files.items() if manifest and name not in manifest.files and name != MANIFEST]
    said = entry.tables if entry.tables is not None else manifest.tables if manifest else hashes if agrees else TABLES
    return Inspected(
        entry=entry,
        folder=folder,
        is_there=is_there,
        wrong=tuple(wrong),
        extra=tuple(sorted(extra)),
        expected=frozenset(said),
        tables=frozenset(good) if manifest or agrees else frozenset(),
        remakes_manifest=manifest is None and agrees and _has_pictures(files),
    )


def _read_manifest(folder: Path, entry: PackageEntry, wrong: list[tuple[Path, str]]) -> Manifest | None:
    path = folder / MANIFEST
    try:
        manifest = read_manifest(folder)
    except LakeDamaged as error:
        wrong.append((path, str(error).removeprefix(f"{path} ").partition("; put it back")[0]))
        return None
    if (manifest.kind, manifest.content_sha256) != (entry.kind, entry.content_sha256):
        wrong.append((path, f"is that of another package than version {entry.version} names"))
    if entry.tables is not None and manifest.tables.keys() != entry.tables:
        wrong.append((path, f"has other tables than version {entry.version} says"))
    return manifest


def _table_hashes(
    folder: Path, files: Iterable[str], manifest: Manifest | None, wrong: list[tuple[Path, str]]
) -> tuple[dict[str, Json], set[str]]:
    """The content hash of each table that can be read, and which of them are the files that the manifest names."""
    hashes: dict[str, Json] = {}
    good: set[str] = set()
    expected = manifest.files if manifest else {name: None for name in files if name.endswith(".parquet")}
    for name, sha256 in expected.items():
        problem = _problem(folder / name, sha256)
        if problem:
            wrong.append((folder / name, problem))
        elif name.endswith(".parquet"):
            _hash_table(folder / name, manifest, hashes, good, wrong)
    return hashes, good


def _problem(path: Path, sha256: str | None) -> str | None:
    """What is wrong with a file that should be there, and have that hash where one is known; None when nothing is."""
    try:
        if not path.is_file():
            return "is missing"
        return None if sha256 in (None, file_sha256(path)) else "is not what the manifest says"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _hash_table(
    path: Path,
    manifest: Manifest | None,
    hashes: dict[str, Json],
    good: set[str],
    wrong: list[tuple[Path, str]],
) -> None:
    table = path.name.removesuffix(".parquet")
    try:
        rows = list(from_arrow(TABLES[table], _read_whole(path)))
        hashes[table] = table_sha256(rows)
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError, IndexError) as error:
        wrong.append((path, f"cannot be read ({' '.join(str(error).split())[:120]})"))
        return
    if manifest and manifest.tables.get(table) != len(rows):
        wrong.append((path, f"has {counted(len(rows), 'row')}, the manifest says {manifest.tables.get(table)}"))
        return
    good.add(table)


def _read_whole(path: Path) -> pa.Table:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read(use_threads=False)


def _has_pictures(files: Mapping[str, Path]) -> bool:
    """Whether the pack has every picture that the package's table of images names; for where no manifest is."""
    table = files.get(f"{ImageRow.table}.parquet")
    if table is None:
        return IMAGE_PACK not in files
    try:
        for image in from_arrow(ImageRow, _read_whole(table)):
            read_picture(table.parent / IMAGE_PACK, image)
    except (LakeDamaged, OSError, pa.ArrowException):
        return False
    return True


def inspect_compact(folder: Path, entries: Mapping[str, PackageEntry]) -> InspectedCompact:
    there = {path.name: path for path in folder.iterdir()}
    try:
        body = unseal(folder / MANIFEST, "covers", "tables", "files", "made_at")
        covers = tuple(PackageEntry.of(value) for value in cast("list[dict[str, Json]]", body["covers"]))
        files = cast("dict[str, str]", body["files"])
        tables = frozenset(cast("dict[str, int]", body["tables"]))
    except (LakeDamaged, KeyError, TypeError, AttributeError) as error:
        return _without_manifest(folder, entries, there, error)
    wrong: list[tuple[Path, str]] = []
    for name, sha256 in files.items():
        problem = _problem(folder / name, sha256)
        if problem:
            wrong.append((folder / name, problem))
    if not wrong:
        wrong += _other_packages(folder, covers, tables, entries)
    extra = [path for name, path in there.items() if name not in files and name != MANIFEST]
    return InspectedCompact(
        folder=folder,
        covers=covers,
        tables=tables,
        wrong=tuple(wrong),
        extra=tuple(sorted(extra)),
        remakes_manifest=False,
    )


def _without_manifest(
    folder: Path, entries: Mapping[str, PackageEntry], there: Mapping[str, Path], error: Exception
) -> InspectedCompact:
    """A compact folder that does not say what it covers: the packages of the versions that its name says."""
    path = folder / MANIFEST
    first, _, rest = folder.name.partition("-")
    numbers = range(int(first), int(rest.partition("-")[0]) + 1)
    covers = tuple(entry for entry in entries.values() if entry.version in numbers)
    tables = frozenset(name.removesuffix(".parquet") for name in there if name.endswith(".parquet"))
    try:
        agrees = bool(covers) and not list(_other_packages(folder, covers, tables, entries)) and _has_packs(folder)
    except (LakeDamaged, OSError, pa.ArrowException, KeyError, IndexError):
        agrees = False
    return InspectedCompact(
        folder=folder,
        covers=covers,
        tables=tables,
        wrong=((path, str(error).removeprefix(f"{path} ").partition("; put it back")[0]),),
        extra=(),
        remakes_manifest=agrees,
    )


def _has_packs(folder: Path) -> bool:
    """Whether every picture that a compact folder's table of images names lies in a pack of it."""
    path = folder / f"{ImageRow.table}.parquet"
    if path.exists():
        rows = _read_whole(path)
        for image, package in zip(from_arrow(ImageRow, rows), rows["package"].to_pylist(), strict=True):
            read_picture(folder / f"{package}.pack", image)
    return True


def _other_packages(
    folder: Path, covers: Sequence[PackageEntry], tables: Iterable[str], entries: Mapping[str, PackageEntry]
) -> Iterator[tuple[Path, str]]:
    """Covered packages that no version names like this, or whose rows here are not theirs."""
    hashes: dict[str, dict[str, Json]] = {entry.name: {} for entry in covers}
    for table in sorted(tables):
        for package, rows in _by_package(folder / f"{table}.parquet", table):
            hashes.setdefault(package, {})[table] = table_sha256(rows)
    for entry in covers:
        named = entries.get(entry.name)
        if named is None or (named.version, named.content_sha256) != (entry.version, entry.content_sha256):
            yield folder, f"covers package {entry.name}, which no version names like this"
        elif content_sha256(hashes[entry.name]) != entry.content_sha256:
            yield folder, f"has other rows than package {entry.name}"
    for name in hashes.keys() - {entry.name for entry in covers}:
        yield folder, f"has rows of package {name}, which it does not cover"


def _by_package(path: Path, table: str) -> Iterator[tuple[str, list[Row]]]:
    """The rows of one table, a package's at a time; they stand together."""
    kind = TABLES[table]

    def rows() -> Iterator[tuple[str, Row]]:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for number in range(file.num_row_groups):
                part = file.read_row_group(number, [*kind.columns(), *PLACE], use_threads=False)
                names = cast("list[str]", part["package"].to_pylist())
                yield from zip(names, from_arrow(kind, part), strict=True)

    for package, group in groupby(rows(), key=lambda row: row[0]):
        yield package, [row for _, row in group]
