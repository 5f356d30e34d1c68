"""A judge's reply, read strictly: the scores it was asked for, each a whole number from 0 to 5, and nothing else."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from flows.judge.candidate import HIGHEST, LOWEST
from models.identity import Json

MAX_TOKENS = 80
"""Room for the longest reply, with white space around."""


class UnusableReply(Exception):
    """A reply that gives no scores. `reason` is one of `cut`, `not_json`, `wrong_shape`, `out_of_range`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ScoresReply(BaseModel):
    """What replies have in common: unknown keys are errors, and no value becomes another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Level = Annotated[int, Field(ge=LOWEST, le=HIGHEST)]


def schema_of(names: Sequence[str]) -> Json:
    """The JSON schema of a reply with these scores."""
    return {
        "type": "object",
        "properties": {name: {"type": "integer", "minimum": LOWEST, "maximum": HIGHEST} for name in names},
        "required": list(names),
        "additionalProperties": False,
    }


def read_scores(text: str, finish_reason: str, names: Sequence[str]) -> dict[str, int]:
    """The scores of a reply; UnusableReply says why there are none. A part of a reply is never used."""
    if finish_reason == "length":
        raise UnusableReply("cut", f"the reply ran out of tokens: {text[:80]!r}")
    try:
        fields = json.loads(text, object_pairs_hook=_refuse_repeats)
    except (ValueError, RecursionError) as error:
        raise UnusableReply("not_json", f"the reply is no JSON ({error}): {text[:80]!r}") from error
    if not isinstance(fields, dict):
        raise UnusableReply("wrong_shape", f"the reply is JSON, but no object: {text[:80]!r}")
    try:
        reply = _shape(tuple(names)).model_validate(fields)
    except ValidationError as error:
        raise UnusableReply(_reason(error), f"the reply does not fit: {text[:80]!r}") from error
    return reply.model_dump()


@cache
def _shape(names: tuple[str, ...]) -> type[ScoresReply]:
    fields: dict[str, Any] = dict.fromkeys(names, (Level, ...))
    return create_model("ScoresReply", __base__=ScoresReply, **fields)


def _refuse_repeats(pairs: list[tuple[str, object]]) -> Mapping[str, object]:
    """An object with a key that comes once; ValueError where one comes twice: which of them was meant?"""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _reason(error: ValidationError) -> str:
    kinds = {problem["type"] for problem in error.errors()}
    return "out_of_range" if kinds <= {"greater_than_equal", "less_than_equal"} else "wrong_shape"
