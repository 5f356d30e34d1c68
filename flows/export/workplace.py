"""Where an export is made before it has its name: whatever moment its process is killed at, it goes on from there.

OUT.part/
├── lock          held by the process that is at it
├── plan.json     what is being exported, sealed: another export does not go on from here
├── rows.duckdb   the rows in order, made anew each time
├── writing/      the files of the shard that is being written
├── done/         a sealed file for each shard whose files are all in `files/`, with their hashes
└── files/        what becomes OUT, in one renaming, once the manifest is in it
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from flows.errors import UserError
from storage.canonical import Json
from storage.durable import publish_folder, sync_file, sync_folder, write_durably, write_synced
from storage.errors import LakeDamaged
from storage.lock import hold
from storage.packages import file_sha256, seal, unseal

MANIFEST = "manifest.json"
Files = Mapping[str, Mapping[str, Json]]
"""By name relative to the export: `bytes` and `sha256`."""
_WHOLE = 1 << 256


@dataclass(slots=True)
class Tally:
    """How many samples were written, and the sum of their hashes: the same whatever the order and the shards."""

    samples: int = 0
    total: int = 0

    def add(self, content_sha256: str) -> None:
        """One more sample."""
        self.samples += 1
        self.total = (self.total + int(content_sha256, 16)) % _WHOLE

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.samples + other.samples, (self.total + other.total) % _WHOLE)

    @property
    def sum_sha256(self) -> str:
        """The sum of the hashes modulo 2^256, as 64 hex digits."""
        return f"{self.total:064x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was written of a shard."""

    files: Files
    tally: Tally


class Workplace:
    """The folder OUT.part, for whoever holds its lock."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._folder = out.with_name(f"{out.name}.part")
        self.files = self._folder / "files"
        self._writing = self._folder / "writing"
        self._done = self._folder / "done"

    @classmethod
    @contextmanager
    def entered(cls, out: Path, plan: Mapping[str, Json]) -> Iterator["Workplace"]:
        """The workplace of an export; UserError when it is that of another one, LakeBusy when somebody is at it."""
        place = cls(out)
        place._folder.mkdir(parents=True, exist_ok=True)
        with hold(place._folder / "lock", purpose="an export", timeout=0):
            place._agree(plan)
            yield place

    def _agree(self, plan: Mapping[str, Json]) -> None:
        for folder in (self.files, self._done):
            folder.mkdir(exist_ok=True)
        path = self._folder / "plan.json"
        if not path.exists():
            write_durably(path, seal(dict(plan)))
        elif unseal(path) != plan:
            raise UserError(
                f"{self._folder} was left by another export, of other samples or in another form: give its command "
                "again, or remove it"
            )

    def rows(self) -> Path:
        """A file for rows that is not there yet."""
        path = self._folder / "rows.duckdb"
        for left in self._folder.glob("rows.duckdb*"):
            left.unlink()
        return path

    @contextmanager
    def writing(self, shard: str, tally: Tally) -> Iterator[Path]:
        """A folder to write the files of a shard into; when the block ends they, and the tally, are in the export."""
        shutil.rmtree(self._writing, ignore_errors=True)
        self._writing.mkdir()
        yield self._writing
        found: dict[str, Json] = {}
        for path in sorted(each for each in self._writing.rglob("*") if each.is_file()):
            sync_file(path)
            name = path.relative_to(self._writing).as_posix()
            found[name] = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for name in found:
            final = self.files / name
            final.parent.mkdir(parents=True, exist_ok=True)
            (self._writing / name).replace(final)
        for folder in _folders(self.files):
            sync_folder(folder)
        body: dict[str, Json] = {"files": found, "samples": tally.samples, "sum_sha256": tally.sum_sha256}
        write_durably(self._done / f"{shard}.json", seal(body))

    def done(self, shard: str) -> Done | None:
        """What was written of a shard; None while it is not all there as it was written."""
        try:
            body = unseal(self._done / f"{shard}.json", "files", "samples", "sum_sha256")
        except LakeDamaged:
            return None
        files = cast("Files", body["files"])
        if not all(_is(self.files / name, known) for name, known in files.items()):
            return None
        return Done(files=files, tally=Tally(cast("int", body["samples"]), int(str(body["sum_sha256"]), 16)))

    def finish(self, others: Mapping[str, bytes], manifest: bytes) -> None:
        """Put other files beside the shards, the manifest last, and give the folder its name."""
        for name, data in others.items():
            write_synced(self.files / name, data)
        write_synced(self.files / MANIFEST, manifest)
        publish_folder(self.files, self.out)
        self.clear()

    def clear(self) -> None:
        """Nothing of it is left; not even the lock, which whoever waits for it finds out."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _folders(top: Path) -> list[Path]:
    return [Path(folder) for folder, _, _ in os.walk(top)]


def _is(path: Path, known: Mapping[str, Json]) -> bool:
    return path.is_file() and path.stat().st_size == known["bytes"] and file_sha256(path) == known["sha256"]
