"""Files that survive a power cut: write, fsync, rename, fsync the folder. Knows nothing of what they hold."""

import os
from pathlib import Path


def write_durably(path: Path, data: bytes) -> None:
    """Write a whole new file under its final name only once its bytes are on the disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    write_synced(temporary, data)
    temporary.replace(path)
    sync_folder(path.parent)


def write_synced(path: Path, data: bytes) -> None:
    """Write a file in place and fsync it; for files in a folder that nobody reads yet."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """fsync a file that somebody else has written."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """fsync a folder, which makes the names in it durable."""
    sync_file(path)


def publish_folder(staged: Path, final: Path) -> None:
    """Give a finished folder its final name: fsync it, rename it, fsync the folder it now lies in."""
    sync_folder(staged)
    staged.rename(final)
    sync_folder(final.parent)
