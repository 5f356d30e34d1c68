"""What a judge is to judge, and by which calls: addresses, seeds and rows of verdicts. Asks nobody by itself.

A judge's calls stand at stage `judge` of the sample and turn, so that nothing else has their ids; the purpose names
the judge by its hash, the repeat, and the stage of the draft where one is judged. A draft of an answer stands before
there is a picture: of it, scores that need one are null with the reason NOT_YET, for a picture that is still to come is
not one that is missing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from flows.judge.candidate import NEEDS_PICTURE, SCORES, Candidate, Judge, Scores, Verdict
from flows.recorder import Address, Recorder, model_id
from models.chat import ChatModel, ChatReply, ChatRequest
from models.embedding import EmbedRequest, Encoder, Vector
from storage.canonical import canonical_text, derive_id, derive_seed
from storage.records import Row, VectorRow, VerdictRow
from storage.spool import RecordedCall

DRAFTS = ("answer", "image")
"""The stages whose drafts can be judged: a question by itself answers nothing, so there is nothing to score."""
NOT_YET = "not_yet"
"""Reason of scores that need a picture, of a draft that comes before there is one."""
JUDGE = "judge"
"""Stage of the calls of judges, kind of the runs that make verdicts, and of the packages that hold them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A turn of a sample, as it was finished, or the draft of a `round` of a `stage`."""

    sample_id: str
    turn: int
    stage: str | None = None
    round: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """One verdict to be given: by whom, about what, and for the how manieth time (from 0)."""

    subject: Subject
    judge: Judge
    repeat: int

    def verdict_id(self) -> str:
        """The id of the verdict: equal only for the same judge, asked in the same way, by the same rubric."""
        of, judge = self.subject, self.judge
        place = (of.sample_id, of.turn, of.stage, of.round)
        return derive_id("verdict", *place, judge.name, judge.sha256, judge.rubric_sha256, self.repeat)

    def seed(self) -> int:
        """The seed of a repeat: the same for every judge, another for every turn, draft and repeat."""
        of = self.subject
        return derive_seed(of.sample_id, of.turn, JUDGE, self.repeat, of.stage or "", of.round or 0)

    def address(self, purpose: str) -> Address:
        """Where a call of the judge stands in the sample's story."""
        of, who = self.subject, derive_id("judge", self.judge.name, self.judge.sha256)[:12]
        return Address(
            sample_id=of.sample_id,
            turn=of.turn,
            stage=JUDGE,
            round=of.round or 0,
            purpose=":".join((JUDGE, who, str(self.repeat), *filter(None, [of.stage]), purpose)),
            attempt=0,
        )

    def row(self, verdict: Verdict) -> VerdictRow:
        """The verdict as the lake keeps it."""
        of, judge, models = self.subject, self.judge, list(self.judge.roles.values())
        return VerdictRow(
            verdict_id=self.verdict_id(),
            sample_id=of.sample_id,
            turn=of.turn,
            stage=of.stage,
            round=of.round,
            judge=judge.name,
            judge_sha256=judge.sha256,
            rubric_sha256=judge.rubric_sha256,
            repeat=self.repeat,
            model_id=model_id(models[0]) if len(models) == 1 else None,
            tcc=verdict.scores.tcc,
            icc=verdict.scores.icc,
            iq=verdict.scores.iq,
            its=verdict.scores.its,
            unknown=canonical_text(dict(verdict.unknown)),
            evidence=canonical_text(dict(verdict.evidence)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedLine:
    """A judge's line that goes through a recorder, at the addresses of one hearing."""

    recorder: Recorder
    hearing: Hearing

    async def chat(self, model: ChatModel, request: ChatRequest, purpose: str) -> ChatReply:
        return await self.recorder.chat(model, self.hearing.address(purpose), request)

    async def embed(self, encoder: Encoder, request: EmbedRequest, purpose: str) -> Vector:
        return await self.recorder.embed(encoder, self.hearing.address(purpose), request)


async def hear(hearing: Hearing, candidate: Candidate, recorder: Recorder) -> VerdictRow:
    """Have the judge give its verdict; errors other than unusable content pass through."""
    line = RecordedLine(recorder=recorder, hearing=hearing)
    verdict = await hearing.judge.judge(candidate, hearing.seed(), line)
    return hearing.row(_before_the_picture(verdict) if hearing.subject.stage == "answer" else verdict)


def _before_the_picture(verdict: Verdict) -> Verdict:
    """What a verdict says of the words alone."""
    known = {name: value for name, value in verdict.scores.known().items() if name not in NEEDS_PICTURE}
    later = {name: NOT_YET for name in SCORES if name in NEEDS_PICTURE}
    return Verdict(scores=Scores(**known), unknown={**verdict.unknown, **later}, evidence=verdict.evidence)


def rows_of(calls: Iterable[RecordedCall], verdicts: Iterable[VerdictRow]) -> list[Row]:
    """The rows of a package of verdicts: the calls, the vectors that these name, and the verdicts."""
    calls = list(calls)
    return [*(call.row for call in calls), *_vectors(calls), *verdicts]


def _vectors(calls: Iterable[RecordedCall]) -> Iterator[Row]:
    rows: dict[tuple[str, str], Row] = {}
    for call in calls:
        sha256 = call.row.vector_sha256
        if sha256 is not None:
            data = call.attachments[sha256]
            row = VectorRow(vector_sha256=sha256, encoder=call.row.model_id, dims=len(data) // 4, vector=data)
            rows[sha256, row.encoder] = row
    yield from rows.values()
