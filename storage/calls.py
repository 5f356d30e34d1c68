"""Recorded calls as they lie in the packages, together with the bytes that they name."""

from collections.abc import Collection, Iterator

import polars as pl

from storage.lake import Lake
from storage.packages import read_picture
from storage.records import CallRow, ImageRow, VectorRow, from_arrow
from storage.spool import RecordedCall
from storage.versions import PackageEntry, Version


def read_calls(lake: Lake, version: Version, sample_ids: Collection[str]) -> Iterator[RecordedCall]:
    """All committed calls of some samples, package by package, pictures and vectors attached."""
    for entry in version.packages:
        if (lake.folder(entry) / f"{CallRow.table}.parquet").exists():
            yield from _package_calls(lake, entry, sample_ids)


def _package_calls(lake: Lake, entry: PackageEntry, sample_ids: Collection[str]) -> Iterator[RecordedCall]:
    wanted = pl.scan_parquet(lake.folder(entry) / f"{CallRow.table}.parquet").filter(
        pl.col("sample_id").is_in(list(sample_ids))
    )
    rows = list(from_arrow(CallRow, wanted.collect().to_arrow()))
    images = {row.image_sha256: row for row in lake.package_rows(ImageRow, entry)} if rows else {}
    vectors = {row.vector_sha256: row.vector for row in lake.package_rows(VectorRow, entry)} if rows else {}
    for row in rows:
        attachments = {}
        if row.image_sha256:
            image = images[row.image_sha256]
            attachments[row.image_sha256] = read_picture(lake.folder(entry), image.start, image.length)
        if row.vector_sha256:
            attachments[row.vector_sha256] = vectors[row.vector_sha256]
        yield RecordedCall(row, attachments)
