"""What is judged and what comes of it: a candidate, four scores, a verdict. Knows nothing of lakes, prompts or models.

The four scores are those of the paper's evaluator: text content completeness (TCC), image content completeness (ICC),
image quality (IQ) and image-text synergy (ITS). A score that a judge does not know is None, with a reason.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from flows.judge.edition import NEWEST, Edition
from models.chat import ChatModel, ChatReply, ChatRequest
from models.embedding import EmbedRequest, Encoder, Vector
from models.identity import ModelIdentity
from models.picture import Picture
from storage.canonical import Json

SCORES = ("tcc", "icc", "iq", "its")
"""The four scores, in the order in which they are always told."""
LOWEST, HIGHEST = 0, 5
BLANKS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
"""Letters and signs to Unicode that are empty when drawn: Hangul fillers, the blank pattern of Braille."""
NEEDS_TEXT = frozenset({"tcc", "its"})
NEEDS_PICTURE = frozenset({"icc", "iq", "its"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """An earlier turn of the same dialogue, as far as it is there."""

    question: str
    answer: str
    picture: Picture | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A turn to be judged: a question, an answer in words and a picture, either of which may be missing.

    `caption` is what the picture was drawn from, where that is known; a judge that sees is not told it.
    """

    question: str
    answer: str
    picture: Picture | None
    caption: str | None = None
    history: tuple[Exchange, ...] = ()

    @property
    def has_text(self) -> bool:
        """Whether anything of the answer can be seen."""
        return any(map(_is_seen, self.answer))

    def decided(self, edition: Edition = NEWEST) -> dict[str, float]:
        """The scores that need no judge: what is not there is worth nothing."""
        has_text = bool(self.answer.strip()) if edition == "1" else self.has_text
        missing = (NEEDS_TEXT if not has_text else frozenset()) | (
            NEEDS_PICTURE if self.picture is None else frozenset()
        )
        return {name: 0.0 for name in SCORES if name in missing}


def _is_seen(character: str) -> bool:
    """Whether a character leaves ink: no space, control, joiner, filler, nor an accent that stands on nothing."""
    return unicodedata.category(character)[0] not in "ZCM" and character not in BLANKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Four scores from 0 to 5; None where the judge does not know."""

    tcc: float | None = None
    icc: float | None = None
    iq: float | None = None
    its: float | None = None

    def __post_init__(self) -> None:
        for name in SCORES:
            value = getattr(self, name)
            if value is not None and not LOWEST <= value <= HIGHEST:
                raise ValueError(f"{name} is {value}, and scores are from {LOWEST} to {HIGHEST}")

    def known(self) -> dict[str, float]:
        """Those that are known, by name."""
        return {name: value for name in SCORES if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one judge says of one candidate, once. `unknown` has a reason word for each score that is None.

    `evidence` is what the scores rest on, as far as the judge can tell; the raw reply is in the recorded call.
    """

    scores: Scores
    unknown: Mapping[str, str] = field(default_factory=dict)
    evidence: Mapping[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = [name for name in SCORES if name not in self.scores.known()]
        assert sorted(missing) == sorted(self.unknown), "each score is known, or has a reason why not"


class Line(Protocol):
    """How a judge reaches its models: recorded in a lake (`recorded.RecordedLine`), or directly (`DirectLine`).

    `purpose` tells calls of one verdict apart. ContentError when there is no usable answer; other errors of
    `models.errors` pass through.
    """

    async def chat(self, model: ChatModel, request: ChatRequest, purpose: str) -> ChatReply: ...

    async def embed(self, encoder: Encoder, request: EmbedRequest, purpose: str) -> Vector: ...


class DirectLine:
    """Asks models directly and records nothing: for candidates that come from no lake."""

    async def chat(self, model: ChatModel, request: ChatRequest, purpose: str) -> ChatReply:  # noqa: ARG002
        return await model.chat(request)

    async def embed(self, encoder: Encoder, request: EmbedRequest, purpose: str) -> Vector:  # noqa: ARG002
        return (await encoder.embed(request)).vector


class Judge(Protocol):
    """Anything that gives verdicts. Equal candidates, seeds and answers of its models give equal verdicts."""

    @property
    def name(self) -> str:
        """The name that verdicts stand under."""
        ...

    @property
    def sha256(self) -> str:
        """A hash of all that shapes a verdict: models, sampling, rubric, prompts, the judge's own version."""
        ...

    @property
    def rubric_sha256(self) -> str: ...

    @property
    def roles(self) -> Mapping[str, ModelIdentity]:
        """The models that it asks, by the part that they play in it."""
        ...

    @property
    def is_seeded(self) -> bool:
        """Whether another seed may give another verdict; one that takes no seed is asked once."""
        ...

    async def judge(self, candidate: Candidate, seed: int, line: Line) -> Verdict: ...
