"""Where the rows of a version lie, and the one way to read them.

A package lies in its own folder, or, together with all packages of its and neighbouring versions, in a compact folder,
whose tables have two columns more: `version` and `package` say where each row came from. Readers see a `Holding`, and
the same rows, in the same order, either way.

<lake>/compact/FIRST-LAST-HASH/   tables of the packages of versions FIRST to LAST, their packs of pictures, a manifest
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.canonical import Json
from storage.errors import LakeDamaged
from storage.packages import IMAGE_PACK, MANIFEST, read_manifest, read_picture, unseal
from storage.records import TABLES, ImageRow, with_later_columns
from storage.versions import PackageEntry

COMPACT = "compact"
PLACE = ("version", "package")


@dataclass(frozen=True, slots=True, kw_only=True)
class Among:
    """A choice of rows: those whose `column` has one of `values`."""

    column: str
    values: Collection[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A folder and those of its packages whose rows are meant, oldest first; of a compact folder maybe not all."""

    folder: Path
    entries: tuple[PackageEntry, ...]
    is_compact: bool
    is_whole: bool
    tables: frozenset[str] | None

    def has(self, table: str) -> bool:
        """Whether the table is there to be read."""
        if self.tables is not None:
            return table in self.tables
        try:
            return table in _tables_of(self.folder)
        except LakeDamaged as error:
            return self._elsewhere(error).has(table)

    def path(self, table: str) -> Path:
        return self.folder / f"{table}.parquet"

    def pack(self, package: str) -> Path:
        """The file with the pictures that came with a package."""
        return self.folder / (f"{package}.pack" if self.is_compact else IMAGE_PACK)

    def picture(self, image: ImageRow, package: str) -> bytes:
        """A picture's bytes; LakeDamaged as `read_picture`."""
        try:
            return read_picture(self.pack(package), image)
        except LakeDamaged as error:
            return self._elsewhere(error).picture(image, package)

    def read(
        self, table: str, columns: Sequence[str], among: Among | None = None, *, checked: bool = True
    ) -> pa.Table | None:
        """Columns of the rows meant, and `version` and `package`; None when there is no such table.

        LakeDamaged names the file that is gone or cannot be read. Not `checked`, a file is read as far as it can be,
        whatever its checksums say: for those who look which rows are damaged.
        """
        if not self.has(table):
            return None
        wanted = list(dict.fromkeys([*columns, *([among.column] if among else [])]))
        try:
            if self.is_compact:
                found = self._read_compact(table, wanted, among, checked=checked)
            else:
                found = self._read_own(table, wanted, checked=checked)
        except LakeDamaged as error:
            return self._elsewhere(error).read(table, columns, among, checked=checked)
        if among:
            found = found.filter(_chosen(found, among))
        return found.select([*columns, *PLACE])

    def _elsewhere(self, error: LakeDamaged) -> "Holding":
        """Where the rows are now, if their package was retired after it was looked up; else the error is raised."""
        if self.is_compact or self.folder.exists():
            raise error
        packages = self.folder.parent
        (found,) = find_holdings(packages, packages.parent / COMPACT, self.entries)
        if not found.is_compact:
            raise error
        return found

    def _read_own(self, table: str, columns: Sequence[str], *, checked: bool) -> pa.Table:
        (entry,) = self.entries
        found = _chosen_columns(read_file(self.path(table), columns, checked=checked), table, columns)
        version = pa.repeat(pa.scalar(entry.version, pa.int64()), len(found))
        return found.append_column("version", version).append_column("package", pa.repeat(entry.name, len(found)))

    def _read_compact(self, table: str, columns: Sequence[str], among: Among | None, *, checked: bool) -> pa.Table:
        """Piece by piece (row group), leaving out those that have none of the rows meant."""
        path, wanted = self.path(table), [*columns, *PLACE]
        with _opened(path, checked=checked) as file:
            parts = [_chosen_columns(file.schema_arrow.empty_table(), table, wanted)]
            for number in range(file.num_row_groups):
                if any(not _has_any(file.read_row_group(number, [each.column]), each) for each in self._meant(among)):
                    continue
                part = _chosen_columns(file.read_row_group(number, wanted, use_threads=False), table, wanted)
                parts.append(part if self.is_whole else part.filter(_chosen(part, self._mine())))
        return pa.concat_tables(parts)

    def _mine(self) -> Among:
        """The rows of the packages that are meant, of all that a compact folder holds."""
        return Among(column="package", values={entry.name for entry in self.entries})

    def _meant(self, among: Among | None) -> list[Among]:
        return [*([] if self.is_whole else [self._mine()]), *([among] if among else [])]


def _chosen_columns(rows: pa.Table, table: str, columns: Sequence[str]) -> pa.Table:
    return with_later_columns(TABLES[table], rows, columns).select(list(columns))


