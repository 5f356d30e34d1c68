"""What both projections ask of a lake: whether a version is in its chain, and which LanceDB version bears its tag.

Reads LanceDB's tags from their files (`_refs/tags/NAME.json`, part of the Lance table format), because importing
lancedb takes seconds that a mere query should not cost.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast

from storage.errors import LakeDamaged
from storage.lake import Lake
from storage.packages import unseal
from storage.versions import Version, version_path

TABLE = "turns"
SKETCHES = "sketches"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One version of the chain without its list of packages."""

    number: int
    parent: str | None
    sha256: str
    created_at: datetime
    run_id: str | None


def read_link(lake: Lake, number: int) -> Link:
    """A version's own facts, at a cost that does not grow with the lake; LakeDamaged when its file is not whole."""
    body = unseal(version_path(lake.versions, number), "parent", "sha256", "created_at", "run_id")
    return Link(
        number=number,
        parent=cast("str | None", body["parent"]),
        sha256=str(body["sha256"]),
        created_at=datetime.fromisoformat(str(body["created_at"])),
        run_id=cast("str | None", body["run_id"]),
    )


def is_in_chain(lake: Lake, number: int, sha256: str, *, known: Version | None = None) -> bool:
    """Whether the lake has this very version; False for one of another lake, or of a lake put back from a copy.

    `known`, a version of this lake, saves reading its own file and its parent's.
    """
    near = {known.number: known.sha256, known.number - 1: known.parent} if known else {}
    try:
        return near.get(number) == sha256 or read_link(lake, number).sha256 == sha256
    except LakeDamaged:
        return False


def lance_folder(lake: Lake) -> Path:
    return lake.path / "lance"


def table_folder(lake: Lake) -> Path:
    return lance_folder(lake) / f"{TABLE}.lance"


def tag_of(number: int) -> str:
    return f"v{number}"


def lance_version_of(lake: Lake, number: int) -> int | None:
    """The LanceDB version that stands for a version of the lake; None while it has no tag, or a torn one."""
    try:
        return int(json.loads((_tags(lake) / f"{tag_of(number)}.json").read_bytes())["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def tagged_numbers(lake: Lake) -> list[int]:
    """The versions of the lake that have a tag, oldest first."""
    return sorted(int(path.stem[1:]) for path in _tags(lake).glob("v[0-9]*.json"))


def _tags(lake: Lake) -> Path:
    return table_folder(lake) / "_refs" / "tags"
