"""Vectors of kept turns, of which few are in memory at a time. Knows nothing of turns' names or thresholds."""

import tempfile
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dedup.screen import Matrix, Rows
from dedup.turns import TurnRows

BLOCK_ROWS = 1 << 14
"""As many turns are in memory before they go to a file, and are sketched and screened in one piece."""


class VectorStore(Protocol):
    """The vectors of turns by their place, from 0."""

    @property
    def dims(self) -> int | None:
        """Dims of the vectors; None while there are none."""
        ...

    def __len__(self) -> int: ...

    def append(self, rows: TurnRows) -> None:
        """Add turns at the end; what is added is copied."""
        ...

    def fetch(self, places: NDArray[np.int64]) -> tuple[Matrix, Matrix]:
        """Image and text vectors at places, each float32 of shape (places, dims), copied."""
        ...


class SpilledVectors:
    """Vectors that come one after another: the newest in memory, whole blocks of older ones in an unnamed file.

    The system may keep what it likes of that file in memory, and takes it away when memory is wanted elsewhere.
    """

    def __init__(self, block_rows: int = BLOCK_ROWS) -> None:
        self._block_rows = block_rows
        self._blocks: list[Matrix] = []
        self._count = 0

    @property
    def dims(self) -> int | None:
        return self._blocks[0].shape[2] if self._blocks else None

    def __len__(self) -> int:
        return self._count

    def append(self, rows: TurnRows) -> None:
        done = 0
        while done < len(rows):
            block, filled = divmod(self._count, self._block_rows)
            if block == len(self._blocks):
                self._begin_block(rows.images.vectors.shape[1])
            part = rows.part(done, done + self._block_rows - filled)
            self._blocks[block][filled : filled + len(part), 0] = part.images.vectors
            self._blocks[block][filled : filled + len(part), 1] = part.texts.vectors
            done += len(part)
            self._count += len(part)

    def fetch(self, places: NDArray[np.int64]) -> tuple[Matrix, Matrix]:
        found: Matrix = np.empty((len(places), 2, self.dims or 0), dtype=np.float32)
        blocks, rows = np.divmod(places, self._block_rows)
        for block in np.unique(blocks).tolist():
            mine = blocks == block
            found[mine] = self._blocks[block][rows[mine]]
        return found[:, 0], found[:, 1]

    def _begin_block(self, dims: int) -> None:
        if self._blocks:
            self._blocks[-1] = _spilled(self._blocks[-1])
        self._blocks.append(np.empty((self._block_rows, 2, dims), dtype=np.float32))


def _spilled(block: Matrix) -> Matrix:
    """The same block in a file that has no name and goes with the process."""
    with tempfile.TemporaryFile(prefix="interlake-vectors-") as file:
        block.tofile(file)
        file.flush()
        return np.memmap(file, dtype=np.float32, mode="r", shape=block.shape)


def fetch_rows(store: VectorStore, places: NDArray[np.int64]) -> TurnRows:
    """Turns at some places, with their norms measured."""
    images, texts = store.fetch(places)
    return TurnRows(images=Rows.of(images), texts=Rows.of(texts))
