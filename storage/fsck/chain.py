"""The chain of versions as its files have it, read anew: no cache is trusted, and a damaged file only says so."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import cast

from storage import versions
from storage.canonical import Json, content_sha256
from storage.errors import LakeDamaged
from storage.fsck.findings import Finding, Seen, UncheckedError, counted, few
from storage.lake import Lake
from storage.packages import unseal
from storage.versions import PackageEntry, Version, chain_sha256, chunk_path, head_number, version_path

MADE_ANEW = "makes it anew: the chain adds up to it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A version's file: what it says of itself, the chunks it names, and how many packages it lists behind them."""

    number: int
    parent: str | None
    sha256: str
    chunks: tuple[str, ...]
    tail: int
    created_at: datetime
    run_id: str | None
    seed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A file of the chain that is gone or damaged; `what` says how."""

    path: Path
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """All links that can be read, and the list of packages as they have it together, by its places.

    `sizes` are how many packages the chunks hold, as far as they can be read. `remade` and `remade_chunks` are what was
    damaged or missing and could be told from the rest, by number and by name.
    """

    head: int
    links: Mapping[int, Link]
    broken: Mapping[int, Broken]
    places: Mapping[int, PackageEntry]
    sizes: Mapping[str, int]
    broken_chunks: Mapping[str, Broken]
    contradictions: tuple[Finding, ...]
    remade: Mapping[int, Link] = field(default_factory=dict)
    remade_chunks: Mapping[str, tuple[PackageEntry, ...]] = field(default_factory=dict)

    def link(self, number: int) -> Link | None:
        """A version's link, whole or made anew."""
        return self.links.get(number) or self.remade.get(number)

    def chunked(self, chunks: Sequence[str]) -> int:
        """How many packages some chunks hold; a broken one is taken for full."""
        return sum(self.sizes.get(name, versions.CHUNK) for name in chunks)

    def length(self, link: Link) -> int:
        """How many packages a version has."""
        return self.chunked(link.chunks) + link.tail

    @property
    def listed(self) -> tuple[PackageEntry, ...]:
        """The packages from the first one on, up to the first place that no file tells."""
        found: list[PackageEntry] = []
        while len(found) in self.places:
            found.append(self.places[len(found)])
        return tuple(found)

    def seeds(self) -> set[int]:
        """The lake's seed, as the versions have it; old ones do not say it."""
        return {link.seed for link in self.links.values() if link.seed is not None}

    def version(self, number: int | None = None) -> Version:
        """A version as the chain has it, the newest by default; UncheckedError when that cannot be told."""
        wanted = self.head if number is None else number
        link = self.link(wanted)
        listed = self.listed
        if link is None or len(listed) < self.length(link):
            raise UncheckedError(f"version {wanted} cannot be read, see 'chain'")
        return Version(
            number=wanted,
            parent=link.parent,
            sha256=link.sha256,
            packages=listed[: self.length(link)],
            chunks=link.chunks,
            chunked=self.chunked(link.chunks),
            created_at=link.created_at,
            run_id=link.run_id,
        )


def read_chain(lake: Lake, head: int | None = None) -> Chain:
    """Read the files of all versions up to the newest, and the chunks that they name."""
    reader = _Reader(lake.versions)
    head = head_number(lake.versions) if head is None else head
    for number in range(1, head + 1):
        reader.read(number)
    return Chain(
        head=head,
        links=reader.links,
        broken=reader.broken,
        places=reader.places,
        sizes=reader.sizes,
        broken_chunks=reader.broken_chunks,
        contradictions=tuple(reader.contradictions),
    )


