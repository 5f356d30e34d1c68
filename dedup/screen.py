"""Which pairs of vectors could reach a threshold: quick, generous, and never short of a true pair. Decides nothing."""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Matrix: TypeAlias = NDArray[np.float32]
Pairs: TypeAlias = NDArray[np.int64]

BLOCK_ROWS = 1024

_ROUNDOFF = 2.0**-53


def margin(dims: int) -> float:
    """How far below the threshold a screened value may lie and still be a candidate: `(8 dims + 32) u`, u = 2^-53.

    Write d for dims, theta_k for any quantity of size at most g(k) = k u / (1 - k u), and use the rules of Higham,
    *Accuracy and Stability of Numerical Algorithms*, lemma 3.3. Float32 lies far inside float64's range, so nothing
    under- or overflows. BLAS may add in any order, with or without fused multiply-add.

    - A row's squared norm has exact products and d - 1 additions; with the root, norm = |x| (1 + theta_d). One division
      more makes each entry of a normalised row (x_i / |x|) (1 + theta_{2d+1}).
    - A screened value p multiplies two of them and adds d: p = sum of (x_i y_i / |x||y|) (1 + theta_{5d+2}), so by
      Cauchy-Schwarz p differs from the true cosine by at most g(5d + 2).
    - `cosine` rounds the scalar product, both squared norms, their product, the root and the quotient once each: it
      differs from the true cosine by at most g(10), and clamping only brings it nearer.

    Together |p - cosine| <= g(5d + 12). Rounding `threshold - margin` adds at most 2u. For every d below 2^40,
    g(5d + 12) + 2u <= 1.02 (5d + 12) u + 2u < (8d + 32) u, so `cosine >= threshold` implies
    `p >= threshold - margin`: no true pair is lost. At 512 dims the margin is 4.6e-13.
    """
    return (8 * dims + 32) * _ROUNDOFF


def candidates(new: Matrix, kept: Matrix, threshold: float, *, block: int = BLOCK_ROWS) -> Iterator[Pairs]:
    """Every pair whose `cosine` could be at or above `threshold` in [-1, 1]: a superset of the true ones, by `margin`.

    `new` is float32 of shape (rows, dims), `kept` of shape (any rows, same dims). Yields, for every `block` rows of
    `kept` in their order, an int64 array of shape (pairs, 2): row of `new`, row of `kept`, ascending. At most
    `rows * block` similarities and `block * dims` float64 of `kept` are held at a time. ValueError for a threshold or
    block out of range, other dtypes, unequal dims, and rows that are zero or not finite.
    """
    if not -1.0 <= threshold <= 1.0:
        raise ValueError(f"a threshold of similarity lies in [-1, 1], not {threshold}")
    if block < 1:
        raise ValueError(f"a block has at least one row, not {block}")
    if new.ndim != 2 or kept.ndim != 2 or new.shape[1] != kept.shape[1]:
        raise ValueError(f"rows of equal dims are compared, not {new.shape} with {kept.shape}")
    floor = threshold - margin(new.shape[1])
    unit_new = _unit_rows(new)
    for start in range(0, len(kept), block):
        close = unit_new @ _unit_rows(kept[start : start + block]).T >= floor
        yield np.argwhere(close).astype(np.int64, copy=False) + np.array([0, start])


def _unit_rows(rows: Matrix) -> NDArray[np.float64]:
    """The rows in float64, each divided by its norm."""
    if rows.dtype != np.float32:
        raise ValueError(f"vectors are float32, not {rows.dtype}")
    wide = rows.astype(np.float64)
    norms = np.sqrt(np.einsum("rd,rd->r", wide, wide))
    unfit = np.flatnonzero(~(np.isfinite(norms) & (norms > 0.0)))
    if unfit.size:
        raise ValueError(f"vector in row {unfit[0]} is zero or not finite")
    unit: NDArray[np.float64] = wide / norms[:, np.newaxis]
    return unit
