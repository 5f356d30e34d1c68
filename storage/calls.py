"""Recorded calls as they lie in the packages, together with the bytes that they name."""

from collections.abc import Collection, Iterator

from storage.errors import LakeDamaged
from storage.lake import Lake
from storage.packages import read_picture
from storage.records import CallRow, ImageRow, VectorRow
from storage.spool import RecordedCall
from storage.tables import read_table
from storage.versions import PackageEntry, Version


def read_calls(lake: Lake, version: Version, sample_ids: Collection[str]) -> Iterator[RecordedCall]:
    """All committed calls of some samples, package by package, pictures and vectors attached.

    LakeDamaged when a file of a package is gone or cannot be read, or lacks what a call names.
    """
    for entry in version.packages:
        yield from _package_calls(lake, entry, set(sample_ids))


def _package_calls(lake: Lake, entry: PackageEntry, sample_ids: set[str]) -> Iterator[RecordedCall]:
    rows = _call_rows(lake, entry, sample_ids)
    images = {row.image_sha256: row for row in lake.package_rows(ImageRow, entry)} if rows else {}
    vectors = {row.vector_sha256: row.vector for row in lake.package_rows(VectorRow, entry)} if rows else {}
    for row in rows:
        attachments = {}
        try:
            if row.image_sha256:
                attachments[row.image_sha256] = read_picture(lake.folder(entry), images[row.image_sha256])
            if row.vector_sha256:
                attachments[row.vector_sha256] = vectors[row.vector_sha256]
        except KeyError as error:
            raise LakeDamaged(f"{lake.folder(entry)} lacks {error.args[0]}, which call {row.call_id} names") from error
        yield RecordedCall(row, attachments)


def _call_rows(lake: Lake, entry: PackageEntry, sample_ids: set[str]) -> list[CallRow]:
    """The calls of some samples in one package; where there are none, their long bodies are not read."""
    ids = read_table(lake.folder(entry), CallRow.table, ["sample_id"])
    if ids is None or sample_ids.isdisjoint(ids["sample_id"].to_pylist()):
        return []
    return [row for row in lake.package_rows(CallRow, entry) if row.sample_id in sample_ids]
