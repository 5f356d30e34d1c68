"""Versions: small files that name the packages of the lake, each chained to its parent by hash.

The rename of a version file is the only commit point. A version's `sha256` is taken over its number, its parent's
sha256 and the kinds and content hashes of its packages in order; no time, run id or file hash enters it, so two equal
builds have the same chain. The list of packages is cut into chunks of CHUNK entries that are written once and named by
their content, so that a version file stays small however large the lake grows.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import cast

from storage.canonical import Json, content_sha256
from storage.durable import Staged, names_in, sync_folder, write_durably
from storage.errors import LakeDamaged, NoSuchThing
from storage.packages import FORMAT, seal, unseal
from storage.steps import Step, reached

CHUNK = 512
CHUNKS = "chunks"
CHUNKS_IN_MEMORY = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageEntry:
    """A package as a version names it: the version that brought it in, its kind, folder name and content hash.

    `tables` are the names of its tables; None in versions that interlake wrote for lakes of format 2.
    """

    version: int
    kind: str
    name: str
    content_sha256: str
    tables: frozenset[str] | None

    def json(self) -> dict[str, Json]:
        """As it stands in version files and in the manifests of compact folders."""
        body: dict[str, Json] = {name: getattr(self, name) for name in ("version", "kind", "name", "content_sha256")}
        return body if self.tables is None else body | {"tables": sorted(self.tables)}

    @classmethod
    def of(cls, body: Mapping[str, Json]) -> "PackageEntry":
        """What `json` wrote; KeyError when something is missing."""
        tables = cast("list[str] | None", body.get("tables"))
        return cls(
            version=cast("int", body["version"]),
            kind=str(body["kind"]),
            name=str(body["name"]),
            content_sha256=str(body["content_sha256"]),
            tables=None if tables is None else frozenset(tables),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A state of the lake. `packages` are all packages up to and with this version, oldest first.

    `chunks` are the hashes of the files that hold the first of them, `chunked` in all.
    """

    number: int
    parent: str | None
    sha256: str
    packages: tuple[PackageEntry, ...]
    chunks: tuple[str, ...]
    chunked: int
    created_at: datetime
    run_id: str | None

    def added(self) -> tuple[PackageEntry, ...]:
        """The packages that came with this very version."""
        return self.since(self.number - 1).packages

    def until(self, number: int) -> "Version":
        """The lake as an earlier version saw it, for reading rows; its hash and time stay those of this one."""
        return replace(self, number=number, packages=self.packages[: _place_after(self.packages, number)])

    def since(self, number: int) -> "Version":
        """The lake as if it held only what came after an earlier version, for reading rows."""
        return replace(self, packages=self.packages[_place_after(self.packages, number) :])


def _place_after(packages: tuple[PackageEntry, ...], number: int) -> int:
    """How many packages came with versions up to a number: they stand in the order of their versions."""
    return bisect_right(packages, number, key=attrgetter("version"))


def version_path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.json"


def head_number(folder: Path) -> int:
    """The number of the newest version, 0 when there is none."""
    stems = (name.removesuffix(".json") for name in names_in(folder) if name.endswith(".json"))
    return max((int(stem) for stem in stems if stem.isdecimal()), default=0)


