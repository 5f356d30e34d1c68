"""Templates derived from questions that people wrote: filtered, generalised by the writer, checked, added to a lake."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from flows.inquiry import Ear, Heard, inquiry_id_of
from flows.recipe import Recipe, write_inquiring
from flows.recorder import finish_all
from flows.seir.asking import sampling_of
from flows.settings import Settings
from flows.topics.catalogue import Template, fold_space, normalise_name, read_templates
from flows.topics.generalising import (
    DERIVE_VERSION,
    MAX_TOKENS,
    TemplateReply,
    ask_for_template,
    derive_sha256,
    object_to,
)
from flows.topics.lake_templates import read_lake_templates
from flows.topics.written_questions import WrittenQuestion, filter_questions
from storage.canonical import Json, canonical_text, derive_id
from storage.lake import Lake
from storage.records import InquiryRow, Row, TemplateRow
from storage.versions import Version

DERIVE = "derive"
"""Kind of the inquiries and runs that derive templates, stage and purpose of their calls."""
UNHEARD = "no reply"
ID_DIGITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of a question: the template that it was added as, or why none was; the reply where there was one."""

    question: WrittenQuestion
    reason: str = ""
    detail: str = ""
    reply: TemplateReply | None = None
    call_id: str = ""
    template_id: str = ""

    def json(self) -> dict[str, Json]:
        """For the record and for reports."""
        return {
            "place": self.question.place,
            "question": self.question.text,
            "template_id": self.template_id,
            "type": self.reply.type if self.reply else "",
            "template": fold_space(self.reply.template) if self.reply else "",
            "reason": self.reason,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """An inquiry about the questions of a file, on a lake as it was at a version."""

    lake: Lake
    version: Version
    questions: Sequence[WrittenQuestion]
    number: int
    run_id: str

    @property
    def subject(self) -> str:
        return subject_of(self.questions)

    @property
    def inquiry_id(self) -> str:
        return inquiry_id_of(DERIVE, self.lake.seed, self.subject, self.number)

    async def ask(self, ear: Ear) -> Sequence[Row]:
        kept, left_out = filter_questions(self.questions)
        heard = await finish_all(ear.recorder, (self._generalise(question, ear) for question in kept))
        fates = {
            each.question.place: Fate(question=each.question, reason=each.reason, detail=each.detail)
            for each in left_out
        }
        known = {
            **{each.template_id: each for each in read_templates()},
            **read_lake_templates(self.lake, self.version),
        }
        for question, reply in zip(kept, heard, strict=True):
            fates[question.place] = _check(question, reply, known)
        in_order = [fates[question.place] for question in self.questions]
        return [self._row(in_order), *(self._template(fate) for fate in in_order if fate.template_id)]

    async def _generalise(self, question: WrittenQuestion, ear: Ear) -> Heard[TemplateReply] | None:
        number = self.questions.index(question)
        messages = ask_for_template(question.text)
        return await ear.ask(messages, TemplateReply, stage=DERIVE, number=number, max_tokens=MAX_TOKENS)

    def _row(self, fates: Sequence[Fate]) -> InquiryRow:
        return InquiryRow(
            inquiry_id=self.inquiry_id,
            kind=DERIVE,
            subject=self.subject,
            number=self.number,
            about=canonical_text({"questions": [asdict(question) for question in self.questions]}),
            based_on=self.version.number,
            result=canonical_text({"questions": [fate.json() for fate in fates]}),
            run_id=self.run_id,
        )

    def _template(self, fate: Fate) -> TemplateRow:
        assert fate.reply is not None, "a template is what a model replied"
        asked = fate.question
        origin: Mapping[str, Json] = {
            "question": asked.text,
            "author": asked.author,
            "source": asked.source,
            "licence": asked.licence,
            "subject": fold_space(fate.reply.subject),
            "inquiry_id": self.inquiry_id,
            "call_id": fate.call_id,
        }
        return TemplateRow(
            template_id=fate.template_id,
            type=fate.reply.type,
            weight=1,
            text=fold_space(fate.reply.template),
            origin=canonical_text(dict(origin)),
        )


def _check(question: WrittenQuestion, heard: Heard[TemplateReply] | None, known: dict[str, Template]) -> Fate:
    """What becomes of a question once the writer replied; what is taken is known from now on."""
    if heard is None:
        return Fate(question=question, reason=UNHEARD, detail="no reply could be used")
    fate = Fate(question=question, reply=heard.reply, call_id=heard.call_id)
    objection = object_to(heard.reply, question.text, known.values())
    if objection:
        return replace(fate, reason=objection[0], detail=objection[1])
    template_id = template_id_of(heard.reply.template)
    if template_id in known:
        return replace(fate, reason="alike", detail=f"{template_id} is there already")
    text = fold_space(heard.reply.template)
    known[template_id] = Template(template_id=template_id, type=heard.reply.type, weight=1, text=text)
    return replace(fate, template_id=template_id)


def template_id_of(text: str) -> str:
    """The id of a derived template: `derived-` and 8 digits of a hash of its normalised text."""
    return f"derived-{derive_id('template', normalise_name(text))[:ID_DIGITS]}"


def subject_of(questions: Sequence[WrittenQuestion]) -> str:
    """What an inquiry about these questions is about: a hash of them all."""
    return derive_id("questions", canonical_text([asdict(question) for question in questions]))


def derivation_again(lake: Lake, row: InquiryRow) -> Derivation:
    """The inquiry of a row, to be made again; KeyError, TypeError or ValueError when it does not say what it was."""
    questions = tuple(WrittenQuestion(**each) for each in json.loads(row.about)["questions"])
    version = lake.version(row.based_on)
    return Derivation(lake=lake, version=version, questions=questions, number=row.number, run_id=row.run_id)


def deriving_recipe(settings: Settings) -> Recipe:
    """The recipe of a run that derives templates: prompts and sampling."""
    told: dict[str, Json] = {
        "prompts": {"version": DERIVE_VERSION, "sha256": derive_sha256()},
        "sampling": sampling_of(settings.generation.writer, MAX_TOKENS).canonical(),
        "attempts": settings.generation.attempts,
    }
    return write_inquiring(DERIVE, told)


def filtered_fates(questions: Sequence[WrittenQuestion]) -> Iterator[Fate]:
    """What the filter alone says, in the order of the questions: no model is asked."""
    _, left_out = filter_questions(questions)
    objections = {each.question.place: each for each in left_out}
    for question in questions:
        found = objections.get(question.place)
        yield Fate(question=question, reason=found.reason, detail=found.detail) if found else Fate(question=question)
