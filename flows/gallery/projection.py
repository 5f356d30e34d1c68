"""Vectors as points of a plane: the two directions in which they differ most. Numbers in, numbers out."""

import numpy as np
from numpy.typing import NDArray


def project(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Points of shape (rows, 2) from 0 to 1: the first two principal components of vectors of shape (rows, dims).

    Each direction is signed so that its largest part is above 0, so equal vectors give equal points.
    """
    rows, dims = vectors.shape
    if rows == 0:
        return np.zeros((0, 2))
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, directions = np.linalg.eigh(centred.T @ centred)
    chosen = directions[:, ::-1][:, : min(2, dims)]
    largest = chosen[np.abs(chosen).argmax(axis=0), np.arange(chosen.shape[1])]
    points = centred @ (chosen * np.where(largest < 0, -1.0, 1.0))
    if dims < 2:
        points = np.column_stack([points, np.zeros(rows)])
    low, span = points.min(axis=0), np.ptp(points, axis=0)
    scaled: NDArray[np.float64] = (points - low) / np.where(span > 1e-12, span, 1.0)
    return scaled
