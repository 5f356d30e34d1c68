"""Upkeep of the LanceDB table: its rows in fewer files, and the tags of old versions retired when the user says so.

Files are rewritten without the lake's lock; only naming the result takes it, for a moment. Readers that opened a tag
keep what they see. Each row is rewritten about once in its life: files with ROWS_PER_FILE rows are left alone.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import lance
from lance.optimize import Compaction, RewriteResult

from storage.errors import LakeDamaged
from storage.lake import Lake
from storage.projection import lance_version_of, read_link, table_folder, tag_of, tagged_numbers
from storage.steps import Step, reached
from storage.turns_table import open_newest, sync_table
from storage.writing import writing

ROWS_PER_FILE = 8192
CONFLICT = "commit conflict"
"""What Lance says, in an OSError like all else, when somebody deleted rows of the files that were rewritten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimized:
    """How many files hold the rows before and after; `is_done` is False when the table changed underneath."""

    files_before: int
    files_after: int
    is_done: bool


def optimize(lake: Lake, *, timeout: float) -> Optimized:
    """Rewrite small files of the table into large ones, to the same rows. LakeBusy after `timeout` seconds.

    Whoever deletes rows meanwhile wins: then nothing is changed, and the next time does it.
    """
    with writing(lake, purpose="maintenance", timeout=timeout) as writer:
        planned, which = as_tagged(lake, writer.head.number)
    before = len(planned.get_fragments())
    plan = Compaction.plan(planned, {"target_rows_per_fragment": ROWS_PER_FILE, "num_threads": 1})
    results = [task.execute(planned) for task in plan.tasks]
    if not results:
        return Optimized(files_before=before, files_after=before, is_done=True)
    with writing(lake, purpose="maintenance", timeout=timeout) as writer:
        if table_folder(lake).stat().st_ino != which:  # it was made anew meanwhile
            return Optimized(files_before=before, files_after=before, is_done=False)
        return _name_rewritten(lake, writer.head.number, results, before)


def as_tagged(lake: Lake, number: int) -> tuple[lance.LanceDataset, int]:
    """The table as a version shows it, and which one it is (an inode): a table that is made anew is another one."""
    folder = table_folder(lake)
    return lance.dataset(str(folder), version=lance_version_of(lake, number)), folder.stat().st_ino


def _name_rewritten(lake: Lake, number: int, results: list[RewriteResult], before: int) -> Optimized:
    newest = lance.dataset(str(table_folder(lake)))
    rows = newest.count_rows()
    try:
        Compaction.commit(newest, results)
    except OSError as error:
        if CONFLICT not in str(error):
            raise
        return Optimized(files_before=before, files_after=before, is_done=False)
    reached(Step.TABLE_OPTIMIZED)
    name_newest(lake, number, rows=rows)
    after = len(lance.dataset(str(table_folder(lake))).get_fragments())
    return Optimized(files_before=before, files_after=after, is_done=True)


def name_newest(lake: Lake, number: int, *, rows: int) -> None:
    """Move a version's tag to the table as it is now, with the same `rows`, and make both outlive a power cut.

    The caller holds the lake's lock, and the version is the newest.
    """
    table = open_newest(lake)
    if table.count_rows() != rows:
        raise LakeDamaged(f"{table_folder(lake)} lost rows when it was rewritten; 'interlake rebuild' makes it anew")
    sync_table(lake)
    table.tags.update(tag_of(number), int(table.version))
    sync_table(lake)
    reached(Step.TAG_MOVED)


def retired_tags(lake: Lake, *, after: timedelta) -> list[int]:
    """Versions whose tags may go: the oldest, up to the first that was not committed so long ago; never the newest."""
    before = datetime.now(UTC) - after
    return list(takewhile(lambda number: read_link(lake, number).created_at <= before, tagged_numbers(lake)[:-1]))


def retire_tags(lake: Lake, *, after: timedelta, timeout: float) -> tuple[list[int], int]:
    """Take away tags, and the files that no other tag needs; returns the versions and how many bytes that freed.

    The packages still have all of these versions, and so have `sql --at` and `show`; only LanceDB cannot open them.
    """
    with writing(lake, purpose="maintenance", timeout=timeout):
        going = retired_tags(lake, after=after)
        table = open_newest(lake)
        for number in going:
            table.tags.delete(tag_of(number))
            reached(Step.TAG_RETIRED)
        newest = lance.dataset(str(table_folder(lake)))
        stats = newest.cleanup_old_versions(older_than=after, error_if_tagged_old_versions=False)
        sync_table(lake)
    return going, int(stats.bytes_removed)
