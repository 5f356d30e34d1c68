"""The judge of the embedded profile: scores from measurements by fixed cut points, null where nothing was measured.

It is no reader and sees nothing. What stands behind each score:

- TCC: whether the answer's words are about the question (cosine of both by their words). Not whether it is right.
- ICC: the share of the things that the question names, and the painter could draw, that are on the picture.
- IQ: sharpness and contrast of the pixels.
- ITS: the same share for the answer's things, and how alike picture and answer are to the small CLIP.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.judge.candidate import SCORES, Candidate, Line, Scores, Verdict
from flows.judge.edition import NEWEST, Edition
from flows.judge.rubric import rubric_sha256
from models.chat import ChatModel, ChatRequest, ImagePart, Message, Part, Sampling, TextPart
from models.errors import ContentError
from models.identity import Json, ModelIdentity
from storage.canonical import canonical_text, content_sha256

NOT_MEASURED = "not_measured"
NOTHING_NAMED = "nothing_named"
"""Reasons: the picture carries no scene, or a text is missing; the text names nothing that could be drawn."""

RELEVANCE_CUTS = (0.03, 0.08, 0.15, 0.25, 0.40)
SHARE_CUTS = (0.01, 0.33, 0.5, 0.66, 1.0)
LIKENESS_CUTS = (0.10, 0.25, 0.40, 0.55, 0.70)
SHARPNESS_CUTS = (0.0001, 0.0005, 0.001, 0.002, 0.004)
CONTRAST_CUTS = (0.02, 0.05, 0.09, 0.13, 0.17)
"""From which values a score is 1, 2, 3, 4, 5. Chosen by seven turns that SmolLM2 wrote, against the same ones shuffled:
relevance 0.27 against 0.03 on average, likeness of picture and answer 0.60 against 0.28."""

SAMPLING = Sampling(temperature=0, top_p=1, top_k=0, min_p=0, repeat_penalty=1, max_tokens=1024)

Count = Annotated[int, Field(ge=0)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Against(BaseModel):
    """How a text stands to the picture."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    named: Count | None
    drawn: Count | None
    likeness: Number | None


class Signals(BaseModel):
    """What `models.scene_signals` measures."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    question: Against
    answer: Against
    caption: Against
    relevance: Number | None
    clip_relevance: Number | None
    sharpness: Number | None
    contrast: Number | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalsJudge:
    """A `Judge` over `SceneSignals`, or any model that answers in its shape. A seed changes nothing."""

    name: str
    model: ChatModel
    edition: Edition = NEWEST

    @property
    def sha256(self) -> str:
        who = self.model.identity
        cuts = [RELEVANCE_CUTS, SHARE_CUTS, LIKENESS_CUTS, SHARPNESS_CUTS, CONTRAST_CUTS]
        return content_sha256(
            {
                "kind": "signals",
                "version": self.edition,
                "model": {"name": who.name, "revision": who.revision},
                "cuts": [list(each) for each in cuts],
                "rubric": rubric_sha256(),
            }
        )

    @property
    def rubric_sha256(self) -> str:
        return rubric_sha256()

    @property
    def roles(self) -> Mapping[str, ModelIdentity]:
        return {"model": self.model.identity}

    @property
    def is_seeded(self) -> bool:
        return False

    async def judge(self, candidate: Candidate, seed: int, line: Line) -> Verdict:
        """The verdict; errors other than unusable content pass through."""
        decided = candidate.decided(self.edition)
        left = [name for name in SCORES if name not in decided]
        if not left:
            return Verdict(scores=Scores(**decided))
        try:
            reply = await line.chat(self.model, self._request(candidate, seed), "signals")
            signals = Signals.model_validate_json(reply.text)
        except (ContentError, ValidationError) as error:
            reason = error.reason if isinstance(error, ContentError) else "wrong_shape"
            return Verdict(scores=Scores(**decided), unknown=dict.fromkeys(left, reason))
        found = {name: value for name, value in score(signals).items() if name in left}
        return Verdict(
            scores=Scores(**decided, **{name: value for name, value in found.items() if not isinstance(value, str)}),
            unknown={name: value for name, value in found.items() if isinstance(value, str)},
            evidence=signals.model_dump(),
        )

    def _request(self, candidate: Candidate, seed: int) -> ChatRequest:
        who = self.model.identity
        texts: Json = {
            "question": candidate.question,
            "answer": candidate.answer,
            "caption": candidate.caption,
        }
        parts: list[Part] = [ImagePart(candidate.picture)] if candidate.picture is not None else []
        return ChatRequest(
            model=who.name,
            revision=who.revision,
            messages=(Message("user", (*parts, TextPart(canonical_text(texts)))),),
            sampling=SAMPLING,
            schema=None,
            seed=seed,
        )


def score(signals: Signals) -> dict[str, float | str]:
    """By score what the measurements come to: a number, or the reason why there is none."""
    return {
        "tcc": _level(signals.relevance, RELEVANCE_CUTS),
        "icc": _shown(signals.question),
        "iq": _least(_level(signals.sharpness, SHARPNESS_CUTS), _level(signals.contrast, CONTRAST_CUTS)),
        "its": _together(signals.answer),
    }


def _level(value: float | None, cuts: tuple[float, ...]) -> float | str:
    """0 below the first cut, 5 from the last one on."""
    return NOT_MEASURED if value is None else float(bisect_right(cuts, value))


def _shown(text: Against) -> float | str:
    if text.named is None or text.drawn is None:
        return NOT_MEASURED
    return _level(text.drawn / text.named, SHARE_CUTS) if text.named else NOTHING_NAMED


def _together(answer: Against) -> float | str:
    """The mean of both, the lower level where it lies between two; likeness alone where the answer names nothing."""
    share, likeness = _shown(answer), _level(answer.likeness, LIKENESS_CUTS)
    if isinstance(likeness, str) or isinstance(share, str):
        return likeness
    return float((share + likeness) // 2)


def _least(one: float | str, other: float | str) -> float | str:
    if isinstance(one, str) or isinstance(other, str):
        return NOT_MEASURED
    return min(one, other)
