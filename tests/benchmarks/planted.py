"""Made-up vectors with near-duplicates planted among them, and which pairs are true. Knows no tool that looks for them.

Clustered vectors are a centre and noise, both with a spectrum that decays as that of CLIP's vectors does (the deviation
of dim i is 1 / sqrt(1 + i), in axes turned at random). Two of a cluster mostly lie at 0.85 to 0.93. Isotropic ones
have neither clusters nor a spectrum: nobody's pictures look like that, and no projection helps there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dedup.similarity import cosine

Shape: TypeAlias = Literal["clustered", "isotropic"]
Matrix: TypeAlias = NDArray[np.float32]
Pairs: TypeAlias = NDArray[np.int64]

DIMS = 512
CLUSTERS = 20_000
NOISE = (0.28, 0.42)
"""Length of the noise beside a centre of length 1: two of a cluster lie at 1 / (1 + noise^2) or so."""
PLANTED = (0.93, 0.99)
COPIES = 0.2
"""The share of planted rows that are exact copies."""
_BLOCK = 1 << 14
_BORDER = 1e-4
"""A product of 512 float32 is off by less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """Where the vectors of one shape lie: rows (rows, DIMS) and queries, float32 without any header."""

    shape: Shape
    rows_file: Path
    queries_file: Path

    def rows(self, count: int) -> Matrix:
        """The first rows, mapped and not read."""
        return np.memmap(self.rows_file, dtype=np.float32, mode="r").reshape(-1, DIMS)[:count]

    def queries(self) -> Matrix:
        return np.fromfile(self.queries_file, dtype=np.float32).reshape(-1, DIMS)


def plant(folder: Path, shape: Shape, *, rows: int, among: int, queries: int, pairs: int, seed: int) -> Planted:
    """Write vectors; `pairs` of the queries are copies, or nearly so, of some of the first `among` rows."""
    planted = Planted(shape=shape, rows_file=folder / f"{shape}.rows", queries_file=folder / f"{shape}.queries")
    source = _Source(shape, np.random.default_rng(seed))
    with planted.rows_file.open("wb") as file:
        for first in range(0, rows, _BLOCK):
            source.draw(min(_BLOCK, rows - first)).tofile(file)
    asked = source.draw(queries)
    asked[:pairs] = source.near(planted.rows(among)[source.random.permutation(among)[:pairs]])
    asked[source.random.permutation(queries)].tofile(planted.queries_file)
    return planted


class _Source:
    def __init__(self, shape: Shape, random: np.random.Generator) -> None:
        self.random = random
        self._clustered = shape == "clustered"
        self._deviations = 1 / np.sqrt(1 + np.arange(DIMS)) if self._clustered else np.ones(DIMS)
        self._axes = np.linalg.qr(random.standard_normal((DIMS, DIMS)))[0].astype(np.float32)
        self._centres = self._directions(CLUSTERS)

    def draw(self, count: int) -> Matrix:
        if not self._clustered:
            return self._directions(count)
        lengths = self.random.uniform(*NOISE, size=(count, 1)).astype(np.float32)
        centres = self._centres[self.random.integers(0, CLUSTERS, size=count)]
        return _of_length_one(centres + lengths * self._directions(count))

    def near(self, rows: Matrix) -> Matrix:
        """Vectors at cosines within PLANTED to some, and some copies."""
        cosines = self.random.uniform(*PLANTED, size=(len(rows), 1))
        noise = self._directions(len(rows))
        aside = _of_length_one(noise - np.einsum("rd,rd->r", noise, rows)[:, np.newaxis] * rows)
        found = _of_length_one(cosines * rows + np.sqrt(1 - cosines**2) * aside)
        copies = round(len(rows) * COPIES)
        found[:copies] = rows[:copies]
        return found

    def _directions(self, count: int) -> Matrix:
        drawn = self.random.standard_normal((count, DIMS), dtype=np.float32) * self._deviations.astype(np.float32)
        return _of_length_one(drawn @ self._axes)


def _of_length_one(vectors: NDArray[np.floating]) -> Matrix:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    found: Matrix = (vectors / lengths).astype(np.float32)
    return found


def true_pairs(planted: Planted, rows: int, threshold: float) -> Pairs:
    """Every pair (query, row) whose `cosine` reaches the threshold: by products in float32, by itself at the border."""
    kept, asked = planted.rows(rows), planted.queries()
    parts: list[Pairs] = []
    for first in range(0, rows, _BLOCK):
        block = np.array(kept[first : first + _BLOCK])
        products = asked @ block.T
        some = np.argwhere(products >= threshold - _BORDER)
        clear = products[some[:, 0], some[:, 1]] >= threshold + _BORDER
        sure = [
            at or cosine(asked[query], block[row]) >= threshold for at, (query, row) in zip(clear, some, strict=True)
        ]
        parts.append(some[np.array(sure, dtype=bool)] + np.array([0, first]))
    return np.concatenate(parts)
