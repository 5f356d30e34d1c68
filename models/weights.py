"""Where a model's weights lie, checked before anything is loaded: pinned, safe to read, hashed, their licence known."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSource:
    """Which weights the settings ask for.

    `name` is a hub repository, or the user's own name for a `folder`. `revision` is a commit of 40 hex digits: a must
    for a repository, and where a folder is a copy of one, its commit. `licence` (SPDX) overrides the model card.
    """

    name: str
    revision: str | None
    folder: Path | None
    licence: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights that may be loaded. `revision` is the commit, or `sha256:` and the hash of a folder without one."""

    name: str
    revision: str
    folder: Path
    sha256: str
    licence: str


def find_weights(source: WeightsSource) -> Weights:
    """The weights, looked through and hashed; TerminalError when they are missing, unpinned, unsafe or unlicensed."""
    raise NotImplementedError(source)
