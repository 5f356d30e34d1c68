"""How many topics and samples are asked for."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for: so many topics, so many samples for each. `deepen` goes on where nothing else is left.

    `only_topics` are ids of those that may be taken; None is all.
    """

    topics: int
    samples: int
    deepen: bool = False
    only_topics: Collection[str] | None = None
