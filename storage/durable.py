"""Files that survive a power cut: write, fsync, rename, fsync the folder. Knows nothing of what they hold."""

import os
from dataclasses import dataclass
from pathlib import Path

PART = ".part"
"""How the names of files end that are being written; whoever is killed then leaves one."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A whole file, synced, under a name that nobody reads, in the folder where it is to lie."""

    path: Path
    final: Path

    @classmethod
    def write(cls, final: Path, data: bytes) -> "Staged":
        """Write the bytes; when that fails nothing is left of them."""
        path = final.with_name(f".{final.name}.{os.getpid()}{PART}")
        try:
            write_synced(path, data)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return cls(path, final)

    def give_name(self) -> None:
        """Rename it; the name outlives a power cut once the folder is synced."""
        self.path.replace(self.final)


def write_durably(path: Path, data: bytes) -> None:
    """Write a whole new file under its final name only once its bytes are on the disk."""
    Staged.write(path, data).give_name()
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


def names_in(folder: Path) -> list[str]:
    """What lies in a folder, by name, empty when there is none: a tenth of what asking for paths costs."""
    try:
        return os.listdir(folder)  # noqa: PTH208
    except FileNotFoundError:
        return []
