"""The index of kept turns as a version has it, brought from version to version. Decides nothing."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dedup.kept import SKETCH_FROM, KeptTurns, Kind
from dedup.sketches import Basis, Sketches, SketchIndex
from dedup.turns import TurnKey, TurnVectors
from dedup.vectors import BLOCK_ROWS, SpilledVectors, fetch_rows
from flows.errors import UserError
from flows.kept_vectors import LakeVectors
from storage.keepers import new_keepers
from storage.kept_rows import KeptRows, KeptVectors, kept_rows
from storage.lake import Lake
from storage.sketches_table import StoredSketches, read_sketches, store_sketches
from storage.versions import Version

MOST_STEPS = 256
"""Reading one version's keepers takes about 10 ms; beyond so many, reading the index anew is likely to cost less."""
FETCH_FROM = BLOCK_ROWS
"""With fewer turns, all of their vectors are read at once."""
STORE_FROM = 4096
"""So many sketches that are not stored are worth a piece of the table."""
READ_ROWS = 4096
KINDS: tuple[Kind, Kind] = ("image", "text")

ReadAll = Callable[[Lake, Version], Iterator[KeptVectors]]


class KeptIndex:
    """The turns that newcomers are compared with, those of one encoder.

    They come from the lake's table of turns: names at once, vectors and stored sketches as they are wanted. `read_all`
    reads all of them from elsewhere instead: from the packages, which are always there.
    """

    def __init__(
        self,
        lake: Lake,
        encoder: str,
        *,
        read_all: ReadAll | None = None,
        fetch_from: int = FETCH_FROM,
        sketch_from: int = SKETCH_FROM,
    ) -> None:
        self._lake = lake
        self._encoder = encoder
        self._read_all = read_all
        self._fetch_from = fetch_from
        self._sketch_from = sketch_from
        self._stored: dict[Kind, tuple[Basis, int]] = {}
        """Of how many turns, from the first on, sketches by a basis are stored."""
        self.turns = KeptTurns(encoder=encoder, sketch_from=sketch_from)
        self.known = 0
        """The version whose turns are here, 0 before any is."""

    def catch_up(self, head: Version) -> None:
        """Bring in what came since. UserError when kept turns have vectors of another encoder.

        A few versions that only decide about what they made are gone through one by one, all else is read anew.
        """
        if self.known and 0 < head.number - self.known <= MOST_STEPS:
            self._follow(head)
        if self.known != head.number:
            self.turns = self._read(head)
            self.known = head.number

    def add(self, keepers: Iterable[TurnVectors], number: int) -> None:
        """Take in the keepers of a version that follows the one that is here."""
        self.turns.add(keepers, encoder=self._encoder)
        self.known = number

    def store_sketches(self) -> None:
        """Keep the sketches that were made, for whoever opens the lake next, once there are enough of them."""
        if self._read_all:
            return
        for kind in KINDS:
            index = self.turns.sketches(kind)
            if index is None:
                continue
            basis, first = self._stored.get(kind, (None, 0))
            if basis is not index.basis:
                first = 0
            if len(index) - first >= STORE_FROM:
                store_sketches(self._lake, self._encoder, kind, self._as_stored(index, first))
                self._stored[kind] = (index.basis, len(index))

    def _as_stored(self, index: SketchIndex, first: int) -> StoredSketches:
        keys = self.turns.keys(first, len(index))
        frame = pl.DataFrame({"sample_id": [key.sample_id for key in keys], "turn": [key.turn for key in keys]})
        packed = index.part(first, len(index)).packed()
        return StoredSketches(basis=index.basis.to_bytes(), keys=frame, packed=packed)

    def _follow(self, head: Version) -> None:
        """Add what each version brought, up to the newest or the first that decides about earlier ones."""
        while self.known < head.number:
            turns = new_keepers(self._lake, head.until(self.known + 1))
            if turns is None:
                return
            self._add(self.turns, turns)
            self.known += 1

    def _read(self, head: Version) -> KeptTurns:
        self._stored = {}
        if self._read_all:
            return self._read_whole(self._read_all(self._lake, head))
        rows = kept_rows(self._lake, head)
        if rows is None:
            return KeptTurns(encoder=self._encoder, sketch_from=self._sketch_from)
        self._refuse_others(rows.encoders)
        return self._named(rows)

    def _read_whole(self, turns: Iterator[KeptVectors]) -> KeptTurns:
        kept = KeptTurns(encoder=self._encoder, sketch_from=self._sketch_from)
        for _, some in groupby(turns, key=lambda turn: turn.version):
            self._add(kept, some)
        return kept

    def _named(self, rows: KeptRows) -> KeptTurns:
        keys = [TurnKey(sample_id=sample_id, turn=turn) for sample_id, turn, *_ in rows.names.iter_rows()]
        if len(keys) < self._fetch_from:
            kept = KeptTurns(encoder=self._encoder, vectors=_all_in_memory(rows), sketch_from=self._sketch_from)
            kept.add_stored(keys)
            return kept
        kept = KeptTurns(encoder=self._encoder, vectors=LakeVectors(rows), sketch_from=self._sketch_from)
        kept.add_stored(keys)
        for kind in KINDS:
            self._adopt_sketches(kept, rows, kind)
        return kept

    def _adopt_sketches(self, kept: KeptTurns, rows: KeptRows, kind: Kind) -> None:
        """Take the sketches that are stored, and make the others by the same basis."""
        stored = read_sketches(self._lake, self._encoder, kind)
        basis = _basis_of(stored, rows.dims)
        if stored is None or basis is None:
            return
        known = _places_of(stored, rows)
        index = SketchIndex(basis, BLOCK_ROWS)
        for first in range(0, len(known), BLOCK_ROWS):
            which = known[first : first + BLOCK_ROWS]
            packed = stored.packed[which]
            missing = np.flatnonzero(which < 0)
            if missing.size:
                packed[missing] = basis.sketch(kept.rows(kind, missing + first)).packed()
            index.append(Sketches.unpacked(packed))
        kept.adopt(kind, index)
        gaps = np.flatnonzero(known < 0)
        self._stored[kind] = (basis, int(gaps[0]) if gaps.size else len(known))

    def _refuse_others(self, encoders: Iterable[str]) -> None:
        if any(encoder != self._encoder for encoder in encoders):
            raise UserError(
                f"{self._lake.path} has vectors of another encoder than the setting 'selection.encoder' names, and "
                "vectors of two encoders cannot be compared: put the setting back, or move the lake to the new "
                "encoder with 'interlake reembed'"
            )

    def _add(self, kept: KeptTurns, turns: Iterable[KeptVectors]) -> None:
        """Add the keepers of one version. UserError when they are of another encoder; then none is added."""
        same = list(turns)
        self._refuse_others(turn.encoder for turn in same)
        kept.add(map(_comparable, same), encoder=self._encoder)


