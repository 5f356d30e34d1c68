"""A lake on disk: the one way to open it, to read a version of it, and to commit the next one.

<lake>/
├── lake.json        format number and seed, sealed
├── interlake.toml   the user's settings (read by others)
├── packages/        immutable folders, named VERSION-KIND-HASH
├── versions/        the chain; the highest number is the head
├── runs/RUN/        a run's lock, progress and spool, while it needs them
├── lance/  history.duckdb   projections, made anew from the packages at will
└── staging/  aside/  what is being written; what a crash left behind
"""

import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import polars as pl
import pyarrow as pa

from storage.canonical import Json
from storage.durable import publish_folder, sync_folder, write_durably
from storage.errors import LakeBusy, NoSuchThing, NotALake
from storage.founding import LOCK, found
from storage.lock import hold
from storage.packages import FORMAT, PackageDraft, read_picture, seal, unseal, write_package
from storage.records import ImageRow, Row, from_arrow
from storage.tables import read_table
from storage.versions import PackageEntry, Version, head_number, read_version, write_version

NAME_DIGITS = 12
MARK = "lake.json"
FOLDERS = ("packages", "versions", "runs", "staging", "aside")

R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lake:
    """An opened lake; holds no file open. `seed` is the root of every slot id."""

    path: Path
    seed: int

    @classmethod
    def create(cls, path: Path, *, seed: int, files: Mapping[str, bytes]) -> "Lake":
        """Make an empty lake with further files beside it; errors as `making`."""
        with cls.making(path, seed=seed, files=files):
            pass
        return cls(path=path, seed=seed)

    @classmethod
    @contextmanager
    def making(cls, path: Path, *, seed: int, files: Mapping[str, bytes]) -> Iterator["Lake"]:
        """A new lake that nobody else sees yet; `path` is a lake, with all that the block gave it, once that ends well.

        NotALake when the folder holds something already, LakeBusy when another process is making a lake there.
        """
        with found(path, mark=MARK) as part:
            for name in FOLDERS:
                (part / name).mkdir()
            for name, data in files.items():
                write_durably(part / name, data)
            body: dict[str, Json] = {"format": FORMAT, "seed": seed}
            write_durably(part / MARK, seal(body))
            yield cls(path=part, seed=seed)

    @classmethod
    def open(cls, path: Path) -> "Lake":
        """Open a lake; NotALake when the folder is none, or of a format that this code does not know."""
        if not (path / MARK).is_file():
            raise NotALake(f"{path} is not a lake; make one with 'interlake init --lake {path}'")
        theirs = unseal(path / MARK, "format")["format"]
        if theirs != FORMAT:
            way_out = "update interlake" if cast("int", theirs) > FORMAT else "read it with the interlake that made it"
            raise NotALake(f"{path} has lake format {theirs}, this interlake reads format {FORMAT}; {way_out}")
        body = unseal(path / MARK, "seed")
        return cls(path=path, seed=cast("int", body["seed"]))

    @property
    def packages(self) -> Path:
        return self.path / "packages"

    @property
    def versions(self) -> Path:
        return self.path / "versions"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    def head(self) -> Version | None:
        """The newest version, or None for a lake that is still empty."""
        number = head_number(self.versions)
        return read_version(self.versions, number) if number else None

    def version(self, number: int | None = None) -> Version:
        """A version by number, the newest by default; NoSuchThing when it is not there."""
        return read_version(self.versions, number if number is not None else head_number(self.versions))

    @contextmanager
    def lock(self, *, purpose: str, timeout: float) -> Iterator[None]:
        """Hold the lake for a commit; LakeBusy after `timeout` seconds of waiting."""
        with hold(self.path / LOCK, purpose=purpose, timeout=timeout):
            yield

    def commit(
        self, drafts: Sequence[PackageDraft], *, run_id: str | None = None, after: Version | None = None
    ) -> Version:
        """Write packages and the version that names them. The caller holds the lock.

        With `after`, the version that the packages were made for, LakeBusy when it is no longer the newest.
        """
        head = self.head()
        if after and (head is None or head.sha256 != after.sha256):
            raise LakeBusy(f"{self.path} was at version {after.number} a moment ago and has moved on; try again")
        number = head.number + 1 if head else 1
        self._clear_leftovers(number)
        entries = [self._write(draft, number) for draft in drafts]
        return write_version(self.versions, head, entries, run_id)

    def _write(self, draft: PackageDraft, number: int) -> PackageEntry:
        staged = self.path / "staging" / uuid.uuid4().hex
        manifest = write_package(staged, draft)
        name = f"{number:06d}-{draft.kind}-{manifest.content_sha256[:NAME_DIGITS]}"
        publish_folder(staged, self.packages / name)
        return PackageEntry(version=number, kind=draft.kind, name=name, content_sha256=manifest.content_sha256)

    def _clear_leftovers(self, next_number: int) -> None:
        """Move aside packages that a crash left without a version, and drop what was never finished."""
        for staged in (self.path / "staging").iterdir():
            shutil.rmtree(staged)
        orphans = list(self.packages.glob(f"{next_number:06d}-*"))
        for orphan in orphans:
            orphan.rename(self.path / "aside" / f"{orphan.name}-{uuid.uuid4().hex[:8]}")
        if orphans:
            sync_folder(self.packages)

    def folder(self, entry: PackageEntry) -> Path:
        return self.packages / entry.name

    def rows(self, kind: type[R], version: Version) -> Iterator[R]:
        """All rows of one table up to a version, in commit order."""
        for entry in version.packages:
            yield from self.package_rows(kind, entry)

    def package_rows(self, kind: type[R], entry: PackageEntry) -> Iterator[R]:
        """The rows of one table in one package; LakeDamaged when the file cannot be read."""
        table = read_table(self.folder(entry), kind.table)
        if table is not None:
            yield from from_arrow(kind, table)

    def scan(self, kind: type[Row], version: Version, columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """Some columns of one table (all by default) up to a version, and `version`, which brought each row in.

        The files are read before this returns, so that damage shows here: LakeDamaged names the file.
        """
        names = list(columns if columns is not None else kind.columns())
        tables = [kind.schema().empty_table().select(names)]
        numbers = [pa.array([], pa.int64())]
        for entry in version.packages:
            table = read_table(self.folder(entry), kind.table, names)
            if table is not None:
                tables.append(table.select(names))
                numbers.append(pa.repeat(pa.scalar(entry.version, pa.int64()), table.num_rows))
        whole = pa.concat_tables(tables).append_column("version", pa.chunked_array(numbers))
        return cast("pl.DataFrame", pl.from_arrow(whole)).lazy()

    def picture(self, image_sha256: str, version: Version) -> bytes:
        """The bytes of a picture; NoSuchThing when no package up to this version has it."""
        for entry in reversed(version.packages):
            for row in self.package_rows(ImageRow, entry):
                if row.image_sha256 == image_sha256:
                    return read_picture(self.folder(entry), row)
        raise NoSuchThing(f"no picture {image_sha256[:12]} in version {version.number}")
