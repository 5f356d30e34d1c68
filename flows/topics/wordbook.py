"""What English words mean, roughly: small whole numbers for each of 24,865 common words. Knows nothing of topics.

The vectors are those that SmolLM2 begins with when it reads a word, turned, rounded to 2 bits and weighted by how rare
the word is; `flows/topics/wordbook_making.py` made them. Whole numbers add up to the same on every machine.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.topics.alike import strip_plural
from models.scene_words import STOP_WORDS

FILE = Path(__file__).with_name("wordbook.npz")
LEVELS = np.array([-3, -1, 1, 3], dtype=np.int64)
"""What two bits stand for."""
WEIGHT, HALF = 1000, 20_000
"""A word's weight: WEIGHT x rank / (rank + HALF), the rank being that of how often it is written."""

Vectors = NDArray[np.float64]


class Wordbook:
    """Words and their vectors, as `FILE` has them."""

    def __init__(self, path: Path = FILE) -> None:
        with np.load(path, allow_pickle=False) as stored:
            words = stored["words"].tobytes().decode("ascii").split("\n")
            self._packed, ranks = stored["vectors"], stored["ranks"].astype(np.int64)
        self._rows = {word: row for row, word in enumerate(words)}
        self._weights = WEIGHT * ranks // (ranks + HALF)
        self.dims = 4 * self._packed.shape[1]

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, word: str) -> bool:
        """Whether a word in small letters is known, or its singular."""
        return word in self._rows or strip_plural(word) in self._rows

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Float64 of shape (texts, dims), each of unit length, or zero for a text without a word that is known.

        A text is the sum of its words: other scripts than Latin have none.
        """
        found = [self._find(text) for text in texts]
        used = sorted({row for rows in found for row in rows})
        table = self._unpack(used)
        places = {row: place for place, row in enumerate(used)}
        sums = np.zeros((len(texts), self.dims))
        for number, rows in enumerate(found):
            if rows:
                sums[number] = table[[places[row] for row in rows]].sum(axis=0)
        return to_unit(sums)

    def _find(self, text: str) -> list[int]:
        """The rows of a text's words, of a plural that is not there its singular."""
        apart = unicodedata.normalize("NFKD", text.casefold())
        plain = "".join(character for character in apart if not unicodedata.combining(character))
        words = [word for word in re.findall(r"[a-z]+", plain) if word not in STOP_WORDS]
        rows = (self._rows.get(word, self._rows.get(strip_plural(word))) for word in words)
        return [row for row in rows if row is not None]

    def _unpack(self, rows: Sequence[int]) -> Vectors:
        packed = self._packed[np.array(rows, dtype=np.int64)]
        codes = np.stack([packed >> shift & 3 for shift in (0, 2, 4, 6)], axis=-1).reshape(len(packed), self.dims)
        table: Vectors = (LEVELS[codes] * self._weights[np.array(rows, dtype=np.int64), None]).astype(np.float64)
        return table


@cache
def read_wordbook() -> Wordbook:
    """The shipped words, read once a process."""
    return Wordbook()


def to_unit(vectors: Vectors) -> Vectors:
    """Rows of unit length; zero rows stay."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    unit: Vectors = vectors / np.where(lengths == 0, 1, lengths)[:, None]
    return unit
