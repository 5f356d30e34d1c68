"""The index over the vectors of the LanceDB table, for tables too large to be gone through at every question.

Made by maintenance alone, and a projection of a projection: a rebuild of the table leaves it out, and a version whose
tag has none is gone through whole, as are the rows that came after it. It serves the search for neighbours and nothing
else: what it finds is not always all there is, so duplicates are never looked for in it.
"""

from dataclasses import dataclass

import lance
from lancedb.table import LanceTable

from storage.lake import Lake
from storage.projection import table_folder
from storage.steps import Step, reached
from storage.turns_table import VECTORS, open_newest
from storage.turns_upkeep import as_tagged, name_newest
from storage.writing import writing

INDEX_FROM = 50_000
"""Rows from which a table gets an index: going through 50,000 vectors of 512 numbers takes 0.14 s on two cores."""
LATER = 0.1
"""The share of rows without an index from which it is made anew; until then they are gone through."""
KIND = "IVF_SQ"
"""Partitions of vectors of a byte a number, refined by the vectors themselves. Of 100,000 vectors of 128 numbers it
found the same 10 and 100 nearest as a search without an index, and took 1 s to make; IVF_HNSW_SQ took 100 s and
searched no quicker, IVF_PQ found two thirds of the 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """How many rows the index covers, 0 without one; `is_done` is False when the table changed underneath."""

    rows: int
    is_done: bool


def index_vectors(lake: Lake, *, least: int = INDEX_FROM, timeout: float) -> Indexed:
    """Index the vectors of a table with `least` rows or more, unless an index covers nearly all of them already.

    The index is made without the lake's lock, which is taken only to name it. LakeBusy after `timeout` seconds.
    """
    with writing(lake, purpose="maintenance", timeout=timeout) as writer:
        planned, which = as_tagged(lake, writer.head.number)
        covered = covered_rows(open_newest(lake))
    rows = planned.count_rows()
    if rows < max(1, least) or rows - covered <= rows * LATER:
        return Indexed(rows=covered, is_done=True)
    fragments = [fragment.fragment_id for fragment in planned.get_fragments()]
    made = {
        name: planned.create_index_uncommitted(
            name, KIND, name=index_of(name), metric="cosine", replace=True, fragment_ids=fragments
        )
        for name in VECTORS
    }
    with writing(lake, purpose="maintenance", timeout=timeout) as writer:
        newest = lance.dataset(str(table_folder(lake)))
        there = {fragment.fragment_id for fragment in newest.get_fragments()}
        if table_folder(lake).stat().st_ino != which or not there.issuperset(fragments):
            return Indexed(rows=covered, is_done=False)
        total = newest.count_rows()
        for name, segment in made.items():
            newest = newest.commit_existing_index_segments(index_of(name), name, [segment])
        reached(Step.TABLE_INDEXED)
        name_newest(lake, writer.head.number, rows=total)
        return Indexed(rows=covered_rows(open_newest(lake)), is_done=True)


def index_of(column: str) -> str:
    return f"{column}_idx"


def covered_rows(table: LanceTable) -> int:
    """How many rows the indexes of both columns cover; 0 unless there are two."""
    stats = [table.index_stats(index_of(name)) for name in VECTORS]
    return min(found.num_indexed_rows if found else 0 for found in stats)
