"""How near turns come to each other: for each its nearest kept one, and all pairs near the thresholds. Decides nothing.

Turns are named by their place; vectors may lie on the disk (`numpy.memmap`), since they are gone through in blocks.
"""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dedup.decide import Thresholds
from dedup.screen import Matrix, Pairs, Rows, close_pairs, margin
from dedup.similarity import cosine

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NOBODY = -1
"""The place of a turn that is nowhere."""
BLOCK_ROWS = 256
"""Turns that are compared at once, with four times as many."""
PAIRS = 4096
"""Pairs whose similarities are summed at once."""
UNSURE = 1e-9
"""Sums in float64 that lie so near an edge of a histogram, thresholds among them, are taken again exactly."""
BINS_BELOW, MOST_BINS = 10, 60
FAR = 8.0
"""A similarity below any, less than the lowest distance from thresholds even halved, for what is not compared."""

_SMALL = 2**18
"""Multiplications that a BLAS does in the thread that asks for them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Turns:
    """Turns in the order in which they were decided: float32 `images` and `texts` of shape (turns, dims), unit rows.

    Turns of one group are never compared: those of a sample, and of samples of one slot. Keepers are turns that later
    ones were compared with: unflagged ones of kept samples.
    """

    images: Matrix
    texts: Matrix
    groups: Ints
    are_keepers: Bools

    def __len__(self) -> int:
        return len(self.groups)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """Pairs by the places of a turn and of a keeper, NOBODY where there is none, with similarities (NaN then)."""

    rows: Ints
    keepers: Ints
    images: Floats
    texts: Floats

    def __len__(self) -> int:
        return len(self.rows)

    def chosen(self, which: Bools | Ints) -> "Measured":
        """Some of them, in the order of `which`."""
        return Measured(
            rows=self.rows[which], keepers=self.keepers[which], images=self.images[which], texts=self.texts[which]
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram:
    """Pairs by one similarity: `edges` (bins + 1, the last one in its bin), repeats by the policy, and others."""

    edges: Floats
    repeats: Ints
    others: Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nearness:
    """What was found. Similarities of nearest ones and of examples are exact cosines.

    The nearest is the keeper with the largest similarity (of pictures, of captions, or beyond the thresholds by their
    policy) up to the rounding of float32: of two that differ by less than 2e-5 it may be either. `beyond` are examples
    that reach the thresholds, `short` those that do not, the closest to them first, each pair once.
    """

    by_image: Measured
    by_text: Measured
    by_policy: Measured
    image: Histogram
    text: Histogram
    beyond: Measured
    short: Measured
    repeats: int
    """Pairs that reach the thresholds by their policy, all of them."""


F = TypeVar("F", Floats, Matrix)


def distance(thresholds: Thresholds, images: F, texts: F) -> F:
    """How far pairs are beyond the thresholds, by their policy; below zero they fall short of them."""
    image, text = images - images.dtype.type(thresholds.image), texts - texts.dtype.type(thresholds.text)
    away: F
    match thresholds.policy:
        case "both":
            away = np.minimum(image, text)
        case "image":
            away = image
        case "text":
            away = text
        case "either":
            away = np.maximum(image, text)
    return away


def measure(turns: Turns, thresholds: Thresholds, *, near: float, examples: int, block: int = BLOCK_ROWS) -> Nearness:
    """Compare every turn with all keepers of other groups, and note each pair from `near` below a threshold on, once.

    `examples` bounds those kept on each side. Memory is that of a few blocks of vectors, whatever there is of pairs;
    `block` bounds it, and has no other effect but for nearest ones that are equally near.
    ValueError for vectors that are no unit vectors.
    """
    bench = _Bench(turns, thresholds, near, examples, block)
    for start in range(0, len(turns), block):
        bench.compare(start, min(start + block, len(turns)))
    return bench.found()


def measure_pairs(turns: Turns, rows: Ints, keepers: Ints) -> Measured:
    """The exact cosines of some pairs; NaN where one is NOBODY."""
    images, texts = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    for place in np.flatnonzero((rows != NOBODY) & (keepers != NOBODY)).tolist():
        a, b = rows[place], keepers[place]
        images[place] = cosine(np.asarray(turns.images[a]), np.asarray(turns.images[b]))
        texts[place] = cosine(np.asarray(turns.texts[a]), np.asarray(turns.texts[b]))
    return Measured(rows=rows, keepers=keepers, images=images, texts=texts)


def near_edges(threshold: float, near: float) -> Floats:
    """Edges of bins from `near` below the threshold up to 1, the threshold being one of them."""
    width = max(near / BINS_BELOW, (1 - threshold + near) / MOST_BINS)
    below, above = math.ceil(near / width - 1e-6), math.ceil((1 - threshold) / width - 1e-6)
    edges = threshold + width * np.arange(-below, max(above, 1) + 1)
    edges[below] = threshold
    edges[0], edges[-1] = max(threshold - near, -1.0), max(1.0, edges[-2])
    return np.unique(np.clip(edges, -1.0, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Best:
    """The nearest keeper so far of each turn in a block."""

    values: Matrix
    keepers: Ints

    @classmethod
    def of(cls, count: int) -> "_Best":
        return cls(values=np.full(count, -FAR / 2, dtype=np.float32), keepers=np.full(count, NOBODY))

    def take(self, values: Matrix, first: int) -> None:
        """Take what is nearer in `values` of shape (keepers, turns); the first keeper is at `first`."""
        rows = values.argmax(axis=0)
        largest = values[rows, np.arange(values.shape[1])]
        nearer = largest > self.values
        self.values[nearer] = largest[nearer]
        self.keepers[nearer] = first + rows[nearer]


class _Bench:
    """Goes through the blocks and keeps what was found."""

    def __init__(self, turns: Turns, thresholds: Thresholds, near: float, examples: int, block: int) -> None:
        self._width = 4 * block
        self._turns, self._thresholds, self._near, self._examples = turns, thresholds, near, examples
        self._floors = {"image": max(-1.0, thresholds.image - near), "text": max(-1.0, thresholds.text - near)}
        edges = {"image": near_edges(thresholds.image, near), "text": near_edges(thresholds.text, near)}
        self._edges = edges
        self._counts = {kind: np.zeros((2, len(edges[kind]) - 1), dtype=np.int64) for kind in edges}
        self._nearest: dict[str, list[Measured]] = {"image": [], "text": [], "policy": []}
        nothing = _nothing()
        self._beyond, self._short, self._repeats = nothing, nothing, 0

    def compare(self, start: int, end: int) -> None:
        """Compare the turns `start` to `end` (without it) with all keepers."""
        images, texts = (_rows(each, start, end).directions() for each in (self._turns.images, self._turns.texts))
        best = {kind: _Best.of(end - start) for kind in self._nearest}
        for first in range(0, len(self._turns), self._width):
            last = min(first + self._width, len(self._turns))
            allowed = self._allowed(start, end, first, last)
            if not allowed.any():
                continue
            kept = {"image": _rows(self._turns.images, first, last), "text": _rows(self._turns.texts, first, last)}
            image, text = _cosines(images, kept["image"]), _cosines(texts, kept["text"])
            for cosines in (image, text):
                cosines[~allowed] = -FAR
            for kind, values in (("image", image), ("text", text), ("policy", distance(self._thresholds, image, text))):
                best[kind].take(values, first)
            near = [
                self._near_pairs(directions, kept[kind], kind, allowed, cosines)
                for kind, directions, cosines in (("image", images, image), ("text", texts, text))
            ]
            numbers = np.unique(np.concatenate([pairs[:, 0] * self._width + pairs[:, 1] for pairs in near]))
            self._note(np.stack(np.divmod(numbers, self._width), axis=1) + np.array([start, first]))
        for kind, found in best.items():
            self._nearest[kind].append(measure_pairs(self._turns, np.arange(start, end), found.keepers))

    def found(self) -> Nearness:
        nearest = {kind: _joined(parts) for kind, parts in self._nearest.items()}
        self._note_examples(self._far(nearest["policy"]))
        histograms = {
            kind: Histogram(edges=self._edges[kind], repeats=counts[0], others=counts[1])
            for kind, counts in self._counts.items()
        }
        exact = (measure_pairs(self._turns, each.rows, each.keepers) for each in (self._beyond, self._short))
        beyond, short = (self._closest(each) for each in exact)
        return Nearness(
            by_image=nearest["image"],
            by_text=nearest["text"],
            by_policy=nearest["policy"],
            image=histograms["image"],
            text=histograms["text"],
            beyond=beyond,
            short=short,
            repeats=self._repeats,
        )

    def _allowed(self, start: int, end: int, first: int, last: int) -> Bools:
        """Of shape (keepers, turns): whether they are compared."""
        others = self._turns.groups[first:last, np.newaxis] != self._turns.groups[start:end]
        allowed: Bools = others & self._turns.are_keepers[first:last, np.newaxis]
        return allowed

    def _near_pairs(self, directions: Matrix, kept: Rows, kind: str, allowed: Bools, cosines: Matrix) -> Pairs:
        """Pairs within a block that come near by one similarity; nothing is screened where none does."""
        floor = self._floors[kind]
        if cosines.max() < floor - 2 * margin(len(directions)):
            return np.empty((0, 2), dtype=np.int64)
        pairs = close_pairs(directions, kept, floor)
        return pairs[allowed[pairs[:, 1], pairs[:, 0]]]

    def _note(self, pairs: Pairs) -> None:
        """Count pairs, those of two keepers once, and keep the closest to the thresholds."""
        rows, keepers = pairs[:, 0], pairs[:, 1]
        once = pairs[~self._turns.are_keepers[rows] | (keepers < rows)]
        for first in range(0, len(once), PAIRS):
            part = self._summed(once[first : first + PAIRS])
            beyond = distance(self._thresholds, part.images, part.texts)
            self._repeats += int((beyond >= 0).sum())
            for kind, values in (("image", part.images), ("text", part.texts)):
                for place, which in enumerate((beyond >= 0, beyond < 0)):
                    self._counts[kind][place] += _binned(values[which], self._edges[kind])
            self._note_examples(part.chosen(beyond >= -self._near))

    def _note_examples(self, found: Measured) -> None:
        beyond = distance(self._thresholds, found.images, found.texts)
        self._beyond = self._closest(_joined([self._beyond, found.chosen(beyond >= 0)]))
        self._short = self._closest(_joined([self._short, found.chosen(beyond < 0)]))

    def _closest(self, found: Measured) -> Measured:
        away = np.abs(distance(self._thresholds, found.images, found.texts))
        return found.chosen(np.lexsort((found.keepers, found.rows, away))[: self._examples])

    def _far(self, nearest: Measured) -> Measured:
        """The pairs of turns and their nearest that are farther than `near` from the thresholds, each once."""
        far = nearest.chosen(distance(self._thresholds, nearest.images, nearest.texts) < -self._near)
        swap = self._turns.are_keepers[far.rows] & (far.keepers > far.rows)
        pairs = np.where(swap[:, np.newaxis], _stacked(far)[:, ::-1], _stacked(far))
        _, first = np.unique(pairs, axis=0, return_index=True)
        return Measured(rows=pairs[first, 0], keepers=pairs[first, 1], images=far.images[first], texts=far.texts[first])

    def _summed(self, pairs: Pairs) -> Measured:
        """Similarities by sums in float64, and exactly where an edge is so near that they could fall beyond it."""
        rows, keepers = pairs[:, 0], pairs[:, 1]
        images = _float64_cosines(self._turns.images[rows], self._turns.images[keepers])
        texts = _float64_cosines(self._turns.texts[rows], self._turns.texts[keepers])
        unsure = _is_near_edge(images, self._edges["image"]) | _is_near_edge(texts, self._edges["text"])
        exact = measure_pairs(self._turns, rows[unsure], keepers[unsure])
        images[unsure], texts[unsure] = exact.images, exact.texts
        return Measured(rows=rows, keepers=keepers, images=images, texts=texts)


def _rows(vectors: Matrix, start: int, end: int) -> Rows:
    return Rows.of(np.ascontiguousarray(vectors[start:end]))


def _cosines(directions: Matrix, kept: Rows) -> Matrix:
    """Of shape (kept, new), by sums in float32, in products that are small enough to stay in this thread."""
    step = max(1, _SMALL // max(1, directions.size))
    cosines = np.empty((len(kept), directions.shape[1]), dtype=np.float32)
    for first in range(0, len(kept), step):
        np.matmul(kept.vectors[first : first + step], directions, out=cosines[first : first + step])
    cosines /= kept.norms[:, np.newaxis].astype(np.float32)
    return cosines


def _float64_cosines(a: Matrix, b: Matrix) -> Floats:
    x, y = a.astype(np.float64), b.astype(np.float64)
    dots, xx, yy = (np.einsum("pd,pd->p", left, right) for left, right in ((x, y), (x, x), (y, y)))
    cosines: Floats = np.clip(dots / np.sqrt(xx * yy), -1.0, 1.0)
    return cosines


def _is_near_edge(values: Floats, edges: Floats) -> Bools:
    """Whether a value could fall to either side of an edge; of 1, the last one, there is no other side."""
    after = np.clip(np.searchsorted(edges, values), 1, len(edges) - 1)
    away = np.minimum(np.abs(edges[after] - values), np.abs(edges[after - 1] - values))
    near: Bools = (away < UNSURE) & (values < 1 - UNSURE)
    return near


def _binned(values: Floats, edges: Floats) -> Ints:
    """How many values fall into each bin; those below the first edge into none."""
    counts, _ = np.histogram(values, edges)
    return counts.astype(np.int64)


def _stacked(found: Measured) -> Ints:
    return np.stack([found.rows, found.keepers], axis=1)


def _joined(parts: list[Measured]) -> Measured:
    every = [_nothing(), *parts]
    return Measured(
        rows=np.concatenate([each.rows for each in every]),
        keepers=np.concatenate([each.keepers for each in every]),
        images=np.concatenate([each.images for each in every]),
        texts=np.concatenate([each.texts for each in every]),
    )


def _nothing() -> Measured:
    places, values = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64)
    return Measured(rows=places, keepers=places, images=values, texts=values)
