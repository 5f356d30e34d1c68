"""Folders of reports: each is there whole or not at all, and takes the place of nothing but an earlier report."""

import json
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportKind:
    """One kind of report: `name` stands in its file of `numbers`, which lists all others."""

    name: str
    numbers: str

    def refuse_foreign(self, out: Path, lake: Path) -> None:
        """UserError unless `out` is not there, is empty, or a report with no files but its own; never in a lake."""
        if out.is_relative_to(lake):
            raise UserError(f"{out} lies in the lake; name a folder elsewhere")
        if not out.exists() and not out.is_symlink():
            return
        if not out.is_dir() or out.is_symlink():
            raise UserError(f"{out} is no folder; name one that is not there yet, or an earlier report")
        there = {str(path.relative_to(out)) for path in out.rglob("*") if not path.is_dir() or path.is_symlink()}
        if foreign := sorted(there - self._listed(out / self.numbers)):
            raise UserError(
                f"{out} holds {foreign[0]}, which is of no report; name a folder that is empty or not there yet"
            )

    def write(self, out: Path, files: Iterable[tuple[str, bytes]], numbers: Mapping[str, object]) -> None:
        """Write beside `out`, then put in its place; what was there goes once the new report is there."""
        out.parent.mkdir(parents=True, exist_ok=True)
        fresh, old = (out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.{kind}") for kind in ("new", "old"))
        try:
            names = [_write_file(fresh / name, data).relative_to(fresh).as_posix() for name, data in files]
            listed = {"kind": self.name, **numbers, "files": sorted(names)}
            _write_file(fresh / self.numbers, json.dumps(listed, indent=1).encode())
            _put(fresh, out, old)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _listed(self, path: Path) -> set[str]:
        """The files of an earlier report by its own list; none when that is no report's."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return {self.numbers, *map(str, found["files"])} if found["kind"] == self.name else set()
        except (OSError, ValueError, KeyError, TypeError):
            return set()


def _write_file(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _put(fresh: Path, out: Path, old: Path) -> None:
    """Rename; the earlier report comes back when that fails."""
    if out.exists():
        out.rename(old)
    try:
        fresh.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
