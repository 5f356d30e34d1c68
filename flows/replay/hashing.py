"""Whether packages hash to what the chain says: as they lie there, and as they were made again."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from flows.replay.differences import Difference
from storage.lake import Lake
from storage.packages import PackageDraft, content_of
from storage.records import TABLES, Row, from_arrow
from storage.tables import packages_of
from storage.versions import Version, chain_sha256


def hash_again(lake: Lake, version: Version, drafts: Sequence[PackageDraft]) -> tuple[str, list[Difference]]:
    """The hash that a version has with these packages, and a difference for each that is not the recorded one.

    Packages of other kinds say what was given; they stay as they are.
    """
    recorded = lake.version(version.number)
    contents = {draft.kind: content_of(draft) for draft in drafts}
    old = recorded.added()
    made = [replace(entry, content_sha256=contents.get(entry.kind, entry.content_sha256)) for entry in old]
    differences = [
        Difference(
            version=version.number,
            sample_id=None,
            where=f"package {entry.name}",
            what=f"made again it hashes to {again.content_sha256[:16]}, and the chain says {entry.content_sha256[:16]}",
        )
        for entry, again in zip(old, made, strict=True)
        if entry.content_sha256 != again.content_sha256
    ]
    return chain_sha256(recorded.number, recorded.parent, made), differences


def hash_recorded(lake: Lake, number: int) -> Iterator[Difference]:
    """A difference for each package of a version whose rows, as they lie there, are not what the chain says.

    LakeDamaged when a file cannot be read.
    """
    version = lake.version(number)
    rows: dict[str, list[Row]] = {entry.name: [] for entry in version.added()}
    for holding in lake.holdings(version.since(number - 1)):
        for name, kind in TABLES.items():
            table = holding.read(name, kind.columns())
            for package, row in (
                zip(packages_of(table), from_arrow(kind, table), strict=True) if table is not None else ()
            ):
                rows[package].append(row)
    for entry in version.added():
        sha256 = content_of(PackageDraft(entry.kind, rows[entry.name]))
        if sha256 != entry.content_sha256:
            yield Difference(
                version=number,
                sample_id=None,
                where=f"package {entry.name}",
                what=f"its rows hash to {sha256[:16]}, and the chain says {entry.content_sha256[:16]}",
            )
