"""What models reply with: shapes, their JSON schemas, and the strict reading of a reply; knows no prompts."""

import json
import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import Annotated, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.identity import Json

QUESTION_WORDS = 50
CAPTION_WORDS = 65
WORD_LIMITS = {"question": QUESTION_WORDS, "caption": CAPTION_WORDS}

# Characters. Far above what the word limits leave room for, so that only a runaway text ever meets them.
QUESTION_ROOM = 500
ANSWER_ROOM = 1200
CAPTION_ROOM = 600
SUGGESTION_ROOM = 400

MAX_TOKENS = {"question": 200, "answer": 640, "caption": 240, "critique": 160}
"""Per kind of reply: room for its schema's longest text at three characters a token, and the JSON around it."""

NOTHING_TO_ADD = frozenset(
    {"", "null", "none", "nothing", "no", "ok", "n/a", "no change", "no changes", "no suggestion", "no suggestions"}
)

_UNSAFE = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")  # controls but tab and line feed, half pairs
_SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f][\"'\u201d\u2019)\]\u00bb*]*$")


class Reply(BaseModel):
    """A reply: unknown fields are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class QuestionReply(Reply):
    question: Annotated[str, Field(max_length=QUESTION_ROOM)]


class AnswerReply(Reply):
    answer: Annotated[str, Field(max_length=ANSWER_ROOM)]
    caption: Annotated[str, Field(max_length=CAPTION_ROOM)]


class CaptionReply(Reply):
    caption: Annotated[str, Field(max_length=CAPTION_ROOM)]


class Critique(Reply):
    """What to change, in a sentence; None when there is nothing to add."""

    suggestion: Annotated[str, Field(max_length=SUGGESTION_ROOM)] | None


class BadReply(Exception):
    """A reply that cannot be used. `reason` is one of `not_json`, `wrong_shape`, `empty`, `cut`, `too_long`,
    `cut_sentence`, `unsafe_text`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


R = TypeVar("R", bound=Reply)


@cache
def schema_of(shape: type[Reply]) -> Json:
    """The JSON schema that a backend is to hold the reply to: small, without titles and descriptions."""
    return _without_prose(cast(Json, shape.model_json_schema()))


def parse_reply(shape: type[R], text: str, finish_reason: str) -> R:
    """Read a reply; its texts come out stripped and in NFC. BadReply says why it cannot be used."""
    if finish_reason == "length":
        raise BadReply("cut", f"the reply ran out of tokens after {len(text)} characters: {text[-80:]!r}")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadReply("not_json", f"the reply is no JSON ({error}): {text[:80]!r}") from error
    if not isinstance(fields, dict):
        raise BadReply("wrong_shape", f"the reply is JSON, but no object: {text[:80]!r}")
    clean = {name: _clean(name, value) if isinstance(value, str) else value for name, value in fields.items()}
    if shape is Critique and _adds_nothing(clean.get("suggestion")):
        clean["suggestion"] = None
    try:
        reply = shape.model_validate(clean)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadReply("wrong_shape", f"the reply does not fit {shape.__name__}: {where}: {first['msg']}") from error
    if shape is not Critique:
        for name, value in clean.items():
            _check_text(name, value)
    return reply


def ends_like_a_sentence(text: str) -> bool:
    """Whether a text ends with a full stop or the like, quotation marks and brackets after it allowed."""
    return _SENTENCE_END.search(text) is not None


def _clean(name: str, text: str) -> str:
    unsafe = _UNSAFE.search(text)
    if unsafe:
        raise BadReply("unsafe_text", f"{name} contains the character U+{ord(unsafe[0]):04X}")
    return unicodedata.normalize("NFC", text).strip()


def _check_text(name: str, text: str) -> None:
    if not text:
        raise BadReply("empty", f"{name} is empty")
    limit, words = WORD_LIMITS.get(name), len(text.split())
    if limit is not None and words > limit:
        raise BadReply("too_long", f"{name} has {words} words, more than {limit}: {text[:80]!r}")
    if not ends_like_a_sentence(text):
        raise BadReply("cut_sentence", f"{name} does not end like a sentence: {text[-80:]!r}")


def _adds_nothing(suggestion: object) -> bool:
    return isinstance(suggestion, str) and suggestion.casefold().strip(" .!\"'") in NOTHING_TO_ADD


def _without_prose(schema: Json) -> Json:
    if isinstance(schema, Mapping):
        return {
            key: {name: _without_prose(part) for name, part in value.items()}
            if key == "properties" and isinstance(value, Mapping)
            else _without_prose(value)
            for key, value in schema.items()
            if key not in ("title", "description")
        }
    if isinstance(schema, list):
        return [_without_prose(part) for part in schema]
    return schema
