"""A new lake's folder: all of it or none of it, whenever the process that makes it is killed.

Everything is made in a hidden folder inside the one that becomes the lake, and moved up when it is whole; `mark`, the
file that makes a folder a lake, comes last. So the folder may be a mount point, or the one that the user stands in.
What a killed process left is taken away by the next attempt.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.durable import sync_folder, write_durably
from storage.errors import NotALake
from storage.lock import hold

LOCK = ".lock"
PART = ".init.part"
MOVED = ".moved"


@contextmanager
def found(folder: Path, *, mark: str) -> Iterator[Path]:
    """A folder to fill, whose content lies in `folder` once the block ends well.

    NotALake when `folder` holds something already, LakeBusy when another process is making a lake there.
    """
    _refuse_taken(folder, mark)
    _make_folder(folder)
    with hold(folder / LOCK, purpose="init", timeout=0):
        _refuse_taken(folder, mark)
        _remove_remains(folder)
        part = folder / PART
        part.mkdir()
        try:
            yield part
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        _move_up(part, folder, mark)
        shutil.rmtree(part)


def _refuse_taken(folder: Path, mark: str) -> None:
    if (folder / mark).exists():
        raise NotALake(f"{folder} is a lake already; choose another folder")
    if folder.exists() and (not folder.is_dir() or _foreign_names(folder)):
        raise NotALake(f"{folder} is there and not an empty folder; choose another one")


def _foreign_names(folder: Path) -> set[str]:
    """What lies in a folder and comes from no attempt to make a lake there."""
    return {path.name for path in folder.iterdir()} - {LOCK, PART, *_moved_names(folder)}


def _moved_names(folder: Path) -> list[str]:
    """What an attempt that was killed while it moved things up may have moved."""
    try:
        return (folder / PART / MOVED).read_text().splitlines()
    except FileNotFoundError:
        return []


def _make_folder(folder: Path) -> None:
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def _remove_remains(folder: Path) -> None:
    for name in _moved_names(folder):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    shutil.rmtree(folder / PART, ignore_errors=True)


def _move_up(part: Path, folder: Path, mark: str) -> None:
    names = sorted({path.name for path in part.iterdir()} - {LOCK, mark})
    write_durably(part / MOVED, "\n".join(names).encode())
    for name in names:
        (part / name).rename(folder / name)
    sync_folder(folder)
    (part / mark).rename(folder / mark)
    sync_folder(folder)
