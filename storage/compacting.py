"""Compaction: many small packages become one compact folder, to be read at the price of one; nothing is changed by it.

A compact folder holds the rows of the packages of some versions in a row, with two columns that say whence each came,
and their packs of pictures as hard links (copies where the file system has none). It becomes visible by its rename.
Versions, hashes, readers at work and replay know nothing of it; a package that it holds may be retired later, when
nobody can be reading it any more. One process at a time maintains a lake; builds go on meanwhile.
"""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from storage.canonical import Json, content_sha256
from storage.durable import publish_folder, sync_file, sync_folder, write_synced
from storage.errors import LakeDamaged
from storage.lake import NAME_DIGITS, Lake
from storage.lock import hold
from storage.packages import FORMAT, IMAGE_PACK, MANIFEST, file_hashes, file_sha256, read_manifest, seal, unseal
from storage.records import TABLES
from storage.steps import Step, reached
from storage.tables import COMPACT, CompactFolder, Holding, compact_folders
from storage.versions import PackageEntry, Version

LOCK = ".maintain.lock"
LEAST = 64
"""So many packages make a compact folder worth its while."""
MOST = 1024
"""A compact folder holds so many packages at most, and is written once: each row is rewritten once in its life."""
PIECE_BYTES = 16 << 20
KIND = "compact"


@contextmanager
def maintaining(lake: Lake) -> Iterator[None]:
    """Be the one who maintains a lake; LakeBusy when somebody else does. Clears what a killed one left."""
    with hold(lake.path / LOCK, purpose="maintenance", timeout=0):
        (lake.path / COMPACT).mkdir(exist_ok=True)
        sync_folder(lake.path)
        for left in (lake.path / COMPACT).glob(".*"):
            shutil.rmtree(left)
        yield


def due(lake: Lake, version: Version, *, least: int = LEAST) -> list[tuple[PackageEntry, ...]]:
    """The packages that compaction would put together, a group for each folder, whole versions, oldest first."""
    covered = max((found.last for found in compact_folders(lake.path / COMPACT)), default=0)
    groups: list[list[PackageEntry]] = [[]]
    for _, entries in groupby(version.packages, key=lambda entry: entry.version):
        added = [entry for entry in entries if entry.version > covered]
        if groups[-1] and len(groups[-1]) + len(added) > MOST:
            groups.append([])
        groups[-1] += added
    return [tuple(group) for group in groups if len(group) >= max(1, least)]


def compact(lake: Lake, entries: Sequence[PackageEntry]) -> Path:
    """Write the packages of some versions in a row into one compact folder, and name it. Needs no lock of the lake.

    LakeDamaged when a package is not what its manifest says; nothing has changed then.
    """
    holdings = [
        Holding(folder=lake.folder(entry), entries=(entry,), is_compact=False, is_whole=True, tables=entry.tables)
        for entry in entries
    ]
    for holding in holdings:
        check_files(holding.folder)
    staged = lake.path / COMPACT / f".{uuid.uuid4().hex}"
    staged.mkdir()
    tables = {name: rows for name in TABLES if (rows := _write_pieces(staged / f"{name}.parquet", name, holdings))}
    for entry in entries:
        _link(lake.folder(entry) / IMAGE_PACK, staged / f"{entry.name}.pack")
    named = content_sha256([[entry.version, entry.kind, entry.content_sha256] for entry in entries])
    body: dict[str, Json] = {
        "format": FORMAT,
        "kind": KIND,
        "covers": [entry.json() for entry in entries],
        "content_sha256": named,
        "tables": tables,
        "files": file_hashes(staged),
        "made_at": datetime.now(UTC).isoformat(),
    }
    write_synced(staged / MANIFEST, seal(body))
    reached(Step.COMPACT_STAGED)
    final = lake.path / COMPACT / f"{entries[0].version:06d}-{entries[-1].version:06d}-{named[:NAME_DIGITS]}"
    publish_folder(staged, final)
    reached(Step.COMPACT_NAMED)
    return final


