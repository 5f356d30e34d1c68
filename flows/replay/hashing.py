"""Whether packages that were made again hash to what the chain says."""

from collections.abc import Sequence
from dataclasses import replace

from flows.replay.differences import Difference
from storage.lake import Lake
from storage.packages import PackageDraft, content_of
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
