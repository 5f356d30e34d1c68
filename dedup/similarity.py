"""How alike two vectors are, to the last bit the same on every machine. Knows nothing of turns or thresholds."""

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float32]

NORM_TOLERANCE = 1e-3


def cosine(a: Vector, b: Vector) -> float:
    """Cosine similarity in [-1, 1] of two float32 vectors of shape (dims,); ValueError for what `check_vector` refuses.

    The product of two float32 is exact in float64 (24 + 24 bits of 53) and `math.fsum` rounds the exact sum once, so
    neither the order of summation nor a BLAS nor the number of threads has a say. The quotient
    `dot / sqrt(|a|^2 * |b|^2)` adds four more roundings of IEEE 754 (the two squared norms are rounded once, too).
    Vectors of equal values give exactly 1.0, for sqrt(x * x) is x.
    """
    check_vector(a, what="first vector")
    check_vector(b, what="second vector")
    if a.shape != b.shape:
        raise ValueError(f"vectors of {a.shape[0]} and {b.shape[0]} dims cannot be compared")
    return max(-1.0, min(1.0, _dot(a, b) / math.sqrt(_dot(a, a) * _dot(b, b))))


def check_vector(vector: Vector, *, what: str = "vector") -> None:
    """ValueError, with `what` and the reason, unless `vector` is float32 of shape (dims,), finite, of unit norm."""
    if vector.dtype != np.float32:
        raise ValueError(f"{what}: dtype is {vector.dtype}, not float32")
    if vector.ndim != 1 or vector.size == 0:
        raise ValueError(f"{what}: shape is {vector.shape}, not (dims,)")
    if not np.isfinite(vector).all():
        kind = "NaN" if np.isnan(vector).any() else "infinity"
        raise ValueError(f"{what}: holds {kind}")
    norm = math.sqrt(_dot(vector, vector))
    if norm == 0.0:
        raise ValueError(f"{what}: all zero")
    if abs(norm - 1.0) > NORM_TOLERANCE:
        raise ValueError(f"{what}: norm is {norm:.6g}, not 1 within {NORM_TOLERANCE:g}")


def _dot(a: Vector, b: Vector) -> float:
    """The scalar product, exact but for one final rounding."""
    products: list[float] = np.multiply(a, b, dtype=np.float64).tolist()
    return math.fsum(products)
