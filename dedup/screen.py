"""Which pairs of vectors could reach a threshold: quick, generous, and never short of a true pair. Decides nothing."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Matrix: TypeAlias = NDArray[np.float32]
Norms: TypeAlias = NDArray[np.float64]
Pairs: TypeAlias = NDArray[np.int64]

MOST_DIMS = 2**16
"""How many dims the proof of `margin` covers."""

_ROUNDOFF = 2.0**-24
_SMALL = 2**18
"""How many multiplications OpenBLAS does in the thread that asks for them, and leaves to no others."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Vectors to be compared, float32 of shape (rows, dims), and their norms, within [0.5, 2]."""

    vectors: Matrix
    norms: Norms

    @classmethod
    def of(cls, vectors: Matrix) -> "Rows":
        """Measure the norms. ValueError for another dtype or shape, too many dims, or a row that is no unit vector."""
        if vectors.dtype != np.float32:
            raise ValueError(f"vectors are float32, not {vectors.dtype}")
        if vectors.ndim != 2 or vectors.shape[1] > MOST_DIMS:
            raise ValueError(f"vectors are rows of at most {MOST_DIMS} dims, not of shape {vectors.shape}")
        wide = vectors.astype(np.float64)
        norms = np.sqrt(np.einsum("rd,rd->r", wide, wide))
        unfit = np.flatnonzero(~((norms >= 0.5) & (norms <= 2.0)))
        if unfit.size:
            raise ValueError(f"vector in row {unfit[0]} has norm {norms[unfit[0]]:g}: zero, not finite or far from 1")
        return cls(vectors, norms)

    def __len__(self) -> int:
        return len(self.vectors)

    def part(self, start: int, end: int) -> "Rows":
        """Rows `start` to `end` (without it), copying nothing."""
        return Rows(self.vectors[start:end], self.norms[start:end])

    def directions(self) -> Matrix:
        """The rows divided by their norms in float64, then rounded to float32, as columns: of shape (dims, rows)."""
        return np.ascontiguousarray((self.vectors / self.norms[:, np.newaxis]).astype(np.float32).T)


def margin(dims: int) -> float:
    """How far below the threshold a screened value may lie and still be a candidate: `1.02 (dims + 4) u`, u = 2^-24.

    Write d for dims, at most 2^16, and use the rules of Higham, *Accuracy and Stability of Numerical Algorithms*,
    chapter 3. `x` is a row of `new`, `y` one of `kept`, `c` their true cosine. BLAS may add in any order, with or
    without fused multiply-add, and treat numbers below 2^-126 as zero.

    - The norms are taken in float64, where nothing under- or overflows: off by a factor of at most 1 + d 2^-51.
    - An entry of `x / |x|` is divided in float64 and rounded to float32: off by at most 1.01 u of itself, or by 2^-126
      where it is smaller than that. The direction that this gives has a length of at most 1 + 1.02 u.
    - Its float32 product with `y`, a sum of d terms, is off by at most g(d) |direction| |y|, g(d) = d u / (1 - d u),
      which is at most 1.004 d u, and by 2^-124 for each of the 2d operations that may underflow.
    - Divided by |y| >= 1/2, the product p therefore differs from c by at most
      1.004 d u (1 + 1.02 u) + 1.02 u + d 2^-120 < 1.005 d u + 1.03 u.
    - `cosine` differs from c by at most 10 roundings of float64, below 2^-49; clamping only brings it nearer.
    - The floor, `(threshold - margin) |y|`, is taken in float64 and rounded down to float32: relative to |y| it lies
      at most d 2^-49 too high.

    Together `cosine >= threshold` implies p / |y| >= threshold - 1.005 d u - 1.03 u - 2^-49 - d 2^-49, and
    1.02 (d + 4) u is more than that: no true pair is lost. The margin is 8.1e-6 at 128 dims, 3.2e-5 at 512.
    """
    return 1.02 * (dims + 4) * _ROUNDOFF


def close_pairs(directions: Matrix, kept: Rows, threshold: float) -> Pairs:
    """Every pair whose `cosine` could be at or above `threshold` in [-1, 1]: a superset of the true ones, by `margin`.

    `directions` are those of the new rows. An int64 array of shape (pairs, 2): new row, row of `kept`, ascending. All
    similarities are held at once, so give few rows of `kept` at a time. ValueError for a threshold out of range, and
    for unequal dims.
    """
    if not -1.0 <= threshold <= 1.0:
        raise ValueError(f"a threshold of similarity lies in [-1, 1], not {threshold}")
    if directions.shape[0] != kept.vectors.shape[1]:
        raise ValueError(f"rows of equal dims are compared, not {directions.shape[::-1]} with {kept.vectors.shape}")
    floor = (threshold - margin(directions.shape[0])) * kept.norms
    lower: Matrix = np.nextafter(floor.astype(np.float32), np.float32(-np.inf))
    close = _products(kept.vectors, directions) >= lower[:, np.newaxis]
    return np.argwhere(close.T).astype(np.int64, copy=False) if close.any() else np.empty((0, 2), dtype=np.int64)


def _products(kept: Matrix, directions: Matrix) -> Matrix:
    """`kept @ directions`, in many small products.

    One large one is shared out to threads, and on a machine that is busy otherwise these wait for each other: it was
    seen to take fifty times as long, while small ones in one thread take as long as they do on an idle machine.
    """
    rows = max(1, _SMALL // max(1, directions.size))
    whole = len(kept) - len(kept) % rows
    found: Matrix = np.empty((len(kept), directions.shape[1]), dtype=np.float32)
    slices = kept[:whole].reshape(whole // rows, rows, kept.shape[1])
    np.matmul(slices, directions, out=found[:whole].reshape(whole // rows, rows, directions.shape[1]))
    np.matmul(kept[whole:], directions, out=found[whole:])
    return found
