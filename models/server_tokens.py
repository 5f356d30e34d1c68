"""The tokens of a reply and their log-probabilities, as servers of OpenAI's protocol tell them. Sends nothing."""

import math

from models.chat import Token
from models.identity import Json


def read_tokens(told: object) -> tuple[Token, ...] | None:
    """The tokens in the `logprobs` of a choice; None where they are not told, or not as the protocol has it."""
    match told:
        case {"content": [_, *_] as tokens}:
            found = [_read_token(each) for each in tokens]
            return tuple(each for each in found if each) if all(found) else None
    return None


def write_tokens(tokens: tuple[Token, ...]) -> Json:
    """The `logprobs` of a choice, as a server tells them."""
    return {
        "content": [
            {
                **_write_entry(token.text, token.logprob),
                "top_logprobs": [_write_entry(text, logprob) for text, logprob in token.likeliest],
            }
            for token in tokens
        ]
    }


def _read_token(told: object) -> Token | None:
    match told:
        case {"token": str(text), "logprob": float() | int() as logprob, "top_logprobs": [*others]}:
            entries = [_read_entry(each) for each in others]
            return Token(_storable(text), _finite(logprob), tuple(each for each in entries if each))
    return None


def _read_entry(told: object) -> tuple[str, float] | None:
    """A token that could have stood there; None for one that could not, by a probability of 0."""
    match told:
        case {"token": str(text), "logprob": float() | int() as logprob} if math.isfinite(logprob):
            return _storable(text), float(logprob)
    return None


def _write_entry(text: str, logprob: float) -> dict[str, Json]:
    return {"token": text, "logprob": logprob, "bytes": None}


def _finite(logprob: float) -> float:
    """A number that JSON has: servers tell of impossible tokens by minus infinity, or by -9999."""
    return float(logprob) if math.isfinite(logprob) else -9999.0


def _storable(text: str) -> str:
    """A token may be half a character: what no file of texts could hold is marked as such."""
    return text.encode(errors="replace").decode().replace("\0", "?")
