"""Mending a lake: what the packages and the chain's hashes prove is made anew, what they do not name is put aside.

Nothing is deleted: whatever is replaced lies in `aside` before its successor has its name. What cannot be proven stays
as it is.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq

from storage.canonical import Json, content_sha256
from storage.compacting import KIND
from storage.durable import Staged, sync_folder
from storage.fsck.check import Survey, survey
from storage.fsck.findings import Line, Mended, UncheckedError, look
from storage.fsck.folders import Inspected, InspectedCompact
from storage.fsck.lost_versions import chunk_body, version_body
from storage.fsck.shown import BROUGHT_UP, TableLook, check_history
from storage.fsck.strays import find_strays
from storage.history import LOCK as HISTORY_LOCK
from storage.history import history_path, publish
from storage.lake import ASIDE, MARK, Lake, move_aside
from storage.lock import hold
from storage.packages import FORMAT, MANIFEST, file_hashes, seal
from storage.projection import lance_folder
from storage.turns_table import bring_up, rebuild
from storage.versions import Version, chunk_path, version_path


def mend(path: Path) -> tuple[Mended, ...]:
    """Mend what can be mended, the truth first; returns what was done. The caller holds the lake's lock."""
    (path / ASIDE).mkdir(exist_ok=True)
    done: list[Mended] = []
    found = survey(path, is_mine=True)
    for step in (_mend_mark, _mend_chain, _mend_packages, _put_strays_aside, _mend_projections):
        did = list(step(found))
        found = survey(path, is_mine=True) if did else found
        done += did
    return tuple(done)


def _replace(lake: Lake, path: Path, data: bytes) -> None:
    """Write a file anew; what was there lies in `aside` as well before it loses its name here."""
    path.parent.mkdir(exist_ok=True)
    staged = Staged.write(path, data)
    if path.exists():
        kept = lake.path / ASIDE / f"{path.name}-{uuid.uuid4().hex[:8]}"
        _keep(path, kept)
        sync_folder(kept.parent)
    staged.give_name()
    sync_folder(path.parent)


def _keep(path: Path, kept: Path) -> None:
    try:
        os.link(path, kept)
    except OSError:
        shutil.copy2(path, kept)


def _put_aside(lake: Lake, path: Path) -> Mended:
    aside = move_aside(lake.path, path)
    sync_folder(path.parent)
    sync_folder(aside.parent)
    return Mended(where=str(path), what=f"moved to {ASIDE}/{aside.name}")


def _mend_mark(found: Survey) -> Iterator[Mended]:
    if found.mark.format is None and found.mark.wrong and found.seed is not None:
        path = found.lake.path / MARK
        _replace(found.lake, path, seal({"format": FORMAT, "seed": found.seed}))
        yield Mended(where=str(path), what=f"written anew, with the seed {found.seed} that the versions say")


def _mend_chain(found: Survey) -> Iterator[Mended]:
    """Chunks first, for versions name them; then versions, oldest first."""
    lake, chain = found.lake, found.chain
    for name, entries in chain.remade_chunks.items():
        path = chunk_path(lake.versions, name)
        _replace(lake, path, seal(chunk_body(entries)))
        sync_folder(path.parent.parent)
        yield Mended(where=str(path), what="written anew, to the hash that is its name")
    for number, link in sorted(chain.remade.items()):
        path = version_path(lake.versions, number)
        _replace(lake, path, seal(version_body(chain, link, found.seed)))
        yield Mended(where=str(path), what=f"written anew, to the sha256 {link.sha256[:12]} that the chain says")


def _mend_packages(found: Survey) -> Iterator[Mended]:
    if found.stock is None:
        return
    stock, lake = found.stock, found.lake
    for folder in stock.compact:
        yield from (_put_aside(lake, path) for path in folder.extra)
        if folder.remakes_manifest:
            yield _write_compact_manifest(lake, folder)
        elif not folder.is_whole and stock.can_do_without(folder):
            yield _put_aside(lake, folder.folder)
    for package in stock.packages:
        if package.is_there and not package.is_whole and package.entry.name in stock.covering:
            yield _put_aside(lake, package.folder)
            continue
        yield from (_put_aside(lake, path) for path in package.extra)
        if package.remakes_manifest:
            yield _write_manifest(lake, package)


