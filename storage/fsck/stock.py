"""All packages of a version as they lie there, and from where each of their rows can be read."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import polars as pl
import pyarrow as pa

from storage.fsck.findings import Finding, Seen, UncheckedError, counted, few
from storage.fsck.folders import Inspected, InspectedCompact, inspect, inspect_compact
from storage.lake import Lake
from storage.records import Row
from storage.tables import COMPACT, Holding, as_frame
from storage.versions import PackageEntry, head_number

REMADE_MANIFEST = "writes it anew: its tables are what the version says"
ELSEWHERE = "moves it aside: a whole compact folder holds it"
OWN_FOLDERS = "moves it aside: all its packages are whole in their own folders"
EXTRA = "moves it aside"
COMPACT_NAME = re.compile(r"\d+-\d+-[0-9a-f]+")


@dataclass(frozen=True, kw_only=True)
class Stock:
    """All packages of a version and all compact folders, as they lie there."""

    packages: tuple[Inspected, ...]
    compact: tuple[InspectedCompact, ...]

    @cached_property
    def covering(self) -> Mapping[str, InspectedCompact]:
        """The whole compact folder that holds a package, by the package's name."""
        wholes = [found for found in self.compact if found.is_whole]
        return {entry.name: found for found in wholes for entry in found.covers}

    def is_whole(self, package: Inspected) -> bool:
        """Whether all that a package had can be read from somewhere."""
        return package.is_whole or package.entry.name in self.covering

    def how_missing(self, package: Inspected) -> str:
        """What to say of a package without a folder of its own."""
        holders = [found for found in self.compact if package.entry in found.covers]
        return f"is missing, and {holders[0].folder}, which holds it, is damaged" if holders else "is missing"

    def can_do_without(self, found: InspectedCompact) -> bool:
        """Whether all packages that a damaged compact folder covers are whole in their own folders."""
        whole = {package.entry.name for package in self.packages if package.is_whole}
        return bool(found.covers) and {entry.name for entry in found.covers} <= whole

    @property
    def all_whole(self) -> bool:
        """Whether every reader finds every row: each package is there, and no damaged folder is in the way."""
        return all(map(self.is_whole, self.packages)) and all(found.is_whole for found in self.compact)

    @cached_property
    def holdings(self) -> tuple[Holding, ...]:
        """From where the rows of the version are read, in commit order."""
        found: list[Holding] = []
        for home, group in groupby(self.packages, key=lambda package: self.covering.get(package.entry.name)):
            packages = list(group)
            found += [_compact_holding(home, packages)] if home else map(_own_holding, packages)
        return tuple(found)

    @cached_property
    def lost(self) -> Mapping[str, tuple[Path, ...]]:
        """For each table the packages whose rows of it cannot be read."""
        lost: dict[str, list[Path]] = {}
        for package in self.packages:
            if not self.is_whole(package):
                for table in package.expected - package.tables:
                    lost.setdefault(table, []).append(package.folder)
        return {table: tuple(folders) for table, folders in lost.items()}

    def require(self, *kinds: type[Row]) -> None:
        """UncheckedError unless all rows of these kinds can be read."""
        for kind in kinds:
            if kind.table in self.lost:
                raise UncheckedError(
                    f"the {kind.table} of {self.lost[kind.table][0].name} cannot be read, see 'packages'"
                )

    @cached_property
    def _frames(self) -> dict[tuple[str, ...], pl.DataFrame]:
        return {}

    def frame(self, kind: type[Row], columns: Sequence[str] | None = None) -> pl.DataFrame:
        """All rows of one kind in commit order, with the `version` and `package` of each; read once. UncheckedError."""
        self.require(kind)
        names = list(columns if columns is not None else kind.columns())
        key = (kind.table, *names)
        if key not in self._frames:
            empty = kind.schema().empty_table().select(names)
            empty = empty.append_column("version", pa.array([], pa.int64()))
            empty = empty.append_column("package", pa.array([], pa.string()))
            self._frames[key] = as_frame([empty, *self.parts(kind, names)])
        return self._frames[key]

    def parts(self, kind: type[Row], columns: Sequence[str]) -> Iterator[pa.Table]:
        """The rows of one kind, a folder's at a time."""
        for holding in self.holdings:
            if holding.has(kind.table):
                found = holding.read(kind.table, columns)
                if found is not None:
                    yield found


def _compact_holding(home: InspectedCompact, packages: Sequence[Inspected]) -> Holding:
    return Holding(
        folder=home.folder,
        entries=tuple(package.entry for package in packages),
        is_compact=True,
        is_whole=len(packages) == len(home.covers),
        tables=home.tables,
    )


def _own_holding(package: Inspected) -> Holding:
    return Holding(
        folder=package.folder, entries=(package.entry,), is_compact=False, is_whole=True, tables=package.tables
    )


def read_stock(lake: Lake, entries: Iterable[PackageEntry]) -> Stock:
    """Inspect all packages of a version, then the compact folders, for a package is retired once it lies in one.

    Compact folders with versions that were committed since are no concern of that version.
    """
    by_name = {entry.name: entry for entry in entries}
    packages = tuple(inspect(lake.folder(entry), entry) for entry in by_name.values())
    folders = [path for path in sorted((lake.path / COMPACT).glob("*")) if COMPACT_NAME.fullmatch(path.name)]
    since = range(max((entry.version for entry in by_name.values()), default=0) + 1, head_number(lake.versions) + 1)
    old = [folder for folder in folders if int(folder.name.split("-")[1]) not in since]
    return Stock(packages=packages, compact=tuple(inspect_compact(folder, by_name) for folder in old))


def check_packages(stock: Stock) -> Seen:
    """Every package of the newest version is whole in its folder, or held by a compact folder after it was retired."""
    findings: list[Finding] = []
    for package in stock.packages:
        held = package.entry.name in stock.covering
        if not package.is_there and held:
            continue
        mending = ELSEWHERE if held else REMADE_MANIFEST if package.remakes_manifest else None
        wrong = package.wrong if package.is_there else ((package.folder, stock.how_missing(package)),)
        findings += [Finding(where=str(path), what=what, mending=mending) for path, what in wrong]
        findings += [
            Finding(where=str(path), what="is no file of its package", mending=EXTRA) for path in package.extra
        ]
    retired = sum(not package.is_there for package in stock.packages)
    return Seen(
        looked_at=counted(len(stock.packages), "package"),
        findings=few(findings, of="files of packages"),
        notes=(f"{retired} of them only in compact folders",) if retired and not findings else (),
    )


def check_compact(stock: Stock) -> Seen:
    """Every compact folder has the files that its manifest says, and the rows of the packages that it covers."""
    findings: list[Finding] = []
    for found in stock.compact:
        mending = REMADE_MANIFEST if found.remakes_manifest else OWN_FOLDERS if stock.can_do_without(found) else None
        findings += [Finding(where=str(path), what=what, mending=mending) for path, what in found.wrong]
        findings += [Finding(where=str(path), what="is no file of its folder", mending=EXTRA) for path in found.extra]
    return Seen(looked_at=counted(len(stock.compact), "folder"), findings=few(findings, of="files"))
