"""Maintenance of a lake: compaction, fewer files in the table of turns, and retirement where the user asks for it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from flows.settings import FILE, read_settings
from storage.compacting import compact, due, maintaining, retire, retired
from storage.history import publish
from storage.lake import MARK, Lake, write_mark
from storage.packages import FORMAT, unseal
from storage.sizes import Sizes, measure
from storage.turns_index import INDEX_FROM, Indexed, index_vectors
from storage.turns_upkeep import optimize, retire_tags, retired_tags
from storage.versions import PackageEntry
from storage.writing import writing


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintained:
    """What a maintenance came to.

    `table_rewritten` is False when the table changed underneath; then the next maintenance does it. `rows_indexed` is 0
    for a table too small for an index.
    """

    compacted: int
    folders: int
    table_files_before: int
    table_files: int
    table_rewritten: bool
    rows_indexed: int
    packages_retired: int
    tags_retired: int
    before: Sizes
    after: Sizes


class Maintenance:
    """One maintenance of a lake, step by step; each step may be killed, and the next maintenance goes on.

    A table of turns with `index_from` rows or more gets an index.
    """

    def __init__(
        self,
        lake: Lake,
        *,
        least: int,
        retire_after: timedelta | None,
        timeout: float,
        index_from: int = INDEX_FROM,
    ) -> None:
        self.lake = lake
        self.retire_after = retire_after
        self.groups = due(lake, lake.version(), least=least)
        self._timeout = timeout
        self._index_from = index_from
        self._before = measure(lake, lake.version())
        self._optimized = (0, 0, True)
        self._indexed = Indexed(rows=0, is_done=True)
        self._retired = (0, 0)

    def lift_format(self) -> None:
        """Let the lake say that it may have compact folders, before it gets the first."""
        if unseal(self.lake.path / MARK, "format")["format"] != FORMAT:
            with writing(self.lake, purpose="a new format", timeout=self._timeout):
                write_mark(self.lake.path, self.lake.seed)

    def label(self, number: int) -> str:
        return _describe(self.groups[number])

    def compact(self, number: int) -> str:
        """Put one group of packages together in a folder; returns its name."""
        return compact(self.lake, self.groups[number]).name

    def optimize(self) -> str:
        """Rewrite the table of turns in fewer files; returns a line about it."""
        done = optimize(self.lake, timeout=self._timeout)
        self._optimized = (done.files_before, done.files_after, done.is_done)
        return f"the table of turns: {done.files_before} files before, {done.files_after} now"

    def index(self) -> str:
        """Index the vectors of the table of turns when it is large; returns a line about it."""
        self._indexed = index_vectors(self.lake, least=self._index_from, timeout=self._timeout)
        return f"the table of turns: an index over {self._indexed.rows} rows"

    def retire(self) -> str:
        """Remove what was compacted long enough ago, when that was asked for; returns a line about it."""
        if self.retire_after is None:
            return "nothing is retired: no retention was given"
        with self.lake.lock(purpose="maintenance", timeout=self._timeout):
            packages = retire(self.lake, after=self.retire_after)
        tags, freed = retire_tags(self.lake, after=self.retire_after, timeout=self._timeout)
        self._retired = (len(packages), len(tags))
        return f"retired {len(packages)} packages, {len(tags)} tags and {freed} bytes of the table that no tag needs"

    def finish(self) -> Maintained:
        """Bring the history up to the moved tags, and weigh the lake."""
        head = self.lake.version()
        publish(self.lake, head, timeout=self._timeout)
        files_before, files, is_done = self._optimized
        return Maintained(
            compacted=sum(map(len, self.groups)),
            folders=len(self.groups),
            table_files_before=files_before,
            table_files=files,
            table_rewritten=is_done and self._indexed.is_done,
            rows_indexed=self._indexed.rows,
            packages_retired=self._retired[0],
            tags_retired=self._retired[1],
            before=self._before,
            after=measure(self.lake, head),
        )


def _describe(group: Sequence[PackageEntry]) -> str:
    return f"{len(group)} packages of versions {group[0].version} to {group[-1].version}"


@contextmanager
def open_maintenance(
    path: Path,
    *,
    least: int,
    retire_after_days: float | None,
    lock_timeout: float | None,
    index_from: int = INDEX_FROM,
) -> Iterator[Maintenance]:
    """Be the one who maintains a lake. NotALake, SettingsError, LakeBusy while somebody else maintains it."""
    lake, settings = Lake.open(path), read_settings(path / FILE)
    timeout = settings.run.lock_timeout if lock_timeout is None else lock_timeout
    retire_after = None if retire_after_days is None else timedelta(days=retire_after_days)
    with maintaining(lake):
        yield Maintenance(lake, least=least, retire_after=retire_after, timeout=timeout, index_from=index_from)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a maintenance would do."""

    groups: tuple[str, ...]
    packages_to_retire: int
    tags_to_retire: int
    sizes: Sizes


def preview_maintenance(path: Path, *, least: int, retire_after_days: float | None) -> Outlook:
    """Say what a maintenance would do now; writes nothing."""
    lake = Lake.open(path)
    head = lake.version()
    groups = due(lake, head, least=least)
    after = None if retire_after_days is None else timedelta(days=retire_after_days)
    return Outlook(
        groups=tuple(map(_describe, groups)),
        packages_to_retire=len(retired(lake, after=after)) if after is not None else 0,
        tags_to_retire=len(retired_tags(lake, after=after)) if after is not None else 0,
        sizes=measure(lake, head),
    )
