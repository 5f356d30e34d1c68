"""Recorded calls as they lie in the packages, together with the bytes that they name."""

from collections.abc import Collection, Iterator

from storage.errors import LakeDamaged
from storage.lake import Lake
from storage.records import CallRow, ImageRow, VectorRow, from_arrow
from storage.spool import RecordedCall
from storage.tables import Among, Holding, packages_of
from storage.versions import Version


def read_calls(lake: Lake, version: Version, sample_ids: Collection[str]) -> Iterator[RecordedCall]:
    """All committed calls of some samples, in commit order, pictures and vectors attached.

    LakeDamaged when a file of a package is gone or cannot be read, or lacks what a call names.
    """
    for holding in lake.holdings(version):
        yield from _calls_in(holding, sample_ids)


def _calls_in(holding: Holding, sample_ids: Collection[str]) -> Iterator[RecordedCall]:
    table = holding.read(CallRow.table, CallRow.columns(), Among(column="sample_id", values=sample_ids))
    rows = list(from_arrow(CallRow, table)) if table is not None else []
    named = {sha256 for row in rows for sha256 in (row.image_sha256, row.vector_sha256) if sha256}
    attached = dict(_attachments(holding, named)) if named else {}
    for row in rows:
        theirs = [sha256 for sha256 in (row.image_sha256, row.vector_sha256) if sha256]
        missing = [sha256 for sha256 in theirs if sha256 not in attached]
        if missing:
            raise LakeDamaged(f"{holding.folder} lacks {missing[0]}, which call {row.call_id} names")
        yield RecordedCall(row, {sha256: attached[sha256] for sha256 in theirs})


def _attachments(holding: Holding, named: Collection[str]) -> Iterator[tuple[str, bytes]]:
    images = holding.read(ImageRow.table, ImageRow.columns(), Among(column="image_sha256", values=named))
    if images is not None:
        for image, package in zip(from_arrow(ImageRow, images), packages_of(images), strict=True):
            yield image.image_sha256, holding.picture(image, package)
    vectors = holding.read(VectorRow.table, VectorRow.columns(), Among(column="vector_sha256", values=named))
    if vectors is not None:
        yield from ((row.vector_sha256, row.vector) for row in from_arrow(VectorRow, vectors))
