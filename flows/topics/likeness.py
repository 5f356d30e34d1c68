"""How similar names of topics are, from 0 to 1: mostly by the words that they share, a little by what words mean.

Three quarters are the cosine of the names' stems, one quarter that of their vectors in the wordbook. Chosen by
measurement (`tests/benchmarks/likeness.py`): meaning alone takes neighbours for one thing, as does the text side of
the small CLIP, and words alone see no likeness in what is merely near.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from flows.topics.alike import fold_name
from flows.topics.wordbook import Vectors, Wordbook, read_wordbook
from storage.wording import content_stems

MEASURE = "names-1"
"""The name of this measure; raise its number with whatever changes a similarity."""
MEANING = 0.25
"""The part of meaning; the rest is that of shared stems."""
DECIMALS = 6
"""To which similarities are rounded: beyond, sums of floats differ between machines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """The known name that is most similar; of several that which was known first."""

    name: str
    similarity: float


class ReadNames:
    """Names that were read once, with all that is reckoned of them: for whoever compares with the same ones again."""

    def __init__(self, book: Wordbook | None = None) -> None:
        self._book = book or read_wordbook()
        self._blocks: list[Vectors] = []
        self._places: dict[str, tuple[int, int]] = {}
        self._stems: dict[str, frozenset[str]] = {}
        self._folded: dict[str, str] = {}

    def stems(self, name: str) -> frozenset[str]:
        """The stems of a name's words."""
        if name not in self._stems:
            self._stems[name] = content_stems(name)
        return self._stems[name]

    def fold(self, name: str) -> str:
        """The key under which a name is the same as others."""
        if name not in self._folded:
            self._folded[name] = fold_name(name)
        return self._folded[name]

    def vectors(self, names: Sequence[str]) -> Iterator[Vectors]:
        """The vectors of names, in their order, in blocks of shape (some names, dims); none is copied."""
        if new := [name for name in dict.fromkeys(names) if name not in self._places]:
            self._places |= {name: (len(self._blocks), row) for row, name in enumerate(new)}
            self._blocks.append(self._book.embed(new))
        places = [self._places[name] for name in names]
        first = 0
        for at in range(1, len(places) + 1):
            block, row = places[at - 1]
            if at == len(places) or places[at] != (block, row + 1):
                yield self._blocks[block][places[first][1] : row + 1]
                first = at


class KnownNames:
    """Names that others are compared with, in the order in which they became known."""

    def __init__(self, names: Iterable[str] = (), read: ReadNames | None = None) -> None:
        self._read = read or ReadNames()
        self._names: list[str] = []
        self._sizes: list[int] = []
        self._by_stem: defaultdict[str, list[int]] = defaultdict(list)
        self._vectors: list[Vectors] = []
        self.add(list(names))

    def add(self, names: Sequence[str]) -> None:
        """Know more names."""
        if not names:
            return
        for name in names:
            stems = self._read.stems(name)
            for stem in stems:
                self._by_stem[stem].append(len(self._names))
            self._sizes.append(len(stems))
            self._names.append(name)
        self._vectors += self._read.vectors(names)

    def nearest(self, name: str) -> Nearest | None:
        """The known name most like this one; None while none is known."""
        if not self._names:
            return None
        similar = np.round((1 - MEANING) * self._by_words(name) + MEANING * self._by_meaning(name), DECIMALS)
        best = int(similar.argmax())
        return Nearest(name=self._names[best], similarity=min(1.0, max(0.0, float(similar[best]))))

    def _by_meaning(self, name: str) -> Vectors:
        (vector,) = (block[0] for block in self._read.vectors([name]))
        return np.concatenate([known @ vector for known in self._vectors])

    def _by_words(self, name: str) -> Vectors:
        stems = self._read.stems(name)
        shared = np.zeros(len(self._names))
        for stem in stems:
            shared[self._by_stem.get(stem, [])] += 1
        return shared / np.sqrt(np.maximum(np.array(self._sizes, dtype=np.float64) * len(stems), 1))
