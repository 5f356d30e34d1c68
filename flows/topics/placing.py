"""The nearest known category for names that have none, by what their words mean. Pure: the same input, the same place.

A category is the sum of its topics and its own words; a name goes to the category that is most similar (cosine), if
similarity and lead over the next one add up to ENOUGH. What other names stand in the file has no part in it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from flows.topics.catalogue import TopicEntry, normalise_name
from flows.topics.wordbook import Vectors, Wordbook, read_wordbook, to_unit

ENOUGH = 0.45
"""Of the shipped topics, each held out in turn, a third reach it: see `tests/benchmarks/placing.py`."""
OWN_WORDS = 8
"""A category's and domain's words count as much as so many of its topics."""
DECIMALS = 6
"""To which similarities are rounded before they are compared: beyond, sums of floats differ between machines."""
AT_ONCE = 4096
CELLS = 2**24
"""Names by categories at a time: 128 MiB of similarities, however many categories there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a name belongs, spelled as the first known topic there spells it; the cosine with that category."""

    domain: str
    category: str
    similarity: float


class Placer:
    """Knows categories by their topics; entries without a category have no part in it."""

    def __init__(self, known: Iterable[TopicEntry], book: Wordbook | None = None) -> None:
        self._book = book or read_wordbook()
        groups: defaultdict[tuple[str, str], set[TopicEntry]] = defaultdict(set)
        for entry in known:
            if entry.category:
                groups[normalise_name(entry.domain), normalise_name(entry.category)].add(entry)
        members = [sorted(groups[key], key=lambda e: (e.domain, e.category, e.name)) for key in sorted(groups)]
        self._paths = [(group[0].domain, group[0].category) for group in members]
        self._centres = self._find_centres(members)

    def __len__(self) -> int:
        return len(self._paths)

    def place(self, names: Sequence[str]) -> list[Placement | None]:
        """The category of each name, or None where none is near enough."""
        if not self._paths:
            return [None] * len(names)
        step = max(1, min(AT_ONCE, CELLS // len(self._paths)))
        return [
            placement for start in range(0, len(names), step) for placement in self._place(names[start : start + step])
        ]

    def _place(self, names: Sequence[str]) -> Iterator[Placement | None]:
        near = np.round(self._book.embed(names) @ self._centres.T, DECIMALS)
        best = near.argmax(axis=1)
        rows = np.arange(len(names))
        similar = near[rows, best]
        near[rows, best] = -1.0
        second = near.max(axis=1) if near.shape[1] > 1 else similar
        for place, similarity, next_one in zip(best, similar, second, strict=True):
            domain, category = self._paths[place]
            is_near = similarity + (similarity - next_one) >= ENOUGH
            yield Placement(domain=domain, category=category, similarity=float(similarity)) if is_near else None

    def _find_centres(self, members: Sequence[Sequence[TopicEntry]]) -> Vectors:
        own = self._book.embed([f"{domain} {category}" for domain, category in self._paths])
        topics = self._book.embed([entry.name for group in members for entry in group])
        starts = np.cumsum([0, *(len(group) for group in members)])
        sums = [topics[start:end].sum(axis=0) for start, end in pairwise(starts)]
        return to_unit(OWN_WORDS * own + np.array(sums).reshape(own.shape))
