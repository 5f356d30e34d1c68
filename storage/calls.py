"""Recorded calls as they lie in the packages, with the bytes that they name, and whether they are what was recorded."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from storage.canonical import content_sha256, sha256_hex
from storage.errors import LakeDamaged
from storage.lake import Lake
from storage.records import CallRow, ImageRow, VectorRow, from_arrow
from storage.spool import RecordedCall
from storage.tables import Among, Holding, packages_of
from storage.versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class AlteredCall:
    """A call that is not what was recorded: its request, its response, or bytes that it names."""

    row: CallRow
    problem: str


def answer_hash(row: CallRow) -> str:
    """What guards the answer that a row holds."""
    return hash_answer(
        response=row.response,
        error=row.error,
        image_sha256=row.image_sha256,
        vector_sha256=row.vector_sha256,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
    )


def hash_answer(
    *,
    response: str,
    error: str | None,
    image_sha256: str | None,
    vector_sha256: str | None,
    prompt_tokens: int | None,
    completion_tokens: int | None,
) -> str:
    """Sha256 over [response, error, image, vector, prompt tokens, completion tokens]."""
    return content_sha256([response, error, image_sha256, vector_sha256, prompt_tokens, completion_tokens])


def read_calls(lake: Lake, version: Version, sample_ids: Collection[str]) -> Iterator[RecordedCall]:
    """All committed calls of some samples, in commit order, pictures and vectors attached.

    LakeDamaged when a file of a package is gone or cannot be read, and for a call that was altered.
    """
    for call in examine_calls(lake, version, sample_ids):
        if isinstance(call, AlteredCall):
            raise LakeDamaged(f"call {call.row.call_id} is not what was recorded: {call.problem}")
        yield call


def examine_calls(lake: Lake, version: Version, sample_ids: Collection[str]) -> Iterator[RecordedCall | AlteredCall]:
    """As `read_calls`, but a call that was altered is named, with what is wrong, and the others come all the same."""
    return examine_calls_among(lake, version, Among(column="sample_id", values=sample_ids))


def examine_calls_among(lake: Lake, version: Version, among: Among) -> Iterator[RecordedCall | AlteredCall]:
    """As `examine_calls`, of any choice of calls."""
    for holding in lake.holdings_of(CallRow, version):
        try:
            yield from _examined(holding, holding.read(CallRow.table, CallRow.columns(), among))
        except LakeDamaged as error:
            yield from _salvaged(holding, among, error)


def _examined(holding: Holding, table: pa.Table | None) -> list[RecordedCall | AlteredCall]:
    rows = list(from_arrow(CallRow, table)) if table is not None else []
    attached = dict(_attachments(holding, {sha256 for row in rows for sha256 in _named(row)}))
    problems = [next(_problems(row, attached, holding), None) for row in rows]
    return [
        AlteredCall(row=row, problem=problem) if problem else RecordedCall(row, _theirs(row, attached))
        for row, problem in zip(rows, problems, strict=True)
    ]


def _salvaged(holding: Holding, among: Among, error: LakeDamaged) -> list[RecordedCall | AlteredCall]:
    """What can still be read of a file that is damaged, where the calls' own hashes say which of them it is.

    The error is raised where they do not: then nothing that is read there can be trusted.
    """
    try:
        calls = _examined(holding, holding.read(CallRow.table, CallRow.columns(), among, checked=False))
    except (LakeDamaged, ValueError, pa.ArrowException):
        raise error from None
    if not any(isinstance(call, AlteredCall) for call in calls):
        raise error
    return calls


def _named(row: CallRow) -> list[str]:
    return [sha256 for sha256 in (row.image_sha256, row.vector_sha256) if sha256]


def _theirs(row: CallRow, attached: Mapping[str, bytes | LakeDamaged]) -> dict[str, bytes]:
    found = {sha256: attached[sha256] for sha256 in _named(row)}
    return {sha256: data for sha256, data in found.items() if isinstance(data, bytes)}


def _problems(row: CallRow, attached: Mapping[str, bytes | LakeDamaged], holding: Holding) -> Iterator[str]:
    if sha256_hex(row.request.encode()) != row.request_key:
        yield "its request does not hash to its key"
    if row.answer_sha256 is not None and answer_hash(row) != row.answer_sha256:
        yield "its response is not what its own hash says"
    for sha256 in _named(row):
        found = attached.get(sha256)
        if found is None:
            yield f"{holding.folder} lacks {sha256}, which it names"
        elif isinstance(found, LakeDamaged):
            yield str(found)


def _attachments(holding: Holding, named: Collection[str]) -> Iterator[tuple[str, bytes | LakeDamaged]]:
    """The bytes by their hash; what is wrong with them where they are not what it says."""
    if not named:
        return
    images = holding.read(ImageRow.table, ImageRow.columns(), Among(column="image_sha256", values=named))
    if images is not None:
        for image, package in zip(from_arrow(ImageRow, images), packages_of(images), strict=True):
            yield image.image_sha256, _picture(holding, image, package)
    vectors = holding.read(VectorRow.table, VectorRow.columns(), Among(column="vector_sha256", values=named))
    if vectors is not None:
        for row in from_arrow(VectorRow, vectors):
            is_same = sha256_hex(row.vector) == row.vector_sha256
            where = f"{holding.path(VectorRow.table)} has other bytes under vector {row.vector_sha256}"
            yield row.vector_sha256, row.vector if is_same else LakeDamaged(where)


def _picture(holding: Holding, image: ImageRow, package: str) -> bytes | LakeDamaged:
    try:
        return holding.picture(image, package)
    except LakeDamaged as error:
        return error
