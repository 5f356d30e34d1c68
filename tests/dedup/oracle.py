"""The meaning of a duplicate, written once more and as plainly as can be: exact fractions and nested loops."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from dedup.decide import Thresholds
from dedup.similarity import Vector
from dedup.turns import TurnVectors

Flag = tuple[str, int, str, int, float, float]
"""Sample, turn, kept sample, kept turn, image similarity, text similarity."""


@dataclass
class Verdict:
    """What the oracle says of one version: sample ids, flags, and the keepers' (sample id, turn)."""

    kept: list[str]
    dropped: list[str]
    flags: list[Flag]
    keepers: list[tuple[str, int]]


def exact_cosine(a: Vector, b: Vector) -> float:
    """Cosine by rational arithmetic: the scalar products are exact, then rounded once each."""
    x, y = [Fraction(float(v)) for v in a], [Fraction(float(v)) for v in b]
    dot, xx, yy = Fraction(0), Fraction(0), Fraction(0)
    for p, q in zip(x, y, strict=True):
        dot, xx, yy = dot + p * q, xx + p * p, yy + q * q
    return min(1.0, max(-1.0, float(dot) / math.sqrt(float(xx) * float(yy))))


def same(image: float, text: float, thresholds: Thresholds) -> bool:
    reached = {"image": image >= thresholds.image, "text": text >= thresholds.text}
    if thresholds.policy == "both":
        return all(reached.values())
    return any(reached.values()) if thresholds.policy == "either" else reached[thresholds.policy]


def judge(kept: Sequence[TurnVectors], newcomers: Sequence[TurnVectors], thresholds: Thresholds) -> Verdict:
    """Decide one version after `kept`, whose order is that of insertion."""
    verdict = Verdict([], [], [], [])
    standing = list(kept)
    for sample in sorted({turn.sample_id for turn in newcomers}):
        flags: list[Flag] = []
        free: list[TurnVectors] = []
        for turn in sorted((t for t in newcomers if t.sample_id == sample), key=lambda t: t.turn):
            for keeper in standing:
                image, text = exact_cosine(turn.image, keeper.image), exact_cosine(turn.text, keeper.text)
                if same(image, text, thresholds):
                    flags.append((sample, turn.turn, keeper.sample_id, keeper.turn, image, text))
                    break
            else:
                free.append(turn)
        (verdict.kept if free else verdict.dropped).append(sample)
        verdict.flags += flags
        verdict.keepers += [(turn.sample_id, turn.turn) for turn in free]
        standing += free
    return verdict


def unit(*values: float) -> Vector:
    """The direction of `values`, float32 of unit norm."""
    wide = np.array(values, dtype=np.float64)
    direction: Vector = (wide / np.sqrt((wide * wide).sum())).astype(np.float32)
    return direction
