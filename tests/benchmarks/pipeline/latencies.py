"""How long the slow server takes for a request, and which dice its reply is drawn with: from the request alone."""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import orjson

SIGMA = 0.9
"""Of the logarithm: a median of 0.67 means, one call in a hundred over 5.4."""
CAP = 30.0
"""Means: the longest that a call may take. One in 85,000 would be over it, which lowers the mean by some 0.01 %."""
STEP = re.compile(rb"\(row (\d+), step (\d+)\)")
"""How a client says which call of which chain this is, and has the latency of that, however it words the rest."""

_NORMAL = NormalDist()
_SIZE = float(2**64)


@dataclass(frozen=True, slots=True)
class Dice:
    """What follows from a request: a number in (0, 1) for its latency, bytes for its reply; -1: no row is named."""

    chance: float
    reply: bytes
    row: int
    step: int


def dice_of(raw: bytes, body: Mapping[str, Any]) -> Dice:
    """Of the body of a request, as bytes and as read.

    They follow from its messages and seed; where it names its row and step, from these alone, so that clients which
    word the rest in ways of their own get equal latencies.
    """
    step = STEP.search(raw)
    named = step[0] if step else orjson.dumps([body.get("messages"), body.get("seed")], option=orjson.OPT_SORT_KEYS)
    digest = hashlib.blake2b(named, digest_size=24).digest()
    chance = (int.from_bytes(digest[:8], "big") + 0.5) / _SIZE
    return Dice(min(max(chance, 1e-18), 1 - 1e-16), digest[8:], *(map(int, step.groups()) if step else (-1, -1)))


def latency_of(chance: float, mean: float) -> float:
    """Seconds, lognormal with that mean and SIGMA, at most CAP means."""
    if mean == 0:
        return 0.0
    return mean * min(math.exp(SIGMA * _NORMAL.inv_cdf(chance) - SIGMA * SIGMA / 2), CAP)
