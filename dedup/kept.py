"""The turns that later ones are compared with, in memory. Decides nothing."""

from collections.abc import Iterable, Iterator

import numpy as np

from dedup.screen import Rows
from dedup.turns import TurnKey, TurnRows, TurnVectors, check_dims, in_order

STORED_ROWS = 1 << 14
"""How many kept turns lie in one piece of memory, which is taken only as it fills."""


class KeptTurns:
    """The growing index of kept, unflagged turns of one encoder, in the order in which a keeper is named.

    Their vectors lie in blocks of STORED_ROWS turns, so that nothing is copied when it grows.
    """

    def __init__(self, *, encoder: str) -> None:
        self.encoder = encoder
        self._keys: list[TurnKey] = []
        self._known: set[TurnKey] = set()
        self._samples: set[str] = set()
        self._blocks: list[TurnRows] = []

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, sample_id: str) -> bool:
        return sample_id in self._samples

    @property
    def dims(self) -> int | None:
        """Dims of the vectors; None while there are none."""
        return self._blocks[0].images.vectors.shape[1] if self._blocks else None

    def blocks(self) -> Iterator[TurnRows]:
        """All vectors, in the order of keepers; not to be changed."""
        for start, block in zip(range(0, len(self), STORED_ROWS), self._blocks, strict=True):
            yield block.part(0, len(self) - start)

    def require_encoder(self, encoder: str) -> None:
        """ValueError when `encoder` is not the one whose vectors are here."""
        if encoder != self.encoder:
            raise ValueError(f"vectors of encoder {encoder} cannot be compared with those of {self.encoder}: re-embed")

    def turn(self, place: int) -> TurnVectors:
        """The turn at a place in the order of keepers, from 0."""
        key, block, row = self._keys[place], self._blocks[place // STORED_ROWS], place % STORED_ROWS
        image, text = block.images.vectors[row].copy(), block.texts.vectors[row].copy()
        return TurnVectors(sample_id=key.sample_id, turn=key.turn, image=image, text=text)

    def add(self, turns: Iterable[TurnVectors], *, encoder: str) -> None:
        """Append the keepers of one version, sorted by sample id and turn; call once a version, in version order.

        ValueError, and nothing is added, for another encoder, other dims, or a turn that is there already.
        """
        self.require_encoder(encoder)
        ordered = in_order(turns)
        check_dims(ordered, self.dims)
        known = [turn.key for turn in ordered if turn.key in self._known]
        if known:
            raise ValueError(f"turn {known[0].turn} of sample {known[0].sample_id} is in the index already")
        if ordered:
            self._append(TurnRows.of(ordered))
        keys = [turn.key for turn in ordered]
        self._keys += keys
        self._known.update(keys)
        self._samples.update(key.sample_id for key in keys)

    def _append(self, rows: TurnRows) -> None:
        """Copy rows to the end of the last block, and into as many new ones as it takes."""
        done = 0
        while done < len(rows):
            block, filled = divmod(len(self) + done, STORED_ROWS)
            if block == len(self._blocks):
                self._blocks.append(_empty_block(rows.images.vectors.shape[1]))
            part = rows.part(done, done + STORED_ROWS - filled)
            for ours, theirs in ((self._blocks[block].images, part.images), (self._blocks[block].texts, part.texts)):
                ours.vectors[filled : filled + len(part)] = theirs.vectors
                ours.norms[filled : filled + len(part)] = theirs.norms
            done += len(part)


def _empty_block(dims: int) -> TurnRows:
    images, texts = (
        Rows(np.empty((STORED_ROWS, dims), dtype=np.float32), np.empty(STORED_ROWS, dtype=np.float64)) for _ in range(2)
    )
    return TurnRows(images=images, texts=texts)
