"""Packages: immutable folders of Parquet tables and a picture pack, sealed by a manifest that is written last.

A package's `content_sha256` is taken over {table name: table hash}. A table's hash is the sha256 of its rows' content
columns, each row a canonical JSON array followed by a newline, in the order of the table's key columns.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from storage.canonical import Json, canonical_bytes, content_sha256, sha256_hex
from storage.durable import sync_file, sync_folder, write_synced
from storage.errors import LakeDamaged
from storage.records import TABLES, ImageRow, Row, to_arrow
from storage.steps import Step, reached

FORMAT = 3
READABLE = frozenset({2, FORMAT})
"""Lakes of format 2 have no compact folders, and do not say which tables a package has; `maintain` lifts them to 3."""
MANIFEST = "manifest.json"
IMAGE_PACK = "images.pack"

R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class PackageDraft:
    """What is to become one package: a kind, rows of any tables, and picture bytes by their sha256."""

    kind: str
    rows: Sequence[Row]
    pictures: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a package consists of: rows and content hash by table, bytes and sha256 by file."""

    kind: str
    content_sha256: str
    tables: Mapping[str, int]
    files: Mapping[str, str]


def table_sha256(rows: Sequence[Row]) -> str:
    """The content hash of rows of one table, whatever order they come in."""
    digest = hashlib.sha256()
    columns = rows[0].columns(only_content=True)
    for row in sorted(rows, key=_sort_key):
        digest.update(canonical_bytes(row.content(columns)) + b"\n")
    return digest.hexdigest()


def content_of(draft: PackageDraft) -> str:
    """The content hash that the package of a draft has once it is written."""
    pictures = (ImageRow(image_sha256=sha256, length=len(data), start=0) for sha256, data in draft.pictures.items())
    return _content_sha256(_by_table([*draft.rows, *pictures]))


def _by_table(rows: Iterable[Row]) -> dict[str, list[Row]]:
    tables: dict[str, list[Row]] = {}
    for row in rows:
        tables.setdefault(row.table, []).append(row)
    return tables


def _content_sha256(tables: Mapping[str, Sequence[Row]]) -> str:
    return content_sha256({name: table_sha256(members) for name, members in tables.items()})


def _sort_key(row: Row) -> tuple[tuple[bool, str | int], ...]:
    return tuple((value is not None, value or 0) for value in row.identity())


def write_package(folder: Path, draft: PackageDraft) -> Manifest:
    """Write a package into a new folder, every file synced and read back, the manifest last.

    Raises ValueError when two rows of one table have the same key, a value is not of its column's type or a picture not
    what its hash says, LakeDamaged when what was written reads back as something else.
    """
    folder.mkdir(parents=True)
    tables = _by_table([*draft.rows, *_write_pictures(folder, draft.pictures)])
    for name, members in sorted(tables.items()):
        _refuse_repeated_keys(name, members)
        write_table(folder / f"{name}.parquet", _checked_table(name, sorted(members, key=_sort_key)))
        reached(Step.TABLE_WRITTEN)
    body: dict[str, Json] = {
        "format": FORMAT,
        "kind": draft.kind,
        "content_sha256": _content_sha256(tables),
        "tables": {name: len(members) for name, members in tables.items()},
        "files": file_hashes(folder),
    }
    write_synced(folder / MANIFEST, seal(body))
    sync_folder(folder)
    reached(Step.MANIFEST_WRITTEN)
    return read_manifest(folder)


def file_hashes(folder: Path) -> dict[str, Json]:
    """The sha256 of every file in a folder but its manifest."""
    return {path.name: file_sha256(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}


def _write_pictures(folder: Path, pictures: Mapping[str, bytes]) -> list[ImageRow]:
    rows, start = [], 0
    if not pictures:
        return []
    with (folder / IMAGE_PACK).open("wb") as pack:
        for sha256, data in sorted(pictures.items()):
            if sha256_hex(data) != sha256:
                raise ValueError(f"picture {sha256[:12]} does not hash to its name")
            pack.write(data)
            rows.append(ImageRow(image_sha256=sha256, length=len(data), start=start))
            start += len(data)
    sync_file(folder / IMAGE_PACK)
    reached(Step.PICTURES_WRITTEN)
    return rows


def _checked_table(name: str, rows: Sequence[Row]) -> pa.Table:
    """Rows as Arrow; ValueError when a value has no place in its column: no text that UTF-8 knows, another type."""
    try:
        return to_arrow(TABLES[name], rows)
    except (pa.ArrowException, UnicodeError, TypeError, OverflowError) as error:
        raise ValueError(f"a row of table {name} cannot be stored: {error}") from error


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table durably, and read it back; LakeDamaged when that is not what was written."""
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)
    sync_file(path)
    if not pq.read_table(path, use_threads=False).equals(table):
        raise LakeDamaged(f"{path} reads back as something else than was written: the disk or the memory is faulty")


def _refuse_repeated_keys(name: str, rows: Sequence[Row]) -> None:
    seen = set()
    for row in rows:
        if row.identity() in seen:
            raise ValueError(f"table {name} has two rows with the key {row.identity()}")
        seen.add(row.identity())


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(body: Mapping[str, Json]) -> bytes:
    """JSON that carries the sha256 of its own canonical body, so that damage shows."""
    return json.dumps({"body": body, "sha256": content_sha256(body)}, indent=1, sort_keys=True).encode() + b"\n"


def unseal(path: Path, *keys: str) -> dict[str, Json]:
    """The body of a sealed file; LakeDamaged when it is missing, torn, altered, or lacks one of the `keys`."""
    try:
        sealed = json.loads(path.read_bytes())
        if sealed["sha256"] == content_sha256(sealed["body"]):
            return _checked_body(path, sealed["body"], keys)
    except FileNotFoundError as error:
        raise LakeDamaged(f"{path} is missing; put it back from a copy of the lake") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LakeDamaged(f"{path} cannot be read ({error}); put it back from a copy of the lake") from error
    raise LakeDamaged(f"{path} is not what its own sha256 says; put it back from a copy of the lake")


def _checked_body(path: Path, body: Json, keys: Sequence[str]) -> dict[str, Json]:
    if not isinstance(body, dict) or not body.keys() >= set(keys):
        raise LakeDamaged(f"{path} holds something else than its name says; put it back from a copy of the lake")
    return body


def read_manifest(folder: Path) -> Manifest:
    body = unseal(folder / MANIFEST, "kind", "content_sha256", "tables", "files")
    return Manifest(
        kind=str(body["kind"]),
        content_sha256=str(body["content_sha256"]),
        tables=body["tables"],  # type: ignore[arg-type]
        files=body["files"],  # type: ignore[arg-type]
    )


def read_picture(pack: Path, image: ImageRow) -> bytes:
    """A picture's bytes; LakeDamaged when the pack that it lies in is gone, too short, or has other bytes there."""
    try:
        with pack.open("rb") as file:
            file.seek(image.start)
            data = file.read(image.length)
    except (OSError, ValueError) as error:
        raise LakeDamaged(f"{pack} cannot be read ({error}); put it back from a copy of the lake") from error
    if sha256_hex(data) != image.image_sha256:
        raise LakeDamaged(f"{pack} is damaged at picture {image.image_sha256}; put it back from a copy of the lake")
    return data
