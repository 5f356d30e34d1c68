"""The vectors of a lake's kept turns: those of its table fetched when they are wanted, later ones beside them."""

import numpy as np
from numpy.typing import NDArray

from dedup.screen import Matrix
from dedup.turns import TurnRows
from dedup.vectors import SpilledVectors
from storage.kept_rows import KeptRows


class LakeVectors:
    """A `dedup.vectors.VectorStore` that begins with what a version's table has, and grows apart from it."""

    def __init__(self, rows: KeptRows) -> None:
        self._rows = rows
        self._stored = rows.names.height
        self._later = SpilledVectors()

    @property
    def dims(self) -> int | None:
        return self._rows.dims

    def __len__(self) -> int:
        return self._stored + len(self._later)

    def append(self, rows: TurnRows) -> None:
        self._later.append(rows)

    def fetch(self, places: NDArray[np.int64]) -> tuple[Matrix, Matrix]:
        images, texts = (np.empty((len(places), self._rows.dims), dtype=np.float32) for _ in range(2))
        stored = places < self._stored
        if stored.any():
            images[stored], texts[stored] = self._rows.fetch(places[stored].tolist())
        if not stored.all():
            images[~stored], texts[~stored] = self._later.fetch(places[~stored] - self._stored)
        return images, texts