def _write_manifest(lake: Lake, package: Inspected) -> Mended:
    """The manifest of a package whose rows and pictures are proven by their hashes."""
    folder, path = package.folder, package.folder / MANIFEST
    body: dict[str, Json] = {
        "format": FORMAT,
        "kind": package.entry.kind,
        "content_sha256": package.entry.content_sha256,
        "tables": _row_counts(folder),
        "files": file_hashes(folder),
    }
    _replace(lake, path, seal(body))
    return Mended(where=str(path), what="written anew: the tables are what the version says")


def _write_compact_manifest(lake: Lake, found: InspectedCompact) -> Mended:
    folder, path = found.folder, found.folder / MANIFEST
    body: dict[str, Json] = {
        "format": FORMAT,
        "kind": KIND,
        "covers": [entry.json() for entry in found.covers],
        "content_sha256": content_sha256([[e.version, e.kind, e.content_sha256] for e in found.covers]),
        "tables": _row_counts(folder),
        "files": file_hashes(folder),
        "made_at": datetime.now(UTC).isoformat(),
    }
    _replace(lake, path, seal(body))
    return Mended(where=str(path), what="written anew: the rows are those of the packages that it covers")


def _row_counts(folder: Path) -> dict[str, int]:
    return {path.stem: int(pq.read_metadata(path).num_rows) for path in sorted(folder.glob("*.parquet"))}


def _put_strays_aside(found: Survey) -> Iterator[Mended]:
    if found.stock is None:
        return
    try:
        strays = find_strays(found.lake, found.chain, found.stock, is_mine=True)
    except UncheckedError:
        return
    for stray in strays:
        if not stray.is_foreign and stray.path.exists():
            yield _put_aside(found.lake, stray.path)


def _mend_projections(found: Survey) -> Iterator[Mended]:
    """Bring the table and the history up, or make them anew, where that is needed and the packages are whole."""
    stock, chain, lake = found.stock, found.chain, found.lake
    if stock is None or not stock.all_whole or not chain.head or chain.broken or chain.broken_chunks:
        return
    table = look("table", lambda: TableLook(lake, chain, stock).check(is_busy=False))
    if not table.is_ok:
        yield from _mend_table(lake, chain.version(), table)
    if not look("history", lambda: check_history(lake, chain, stock)).is_ok:
        yield from renew_history(lake, chain.version())


def _mend_table(lake: Lake, version: Version, line: Line) -> Iterator[Mended]:
    if not line.unchecked and all(finding.mending == BROUGHT_UP for finding in line.findings):
        bring_up(lake, version)
        yield Mended(where=str(lance_folder(lake)), what=f"brought up to version {version.number}")
    else:
        yield from renew_table(lake, version)


def renew_table(lake: Lake, version: Version) -> Iterator[Mended]:
    """Move the table aside and make it anew from the packages. The caller holds the lake's lock."""
    folder = lance_folder(lake)
    if folder.exists():
        yield _put_aside(lake, folder)
    rebuild(lake, version)
    yield Mended(where=str(folder), what=f"made anew from the packages, versions 1 to {version.number}")


def renew_history(lake: Lake, version: Version) -> Iterator[Mended]:
    """Move the history aside and publish it anew; LakeBusy when somebody has been publishing for half a minute."""
    path = history_path(lake)
    with hold(lake.path / HISTORY_LOCK, purpose="putting the history aside", timeout=30):
        if path.exists():
            yield _put_aside(lake, path)
    publish(lake, version)
    yield Mended(where=str(path), what=f"made anew from the packages, up to version {version.number}")
