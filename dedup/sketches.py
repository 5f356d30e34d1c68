"""Sketches: some 90 bytes a vector that rule pairs out and never a true one. Decides nothing.

**What is proved.** Let `x`, `y` be vectors whose `similarity.cosine` reaches a threshold t. Then `near` names them.

Write x' = x / |x|, and c = x' . y' for their true cosine. `cosine` differs from c by less than 2^-49, so c >= t - 2^-49
and |x' - y'|^2 = 2 - 2c <= 2 - 2t + 2^-48.

1. *Projection.* With a matrix W of k rows and a mean m, p(x) = W (x' - m). Then |p(x) - p(y)| = |W (x' - y')| <=
   s1 |x' - y'| <= R, with R = s1 sqrt(2 - 2t + 2^-48), where s1 is at least the largest singular value of W. W is a
   principal component analysis of some vectors, so s1 is about 1; but the proof takes any W and m with s1 and |m| at
   most MOST_STRETCH. It holds for the first rows of W as well, since leaving rows out never lengthens a vector.
2. *Rounding.* With a step s, q(x) is p(x) / s rounded to whole numbers and cut off at -127 and 127. What that leaves,
   e(x) = |p(x) - s q(x)|, is measured for each vector. By the triangle inequality, twice,
   s |q(x) - q(y)| <= |p(x) - p(y)| + e(x) + e(y) <= R + e(x) + e(y).
3. *Product.* |q(x) - q(y)|^2 = |q(x)|^2 + |q(y)|^2 - 2 q(x) . q(y). So 2 q(x) . q(y) is at least
   |q(x)|^2 + |q(y)|^2 - (R + e(x) + e(y))^2 / s^2. With E at least every e(x) of a batch of queries,
   (R + e(x) + e(y))^2 <= (R + e(x))^2 + 2 (R + E) e(y) + e(y)^2, and the bound falls into a part of x and one of y:
       q(x) . q(y) >= a(x) + b(y),    a(x) = (|q(x)|^2 - (R + e(x))^2 / s^2) / 2,
                                      b(y) = (|q(y)|^2 - (2 (R + E) e(y) + e(y)^2) / s^2) / 2.
   Whole numbers are compared, so a and b are rounded down. None is above 2^21, and one below -LIMIT is moved to it: a
   product is at least -2^22, so it passes either way.

*Floating point.* With u = 2^-53, d <= 2^16 dims, k <= 2^8 rows of W, and s1, |m| <= 4: the norm of x, and so x', is off
by d u of itself at most. Each of the k sums of p(x) is off by at most 1.01 d u times the sum of its terms' absolute
values, so p(x) by 1.01 d u |W|_F (|x'| + |m|) <= 1.01 d u sqrt(k) s1 (1 + |m|) < 2.4e-9, and e(x) by little more.
W W^T is off by at most d u |W|_F^2 <= d u k s1^2, so s1 by less than 4e-9, rounding of the eigenvalue included. So
SLACK = 1e-8 is added to each e(x) and to s1, each e(x) is rounded up to float32, and all are at least what they stand
for. Then only the few roundings of the formulas are left, 1e-6 in an a or b above -LIMIT: 1e-3 is taken off them.

The same holds for heads alone with their own e; `near` asks both, the heads first. Then `refine` reckons in float64.
"""

import io
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dedup.kernel import (
    HEADS,
    LIMIT,
    MOST_TAIL,
    TILE_ROWS,
    Bytes,
    Counts,
    KernelPath,
    Pairs,
    Side,
    as_rows,
    as_tiles,
    screen,
)
from dedup.screen import MOST_DIMS, Matrix, Rows, margin

Errors: TypeAlias = NDArray[np.float32]
Wide: TypeAlias = NDArray[np.float64]