def check_files(folder: Path) -> None:
    """LakeDamaged unless every file of a package is what its manifest says."""
    for name, sha256 in read_manifest(folder).files.items():
        try:
            if file_sha256(folder / name) == sha256:
                continue
        except OSError as error:
            raise LakeDamaged(f"{folder / name} cannot be read ({error.strerror}); see 'interlake fsck'") from error
        raise LakeDamaged(f"{folder / name} is not what its package's manifest says; see 'interlake fsck'")


def _write_pieces(path: Path, table: str, holdings: Sequence[Holding]) -> int:
    """Write one table of all packages, piece by piece, each read back; returns its rows, 0 when no package has it."""
    schema = TABLES[table].schema()
    schema = schema.append(pa.field("version", pa.int64())).append(pa.field("package", pa.string()))
    rows = 0
    writer: pq.ParquetWriter | None = None
    for piece in _pieces(table, holdings):
        writer = writer or pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)
        writer.write_table(piece.cast(schema), row_group_size=len(piece))
        rows += len(piece)
    if writer:
        writer.close()
        sync_file(path)
        _read_back(path, table, holdings)
    return rows


def _read_back(path: Path, table: str, holdings: Sequence[Holding]) -> None:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for number, piece in enumerate(_pieces(table, holdings)):
            if not file.read_row_group(number).equals(piece.cast(file.schema_arrow)):
                raise LakeDamaged(f"{path} reads back as something else than was written: the disk or memory is faulty")


def _pieces(table: str, holdings: Sequence[Holding]) -> Iterator[pa.Table]:
    """The rows of all packages in commit order, some megabytes at a time."""
    waiting: list[pa.Table] = []
    for holding in holdings:
        found = holding.read(table, TABLES[table].columns())
        if found is None:
            continue
        waiting.append(found)
        if sum(part.nbytes for part in waiting) >= PIECE_BYTES:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _link(source: Path, target: Path) -> None:
    """The same bytes under a second name; where the file system has no such thing, a copy."""
    if not source.exists():
        return
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP):
            raise
        shutil.copyfile(source, target)
        sync_file(target)


def retired(lake: Lake, *, after: timedelta) -> list[PackageEntry]:
    """Packages that may go: a compact folder has held them for that long."""
    before = datetime.now(UTC) - after
    return [
        entry
        for found in compact_folders(lake.path / COMPACT)
        if datetime.fromisoformat(found.made_at) <= before
        for entry in found.covers
        if lake.folder(entry).exists()
    ]


def retire(lake: Lake, *, after: timedelta) -> list[PackageEntry]:
    """Remove packages that a whole compact folder has held for that long; their rows and pictures are read from there.

    LakeDamaged when the compact folder is not whole: then its packages stay.
    """
    going = retired(lake, after=after)
    names = {entry.name for entry in going}
    for found in compact_folders(lake.path / COMPACT):
        if names.isdisjoint(entry.name for entry in found.covers):
            continue
        _check_compact(found)
        for folder in (found.folder, found.folder.parent, lake.path):
            sync_folder(folder)  # who named it may have been killed before that
        for entry in found.covers:
            if entry.name in names:
                _remove(lake, lake.folder(entry))
    return going


def _check_compact(found: CompactFolder) -> None:
    body = unseal(found.folder / MANIFEST, "files")
    for name, sha256 in dict(body["files"]).items():  # type: ignore[arg-type]
        if file_sha256(found.folder / name) != sha256:
            raise LakeDamaged(f"{found.folder / name} is not what its manifest says; see 'interlake fsck'")


def _remove(lake: Lake, folder: Path) -> None:
    """Take a folder out of sight in one step, then remove it: nobody sees half a package."""
    gone = lake.path / COMPACT / f".{uuid.uuid4().hex}"
    folder.rename(gone)
    sync_folder(folder.parent)
    shutil.rmtree(gone)
    reached(Step.PACKAGE_RETIRED)