class _Reader:
    """Reads version after version and puts the packages that each lists at their places."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._chunks: set[str] = set()
        self.sizes: dict[str, int] = {}
        self.links: dict[int, Link] = {}
        self.broken: dict[int, Broken] = {}
        self.broken_chunks: dict[str, Broken] = {}
        self.places: dict[int, PackageEntry] = {}
        self.contradictions: list[Finding] = []

    def read(self, number: int) -> None:
        path = version_path(self._folder, number)
        try:
            link, tail = _read_link(path, number)
        except LakeDamaged as error:
            self.broken[number] = Broken(path=path, what=_why(error, path))
            return
        self.links[number] = link
        place = 0
        for name in link.chunks:
            if name not in self._chunks:
                self._chunks.add(name)
                self._read_chunk(place, name)
            place += self.sizes.get(name, versions.CHUNK)
        self._put(place, tail, path)

    def _read_chunk(self, first: int, name: str) -> None:
        path = chunk_path(self._folder, name)
        try:
            entries = _read_entries(path, name)
        except (LakeDamaged, KeyError, TypeError, AttributeError) as error:
            self.broken_chunks[name] = Broken(path=path, what=_why(error, path))
            return
        self.sizes[name] = len(entries)
        self._put(first, entries, path)

    def _put(self, first: int, entries: Sequence[PackageEntry], path: Path) -> None:
        for place, entry in enumerate(entries, start=first):
            if self.places.setdefault(place, entry) != entry:
                what = f"names package {entry.name} where earlier versions name {self.places[place].name}"
                self.contradictions.append(Finding(where=str(path), what=what))
                return


def _read_entries(path: Path, name: str) -> list[PackageEntry]:
    body = unseal(path, "packages")
    if content_sha256(body) != name:
        raise LakeDamaged(f"{path} holds something else than its name says")
    return [PackageEntry.of(value) for value in cast("list[dict[str, Json]]", body["packages"])]


def _read_link(path: Path, number: int) -> tuple[Link, list[PackageEntry]]:
    body = unseal(path, "number", "parent", "sha256", "chunks", "tail", "created_at", "run_id")
    if body["number"] != number:
        raise LakeDamaged(f"{path} is the file of version {body['number']}")
    try:
        tail = [PackageEntry.of(value) for value in cast("list[Mapping[str, Json]]", body["tail"])]
        link = Link(
            number=number,
            parent=cast("str | None", body["parent"]),
            sha256=str(body["sha256"]),
            chunks=tuple(cast("list[str]", body["chunks"])),
            tail=len(tail),
            created_at=datetime.fromisoformat(str(body["created_at"])),
            run_id=cast("str | None", body["run_id"]),
            seed=cast("int | None", body.get("seed")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LakeDamaged(f"{path} does not name its packages") from error
    return link, tail


def _why(error: Exception, path: Path) -> str:
    """What an error about a file says, without the file's name and the advice."""
    said = str(error).removeprefix(f"{path} ").partition("; put it back")[0]
    return " ".join(said.split())


def check_chain(lake: Lake, chain: Chain) -> Seen:
    """Every version is whole, adds up, and is the child of the one before it; every chunk is what its name says."""
    findings = [*_missing(chain), *chain.contradictions, *_unchained(lake, chain)]
    notes = (f"the lake has {counted(chain.head, 'version')}",) if not chain.head else ()
    return Seen(
        looked_at=f"{counted(chain.head, 'version')}, {counted(len(chain.places), 'package')}",
        findings=few(findings, of="versions"),
        notes=notes,
    )


def _missing(chain: Chain) -> Iterator[Finding]:
    for number, broken in sorted(chain.broken.items()):
        mending = MADE_ANEW if number in chain.remade else None
        yield Finding(where=str(broken.path), what=broken.what, mending=mending)
    for name, broken in chain.broken_chunks.items():
        mending = MADE_ANEW if name in chain.remade_chunks else None
        yield Finding(where=str(broken.path), what=broken.what, mending=mending)


def _unchained(lake: Lake, chain: Chain) -> Iterator[Finding]:
    for number, link in sorted(chain.links.items()):
        path = str(version_path(lake.versions, number))
        before = chain.link(number - 1)
        parent = before.sha256 if before else None
        if link.parent != parent and (before or number == 1):
            yield Finding(where=path, what=f"is not the child of version {number - 1}")
        own = added(chain, link)
        if own is not None and chain_sha256(number, link.parent, own) != link.sha256:
            yield Finding(where=path, what="names packages that do not add up to its sha256")


def added(chain: Chain, link: Link) -> list[PackageEntry] | None:
    """The packages that a version brought in, by the chain's list; None when a place in it is not known."""
    own: list[PackageEntry] = []
    for place in range(chain.length(link) - 1, -1, -1):
        entry = chain.places.get(place)
        if entry is None:
            return None
        if entry.version != link.number:
            break
        own.append(entry)
    return own[::-1]