def write_version(
    folder: Path, parent: Version | None, added: Sequence[PackageEntry], *, seed: int, run_id: str | None
) -> Version:
    """Commit: after this returns, the version is there for good. The caller holds the lake's lock.

    `seed` is the lake's: it stands in every version, so that `lake.json` can be made anew from any of them.
    """
    packages = (*(parent.packages if parent else ()), *added)
    number = parent.number + 1 if parent else 1
    parent_sha256 = parent.sha256 if parent else None
    sha256 = chain_sha256(number, parent_sha256, packages)
    chunks = list(parent.chunks) if parent else []
    chunked = parent.chunked if parent else 0
    while len(packages) - chunked >= CHUNK:
        chunks.append(_write_chunk(folder, packages[chunked : chunked + CHUNK]))
        chunked += CHUNK
    created_at = datetime.now(UTC)
    body: dict[str, Json] = {
        "format": FORMAT,
        "seed": seed,
        "number": number,
        "parent": parent_sha256,
        "sha256": sha256,
        "chunks": chunks,
        "tail": [entry.json() for entry in packages[chunked:]],
        "created_at": created_at.isoformat(),
        "run_id": run_id,
    }
    path = version_path(folder, number)
    if path.exists():
        raise LakeDamaged(f"{path} is there already; somebody else committed without the lock")
    staged = Staged.write(path, seal(body))
    reached(Step.VERSION_STAGED)
    staged.give_name()
    reached(Step.VERSION_NAMED)
    sync_folder(folder)
    reached(Step.COMMITTED)
    return Version(
        number=number,
        parent=parent_sha256,
        sha256=sha256,
        packages=packages,
        chunks=tuple(chunks),
        chunked=chunked,
        created_at=created_at,
        run_id=run_id,
    )


def chain_sha256(number: int, parent: str | None, packages: Sequence[PackageEntry]) -> str:
    """The hash that a version is known by: canonical JSON [number, parent, [[kind, content_sha256], …]]."""
    added = [entry for entry in packages if entry.version == number]
    return content_sha256([number, parent, [[entry.kind, entry.content_sha256] for entry in added]])


def _write_chunk(folder: Path, entries: Sequence[PackageEntry]) -> str:
    body: dict[str, Json] = {"packages": [entry.json() for entry in entries]}
    sha256 = content_sha256(body)
    path = chunk_path(folder, sha256)
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        sync_folder(folder)
        write_durably(path, seal(body))
    reached(Step.CHUNK_NAMED)
    return sha256


def chunk_name(sha256: str) -> str:
    return f"{sha256}.json"


def chunk_path(folder: Path, sha256: str) -> Path:
    return folder / CHUNKS / chunk_name(sha256)


def read_version(folder: Path, number: int) -> Version:
    """Read a version and check its own hash; NoSuchThing for a number that was never committed."""
    path = version_path(folder, number)
    if not path.exists():
        newest = head_number(folder)
        if not 0 < number <= newest:
            raise NoSuchThing(f"there is no version {number}; the newest is {newest}")
    body = unseal(path, "parent", "sha256", "chunks", "tail", "created_at", "run_id")
    chunks = tuple(cast("list[str]", body["chunks"]))
    try:
        tail = tuple(PackageEntry.of(value) for value in cast("list[Mapping[str, Json]]", body["tail"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise LakeDamaged(f"{path} does not name its packages; put the lake back from a copy") from error
    entries = (*chain.from_iterable(_read_chunk(folder, chunk) for chunk in chunks), *tail)
    parent = cast("str | None", body["parent"])
    if chain_sha256(number, parent, entries) != body["sha256"]:
        raise LakeDamaged(f"{path} names packages that do not add up to its sha256; put the lake back from a copy")
    return Version(
        number=number,
        parent=parent,
        sha256=str(body["sha256"]),
        packages=entries,
        chunks=chunks,
        chunked=len(entries) - len(tail),
        created_at=datetime.fromisoformat(str(body["created_at"])),
        run_id=cast("str | None", body["run_id"]),
    )


@lru_cache(maxsize=CHUNKS_IN_MEMORY)
def _read_chunk(folder: Path, sha256: str) -> tuple[PackageEntry, ...]:
    """The entries of a chunk, read once a process: it is named by its content and never changes."""
    body = unseal(chunk_path(folder, sha256), "packages")
    if content_sha256(body) != sha256:
        raise LakeDamaged(f"{chunk_path(folder, sha256)} holds something else than its name says")
    return tuple(PackageEntry.of(value) for value in cast("list[Mapping[str, Json]]", body["packages"]))
