"""The one way to write into a lake: hold its lock, mend what a killed process left, check, commit, show, verify.

    recover    unfinished files are gone, packages without a version aside, the table of turns is at the newest version
    check      every value fits its column, vectors are finite and of unit norm, no id comes twice, the disk has room
    commit     packages are written, synced and read back; the version file is renamed: the only commit point
    show       the table of turns is brought up to it and synced
    verify     the packages and rows are as many as were committed

The history follows by `storage.history.publish`, whenever that is worth its price. Knows nothing of models: whether a
picture decodes is for the caller to see to.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast

from storage.durable import names_in, sync_folder
from storage.errors import LakeDamaged, NoRoom
from storage.lake import Lake, clear_leftovers, number_of
from storage.packages import PackageDraft, read_manifest, unseal
from storage.projection import lance_folder
from storage.records import CallRow, ImageRow, ModelRow, RecipeRow, TopicRow, VectorRow
from storage.steps import Step, reached
from storage.turn_rows import checked_vector
from storage.turns_table import CHAIN_FILE, bring_up
from storage.versions import Version, version_path

SPARE_BYTES = 4 << 20
MAY_COME_AGAIN = frozenset(kind.table for kind in (TopicRow, RecipeRow, ModelRow, ImageRow, VectorRow))
COPIES = 2
"""A picture is written twice: into its package, and into the table of turns."""

LISTENER: ContextVar["Callable[[Version, str | None, Sequence[PackageDraft]], None] | None"] = ContextVar(
    "LISTENER", default=None
)
"""Who in this context is told of each version once it is committed and shown, of its run, and of what it brought."""


class Writer:
    """Whoever holds the lake, recovered; good until the lock is left."""

    def __init__(self, lake: Lake, head: Version | None) -> None:
        self._lake = lake
        self._head = head

    @property
    def next_number(self) -> int:
        """The number of the version that `commit` would write."""
        return self._head.number + 1 if self._head else 1

    @property
    def head(self) -> Version:
        """The newest version; NoSuchThing when the lake has none yet."""
        return self._head or self._lake.version()

    def commit(self, drafts: Sequence[PackageDraft], *, run_id: str | None = None) -> Version:
        """Commit packages as one version, and show it.

        ValueError for rows that may not enter a lake and NoRoom for a full disk: then nothing has changed. An OSError
        may come after the version was committed, too; the next who writes finishes then what it left undone.
        """
        _check_vectors(drafts)
        _check_ids(drafts)
        _check_room(self._lake, drafts)
        version = self._lake.commit(drafts, run_id=run_id)
        self._head = version
        bring_up(self._lake, version)
        _verify(self._lake, version, drafts)
        if tell := LISTENER.get():
            tell(version, run_id, drafts)
        return version


@contextmanager
def writing(lake: Lake, *, purpose: str, timeout: float) -> Iterator[Writer]:
    """Hold the lake for writing, recovered. LakeBusy after `timeout` seconds, LakeDamaged when it cannot be read."""
    with lake.lock(purpose=purpose, timeout=timeout):
        yield Writer(lake, recover(lake))


def recover(lake: Lake) -> Version | None:
    """Undo or finish what a killed process left, and return the newest version. The caller holds the lock.

    Changes nothing where all is well; may be killed itself at any point.
    """
    head = lake.head()
    sync_folder(lake.versions)  # who named the newest version may have been killed before that
    _refuse_lost_versions(lake, head)
    clear_leftovers(lake.path, head)
    if head:
        bring_up(lake, head)
    reached(Step.RECOVERED)
    return head


def _refuse_lost_versions(lake: Lake, head: Version | None) -> None:
    """LakeDamaged when the table was brought to a later version than the newest, whose packages are still there.

    Its file is gone, then: to go on would put its packages aside and commit another version under its number. A lake
    put back from an older copy has no such packages.
    """
    try:
        brought_to = cast("int", unseal(lance_folder(lake) / CHAIN_FILE, "number")["number"])
    except LakeDamaged:
        return
    newest = head.number if head else 0
    if any(newest < number <= brought_to for number in map(number_of, names_in(lake.packages))):
        path = version_path(lake.versions, brought_to)
        raise LakeDamaged(f"{path} is missing, and its packages are there: 'interlake fsck --repair' makes it anew")


def _check_vectors(drafts: Sequence[PackageDraft]) -> None:
    for draft in drafts:
        for row in draft.rows:
            if isinstance(row, VectorRow):
                checked_vector(row)


def _check_ids(drafts: Sequence[PackageDraft]) -> None:
    """ValueError when two packages of one version have a row with the same key; within one, writing it looks.

    That no earlier version has it follows from the claims: see `storage.slots.taken_over`.
    """
    seen: set[tuple[object, ...]] = set()
    for draft in drafts:
        keys = {(row.table, *row.identity()) for row in draft.rows if row.table not in MAY_COME_AGAIN}
        if seen & keys:
            raise ValueError(f"two packages of one version have a row with the key {min(seen & keys, key=str)}")
        seen |= keys


def _check_room(lake: Lake, drafts: Sequence[PackageDraft]) -> None:
    """NoRoom when the disk has less free than the packages will take, a little for the rest included."""
    pictures = sum(len(data) for draft in drafts for data in draft.pictures.values())
    rows = [row for draft in drafts for row in draft.rows]
    bodies = sum(len(row.request) + len(row.response) for row in rows if isinstance(row, CallRow))
    vectors = sum(len(row.vector) for row in rows if isinstance(row, VectorRow))
    needed = COPIES * (pictures + vectors) + bodies + SPARE_BYTES
    free = shutil.disk_usage(lake.path).free
    if free < needed:
        raise NoRoom(
            f"{lake.path} has {free / 2**20:.1f} MB free, and the next version needs {needed / 2**20:.1f}: make room"
        )


def _verify(lake: Lake, version: Version, drafts: Sequence[PackageDraft]) -> None:
    """LakeDamaged unless the version is the newest, and its packages hold as many rows as were given."""
    there = lake.version()
    if there.sha256 != version.sha256:
        raise LakeDamaged(f"{lake.path} shows version {there.number} after version {version.number} was committed")
    for entry, draft in zip(there.added(), drafts, strict=True):
        manifest = read_manifest(lake.folder(entry))
        given = Counter(row.table for row in draft.rows)
        if draft.pictures:
            given["images"] += len(draft.pictures)
        if manifest.content_sha256 != entry.content_sha256 or dict(manifest.tables) != dict(given):
            raise LakeDamaged(f"{lake.folder(entry)} does not hold what was committed")
    reached(Step.VERIFIED)
