"""Versions and chunks that are damaged or gone, made anew from what else is known: only what the hashes confirm.

What a version brought in is known from the lists of later versions, or from the packages that bear its number; its
hash from its child, or from what the projections remember.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, permutations

from storage import versions
from storage.canonical import Json, content_sha256
from storage.fsck.chain import Broken, Chain, Link
from storage.fsck.evidence import Evidence
from storage.packages import FORMAT
from storage.versions import PackageEntry, chain_sha256, version_path

MOST_ORDERS = 5040


def remake(chain: Chain, evidence: Evidence) -> Chain:
    """The chain with what could be told of its broken versions and chunks, lost newest versions included."""
    chain = _with_chunks(chain, evidence)
    folder = evidence.lake.versions
    remade: dict[int, Link] = {}
    number = 1
    while number <= max(chain.head, evidence.newest):
        if number > chain.head and version_path(folder, number).exists():
            break  # nothing is lost: somebody has committed since the chain was read
        found = [] if chain.links.get(number) else _search(_Lost(chain, evidence, remade), number)
        if not found and number > chain.head:
            break  # what the projections remember may as well be of a lake that was put back from a copy
        remade |= {link.number: link for link in found}
        chain = _with_places(chain, found, evidence)
        number += max(1, len(found))
    lost = range(chain.head + 1, max([chain.head, *remade]) + 1)
    gone = {number: Broken(path=version_path(folder, number), what="is missing") for number in lost}
    return replace(chain, head=chain.head + len(lost), remade=remade, broken={**chain.broken, **gone})


class _Lost:
    """What is asked of a chain while its broken versions are searched for."""

    def __init__(self, chain: Chain, evidence: Evidence, remade: Mapping[int, Link]) -> None:
        self.chain = chain
        self.evidence = evidence
        self._links = {**chain.links, **remade}
        listed = chain.listed
        whole = [number for number, link in chain.links.items() if chain.length(link) <= len(listed)]
        self.told_until = max(whole, default=0)
        self._by_version: dict[int, list[PackageEntry]] = {}
        for entry in listed:
            self._by_version.setdefault(entry.version, []).append(entry)

    def link(self, number: int) -> Link | None:
        return self._links.get(number)

    def orders(self, number: int) -> Iterator[tuple[PackageEntry, ...]]:
        """What a version may have brought in: as later versions list it, else its packages in any order."""
        if number <= self.told_until:
            yield tuple(self._by_version.get(number, ()))
        else:
            yield from islice(permutations(self.evidence.packages.get(number, ())), MOST_ORDERS)

    def hashes(self, number: int) -> set[str]:
        """What its sha256 must be; its child knows best."""
        child = self.link(number + 1)
        return {child.parent} if child and child.parent else self.evidence.hashes(number)


def _search(lost: _Lost, first: int) -> list[Link]:
    """Links for the broken versions from `first` to the next whose hash is known and confirms them; none if none do."""
    before = lost.link(first - 1)
    if before is None and first > 1:
        return []
    return _search_from(lost, first, before.sha256 if before else None, lost.chain.length(before) if before else 0)


def _search_from(lost: _Lost, number: int, parent: str | None, length: int) -> list[Link]:
    known = lost.hashes(number)
    for own in lost.orders(number):
        sha256 = chain_sha256(number, parent, own)
        link = _link(lost, number, (parent, sha256), length + len(own), own)
        if sha256 in known:
            return [link]
        if not known and number < max(lost.chain.head, lost.evidence.newest):
            rest = _search_from(lost, number + 1, sha256, length + len(own))
            if rest:
                return [link, *rest]
    return []


def _link(lost: _Lost, number: int, hashes: tuple[str | None, str], length: int, own: tuple[PackageEntry, ...]) -> Link:
    """A version of so many packages; `hashes` are its parent's and its own."""
    chain = lost.chain
    chunks = _chunks_until(chain, number, length)
    seeds = chain.seeds()
    return Link(
        number=number,
        parent=hashes[0],
        sha256=hashes[1],
        chunks=chunks,
        tail=length - chain.chunked(chunks),
        created_at=lost.evidence.created_at(number),
        run_id=lost.evidence.run_id(number, own),
        seed=min(seeds) if len(seeds) == 1 else None,
    )


