"""The steps of a commit, of recovery and of maintenance, by name: between any two of them a process may be killed.

`reached` tells Python's audit hooks (`sys.addaudithook`, event `interlake.step`), which costs nothing where there are
none. The fault tests add one that kills, stops or starves the process at a step; nothing else listens.
"""

import sys
from enum import StrEnum

EVENT = "interlake.step"


class Step(StrEnum):
    """Every step, in the order in which a run comes by them."""

    FILES_CLEARED = "recover: unfinished files are gone"
    ORPHANS_ASIDE = "recover: packages without a version are aside"
    TABLE_RESTORED = "recover: the table is back at its newest tag"
    RECOVERED = "recover: all is well"
    TABLE_WRITTEN = "commit: a table of a package is written"
    PICTURES_WRITTEN = "commit: the pictures of a package are written"
    MANIFEST_WRITTEN = "commit: the manifest of a package is written"
    PACKAGE_NAMED = "commit: a package has its name"
    CHUNK_NAMED = "commit: a piece of the list of packages has its name"
    VERSION_STAGED = "commit: the version is written, not yet named"
    VERSION_NAMED = "commit: the version has its name"
    COMMITTED = "commit: the version outlives a power cut"
    ROWS_DELETED = "table: rows of samples decided anew are gone"
    ROWS_ADDED = "table: rows are added"
    TABLE_SYNCED = "table: its files outlive a power cut"
    TABLE_TAGGED = "table: the version has its tag"
    VERIFIED = "commit: what was written is what is there"
    SPOOL_DROPPED = "build: the spool of a committed batch is gone"
    HISTORY_COPIED = "history: the present file is copied"
    HISTORY_WRITTEN = "history: the copy is up to date"
    HISTORY_NAMED = "history: the copy has its name"
    RUN_TIDIED = "build: the folder of an ended run is gone"
    TABLE_DROPPED = "rebuild: the table is aside"
    TABLE_MADE = "rebuild: an empty table is there"
    COMPACT_STAGED = "maintain: a compact folder is written, not yet named"
    COMPACT_NAMED = "maintain: a compact folder has its name"
    TABLE_OPTIMIZED = "maintain: the table is rewritten in fewer files"
    TABLE_INDEXED = "maintain: the vectors of the table have an index, not yet named"
    TAG_MOVED = "maintain: the newest tag is at the rewritten table"
    PACKAGE_RETIRED = "maintain: a package that a compact folder holds is gone"
    TAG_RETIRED = "maintain: the tag of an old version is gone"


def reached(step: Step) -> None:
    """Say that a step is done."""
    sys.audit(EVENT, step.value)
