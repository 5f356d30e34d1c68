"""The index of kept turns as a version has it, brought from version to version. Decides nothing and writes nothing."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from dedup.kept import KeptTurns
from dedup.turns import TurnVectors
from flows.errors import UserError
from storage.keepers import new_keepers
from storage.lake import Lake
from storage.turns_table import KeptVectors
from storage.versions import Version

MOST_STEPS = 256
"""Reading one version's keepers takes about 10 ms, the index anew some 20 ms for each 1,000 turns."""


class KeptIndex:
    """The turns that newcomers are compared with, those of one encoder.

    `read_all` gives all of a version: from the table of turns, which is quick, or from the packages, which are always
    there.
    """

    def __init__(self, lake: Lake, encoder: str, *, read_all: Callable[[Lake, Version], Iterator[KeptVectors]]) -> None:
        self._lake = lake
        self._encoder = encoder
        self._read_all = read_all
        self.turns = KeptTurns(encoder=encoder)
        self.known = 0
        """The version whose turns are here, 0 before any is."""

    def catch_up(self, head: Version) -> None:
        """Bring in what came since. UserError when kept turns have vectors of another encoder.

        A few versions that only decide about what they made are gone through one by one, all else is read anew.
        """
        if self.known and 0 < head.number - self.known <= MOST_STEPS:
            self._follow(head)
        if self.known != head.number:
            kept = KeptTurns(encoder=self._encoder)
            for _, turns in groupby(self._read_all(self._lake, head), key=lambda turn: turn.version):
                self._add(kept, turns)
            self.turns = kept
            self.known = head.number

    def add(self, keepers: Iterable[TurnVectors], number: int) -> None:
        """Take in the keepers of a version that follows the one that is here."""
        self.turns.add(keepers, encoder=self._encoder)
        self.known = number

    def _follow(self, head: Version) -> None:
        """Add what each version brought, up to the newest or the first that decides about earlier ones."""
        while self.known < head.number:
            turns = new_keepers(self._lake, head.until(self.known + 1))
            if turns is None:
                return
            self._add(self.turns, turns)
            self.known += 1

    def _add(self, kept: KeptTurns, turns: Iterable[KeptVectors]) -> None:
        """Add the keepers of one version. UserError when they are of another encoder; then none is added."""
        same = list(turns)
        if any(turn.encoder != self._encoder for turn in same):
            raise UserError(
                f"{self._lake.path} has vectors of another encoder than the setting 'selection.encoder' names, and "
                "vectors of two encoders cannot be compared: put the setting back, or move the lake to the new "
                "encoder with 'interlake reembed'"
            )
        kept.add(map(_comparable, same), encoder=self._encoder)


def _comparable(turn: KeptVectors) -> TurnVectors:
    return TurnVectors(sample_id=turn.sample_id, turn=turn.turn, image=turn.image, text=turn.text)
