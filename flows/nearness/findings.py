"""What a report on near-duplicates says in numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from dedup.decide import Thresholds
from dedup.nearness import Histogram
from flows.nearness.precision import Curve


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPairs:
    """Pairs from `near` below one threshold on: repeats by the policy, and others that reach it alone or do not."""

    repeats: int
    others: int

    @classmethod
    def of(cls, found: Histogram) -> "NearPairs":
        return cls(repeats=int(found.repeats.sum()), others=int(found.others.sum()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The numbers of one report. `states` counts decided turns; `near_pairs` are by `image` and `text`.

    `curves` are empty without labels.
    """

    version: int
    encoder: str | None
    thresholds: Thresholds
    near: float
    states: Mapping[str, int]
    near_pairs: Mapping[str, NearPairs]
    repeats: int
    beyond: int
    short: int
    labelled: int
    curves: Sequence[Curve]

    @property
    def turns(self) -> int:
        """Turns that were decided."""
        return sum(self.states.values())

    def numbers(self) -> list[tuple[str, int]]:
        """What is counted, in words."""
        near = f"{self.near:g}"
        return [
            ("turns decided", self.turns),
            *((f"turns {state}", count) for state, count in self.states.items()),
            (f"pairs of pictures from {near} below on", _total(self.near_pairs["image"])),
            (f"pairs of captions from {near} below on", _total(self.near_pairs["text"])),
            ("pairs that repeat", self.repeats),
        ]

    def json(self) -> dict[str, object]:
        """All of it but the curves' points, which are in their own file."""
        return {
            "version": self.version,
            "encoder": self.encoder,
            "thresholds": asdict(self.thresholds),
            "near": self.near,
            "turns": self.turns,
            "states": dict(self.states),
            "near_pairs": {kind: asdict(pairs) for kind, pairs in self.near_pairs.items()},
            "repeats": self.repeats,
            "pairs_shown": {"beyond": self.beyond, "short": self.short},
            "labelled": self.labelled,
            "curves": {
                curve.kind: {"used": asdict(curve.used), "best": asdict(curve.best) if curve.best else None}
                for curve in self.curves
            },
        }


def _total(pairs: NearPairs) -> int:
    return pairs.repeats + pairs.others
