"""The LanceDB table `turns`: a row per turn of a kept sample, with its picture and vectors; tag `v<N>` is version N.

A projection of the packages, made anew from them at will. One writer at a time: whoever brings it up holds the
lake's lock. Readers open it by tag and see a version that nobody changes any more.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import lancedb
import pyarrow as pa
from lancedb.table import LanceTable

from storage.canonical import Json
from storage.durable import sync_file, sync_folder, write_durably
from storage.errors import LakeDamaged, NoSuchThing
from storage.lake import Lake, move_aside
from storage.packages import seal, unseal
from storage.projection import TABLE, is_in_chain, lance_folder, lance_version_of, table_folder, tag_of, tagged_numbers
from storage.steps import Step, reached
from storage.turn_rows import (
    SCHEMA,
    Floats,
    SampleState,
    arrow_table,
    decided_samples,
    find_pictures,
    find_vectors,
    made_in,
    shown_turns,
)
from storage.versions import Version

__all__ = [
    "StoredTurn",
    "bring_up",
    "count",
    "lance_version_of",
    "open_at",
    "read_turns",
    "rebuild",
]

CHAIN_FILE = "turns.chain.json"
HINT = Path("_versions", "latest_version_hint.json")
"""LanceDB's note of its newest version; a torn or wrong one does no harm, it looks for itself then."""
VERSIONS_PER_SYNC = 64
ADD_ROWS = 128
IDS_PER_FILTER = 500
VECTORS = ("image_vector", "text_vector")

