"""The kept turns that are nearest to a vector, as LanceDB finds them: candidates, each with its stored vector.

Through the table's index where it has one, else by going through all rows. For people who look around; duplicates are
decided elsewhere, by comparisons that miss nothing.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import pyarrow as pa

from storage.errors import LakeDamaged
from storage.kept_rows import KeptVectors
from storage.lake import Lake
from storage.projection import table_folder
from storage.turn_rows import Floats
from storage.turns_table import VECTORS, id_filters, matrix, open_at
from storage.versions import Version

Kind: TypeAlias = Literal["image", "text"]

PROBES = 64
"""Partitions of the index that are looked through: all of them up to some 250,000 rows."""
REFINED = 4
"""So many times more candidates than asked for are taken from the index and compared by their stored vectors."""
_SHOWN = ["sample_id", "turn", "version", "topic_id", "topic", "question", "caption", "flagged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NearTurn:
    """A kept turn, and the vector of its picture or caption that was searched among; `flagged` repeats another one."""

    sample_id: str
    turn: int
    version: int
    topic_id: str
    topic: str
    question: str
    caption: str
    flagged: bool
    vector: Floats


class Neighbourhood:
    """The turns that a version shows, to be searched by vectors of the encoder that theirs are of.

    NoSuchThing when the table does not show that version.
    """

    def __init__(self, lake: Lake, version: Version) -> None:
        self._folder = table_folder(lake)
        self._table = open_at(lake, version)

    @cached_property
    def encoder(self) -> str | None:
        """Whose vectors these are; None while no turn is kept."""
        found = self._table.search().select(["encoder"]).limit(1).to_arrow()["encoder"].to_pylist()
        return str(found[0]) if found else None

    def vectors_of(self, sample_id: str) -> list[KeptVectors]:
        """The vectors of a kept sample's turns in their order; empty for a sample that is not kept."""
        if self.encoder is None:
            return []
        names = ["version", "sample_id", "turn", "encoder"]
        (chosen,) = id_filters([sample_id])
        found = self._table.search().where(chosen).select([*names, *VECTORS]).to_arrow().sort_by("turn")
        image, text = (matrix(found[name]) for name in VECTORS)
        rows = found.select(names).to_pylist()
        return [KeptVectors(**row, image=image[place], text=text[place]) for place, row in enumerate(rows)]

    def nearest(self, vector: Floats, *, by: Kind, limit: int) -> list[NearTurn]:
        """At most `limit` turns whose pictures' or captions' vectors are nearest by cosine, in no order to rely on.

        Without an index none is missed; with one, few are. LakeDamaged when LanceDB cannot read what it needs.
        """
        if self.encoder is None:
            return []
        name = f"{by}_vector"
        search = self._table.search(vector, vector_column_name=name).distance_type("cosine")
        chosen = search.limit(limit).nprobes(PROBES).refine_factor(REFINED).select([*_SHOWN, name, "_distance"])
        try:
            found: pa.Table = chosen.to_arrow()
        except (RuntimeError, OSError) as error:
            reason = " ".join(str(error).split())[:160]
            raise LakeDamaged(
                f"{self._folder} cannot be searched: {reason}; 'interlake rebuild' makes it anew"
            ) from error
        vectors = matrix(found[name])
        rows = found.select(_SHOWN).to_pylist()
        return [NearTurn(**row, vector=vectors[place]) for place, row in enumerate(rows)]
