"""Turns as they are compared: keys, vectors, many of them as rows. Decides nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dedup.screen import Rows
from dedup.similarity import Vector, check_vector


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class TurnKey:
    """Which turn; sorts by sample id, then turn."""

    sample_id: str
    turn: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TurnVectors:
    """A turn as it is compared: `image` and `text` (of the caption), float32 of shape (dims,), finite, of unit norm.

    Both come from one encoder, so their dims are equal. ValueError otherwise, with the turn and the reason.
    """

    sample_id: str
    turn: int
    image: Vector
    text: Vector

    def __post_init__(self) -> None:
        name = f"turn {self.turn} of sample {self.sample_id}"
        check_vector(self.image, what=f"image vector of {name}")
        check_vector(self.text, what=f"text vector of {name}")
        if self.image.shape != self.text.shape:
            raise ValueError(f"{name}: image has {self.image.shape[0]} dims, text {self.text.shape[0]}")

    @property
    def key(self) -> TurnKey:
        return TurnKey(sample_id=self.sample_id, turn=self.turn)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TurnRows:
    """Vectors of some turns, a row each."""

    images: Rows
    texts: Rows

    @classmethod
    def of(cls, turns: Sequence[TurnVectors]) -> "TurnRows":
        return cls(
            images=Rows.of(np.stack([turn.image for turn in turns])),
            texts=Rows.of(np.stack([turn.text for turn in turns])),
        )

    def __len__(self) -> int:
        return len(self.images)

    def part(self, start: int, end: int) -> "TurnRows":
        """Turns `start` to `end` (without it), copying nothing."""
        return TurnRows(images=self.images.part(start, end), texts=self.texts.part(start, end))


def in_order(turns: Iterable[TurnVectors]) -> list[TurnVectors]:
    """Sorted by sample id and turn; ValueError when a turn is there twice."""
    ordered = sorted(turns, key=lambda turn: turn.key)
    for a, b in pairwise(ordered):
        if a.key == b.key:
            raise ValueError(f"turn {a.turn} of sample {a.sample_id} is given twice")
    return ordered


def check_dims(turns: Sequence[TurnVectors], dims: int | None) -> None:
    """ValueError unless all vectors have `dims` dims, or, where that is None, as many as the first."""
    for turn in turns:
        dims = dims or turn.image.shape[0]
        if turn.image.shape[0] != dims:
            raise ValueError(
                f"turn {turn.turn} of sample {turn.sample_id} has {turn.image.shape[0]} dims, others have {dims}"
            )
