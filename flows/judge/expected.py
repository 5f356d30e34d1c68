"""Scores as expected values: the mean of the levels by the probabilities that a judge's tokens had. Asks nobody.

A judge that hesitates between 3 and 4 says one of them; its expected value lies between. The levels that the rubric
does not have, and all that is no digit, are left out, and what is left adds up to 1.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from flows.judge.candidate import HIGHEST, LOWEST
from models.chat import Token
from models.identity import Json

TOP_LOGPROBS = 20
"""How many likeliest tokens are asked for at each place: the most that OpenAI gives, and vLLM unless told otherwise."""
LEAST_MASS = 0.5
"""The least probability that the levels must have together."""
PLACES = 6
"""Decimals of an expected value: libraries of other machines may differ in later ones."""
NO_TOKEN, LITTLE_MASS = "no_token", "little_mass"
"""Reasons: the score's digit is in no token that was told; the levels had less than LEAST_MASS together."""
_LEVEL = re.compile(rf"""[\s":]*([{LOWEST}-{HIGHEST}])[\s,}}]*""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The expected value of a score, or the reason why there is none; `mass` is what the levels had together."""

    value: float | None = None
    mass: float | None = None
    reason: str | None = None


def expect_scores(text: str, tokens: Sequence[Token], names: Sequence[str]) -> dict[str, Expected]:
    """The expected value of each score of a reply that was read as good."""
    start = "".join(token.text for token in tokens).rfind(text)
    ends = list(accumulate(len(token.text) for token in tokens))
    return {name: _expect(name, text, tokens, start, ends) for name in names}


def expected_json() -> Json:
    """What of all this enters a judge's hash."""
    return {"version": "1", "top_logprobs": TOP_LOGPROBS, "least_mass": LEAST_MASS, "places": PLACES}


def _expect(name: str, text: str, tokens: Sequence[Token], start: int, ends: Sequence[int]) -> Expected:
    place = re.search(rf'"{name}"\s*:\s*([{LOWEST}-{HIGHEST}])', text)
    if start < 0 or place is None:
        return Expected(reason=NO_TOKEN)
    token = next(token for token, end in zip(tokens, ends, strict=True) if end > start + place.start(1))
    levels = _levels(token)
    if not levels:
        return Expected(reason=NO_TOKEN)
    mass = math.fsum(levels.values())
    if mass < LEAST_MASS:
        return Expected(mass=round(mass, PLACES), reason=LITTLE_MASS)
    value = math.fsum(level * share for level, share in levels.items()) / mass
    return Expected(value=round(value, PLACES), mass=round(min(mass, 1.0), PLACES))


def _levels(token: Token) -> Mapping[int, float]:
    """The probability of each level in a token's place; nothing where the token itself is more than a level."""
    if not _LEVEL.fullmatch(token.text):
        return {}
    logprobs = {**dict(token.likeliest), token.text: token.logprob}
    found: dict[int, float] = {}
    for text, logprob in logprobs.items():
        if said := _LEVEL.fullmatch(text):
            found[int(said[1])] = found.get(int(said[1]), 0.0) + math.exp(min(logprob, 0.0))
    return found
