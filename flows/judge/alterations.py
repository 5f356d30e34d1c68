"""Changes to a candidate whose effect on a judge is known without people: what each does, and what must come of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

from flows.judge.candidate import SCORES, Candidate, Line
from models.chat import ChatModel, ChatReply, ChatRequest, ImagePart, Message, Part, TextPart
from models.embedding import EmbedRequest, Encoder, Vector
from models.picture import ALGORITHMIC, Picture
from storage.canonical import derive_seed

Expected = Literal["lower", "not_higher", "same"]
BLUR = 1 / 40
"""Radius of the blur, in sides of the picture."""
SAID_TIMES = 3
"""How often a verbose answer says the same."""
_FILE_MARKS = ("XML:com.adobe.xmp",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A kept turn, and one of another sample that things are taken from."""

    name: str
    candidate: Candidate
    other: Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Alteration:
    """One control. `alter` makes the changed candidate, None where it cannot be done; `expects` is by score.

    With `picture_first` the candidate stays, and the judge reads it in another order.
    """

    name: str
    what: str
    expects: Mapping[str, Expected]
    alter: Callable[[Source], Candidate | None]
    picture_first: bool = False


def _other_picture(source: Source) -> Candidate | None:
    mine, other = source.candidate.picture, source.other.picture
    if mine is None or other is None or mine.pixel_sha256 == other.pixel_sha256:
        return None
    return replace(source.candidate, picture=other)


def _blurred(source: Source) -> Candidate | None:
    mine = source.candidate.picture
    return None if mine is None else replace(source.candidate, picture=blur(mine))


def _other_answer(source: Source) -> Candidate | None:
    if not source.candidate.has_text or source.candidate.answer == source.other.answer or not source.other.has_text:
        return None
    return replace(source.candidate, answer=source.other.answer)


def _shuffled_words(source: Source) -> Candidate | None:
    words = source.candidate.answer.split()
    order = np.random.default_rng(derive_seed("shuffled words", source.name)).permutation(len(words)).tolist()
    shuffled = " ".join(words[place] for place in order)
    return None if shuffled == " ".join(words) else replace(source.candidate, answer=shuffled)


def _verbose(source: Source) -> Candidate | None:
    if not source.candidate.has_text:
        return None
    return replace(source.candidate, answer=" ".join([source.candidate.answer.strip()] * SAID_TIMES))


def _history_reversed(source: Source) -> Candidate | None:
    history = source.candidate.history
    return replace(source.candidate, history=history[::-1]) if len(history) > 1 else None


def _as_it_is(source: Source) -> Candidate | None:
    return source.candidate if source.candidate.picture is not None else None


ALTERATIONS: Sequence[Alteration] = (
    Alteration(
        name="other_picture",
        what="the picture of another sample",
        expects={"icc": "lower", "its": "lower"},
        alter=_other_picture,
    ),
    Alteration(name="blurred", what="the picture blurred", expects={"iq": "lower"}, alter=_blurred),
    Alteration(name="other_answer", what="the answer of another sample", expects={"tcc": "lower"}, alter=_other_answer),
    Alteration(
        name="shuffled_words", what="the answer's words shuffled", expects={"tcc": "lower"}, alter=_shuffled_words
    ),
    Alteration(
        name="verbose",
        what=f"the answer said {SAID_TIMES} times",
        expects={"tcc": "not_higher", "its": "not_higher"},
        alter=_verbose,
    ),
    Alteration(
        name="picture_first",
        what="the picture before question and answer",
        expects=dict.fromkeys(SCORES, "same"),
        alter=_as_it_is,
        picture_first=True,
    ),
    Alteration(
        name="history_reversed",
        what="earlier turns in reverse",
        expects=dict.fromkeys(SCORES, "same"),
        alter=_history_reversed,
    ),
)


def blur(picture: Picture) -> Picture:
    """The picture, blurred, with its marks: a scene that a mark tells of is still that of the picture."""
    radius = max(1.0, BLUR * min(picture.width, picture.height))
    pixels = np.asarray(Image.fromarray(picture.pixels()).filter(ImageFilter.GaussianBlur(radius)), dtype=np.uint8)
    marks = {name: text for name, text in picture.marks().items() if name not in _FILE_MARKS}
    return Picture.from_pixels(pixels, source=ALGORITHMIC, marks=marks)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFirstLine:
    """A line over which the picture that is judged comes before question and answer."""

    line: Line

    async def chat(self, model: ChatModel, request: ChatRequest, purpose: str) -> ChatReply:
        *before, last = request.messages
        moved = Message(last.role, move_picture(last.parts))
        return await self.line.chat(model, replace(request, messages=(*before, moved)), purpose)

    async def embed(self, encoder: Encoder, request: EmbedRequest, purpose: str) -> Vector:
        return await self.line.embed(encoder, request, purpose)


def move_picture(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Parts that end in question, answer, a line and a picture, with the last two first; others as they are."""
    match parts:
        case (*earlier, TextPart() as question, TextPart() as answer, TextPart() as line, ImagePart() as picture):
            return (*earlier, line, picture, question, answer)
    return parts
