"""All finished samples decided anew, in the order in which they came. Writes nothing, asks nobody."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, groupby

from dedup.decide import Decision, Excused, decide
from dedup.kept import KeptTurns
from dedup.turns import TurnVectors
from flows.deciding import Ruling
from flows.review.words import Settled, read_settled
from storage.embeddings import Standing, embedded_turns, read_standing
from storage.kept_rows import KeptVectors
from storage.lake import Lake
from storage.records import DecisionRow, DuplicateRow
from storage.slots import siblings
from storage.versions import Version

MOVE, RETHRESHOLD = "reembed", "rethreshold"
"""Kinds of runs that decide anew: for another encoder, and for other thresholds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedAnew:
    """Where the samples stood, what is decided now, and the rows that say so."""

    before: Standing
    decision: Decision
    rows: tuple[DecisionRow | DuplicateRow, ...]


def decide_anew(lake: Lake, head: Version, ruling: Ruling) -> DecidedAnew:
    """Decide as if the ruling's encoder and thresholds had been there from the first.

    What was rejected stays so, and what persons said of turns stands.
    """
    before = read_standing(lake, head)
    turns = embedded_turns(lake, head, ruling.encoder, before.kept.keys())
    settled = read_settled(lake, head, ruling.encoder)
    decision = _decide_in_order(turns, ruling, siblings(lake, head, before.kept), settled)
    repeated = {(duplicate.sample_id, duplicate.turn) for duplicate in decision.duplicates}
    freed = sorted(key for key in before.flagged - repeated if key[0] in before.kept)
    rows = ruling.rows(dict.fromkeys(sorted(before.kept)), decision, freed=freed, told=settled.told.keys())
    return DecidedAnew(before=before, decision=decision, rows=tuple(rows))


def _decide_in_order(turns: Iterator[KeptVectors], ruling: Ruling, excused: Excused, settled: Settled) -> Decision:
    kept = KeptTurns(encoder=ruling.encoder)
    parts: list[Decision] = []
    for _, group in groupby(turns, key=lambda turn: turn.version):
        newcomers = [
            TurnVectors(sample_id=turn.sample_id, turn=turn.turn, image=turn.image, text=turn.text) for turn in group
        ]
        thresholds = ruling.thresholds()
        parts.append(decide(kept, newcomers, thresholds, excused=excused, spared=settled.spared, told=settled.told))
        kept.add(parts[-1].keepers, encoder=ruling.encoder)
    return Decision(
        kept_samples=tuple(chain.from_iterable(part.kept_samples for part in parts)),
        dropped_samples=tuple(chain.from_iterable(part.dropped_samples for part in parts)),
        duplicates=tuple(chain.from_iterable(part.duplicates for part in parts)),
    )
