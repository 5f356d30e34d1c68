"""One dialogue, turn by turn: a question, an answer with a caption, a picture, each refined with all earlier turns in
view; what it leaves behind are rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from flows.judge.choosing import candidate_of, choose_round, hear_drafts
from flows.recorder import model_id
from flows.seir.asking import Asker, Place, SlotFailedError
from flows.seir.checks import Finding, check_answer, check_question, only_repeats
from flows.seir.loop import Remark, Round, Stage, refine
from flows.seir.prompts import (
    MAX_TOKENS,
    PastTurn,
    critique_answer,
    critique_image,
    critique_question,
    draft_answer,
    draft_question,
    rewrite_answer,
    rewrite_caption,
    rewrite_question,
)
from flows.seir.replies import AnswerReply, CaptionReply, Critique, QuestionReply
from models.chat import Message
from models.embedding import Vector
from models.picture import Picture
from storage.canonical import canonical_text, sha256_hex
from storage.records import EmbeddingRow, IterationRow, Row, TurnRow, VerdictRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """What a dialogue is to be about: the topic's name, and a template id with its filled-in instruction per turn."""

    sample_id: str
    topic: str
    templates: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a dialogue could not be finished, or is not good enough (`rejected`); `evidence` is canonical JSON."""

    stage: str
    reason: str
    evidence: str
    outcome: Literal["failed", "rejected"] = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """A dialogue as far as it came. `vectors` are float32 by their sha256."""

    brief: Brief
    turns: Sequence[TurnRow]
    embeddings: Sequence[EmbeddingRow]
    iterations: Sequence[IterationRow]
    vectors: Mapping[str, Vector]
    failure: Failure | None
    verdicts: Sequence[VerdictRow] = ()

    def rows(self) -> tuple[Row, ...]:
        return (*self.turns, *self.embeddings, *self.iterations, *self.verdicts)


@dataclass(frozen=True, slots=True)
class Illustration:
    """A draft of the image stage: a caption, what was drawn from it, and the licence of that."""

    caption: str
    picture: Picture
    licence: str


@dataclass(slots=True)
class Playwright:
    """Writes one dialogue; the lists grow as it does, so that a failure loses no round."""

    asker: Asker
    brief: Brief
    history: list[PastTurn] = field(default_factory=list)
    turns: list[TurnRow] = field(default_factory=list)
    embeddings: list[EmbeddingRow] = field(default_factory=list)
    iterations: list[IterationRow] = field(default_factory=list)
    vectors: dict[str, Vector] = field(default_factory=dict)
    verdicts: list[VerdictRow] = field(default_factory=list)

    async def write(self) -> Dialogue:
        """Write all turns, or as many as can be made; errors other than unusable content pass through."""
        failure = None
        try:
            for turn, (template_id, instruction) in enumerate(self.brief.templates, start=1):
                await self._write_turn(turn, template_id, instruction)
        except SlotFailedError as error:
            failure = Failure(stage=error.stage, reason=error.reason, evidence=canonical_text(error.evidence))
        return Dialogue(
            brief=self.brief,
            turns=tuple(self.turns),
            embeddings=tuple(self.embeddings),
            iterations=tuple(self.iterations),
            vectors=dict(self.vectors),
            failure=failure,
            verdicts=tuple(self.verdicts),
        )

    async def _write_turn(self, turn: int, template_id: str, instruction: str) -> None:
        question = await self._question(turn, instruction)
        reply = await self._answer(turn, question)
        drawn, chosen = await self._image(turn, question, reply)
        picture = drawn.picture
        image = await self._embed(turn, chosen, "embed_image", picture)
        text = await self._embed(turn, chosen, "embed_text", drawn.caption)
        self.turns.append(
            TurnRow(
                sample_id=self.brief.sample_id,
                turn=turn,
                template_id=template_id,
                question=question,
                answer=reply.answer,
                caption=drawn.caption,
                image_sha256=picture.sha256,
                pixel_sha256=picture.pixel_sha256,
                width=picture.width,
                height=picture.height,
                licence=drawn.licence,
            )
        )
        self.embeddings.append(
            EmbeddingRow(
                sample_id=self.brief.sample_id,
                turn=turn,
                encoder=model_id(self.asker.cast.encoder.identity),
                image_vector_sha256=image,
                text_vector_sha256=text,
            )
        )
        self.history.append(
            PastTurn(question=question, answer=reply.answer, caption=drawn.caption, picture=drawn.picture)
        )

    async def _question(self, turn: int, instruction: str) -> str:
        ask, topic, history = self.asker, self.brief.topic, self.history

        async def draft() -> str:
            prompt = draft_question(topic, instruction, history)
            return (await ask.write(at(0, "draft"), prompt, QuestionReply, MAX_TOKENS["question"])).question

        async def critique(number: int, question: str) -> Remark:
            finding = check_question(topic, question, history, ask.settings.repeated_question)
            if finding:
                return _found(finding)
            prompt = critique_question(topic, question, history)
            return await self._criticise(at(number, "critique"), prompt, question)

        async def rewrite(number: int, question: str, suggestion: str) -> str:
            prompt = rewrite_question(topic, question, suggestion, history)
            return (await ask.write(at(number, "rewrite"), prompt, QuestionReply, MAX_TOKENS["question"])).question

        def at(number: int, purpose: str) -> Place:
            return Place(turn=turn, stage="question", round=number, purpose=purpose)

        question = ""
        async for done in refine(Stage(draft=draft, critique=critique, rewrite=rewrite), ask.settings.rounds.question):
            question = done.draft
            self._note(turn, "question", done, question=question)
        return question

    async def _answer(self, turn: int, question: str) -> AnswerReply:
        ask, topic, history = self.asker, self.brief.topic, self.history

        async def draft() -> AnswerReply:
            prompt = draft_answer(topic, question, history)
            return await ask.write(at(0, "draft"), prompt, AnswerReply, MAX_TOKENS["answer"])

        async def critique(number: int, reply: AnswerReply) -> Remark:
            finding = check_answer(topic, question, reply.answer, reply.caption, history)
            if finding:
                return _found(finding)
            prompt = critique_answer(question, reply.answer, reply.caption, history)
            return await self._criticise(at(number, "critique"), prompt, f"{reply.answer} {reply.caption}")

        async def rewrite(number: int, reply: AnswerReply, suggestion: str) -> AnswerReply:
            prompt = rewrite_answer(question, reply.answer, reply.caption, suggestion, history)
            return await ask.write(at(number, "rewrite"), prompt, AnswerReply, MAX_TOKENS["answer"])

        def at(number: int, purpose: str) -> Place:
            return Place(turn=turn, stage="answer", round=number, purpose=purpose)

        reply = None
        async for done in refine(Stage(draft=draft, critique=critique, rewrite=rewrite), ask.settings.rounds.answer):
            reply = done.draft
            self._note(turn, "answer", done, answer=reply.answer, caption=reply.caption)
        assert reply is not None, "a stage has at least one round"
        return reply

    async def _image(self, turn: int, question: str, reply: AnswerReply) -> tuple[Illustration, int]:
        """The picture that the sample uses, and the round it comes from. The answer stays; only the caption changes."""
        ask, history = self.asker, self.history

        async def illustrate(number: int, caption: str) -> Illustration:
            drawing = await ask.draw(at(number, "draw"), caption)
            return Illustration(caption, drawing.picture, drawing.licence)

        async def draft() -> Illustration:
            return await illustrate(0, reply.caption)

        async def critique(number: int, drawn: Illustration) -> Remark:
            prompt = critique_image(question, reply.answer, drawn.caption, drawn.picture, history)
            said = await ask.view(at(number, "critique"), prompt, Critique, MAX_TOKENS["critique"])
            return Remark(said.suggestion, model_id(ask.cast.viewer.identity))

        async def rewrite(number: int, drawn: Illustration, suggestion: str) -> Illustration:
            prompt = rewrite_caption(question, reply.answer, drawn.caption, suggestion, history)
            said = await ask.write(at(number, "rewrite"), prompt, CaptionReply, MAX_TOKENS["caption"])
            return await illustrate(number, said.caption)

        def at(number: int, purpose: str) -> Place:
            return Place(turn=turn, stage="image", round=number, purpose=purpose)

        rounds: list[Round[Illustration]] = []
        async for done in refine(Stage(draft=draft, critique=critique, rewrite=rewrite), ask.settings.rounds.image):
            rounds.append(done)
            self._note(turn, "image", done, caption=done.draft.caption, image_sha256=done.draft.picture.sha256)
        chosen = await self._choose(turn, question, reply, rounds)
        return rounds[chosen].draft, chosen

    async def _choose(self, turn: int, question: str, reply: AnswerReply, rounds: Sequence[Round[Illustration]]) -> int:
        """The round whose picture the sample uses: the last one, or the best where a judge is to choose."""
        bench = self.asker.cast.bench
        if bench is None or not bench.chooses:
            return rounds[-1].number
        drafts = {
            done.number: candidate_of(
                PastTurn(
                    question=question, answer=reply.answer, caption=done.draft.caption, picture=done.draft.picture
                ),
                self.history,
            )
            for done in rounds
        }
        sample_id, recorder = self.brief.sample_id, self.asker.recorder
        said = await hear_drafts(drafts, sample_id=sample_id, turn=turn, stage="image", bench=bench, recorder=recorder)
        self.verdicts += said
        chosen = choose_round(list(drafts), said)
        for place, row in enumerate(self.iterations):
            if (row.turn, row.stage) == (turn, "image"):
                self.iterations[place] = replace(row, chosen=row.round == chosen)
        return chosen

    async def _criticise(self, place: Place, prompt: Sequence[Message], draft: str) -> Remark:
        """What the text critic says of a draft in which the checks found nothing; an echo of it says nothing."""
        critic = self.asker.cast.critic
        if critic is None:
            return Remark(None, "checks")
        said = await self.asker.criticise(critic, place, prompt, Critique, MAX_TOKENS["critique"])
        adds = said.suggestion if said.suggestion and not only_repeats(said.suggestion, draft) else None
        return Remark(adds, model_id(critic.identity))

    async def _embed(self, turn: int, number: int, purpose: str, subject: Picture | str) -> str:
        place = Place(turn=turn, stage="image", round=number, purpose=purpose)
        vector = await self.asker.embed(place, subject)
        sha256 = sha256_hex(vector.astype("<f4").tobytes())
        self.vectors[sha256] = vector
        return sha256

    def _note(
        self,
        turn: int,
        stage: str,
        done: Round[str] | Round[AnswerReply] | Round[Illustration],
        *,
        question: str | None = None,
        answer: str | None = None,
        caption: str | None = None,
        image_sha256: str | None = None,
    ) -> None:
        self.iterations.append(
            IterationRow(
                sample_id=self.brief.sample_id,
                turn=turn,
                stage=stage,
                round=done.number,
                question=question,
                answer=answer,
                caption=caption,
                image_sha256=image_sha256,
                critique=done.remark.suggestion if done.remark else None,
                critic=done.remark.critic if done.remark else None,
                stopped=done.stopped,
                chosen=done.stopped is not None,
                seconds=done.seconds,
            )
        )


def _found(finding: Finding) -> Remark:
    return Remark(finding.suggestion, f"check:{finding.name}")
