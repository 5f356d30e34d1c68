"""A lake on disk: the one way to open it, to read a version of it, and to commit the next one.

<lake>/
├── lake.json        format number and seed, sealed
├── interlake.toml   the user's settings (read by others)
├── packages/        immutable folders, named VERSION-KIND-HASH
├── compact/         many packages in one folder, to be read faster; only after `maintain`
├── versions/        the chain; the highest number is the head
├── runs/RUN/        a run's lock, progress and spool, while it needs them
├── lance/  history.duckdb   projections, made anew from the packages at will
└── staging/  aside/  what is being written; what a crash left behind
"""

import shutil
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar, cast

import polars as pl
import pyarrow as pa

from storage.canonical import Json
from storage.durable import PART, names_in, publish_folder, sync_folder, write_durably
from storage.errors import NoSuchThing, NotALake
from storage.founding import LOCK, found
from storage.lock import hold
from storage.packages import FORMAT, READABLE, Manifest, PackageDraft, seal, unseal, write_package
from storage.records import ImageRow, Row, from_arrow
from storage.steps import Step, reached
from storage.tables import COMPACT, Among, Holding, as_frame, find_holdings, packages_of
from storage.versions import CHUNKS, PackageEntry, Version, chunk_name, head_number, read_version, write_version

NAME_DIGITS = 12
NAMES_IN_MEMORY = 1 << 16
MARK = "lake.json"
STAGING = "staging"
ASIDE = "aside"
FOLDERS = ("packages", "versions", "runs", STAGING, ASIDE)

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
            write_mark(part, seed)
            yield cls(path=part, seed=seed)

    @classmethod
    def open(cls, path: Path) -> "Lake":
        """Open a lake; NotALake when the folder is none, or of a format that this code does not know."""
        if not (path / MARK).is_file():
            raise NotALake(f"{path} is not a lake; make one with 'interlake init --lake {path}'")
        theirs = unseal(path / MARK, "format")["format"]
        if theirs not in READABLE:
            way_out = "update interlake" if cast("int", theirs) > FORMAT else "read it with the interlake that made it"
            raise NotALake(
                f"{path} has lake format {theirs}, this interlake reads formats {_listed(READABLE)}; {way_out}"
            )
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

    def commit(self, drafts: Sequence[PackageDraft], *, run_id: str | None = None) -> Version:
        """Write packages and the version that names them: the truth alone. The caller holds the lock.

        Flows commit by `storage.writing`, which recovers, checks and brings up what shows the version as well.
        """
        head = self.head()
        number = head.number + 1 if head else 1
        clear_leftovers(self.path, head)
        try:
            staged = [self._stage(draft) for draft in drafts]
            entries = [self._publish(folder, manifest, number) for folder, manifest in staged]
            return write_version(self.versions, head, entries, seed=self.seed, run_id=run_id)
        except BaseException:
            clear_staging(self.path)
            raise

    def _stage(self, draft: PackageDraft) -> tuple[Path, Manifest]:
        folder = self.path / STAGING / uuid.uuid4().hex
        return folder, write_package(folder, draft)

    def _publish(self, staged: Path, manifest: Manifest, number: int) -> PackageEntry:
        name = f"{number:06d}-{manifest.kind}-{manifest.content_sha256[:NAME_DIGITS]}"
        publish_folder(staged, self.packages / name)
        reached(Step.PACKAGE_NAMED)
        return PackageEntry(
            version=number,
            kind=manifest.kind,
            name=name,
            content_sha256=manifest.content_sha256,
            tables=frozenset(manifest.tables),
        )

    def folder(self, entry: PackageEntry) -> Path:
        return self.packages / entry.name

    def holdings(self, version: Version) -> list[Holding]:
        """Where the packages of a version lie, in commit order; LakeDamaged when a compact folder is not whole."""
        return list(find_holdings(self.packages, self.path / COMPACT, version.packages))

    def holdings_of(self, kind: type[Row], version: Version, *, newest_first: bool = False) -> Iterator[Holding]:
        """Where rows of one table may lie, found one by one; LakeDamaged as `holdings`."""
        folders = (self.packages, self.path / COMPACT)
        return find_holdings(*folders, version.packages, table=kind.table, newest_first=newest_first)

    def rows(self, kind: type[R], version: Version, among: Among | None = None) -> Iterator[R]:
        """All rows of one table up to a version, or the chosen ones, in commit order."""
        for holding in self.holdings_of(kind, version):
            table = holding.read(kind.table, kind.columns(), among)
            if table is not None:
                yield from from_arrow(kind, table)

    def scan(
        self, kind: type[Row], version: Version, columns: Sequence[str] | None = None, among: Among | None = None
    ) -> pl.LazyFrame:
        """Some columns of one table (all by default) up to a version, and `version`, which brought each row in.

        The files are read before this returns, so that damage shows here: LakeDamaged names the file.
        """
        names = list(columns if columns is not None else kind.columns())
        empty = kind.schema().empty_table().select(names).append_column("version", pa.array([], pa.int64()))
        tables = [holding.read(kind.table, names, among) for holding in self.holdings_of(kind, version)]
        return as_frame([empty, *(table.drop_columns("package") for table in tables if table is not None)]).lazy()

    def picture(self, image_sha256: str, version: Version) -> bytes:
        """The bytes of a picture; NoSuchThing when no package up to this version has it."""
        for place in self.find_pictures(version, {image_sha256}):
            return place.read()
        raise NoSuchThing(f"no picture {image_sha256[:12]} in version {version.number}")

    def find_pictures(self, version: Version, sha256s: Collection[str]) -> Iterator["Place"]:
        """Where pictures lie, those that came last first; the same one may lie in several places."""
        for holding in self.holdings_of(ImageRow, version, newest_first=True):
            table = holding.read(ImageRow.table, ImageRow.columns(), Among(column="image_sha256", values=sha256s))
            if table is not None:
                for image, package in zip(from_arrow(ImageRow, table), packages_of(table), strict=True):
                    yield Place(holding=holding, image=image, package=package)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a picture's bytes lie."""

    holding: Holding
    image: ImageRow
    package: str

    def read(self) -> bytes:
        """The bytes; LakeDamaged when they are gone or others."""
        return self.holding.picture(self.image, self.package)