def _comparable(turn: KeptVectors) -> TurnVectors:
    return TurnVectors(sample_id=turn.sample_id, turn=turn.turn, image=turn.image, text=turn.text)


def _all_in_memory(rows: KeptRows) -> SpilledVectors:
    vectors, source = SpilledVectors(), LakeVectors(rows)
    for first in range(0, len(source), READ_ROWS):
        vectors.append(fetch_rows(source, np.arange(first, min(first + READ_ROWS, len(source)))))
    return vectors


def _basis_of(stored: StoredSketches | None, dims: int) -> Basis | None:
    """The basis of stored sketches, None where they cannot be used."""
    try:
        basis = Basis.from_bytes(stored.basis) if stored else None
    except ValueError:
        return None
    fits = basis and stored and basis.dims == dims and stored.packed.shape[1] == basis.packed_bytes
    return basis if fits else None


def _places_of(stored: StoredSketches, rows: KeptRows) -> NDArray[np.int64]:
    """Which stored row belongs to each kept turn, -1 where none does."""
    named = stored.keys.with_row_index("row").unique(["sample_id", "turn"], keep="last")
    found = rows.names.join(named, on=["sample_id", "turn"], how="left", maintain_order="left")
    return found["row"].cast(pl.Int64).fill_null(-1).to_numpy()