SLACK = 1e-8
MOST = 127
MOST_STRETCH = 4.0
LEAST_STEP = 1e-6
DIMS = (64, 128, HEADS[0] + MOST_TAIL)
"""Bytes of a sketch: the fewest that let less than WANTED of the pairs through."""
WANTED = 1e-4
WANTED_OF_HEAD = 3e-3
"""Looking closer at a pair costs as much as many heads, so a short head must rule out nearly all to be worth it."""
FIT_ROWS = 8192
_TRY_ROWS = 1024
_QUANTILE = 0.999


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sketches:
    """Sketches of some vectors: int8 of shape (rows, head + tail), and the errors of head and whole, (rows, 2)."""

    values: Bytes
    errors: Errors

    def __len__(self) -> int:
        return len(self.values)

    def packed(self) -> NDArray[np.uint8]:
        """As they are stored: uint8 of shape (rows, head + tail + 8)."""
        errors = np.ascontiguousarray(self.errors.astype("<f4")).view(np.uint8).reshape(len(self), 8)
        return np.concatenate([self.values.view(np.uint8), errors], axis=1)

    @classmethod
    def unpacked(cls, packed: NDArray[np.uint8]) -> "Sketches":
        """The inverse of `packed`."""
        errors = np.ascontiguousarray(packed[:, -8:]).view("<f4").astype(np.float32)
        return cls(values=np.ascontiguousarray(packed[:, :-8]).view(np.int8), errors=errors)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Basis:
    """How vectors become sketches: W float64 of shape (head + tail, dims), a mean (dims,), a step, and s1 of W."""

    matrix: Wide
    mean: Wide
    step: float
    head: int
    stretch: float

    @property
    def tail(self) -> int:
        return len(self.matrix) - self.head

    @property
    def dims(self) -> int:
        return len(self.mean)

    @property
    def packed_bytes(self) -> int:
        """The length of a packed sketch."""
        return len(self.matrix) + 8

    @classmethod
    def fit(cls, rows: Rows, threshold: float) -> "Basis":
        """The principal components of some vectors, as many of them as rule out enough pairs at a threshold.

        The head is the shorter one where that alone rules out nearly all.
        """
        directions = rows.vectors / rows.norms[:, np.newaxis]
        mean = directions.mean(axis=0)
        _, axes = np.linalg.eigh(np.atleast_2d(np.cov(directions.T, ddof=0)))
        for dims in DIMS:
            basis = cls._fitting(axes[:, ::-1].T[:dims], mean, directions, dims)
            if dims >= directions.shape[1] or dims == DIMS[-1] or basis._lets_through(rows, threshold) < WANTED:
                break
        short = cls.of(matrix=basis.matrix[: HEADS[0]], mean=mean, step=basis.step, head=HEADS[0])
        is_enough = short._lets_through(rows, threshold) < WANTED_OF_HEAD
        return replace(basis, head=HEADS[0]) if is_enough else basis

    @classmethod
    def _fitting(cls, axes: Wide, mean: Wide, directions: Wide, dims: int) -> "Basis":
        matrix = np.zeros((dims, len(mean)))
        matrix[: len(axes)] = axes
        spread = np.quantile(np.abs((directions - mean) @ matrix.T).max(axis=1), _QUANTILE)
        return cls.of(matrix=matrix, mean=mean, step=max(float(spread) / MOST, LEAST_STEP), head=HEADS[1])

    @classmethod
    def of(cls, *, matrix: Wide, mean: Wide, step: float, head: int) -> "Basis":
        """A basis of any numbers that the proof covers; ValueError for others."""
        fits = matrix.dtype == mean.dtype == np.float64 and mean.ndim == 1 and matrix.shape[1:] == mean.shape
        fits = fits and head in HEADS and head <= len(matrix) <= head + MOST_TAIL and 0 < len(mean) <= MOST_DIMS
        if not (fits and LEAST_STEP <= step <= 1 and _is_within(matrix) and _is_within(mean)):
            raise ValueError("no basis of sketches: its numbers or shapes are others than the proof covers")
        stretch = _stretch(matrix)
        if not (stretch <= MOST_STRETCH and np.linalg.norm(mean) <= MOST_STRETCH):
            raise ValueError(f"no basis of sketches: it stretches or shifts vectors by more than {MOST_STRETCH:g}")
        return cls(matrix=matrix, mean=mean, step=step, head=head, stretch=stretch)

    def _lets_through(self, rows: Rows, threshold: float) -> float:
        """Which share of the pairs of some of these vectors, no vector with itself."""
        some = rows.part(0, _TRY_ROWS)
        sketches = self.sketch(some)
        index = SketchIndex(self, len(sketches))
        index.append(sketches)
        pairs = index.near(sketches, threshold, (0, len(index)), room=len(index) ** 2)
        others = 0 if pairs is None else len(pairs) - len(some)
        return others / max(1, len(some) * (len(some) - 1))

    def sketch(self, rows: Rows) -> Sketches:
        """Sketches of vectors of the dims that this basis is for; ValueError for others."""
        if rows.vectors.shape[1] != self.dims:
            raise ValueError(f"a basis for {self.dims} dims cannot sketch vectors of {rows.vectors.shape[1]}")
        points = (rows.vectors / rows.norms[:, np.newaxis] - self.mean) @ self.matrix.T
        values = np.clip(np.rint(points / self.step), -MOST, MOST)
        left = np.square(points - self.step * values)
        exact = np.sqrt(np.stack([left[:, : self.head].sum(axis=1), left.sum(axis=1)], axis=1)) + SLACK
        errors: Errors = np.nextafter(exact.astype(np.float32), np.float32(np.inf))
        return Sketches(values=values.astype(np.int8), errors=errors)

    def to_bytes(self) -> bytes:
        """As it is stored: a NumPy archive without pickles."""
        file = io.BytesIO()
        np.savez(file, matrix=self.matrix, mean=self.mean, step=np.float64(self.step), head=np.int64(self.head))
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Basis":
        """The inverse of `to_bytes`; ValueError for anything else."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as parts:
                matrix, mean, step, head = parts["matrix"], parts["mean"], float(parts["step"]), int(parts["head"])
            return cls.of(matrix=np.asarray(matrix), mean=np.asarray(mean), step=step, head=head)
        except Exception as error:  # zipfile, zlib, NumPy's parser of headers: a torn archive raises all sorts
            raise ValueError(f"these bytes are no basis of sketches: {error}") from error


def _is_within(numbers: Wide) -> bool:
    """Whether all are finite and small enough to be squared."""
    return bool((np.abs(numbers) <= MOST_STRETCH).all())


def _stretch(matrix: Wide) -> float:
    """At least the largest singular value."""
    return float(np.sqrt(np.linalg.eigvalsh(matrix @ matrix.T)[-1])) + SLACK


class SketchIndex:
    """The sketches of kept vectors, in tiles as the kernel wants them, growing by whole blocks."""

    def __init__(self, basis: Basis, block_rows: int) -> None:
        self.basis = basis
        self._block_rows = block_rows + -block_rows % TILE_ROWS
        self._blocks: list[_Block] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, sketches: Sketches) -> None:
        """Add the sketches of the vectors that come next."""
        done = 0
        while done < len(sketches):
            block, filled = divmod(self._count, self._block_rows)
            if block == len(self._blocks):
                self._blocks.append(_Block(self._block_rows, self.basis.head, self.basis.tail))
            part = slice(done, done + self._block_rows - filled)
            done += self._blocks[block].fill(filled, sketches.values[part], sketches.errors[part])
            self._count += len(sketches.values[part])

    def part(self, first: int, last: int) -> Sketches:
        """The sketches at places `first` to `last`, without it."""
        parts = [
            self._blocks[block].part(max(0, first - block * self._block_rows), last - block * self._block_rows)
            for block in range(first // self._block_rows, -(-last // self._block_rows))
        ]
        return Sketches(
            values=np.concatenate([part.values for part in parts]),
            errors=np.concatenate([part.errors for part in parts]),
        )

    def near(
        self,
        queries: Sketches,
        threshold: float,
        span: tuple[int, int],
        *,
        room: int,
        threads: int = 1,
        path: KernelPath | None = None,
    ) -> Pairs | None:
        """Every pair (query, place in the span) that could reach the threshold, ascending; None for more than `room`.

        Threads and path change nothing but the time it takes. ValueError for a threshold that is no similarity.
        """
        if not -1.0 <= threshold <= 1.0:
            raise ValueError(f"a threshold of similarity lies in [-1, 1], not {threshold}")
        span = span[0], min(span[1], len(self))
        bound = self.basis.stretch * math.sqrt(2.0 - 2.0 * threshold + 2.0**-48)
        side, most = self._query_side(queries, bound), _coarsely(queries.errors, self.basis.step)

        def look(block: int) -> Pairs | None:
            start = block * self._block_rows
            kept = self._blocks[block].side(bound, most, self.basis.step)
            found = _in_tiles(side, kept, (max(0, span[0] - start), min(self._block_rows, span[1] - start)), room, path)
            return None if found is None else found + np.array([0, start])

        blocks = range(span[0] // self._block_rows, -(-span[1] // self._block_rows))
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(look, blocks) if threads > 1 else map(look, blocks))
        found = [part for part in parts if part is not None]
        if len(found) < len(parts) or sum(map(len, found)) > room:
            return None
        pairs = np.concatenate(found) if found else np.empty((0, 2), dtype=np.int64)
        return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]

    def _query_side(self, queries: Sketches, bound: float) -> Side:
        values, errors, head = queries.values, queries.errors.astype(np.float64), self.basis.head
        floors = [
            _whole((_square(part) - np.square((bound + errors[:, column]) / self.basis.step)) / 2)
            for column, part in enumerate((values[:, :head], values))
        ]
        heads, tails = np.ascontiguousarray(values[:, :head]), np.ascontiguousarray(values[:, head:])
        return Side(heads=heads, tails=tails, floors=floors[0], full=floors[1])


def _coarsely(errors: Errors, step: float) -> tuple[float, float]:
    """At least the largest errors of heads and of wholes: few values, for the sake of `_Block.side`."""
    head, whole = (math.ceil(float(most) / step + 1e-6) * step for most in errors.max(axis=0, initial=0.0))
    return head, whole


class _Block:
    """Some rows of an index: tiles, tails (rows, tail), |q|^2 and errors of heads and wholes, each (rows, 2)."""

    def __init__(self, rows: int, head: int, tail: int) -> None:
        self._head = head
        self._tiles = np.zeros((rows // TILE_ROWS, head // 4, TILE_ROWS, 4), dtype=np.int8)
        self._tails = np.zeros((rows, tail), dtype=np.int8)
        self._squares = np.zeros((rows, 2), dtype=np.int32)
        self._errors = np.zeros((rows, 2), dtype=np.float32)
        self._latest: tuple[object, Side] | None = None

    def fill(self, start: int, values: Bytes, errors: Errors) -> int:
        """Put rows at a place; returns how many."""
        end = start + len(values)
        tiles = slice(start // TILE_ROWS, -(-end // TILE_ROWS))
        heads = as_rows(self._tiles[tiles])
        offset = start - tiles.start * TILE_ROWS
        heads[offset : offset + len(values)] = values[:, : self._head]
        self._tiles[tiles] = as_tiles(heads)
        self._tails[start:end] = values[:, self._head :]
        self._squares[start:end, 0] = _square(values[:, : self._head])
        self._squares[start:end, 1] = _square(values)
        self._errors[start:end] = errors
        self._latest = None
        return len(values)

    def part(self, first: int, last: int) -> Sketches:
        """The sketches of rows `first` to `last`, without it, or to the last there is."""
        values = np.concatenate([as_rows(self._tiles), self._tails], axis=1)
        return Sketches(values=values[first:last], errors=self._errors[first:last])

    def side(self, bound: float, most: tuple[float, float], step: float) -> Side:
        """The rows with their floors, which are kept for the next time: batch after batch asks for the same."""
        latest = self._latest
        if latest is None or latest[0] != (bound, most):
            floors = [self._floors(column, bound, most[column], step) for column in (0, 1)]
            side = Side(heads=self._tiles, tails=self._tails, floors=floors[0], full=floors[1])
            latest = self._latest = ((bound, most), side)
        return latest[1]

    def _floors(self, column: int, bound: float, most: float, step: float) -> Counts:
        errors = self._errors[:, column].astype(np.float64)
        return _whole((self._squares[:, column] - errors * (2 * (bound + most) + errors) / step**2) / 2)


def _in_tiles(queries: Side, kept: Side, rows: tuple[int, int], room: int, path: KernelPath | None) -> Pairs | None:
    """The pairs of some rows of a block, whose tiles are looked through whole."""
    first = rows[0] // TILE_ROWS * TILE_ROWS
    whole = slice(first, -(-rows[1] // TILE_ROWS) * TILE_ROWS)
    tiles = slice(first // TILE_ROWS, whole.stop // TILE_ROWS)
    some = Side(heads=kept.heads[tiles], tails=kept.tails[whole], floors=kept.floors[whole], full=kept.full[whole])
    beyond = (whole.stop - first - (rows[1] - rows[0])) * len(queries.heads)
    pairs = screen(queries, some, room=room + beyond, path=path)
    if pairs is None:
        return None
    pairs[:, 1] += first
    within: Pairs = pairs[(pairs[:, 1] >= rows[0]) & (pairs[:, 1] < rows[1])]
    return within


def _square(values: Bytes) -> Counts:
    wide = values.astype(np.int32)
    found: Counts = np.einsum("rd,rd->r", wide, wide)
    return found


def _whole(floors: Wide) -> Counts:
    """Rounded down, and moved to LIMIT where they lie beyond it."""
    return np.clip(np.floor(floors - 1e-3), -LIMIT, LIMIT).astype(np.int32)


def refine(queries: Rows, kept: Matrix, threshold: float) -> NDArray[np.bool_]:
    """Which of the pairs (row by row, of shape (pairs, dims)) could have a `cosine` at the threshold.

    First in float32, where by the rules in `dedup.screen.margin` a product of d terms is off by less than 1.005 d u
    |x| |y| and a length by less than that part of itself; then in float64, where both together are below 1e-9.
    """
    dots, lengths = _products(queries.vectors, kept), np.sqrt(_products(kept, kept)) * queries.norms
    could: NDArray[np.bool_] = dots >= threshold * lengths - 3 * margin(kept.shape[1]) * lengths
    x, y = queries.vectors[could].astype(np.float64), kept[could].astype(np.float64)
    could[could] = _products(x, y) >= (threshold - 1e-9) * np.sqrt(_products(x, x) * _products(y, y))
    return could


def _products(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    found: NDArray[Any] = np.einsum("pd,pd->p", a, b)
    return found
