"""The turns that later ones are compared with. Decides nothing.

Their names and sketches are in memory; their vectors are in a store, which need not be.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dedup.screen import Matrix, Pairs, Rows, close_pairs
from dedup.sketches import FIT_ROWS, WANTED, Basis, SketchIndex, refine
from dedup.turns import TurnKey, TurnRows, TurnVectors, check_dims, in_order
from dedup.vectors import BLOCK_ROWS, SpilledVectors, VectorStore

Kind: TypeAlias = Literal["image", "text"]
Span: TypeAlias = tuple[int, int]

SKETCH_FROM = 4096
"""With fewer turns, comparing whole vectors costs less than sketching them."""
SPAN_BLOCKS = 16
REFINED_AT_ONCE = 1024
REFIT_SEEN = 1_000_000
"""From so many pairs on, the share that sketches let through says something."""


class KeptTurns:
    """The growing index of kept, unflagged turns of one encoder, in the order in which a keeper is named.

    A place is a number from 0 in that order. `vectors` may hold turns already: name them by `add_stored`. From
    `sketch_from` turns on, pairs are screened by sketches, whose basis is fitted anew once they let more than WANTED of
    the pairs through and there are twice as many turns. None of this changes which pairs are found.
    """

    def __init__(
        self, *, encoder: str, vectors: VectorStore | None = None, sketch_from: int = SKETCH_FROM, threads: int = 1
    ) -> None:
        self.encoder = encoder
        self._vectors = vectors if vectors is not None else SpilledVectors()
        self._sketch_from = sketch_from
        self._threads = threads
        self._sample_ids: list[str] = []
        self._turns: list[int] = []
        self._known: dict[str, int] = {}
        """By sample id, the turns that are here, a bit each."""
        self._sketched: dict[Kind, _Sketched] = {}

    def __len__(self) -> int:
        return len(self._turns)

    def __contains__(self, sample_id: str) -> bool:
        return sample_id in self._known

    @property
    def dims(self) -> int | None:
        """Dims of the vectors; None while there are none."""
        return self._vectors.dims

    def require_encoder(self, encoder: str) -> None:
        """ValueError when `encoder` is not the one whose vectors are here."""
        if encoder != self.encoder:
            raise ValueError(f"vectors of encoder {encoder} cannot be compared with those of {self.encoder}: re-embed")

    def turn(self, place: int) -> TurnVectors:
        """The turn at a place."""
        images, texts = self._vectors.fetch(np.array([place]))
        return TurnVectors(
            sample_id=self._sample_ids[place], turn=self._turns[place], image=images[0].copy(), text=texts[0].copy()
        )

    def add(self, turns: Iterable[TurnVectors], *, encoder: str) -> None:
        """Append the keepers of one version, sorted by sample id and turn; call once a version, in version order.

        ValueError, and nothing is added, for another encoder, other dims, or a turn that is there already.
        """
        self.require_encoder(encoder)
        ordered = in_order(turns)
        check_dims(ordered, self.dims)
        keys = [turn.key for turn in ordered]
        self._refuse_known(keys)
        if ordered:
            self._vectors.append(TurnRows.of(ordered))
            self._name(keys)

    def add_stored(self, keys: Sequence[TurnKey]) -> None:
        """Name the turns whose vectors came with the store, all of them and in its order. ValueError otherwise."""
        if len(self) or len(keys) != len(self._vectors):
            raise ValueError(f"the store has {len(self._vectors)} turns, {len(self)} + {len(keys)} are named")
        self._name(keys)

    def _refuse_known(self, keys: Iterable[TurnKey]) -> None:
        for key in keys:
            if self._known.get(key.sample_id, 0) >> key.turn & 1:
                raise ValueError(f"turn {key.turn} of sample {key.sample_id} is in the index already")

    def _name(self, keys: Iterable[TurnKey]) -> None:
        for key in keys:
            self._known[key.sample_id] = self._known.get(key.sample_id, 0) | 1 << key.turn
            self._sample_ids.append(key.sample_id)
            self._turns.append(key.turn)

    def keys(self, first: int, last: int) -> list[TurnKey]:
        """The names of the turns at places `first` to `last`, without it."""
        pairs = zip(self._sample_ids[first:last], self._turns[first:last], strict=True)
        return [TurnKey(sample_id=sample_id, turn=turn) for sample_id, turn in pairs]

    def rows(self, kind: Kind, places: NDArray[np.int64]) -> Rows:
        """Vectors of one kind at some places."""
        return Rows.of(self._fetch(kind, places))

    def adopt(self, kind: Kind, index: SketchIndex) -> None:
        """Use sketches of the first turns that are here, in their order, which somebody has kept."""
        self._sketched[kind] = _Sketched(index, fitted_at=len(self))

    def sketches(self, kind: Kind) -> SketchIndex | None:
        """The sketches as far as there are any."""
        found = self._sketched.get(kind)
        return found.index if found else None

    def spans(self, newcomers: int, block: int) -> Iterator[Span]:
        """All places, as many at a time as are compared in one go: fewer where whole vectors are."""
        rows = SPAN_BLOCKS * BLOCK_ROWS if len(self) >= self._sketch_from else max(1, block * block // newcomers)
        for first in range(0, len(self), rows):
            yield first, min(first + rows, len(self))

    def near(self, kind: Kind, new: TurnRows, threshold: float, span: Span, room: int) -> Pairs | None:
        """Every pair (row of `new`, place in the span) whose `cosine` could reach the threshold, ascending.

        None when there are more than `room`; never with one place and room for the rows.
        """
        if len(self) < self._sketch_from:
            mine, theirs = _part(new, kind), self.rows(kind, np.arange(*span))
            found = close_pairs(mine.directions(), theirs, threshold) + np.array([0, span[0]])
            return found if len(found) <= room else None
        sketched = self._sketched_by(kind, threshold)
        pairs = sketched.near(_part(new, kind), threshold, span, room, self._threads)
        return None if pairs is None else self.narrow(kind, new, pairs, threshold)

    def narrow(self, kind: Kind, new: TurnRows, pairs: Pairs, threshold: float) -> Pairs:
        """Those of some pairs whose `cosine` could reach the threshold, few others with them."""
        mine = _part(new, kind)
        parts: list[Pairs] = [pairs[:0]]
        for first in range(0, len(pairs), REFINED_AT_ONCE):
            some = pairs[first : first + REFINED_AT_ONCE]
            rows = Rows(mine.vectors[some[:, 0]], mine.norms[some[:, 0]])
            places, where = np.unique(some[:, 1], return_inverse=True)
            parts.append(some[refine(rows, self._fetch(kind, places)[where], threshold)])
        return np.concatenate(parts)

    def sketch(self, kind: Kind, threshold: float) -> None:
        """Bring the sketches up to all turns; done by `near` where it is needed."""
        self._sketched_by(kind, threshold)

    def _sketched_by(self, kind: Kind, threshold: float) -> "_Sketched":
        found = self._sketched.get(kind)
        if found is None or found.is_worn(len(self)):
            some = np.unique(np.linspace(0, len(self) - 1, min(len(self), FIT_ROWS)).astype(np.int64))
            basis = Basis.fit(self.rows(kind, some), threshold)
            found = self._sketched[kind] = _Sketched(SketchIndex(basis, BLOCK_ROWS), fitted_at=len(self))
        for first in range(len(found.index), len(self), BLOCK_ROWS):
            places = np.arange(first, min(first + BLOCK_ROWS, len(self)))
            found.index.append(found.index.basis.sketch(self.rows(kind, places)))
        return found

    def _fetch(self, kind: Kind, places: NDArray[np.int64]) -> Matrix:
        images, texts = self._vectors.fetch(places)
        return np.ascontiguousarray(images if kind == "image" else texts)


class _Sketched:
    """Sketches, how many turns there were when their basis was fitted, and how many pairs they have let through."""

    def __init__(self, index: SketchIndex, *, fitted_at: int) -> None:
        self.index = index
        self._fitted_at = fitted_at
        self._seen = self._let_through = 0

    def near(self, rows: Rows, threshold: float, span: Span, room: int, threads: int) -> Pairs | None:
        pairs = self.index.near(self.index.basis.sketch(rows), threshold, span, room=room, threads=threads)
        self._seen += len(rows) * (span[1] - span[0])
        self._let_through += room if pairs is None else len(pairs)
        return pairs

    def is_worn(self, turns: int) -> bool:
        """Whether a basis fitted anew is worth sketching all turns anew."""
        lets_much = self._seen >= REFIT_SEEN and self._let_through > WANTED * self._seen
        return lets_much and turns >= 2 * self._fitted_at


def _part(turns: TurnRows, kind: Kind) -> Rows:
    return turns.images if kind == "image" else turns.texts