def write_mark(path: Path, seed: int) -> None:
    """Write the file that makes a folder a lake."""
    body: dict[str, Json] = {"format": FORMAT, "seed": seed}
    write_durably(path / MARK, seal(body))


def _listed(numbers: Collection[int]) -> str:
    return " and ".join(map(str, sorted(numbers)))


def clear_leftovers(path: Path, head: Version | None) -> None:
    """Undo what a killed commit left: files never finished are gone, packages without a version lie in `aside`.

    So do chunks that no version names. The caller holds the lock; `head` is the lake's newest version.
    """
    clear_staging(path)
    for folder in (path / "versions", path / "versions" / CHUNKS):
        for name in names_in(folder):
            if name.startswith(".") and name.endswith(PART):
                (folder / name).unlink()
    reached(Step.FILES_CLEARED)
    newest, chunks = (head.number, {chunk_name(sha256) for sha256 in head.chunks}) if head else (0, set())
    _move_orphans(path, path / "packages", lambda name: number_of(name) > newest)
    _move_orphans(path, path / "versions" / CHUNKS, lambda name: name not in chunks)
    reached(Step.ORPHANS_ASIDE)


def _move_orphans(path: Path, folder: Path, is_orphan: Callable[[str], bool]) -> None:
    orphans = [name for name in names_in(folder) if is_orphan(name)]
    for name in orphans:
        move_aside(path, folder / name)
    if orphans:
        sync_folder(folder)


def clear_staging(path: Path) -> None:
    """Remove packages that were never finished."""
    for staged in (path / STAGING).iterdir():
        shutil.rmtree(staged)


def move_aside(lake: Path, found: Path) -> Path:
    """Put something that is no part of the lake, or damaged, where nobody reads it; it is not deleted."""
    aside = lake / ASIDE / f"{found.name}-{uuid.uuid4().hex[:8]}"
    found.rename(aside)
    return aside


@lru_cache(maxsize=NAMES_IN_MEMORY)
def number_of(package: str) -> int:
    """The version that a package's name says, 0 when it says none."""
    number, _, _ = package.partition("-")
    return int(number) if number.isdecimal() else 0