def _has_any(rows: pa.Table, among: Among) -> bool:
    return bool(pc.any(_chosen(rows, among)).as_py())


def _chosen(rows: pa.Table, among: Among) -> "pa.ChunkedArray[Any] | pa.BooleanArray":
    return pc.is_in(rows[among.column], value_set=pa.array(sorted(among.values), pa.string()))


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactFolder:
    """What a compact folder holds: the packages of some versions in a row, and when it was made (ISO, UTC)."""

    folder: Path
    covers: tuple[PackageEntry, ...]
    tables: frozenset[str]
    made_at: str

    @property
    def first(self) -> int:
        return self.covers[0].version

    @property
    def last(self) -> int:
        return self.covers[-1].version


@cache
def read_compact(folder: Path) -> CompactFolder:
    """A compact folder's manifest, read once a process; LakeDamaged when it is not whole."""
    body = unseal(folder / MANIFEST, "covers", "tables", "files", "made_at")
    covers = tuple(PackageEntry.of(value) for value in cast("list[dict[str, Json]]", body["covers"]))
    tables = frozenset(cast("dict[str, int]", body["tables"]))
    return CompactFolder(folder=folder, covers=covers, tables=tables, made_at=str(body["made_at"]))


def compact_folders(compact: Path) -> list[CompactFolder]:
    """All compact folders of a lake, oldest versions first."""
    if not compact.is_dir():
        return []
    return [read_compact(path) for path in sorted(compact.iterdir()) if path.name[:1].isdecimal()]


def find_holdings(
    packages: Path,
    compact: Path,
    entries: Sequence[PackageEntry],
    *,
    table: str | None = None,
    newest_first: bool = False,
) -> Iterator[Holding]:
    """Where packages lie, in their order or the other way round; found one by one, as they are asked for.

    With `table`, packages that are known not to have it are left out, where they lie in folders of their own.
    LakeDamaged when a compact folder holds others than the version names.
    """
    homes = {number: found for found in compact_folders(compact) for number in range(found.first, found.last + 1)}
    ordered = reversed(entries) if newest_first else entries
    for home, group in groupby(ordered, key=lambda entry: homes.get(entry.version)):
        if home is None:
            wanted = (entry for entry in group if table is None or entry.tables is None or table in entry.tables)
            yield from (_own_folder(packages, entry) for entry in wanted)
        else:
            theirs = tuple(group)
            yield _in_compact(home, theirs[::-1] if newest_first else theirs)


def _own_folder(packages: Path, entry: PackageEntry) -> Holding:
    return Holding(folder=packages / entry.name, entries=(entry,), is_compact=False, is_whole=True, tables=entry.tables)


def _in_compact(home: CompactFolder, entries: tuple[PackageEntry, ...]) -> Holding:
    theirs = {entry.name: entry.content_sha256 for entry in home.covers}
    if any(theirs.get(entry.name) != entry.content_sha256 for entry in entries):
        raise LakeDamaged(f"{home.folder} holds other packages than the versions name; put it back from a copy")
    whole = len(entries) == len(home.covers)
    return Holding(folder=home.folder, entries=entries, is_compact=True, is_whole=whole, tables=home.tables)


@cache
def _tables_of(folder: Path) -> frozenset[str]:
    """For entries that do not say it; read once a process, since packages never change."""
    return frozenset(read_manifest(folder).tables)


@contextmanager
def _opened(path: Path, *, checked: bool = True) -> Iterator[pq.ParquetFile]:
    """A Parquet file; LakeDamaged names it when it is gone or cannot be read."""
    try:
        with pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=checked) as file:
            yield file
    except FileNotFoundError as error:
        raise LakeDamaged(f"{path} is missing; put it back from a copy of the lake") from error
    except (OSError, pa.ArrowException) as error:
        why = " ".join(str(error).split())
        raise LakeDamaged(f"{path} cannot be read ({why}); put it back from a copy of the lake") from error


def read_file(path: Path, columns: Sequence[str] | None = None, *, checked: bool = True) -> pa.Table:
    """A Parquet file's columns (all by default), as far as it has them; LakeDamaged when it is gone or unreadable."""
    with _opened(path, checked=checked) as file:
        # Threads cost more than they bring: most packages hold the few rows of one batch.
        return file.read(columns=list(columns) if columns is not None else None, use_threads=False)


def check_end(path: Path) -> None:
    """LakeDamaged when a Parquet file is gone or its end torn off: for those who read it by themselves."""
    with _opened(path):
        pass


def packages_of(rows: pa.Table) -> list[str]:
    """For each row the name of the package that it came in."""
    return cast("list[str]", rows["package"].to_pylist())


def as_frame(tables: Sequence[pa.Table]) -> pl.DataFrame:
    """Some tables of one schema, one after another, as polars has it."""
    return cast("pl.DataFrame", pl.from_arrow(pa.concat_tables(tables)))