_PLAIN_ID = re.compile(r"[A-Za-z0-9_.:-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTurn:
    """A kept turn as the table has it, `image` being the picture file's bytes."""

    sample_id: str
    turn: int
    topic_id: str
    topic: str
    category: str
    domain: str
    question: str
    answer: str
    caption: str
    image_sha256: str
    image: bytes
    encoder: str
    flagged: bool
    licence: str
    version: int


def bring_up(lake: Lake, version: Version) -> None:
    """Bring the table to a version, tag after tag; a table that is lost, unreadable or another lake's is made anew.

    The caller holds the lake's lock. ValueError for vectors that are no unit vectors or of a second encoder,
    LakeDamaged when packages lack what a turn needs; the table then stands at the last version that was whole.
    """
    ours = _open_ours(lake, version)
    if ours is None:
        rebuild(lake, version)
    else:
        _bring_up(lake, ours, version)


def rebuild(lake: Lake, version: Version) -> None:
    """Make the table anew from the packages, tags 1 to the version's number; what was there lies in `aside` then.

    The caller holds the lake's lock.
    """
    folder = lance_folder(lake)
    folder.mkdir(exist_ok=True)
    (folder / CHAIN_FILE).unlink(missing_ok=True)
    if table_folder(lake).exists():
        move_aside(lake.path, table_folder(lake))
        sync_folder(folder)
    reached(Step.TABLE_DROPPED)
    _connect(lake).create_table(TABLE, schema=SCHEMA)
    reached(Step.TABLE_MADE)
    _bring_up(lake, _Ours(table=_open(lake), newest=0), version)


def _bring_up(lake: Lake, ours: "_Ours", version: Version) -> None:
    if ours.newest >= version.number:
        return
    table = ours.table
    synced = _files(table_folder(lake)) if ours.newest else set()
    _write_chain(lake, version)
    _drop_untagged(lake, ours)
    numbers = range(ours.newest + 1, version.number + 1)
    for first in range(0, len(numbers), VERSIONS_PER_SYNC):
        tags: dict[int, int] = {}
        try:
            for number in numbers[first : first + VERSIONS_PER_SYNC]:
                _apply(lake, table, version.until(number))
                tags[number] = int(table.version)
        finally:
            synced = _sync_new(lake, synced)
            reached(Step.TABLE_SYNCED)
            _write_tags(lake, table, tags)


def _apply(lake: Lake, table: LanceTable, version: Version) -> None:
    """Show what one version changed: delete samples that are no longer as shown, add the kept ones not shown."""
    states = decided_samples(lake, version)
    shown = _shown_states(table, sorted(states.keys() - made_in(lake, version)))
    stale = [sample_id for sample_id, state in shown.items() if state != states[sample_id]]
    fresh = {
        sample_id: state
        for sample_id, state in states.items()
        if state.kept and (sample_id not in shown or sample_id in stale)
    }
    turns = shown_turns(lake, version, fresh) if fresh else []
    places = find_pictures(lake, version, {turn.row.image_sha256 for turn in turns})
    vectors = find_vectors(lake, version, [turn.vectors for turn in turns])
    for chosen in id_filters(stale):
        table.delete(chosen)
        reached(Step.ROWS_DELETED)
    before = table.count_rows()
    for first in range(0, len(turns), ADD_ROWS):
        _add(table, arrow_table(turns[first : first + ADD_ROWS], places, vectors))
        reached(Step.ROWS_ADDED)
    if table.count_rows() != before + len(turns):
        raise LakeDamaged(
            f"{table_folder(lake)} did not take the rows of version {version.number}: 'interlake rebuild'"
        )


def _shown_states(table: LanceTable, sample_ids: Sequence[str]) -> dict[str, SampleState]:
    """Which of some samples the table shows, and as what."""
    flags: dict[tuple[str, str], dict[int, bool]] = {}
    for chosen in id_filters(sample_ids):
        names = ["sample_id", "encoder", "turn", "flagged"]
        for row in table.search().where(chosen).select(names).to_arrow().to_pylist():
            flags.setdefault((row["sample_id"], row["encoder"]), {})[row["turn"]] = row["flagged"]
    return {
        sample_id: SampleState(kept=True, flagged=frozenset(t for t in turns if turns[t]), encoder=encoder)
        for (sample_id, encoder), turns in flags.items()
    }


def id_filters(sample_ids: Sequence[str]) -> Iterator[str]:
    """Filters that choose samples, a few hundred each; ids that could be anything but an id are refused."""
    for first in range(0, len(sample_ids), IDS_PER_FILTER):
        part = sample_ids[first : first + IDS_PER_FILTER]
        for sample_id in part:
            if not _PLAIN_ID.fullmatch(sample_id):
                raise ValueError(f"{sample_id!r} is not a sample id")
        yield "sample_id IN ({})".format(", ".join(f"'{sample_id}'" for sample_id in part))


def _add(table: LanceTable, rows: pa.Table) -> None:
    _refuse_other_encoder(table, rows)
    vector_type = rows.schema.field("image_vector").type
    if "image_vector" in table.schema.names and table.schema.field("image_vector").type != vector_type:
        if table.count_rows():
            theirs, ours = table.schema.field("image_vector").type.list_size, vector_type.list_size
            raise ValueError(f"the table of turns has vectors of {theirs} numbers, these have {ours}")
        table.drop_columns(list(VECTORS))  # of the encoder that the lake has moved away from; older tags keep them
    if "image_vector" not in table.schema.names:
        table.add_columns([pa.field(name, vector_type) for name in VECTORS])
    table.add(rows)


def _refuse_other_encoder(table: LanceTable, rows: pa.Table) -> None:
    known = table.search().select(["encoder"]).limit(1).to_arrow()["encoder"].to_pylist()
    encoders = sorted({str(name) for name in (*known, *rows["encoder"].to_pylist())})
    if len(encoders) > 1:
        names = " and ".join(repr(name) for name in encoders)
        raise ValueError(f"one table of turns cannot hold vectors of the encoders {names}")


def _drop_untagged(lake: Lake, ours: "_Ours") -> None:
    """Go back to the newest tag when a crash came between adding rows and tagging them."""
    tagged = lance_version_of(lake, ours.newest)
    if tagged is not None and ours.table.version != tagged:
        ours.table.restore(tagged)
        reached(Step.TABLE_RESTORED)


def _connect(lake: Lake) -> lancedb.DBConnection:
    return lancedb.connect(str(lance_folder(lake)))


def _open(lake: Lake) -> LanceTable:
    table = cast("LanceTable", _connect(lake).open_table(TABLE))
    _go_to_newest(table)
    return table


def _go_to_newest(table: LanceTable) -> None:
    """See what other handles have written since; a handle does not do so by itself."""
    table.checkout_latest()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ours:
    """The table at its newest state, and the newest version of the lake that has a tag there, 0 for none."""

    table: LanceTable
    newest: int


def _open_ours(lake: Lake, version: Version) -> _Ours | None:
    """The table, or None when it is missing, unreadable, untagged or of another chain."""
    brought_to = _brought_to(lake, version)
    newest = _newest_tag(lake, brought_to) if brought_to else None
    if not newest:
        return None
    try:
        table = _open(lake)
        if table.version != lance_version_of(lake, newest):  # what has the tag must be there to be gone back to
            table.checkout(tag_of(newest))
            _go_to_newest(table)
    except (OSError, RuntimeError, ValueError):
        return None
    return _Ours(table=table, newest=newest)


def _newest_tag(lake: Lake, brought_to: int) -> int | None:
    """The newest version with a tag: that which the table was last brought to, unless that was cut short."""
    if lance_version_of(lake, brought_to) is not None:
        return brought_to
    return max(tagged_numbers(lake), default=None)


def _brought_to(lake: Lake, version: Version) -> int | None:
    """The version that the table was last to be brought to, None when that is none of this lake's."""
    try:
        body = unseal(lance_folder(lake) / CHAIN_FILE, "number", "sha256")
    except LakeDamaged:
        return None
    number, sha256 = cast("int", body["number"]), str(body["sha256"])
    return number if is_in_chain(lake, number, sha256, known=version) else None


def _write_chain(lake: Lake, version: Version) -> None:
    body: dict[str, Json] = {"number": version.number, "sha256": version.sha256}
    write_durably(lance_folder(lake) / CHAIN_FILE, seal(body))


def _files(folder: Path) -> set[str]:
    """All files below a folder. LanceDB writes each once and never again, but for tags and HINT."""
    found, folders = set(), [str(folder)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    found.add(entry.path)
    return found


def _sync_new(lake: Lake, synced: set[str]) -> set[str]:
    """fsync the files that are new since `synced` was taken, the one that changes, and the folders that name them."""
    folder = table_folder(lake)
    files = _files(folder)
    new = [Path(name) for name in (files - synced) | (files & {str(folder / HINT)})]
    for path in new:
        sync_file(path)
    parents = {parent for path in new for parent in path.parents if parent.is_relative_to(folder)}
    for parent in sorted({*parents, folder, folder.parent, lake.path}, reverse=True):
        sync_folder(parent)
    return files


def _write_tags(lake: Lake, table: LanceTable, tags: Mapping[int, int]) -> None:
    """Tag versions whose data outlive a power cut by now, and make the tags outlive it too."""
    if not tags:
        return
    folder = table_folder(lake) / "_refs" / "tags"
    for number, lance_version in tags.items():
        table.tags.create(tag_of(number), lance_version)
        sync_file(folder / f"{tag_of(number)}.json")
        reached(Step.TABLE_TAGGED)
    for path in (folder, folder.parent, folder.parent.parent):
        sync_folder(path)


def open_newest(lake: Lake) -> LanceTable:
    """The table as it is now, for its upkeep; the caller holds the lake's lock and has recovered it."""
    return _open(lake)


def sync_table(lake: Lake) -> None:
    """Make every file of the table outlive a power cut."""
    _sync_new(lake, set())


def open_at(lake: Lake, version: Version) -> LanceTable:
    """The table as a version shows it, read-only; NoSuchThing when it has not been brought up to that version."""
    if lance_version_of(lake, version.number) is None or _brought_to(lake, version) is None:
        raise NoSuchThing(
            f"the table of turns does not show version {version.number}: the next build brings it up, or its tag was "
            "retired and 'interlake rebuild' shows it again"
        )
    table = _open(lake)
    table.checkout(tag_of(version.number))
    return table


def count(lake: Lake, version: Version) -> int:
    """How many turns of kept samples a version has, flagged ones included."""
    return int(open_at(lake, version).count_rows())


def read_turns(lake: Lake, version: Version, sample_id: str) -> list[StoredTurn]:
    """A kept sample's turns in their order, with their pictures; empty for a sample that is not kept."""
    table = open_at(lake, version)
    names = [name for name in SCHEMA.names if name != "image"]
    (chosen,) = id_filters([sample_id])
    found = table.search().where(chosen).select(names).with_row_id(with_row_id=True).to_arrow().sort_by("turn")
    images = _fetch_images(table, cast("list[int]", found["_rowid"].to_pylist()))
    rows = found.select(names).to_pylist()
    return [StoredTurn(**row, image=image) for row, image in zip(rows, images, strict=True)]


def _fetch_images(table: LanceTable, row_ids: list[int]) -> list[bytes]:
    return cast("list[bytes]", table.fetch_blobs("image", row_ids).to_pylist()) if row_ids else []


def matrix(vectors: "pa.ChunkedArray[Any]") -> Floats:
    whole = cast("pa.FixedSizeListArray[Any, int]", vectors.combine_chunks())
    numbers: Floats = whole.flatten().to_numpy(zero_copy_only=False)
    return numbers.reshape(len(whole), whole.type.list_size)
