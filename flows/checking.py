"""Trying the models of the settings out: each is opened and asked one small thing, and nothing is written down."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flows.engine import Engine
from flows.errors import UserError
from flows.seir.asking import chat_request, draw_request, sampling_of
from flows.seir.prompts import MAX_TOKENS, critique_image, critique_question, draft_question
from flows.seir.replies import BadReply, Critique, QuestionReply, Reply, parse_reply
from flows.settings import FILE, CriticSettings, Settings, ViewerSettings, WriterSettings, read_settings
from flows.studio import Studio
from models.chat import ChatModel, Message
from models.embedding import EmbedRequest
from models.errors import ModelError
from models.identity import ModelIdentity
from models.picture import Picture

TOPIC = "red apple"
CAPTION = "A red apple on a table"
QUESTION = "What does a red apple look like? Show me one."
ANSWER = "It is round and shiny, with a short stem."
INSTRUCTION = "Ask what it looks like."
SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What one role came to: who would be recorded, what it answered, or the problem. `seconds` of the answer."""

    role: str
    identity: ModelIdentity | None = None
    answer: str | None = None
    problem: str | None = None
    seconds: float | None = None

    def json(self) -> dict[str, object]:
        who = self.identity
        recorded = {name: getattr(who, name) for name in ModelIdentity.__slots__} if who else None
        return {
            "role": self.role,
            "recorded": recorded,
            "answer": self.answer,
            "problem": self.problem,
            "seconds": self.seconds,
        }


@dataclass(slots=True)
class Tryout:
    """Asks one role after another; the viewer looks at what the painter drew."""

    settings: Settings
    studio: Studio
    found: list[Checked] = field(default_factory=list)
    picture: Picture | None = None

    async def try_all(self) -> None:
        asks: Mapping[str, Callable[[str], Awaitable[Checked | None]]] = {
            "writer": self._writer,
            "critic": self._critic,
            "painter": self._painter,
            "viewer": self._viewer,
            "encoder": self._encoder,
        }
        for role, ask in asks.items():
            try:
                checked = await ask(role)
            except (UserError, ModelError, BadReply, ValueError) as error:
                checked = Checked(role=role, problem=str(error))
            if checked is not None:
                self.found.append(checked)

    async def _writer(self, role: str) -> Checked:
        model, settings = await self.studio.writer(), self.settings.generation.writer
        return await self._chat(role, model, settings, draft_question(TOPIC, INSTRUCTION, []), QuestionReply)

    async def _critic(self, role: str) -> Checked | None:
        model = await self.studio.critic()
        if model is None:
            return None
        prompt = critique_question(TOPIC, QUESTION, [])
        return await self._chat(role, model, self.settings.generation.critic, prompt, Critique)

    async def _viewer(self, role: str) -> Checked:
        model = await self.studio.viewer()
        if self.picture is None:
            return Checked(role=role, identity=model.identity, problem="there is no picture to look at")
        prompt = critique_image(QUESTION, ANSWER, CAPTION, self.picture, [])
        return await self._chat(role, model, self.settings.generation.viewer, prompt, Critique)

    async def _chat(
        self,
        role: str,
        model: ChatModel,
        settings: WriterSettings | CriticSettings | ViewerSettings,
        messages: Sequence[Message],
        shape: type[Reply],
    ) -> Checked:
        since = time.monotonic()
        sampling = sampling_of(settings, MAX_TOKENS["question"])
        reply = await model.chat(chat_request(model, messages, sampling, shape, SEED))
        try:
            answer = parse_reply(shape, reply.text, reply.finish_reason).model_dump_json()
        except BadReply as error:
            return Checked(role=role, identity=model.identity, problem=f"its reply cannot be used: {error}")
        return Checked(role=role, identity=model.identity, answer=answer, seconds=time.monotonic() - since)

    async def _painter(self, role: str) -> Checked:
        painter = await self.studio.painter()
        since = time.monotonic()
        drawing = await painter.draw(draw_request(painter, self.settings.generation.painter, CAPTION, SEED))
        self.picture = drawing.picture
        answer = f"a picture of {drawing.picture.width} x {drawing.picture.height} pixels, {drawing.licence}"
        return Checked(role=role, identity=painter.identity, answer=answer, seconds=time.monotonic() - since)

    async def _encoder(self, role: str) -> Checked:
        encoder = await self.studio.encoder()
        identity, since = encoder.identity, time.monotonic()
        subjects: list[Picture | str] = [CAPTION, *([self.picture] if self.picture else [])]
        for subject in subjects:
            await encoder.embed(EmbedRequest(model=identity.name, revision=identity.revision, subject=subject))
        answer = f"vectors of {encoder.dims} numbers"
        return Checked(role=role, identity=identity, answer=answer, seconds=time.monotonic() - since)


def check_models(path: Path) -> list[Checked]:
    """Open every model that a lake's settings name and ask it one small thing. NotALake and SettingsError as ever."""
    settings = read_settings(path / FILE)
    studio = Studio(settings)
    tryout = Tryout(settings=settings, studio=studio)
    with Engine() as engine:
        try:
            engine.submit(tryout.try_all()).result()
        finally:
            engine.submit(studio.close()).result()
    return tryout.found