def _chunks_until(chain: Chain, number: int, length: int) -> tuple[str, ...]:
    """The chunks of a version of so many packages: the first ones of a later version, or those of an earlier one."""
    later = [link.chunks for link in chain.links.values() if link.number > number]
    earlier = [link.chunks for link in chain.links.values() if link.number < number]
    chunks = later[0] if later else earlier[-1] if earlier else ()
    while chain.chunked(chunks) > length:
        chunks = chunks[:-1]
    return chunks


def _with_places(chain: Chain, found: Sequence[Link], evidence: Evidence) -> Chain:
    """Put what versions at the end brought in behind the list."""
    listed = chain.listed
    places = dict(chain.places)
    end = len(listed)
    for link in found:
        missing = chain.length(link) - end
        if missing <= 0:
            continue
        for own in islice(permutations(evidence.packages.get(link.number, ())), MOST_ORDERS):
            if len(own) == missing and chain_sha256(link.number, link.parent, own) == link.sha256:
                places |= dict(enumerate(own, start=end))
                end += missing
                break
    return replace(chain, places=places)


def _with_chunks(chain: Chain, evidence: Evidence) -> Chain:
    """Fill broken chunks from what version files list, and from packages where no list has them."""
    for name in chain.broken_chunks:
        chunks = next(link.chunks for link in chain.links.values() if name in link.chunks)
        place = chain.chunked(chunks[: chunks.index(name)])
        entries = _find_chunk(chain, evidence, place, name)
        if entries:
            places = {**chain.places, **dict(enumerate(entries, start=place))}
            chain = replace(chain, places=places, remade_chunks={**chain.remade_chunks, name: entries})
    return chain


def _find_chunk(chain: Chain, evidence: Evidence, first: int, name: str) -> tuple[PackageEntry, ...] | None:
    places = range(first, first + versions.CHUNK)
    gaps = [place for place in places if place not in chain.places]
    for filling in _fillings(chain, evidence, gaps):
        filled = {**chain.places, **dict(zip(gaps, filling, strict=True))}
        entries = tuple(filled[place] for place in places)
        if content_sha256(chunk_body(entries)) == name:
            return entries
    return None


def _fillings(chain: Chain, evidence: Evidence, gaps: Sequence[int]) -> Iterator[tuple[PackageEntry, ...]]:
    """Ways to fill places from packages of the versions around them that have no place yet."""
    if not gaps:
        yield ()
        return
    before, after = chain.places.get(gaps[0] - 1), chain.places.get(gaps[-1] + 1)
    numbers = range(before.version if before else 1, (after.version if after else chain.head) + 1)
    placed = {entry.name for entry in chain.places.values()}
    free = [entry for number in numbers for entry in evidence.packages.get(number, ()) if entry.name not in placed]
    says_tables = any(entry.tables is not None for entry in chain.places.values())
    if not says_tables:
        free = [replace(entry, tables=None) for entry in free]
    if len(free) <= 8 or len(gaps) <= 2:
        for filling in islice(permutations(free, len(gaps)), MOST_ORDERS):
            if list(filling) == sorted(filling, key=lambda entry: entry.version):
                yield filling
    else:
        yield from [tuple(sorted(free, key=lambda entry: entry.version))] if len(free) == len(gaps) else []


def chunk_body(entries: Sequence[PackageEntry]) -> dict[str, Json]:
    """What stands in the file of a chunk."""
    return {"packages": [entry.json() for entry in entries]}


def version_body(chain: Chain, link: Link, seed: int | None) -> dict[str, Json]:
    """What stands in the file of a version."""
    first = chain.chunked(link.chunks)
    body: dict[str, Json] = {
        "format": FORMAT,
        "number": link.number,
        "parent": link.parent,
        "sha256": link.sha256,
        "chunks": list(link.chunks),
        "tail": [chain.places[place].json() for place in range(first, first + link.tail)],
        "created_at": link.created_at.isoformat(),
        "run_id": link.run_id,
    }
    return body if seed is None else body | {"seed": seed}
