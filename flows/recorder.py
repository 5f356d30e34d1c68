"""The recorder: the one seam between what asks and what answers. Every call passes it, is answered from the record
when it was asked before, and is otherwise asked, recorded and only then handed on."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np

from flows.absences import Absences
from flows.hearing import refuse_another_size, refuse_broken, refuse_unfit, refuse_unsafe
from models.chat import ChatModel, ChatReply, ChatRequest, Token
from models.drawing import Drawing, DrawRequest, TextToImage
from models.embedding import EmbedRequest, Encoder, Vector
from models.errors import ContentError, TransientError
from models.identity import Json, ModelIdentity
from models.picture import Picture
from storage.calls import hash_answer
from storage.canonical import canonical_bytes, canonical_text, derive_id, sha256_hex
from storage.records import CallRow, VectorRow
from storage.spool import RecordedCall

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0
FEWEST_TRIES = 3
LOOK_SECONDS = 0.5
"""How often whoever waits looks whether the run was stopped."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where in a sample's story a call stands; turns count from 1, rounds and attempts from 0."""

    sample_id: str
    turn: int
    stage: str
    round: int
    purpose: str
    attempt: int
    _call_id: str = field(default="", init=False, repr=False, compare=False)

    def call_id(self) -> str:
        """The id of the call; reckoned once, since a call is looked up, written and moved by it."""
        if not self._call_id:
            place = (self.sample_id, self.turn, self.stage, self.round, self.purpose, self.attempt)
            object.__setattr__(self, "_call_id", derive_id("call", *place))
        return self._call_id

    def columns(self) -> dict[str, Any]:
        """What the row of a call says of its place."""
        return {
            "call_id": self.call_id(),
            "sample_id": self.sample_id,
            "turn": self.turn,
            "stage": self.stage,
            "round": self.round,
            "purpose": self.purpose,
            "attempt": self.attempt,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model said, in the form in which it is recorded; `error` is a reason word when it was no content."""

    response: Mapping[str, Any]
    error: str | None = None
    backend: Mapping[str, Json] = field(default_factory=dict)
    picture: Picture | None = None
    vector: bytes | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Asked(Protocol):
    """What the engine needs to know of a model of any kind."""

    @property
    def identity(self) -> ModelIdentity: ...

    @property
    def at_once(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request in canonical form, whom it goes to, and how to send it."""

    request: Json
    seed: int | None
    model: Asked
    send: Callable[[], Awaitable[Answer]]


class Tape(Protocol):
    """Where calls are looked up and kept."""

    def find(self, at: Address, request_key: str) -> RecordedCall | None:
        """The call of this place with this request, or else an answer that anybody got to the same request."""
        ...

    async def keep(self, call: RecordedCall) -> None:
        """Record a call, and return when that is done; one that is there already under the same id is not recorded
        twice. OSError when it cannot be written."""
        ...


@dataclass(frozen=True, slots=True)
class _Heard:
    """A call, and what it was answered, where it was made just now and the answer looked through."""

    call: RecordedCall
    answer: Answer | None = None


class Desk(Protocol):
    """Lets calls through to a model, so many at a time, and counts them."""

    async def __call__(self, model: Asked, send: Callable[[], Awaitable[Answer]]) -> Answer: ...


class Recorder:
    """Asks models on behalf of one batch; hands on what was recorded, so that a replay sees the very same.

    This is the one place that repeats a request: after a TransientError, for up to `patience` seconds. `absences` hears
    of all answers and failed tries; the batches of a run have one in common.
    """

    def __init__(
        self, *, tape: Tape, desk: Desk, run_id: str, patience: float, absences: Absences | None = None
    ) -> None:
        self._tape = tape
        self._desk = desk
        self._run_id = run_id
        self._patience = patience
        self._absences = absences or Absences(patience)
        self._stopped: Exception | None = None
        self._stopped_at: TracebackType | None = None

    @property
    def stopped(self) -> Exception | None:
        """Why nothing more is asked, if so."""
        return self._stopped

    def stop(self, error: Exception) -> None:
        """Ask nothing more: whoever does gets the first such error. What is under way is still heard and recorded."""
        if self._stopped is None:  # raised many times, its own traceback would grow with each
            self._stopped, self._stopped_at = error, error.__traceback__

    async def chat(self, model: ChatModel, at: Address, request: ChatRequest) -> ChatReply:
        """Ask a chat model. ContentError when it has no usable answer, TransientError when patience is at its end."""

        async def send() -> Answer:
            reply = await model.chat(request)
            refuse_unsafe(reply.text)
            return Answer(
                response={"text": reply.text, "finish_reason": reply.finish_reason, **_tokens_told(reply)},
                backend=reply.backend,
                prompt_tokens=reply.prompt_tokens,
                completion_tokens=reply.completion_tokens,
            )

        asked = Question(request=request.canonical(), seed=request.seed, model=model, send=send)
        heard = await self._answer(at, asked)
        row = heard.call.row
        response = heard.answer.response if heard.answer else json.loads(row.response)
        return ChatReply(
            text=response["text"],
            finish_reason=response["finish_reason"],
            prompt_tokens=row.prompt_tokens or 0,
            completion_tokens=row.completion_tokens or 0,
            tokens=_read_tokens(response),
        )

    async def draw(self, model: TextToImage, at: Address, request: DrawRequest) -> Drawing:
        """Have a picture drawn; errors as for `chat`."""

        async def send() -> Answer:
            drawing = await model.draw(request)
            await asyncio.to_thread(refuse_broken, drawing.picture)
            refuse_another_size(drawing.picture, request)
            what = {"licence": drawing.licence, "pixel_sha256": drawing.picture.pixel_sha256}
            return Answer(response=what, backend=drawing.backend, picture=drawing.picture)

        asked = Question(request=request.canonical(), seed=request.seed, model=model, send=send)
        heard = await self._answer(at, asked)
        row, picture = heard.call.row, heard.answer.picture if heard.answer else None
        if picture is None:
            picture = await asyncio.to_thread(Picture.from_bytes, heard.call.attachments[row.image_sha256 or ""])
        return Drawing(picture=picture, licence=json.loads(row.response)["licence"])

    async def embed(self, model: Encoder, at: Address, request: EmbedRequest) -> Vector:
        """The vector of a picture or text, float32 of shape (dims,); errors as for `chat`."""

        async def send() -> Answer:
            embedding = await model.embed(request)
            refuse_unfit(embedding.vector, model.dims)
            return Answer(response={}, backend=embedding.backend, vector=embedding.vector.astype("<f4").tobytes())

        asked = Question(request=request.canonical(), seed=None, model=model, send=send)
        call = (await self._answer(at, asked)).call
        return np.frombuffer(call.attachments[call.row.vector_sha256 or ""], dtype="<f4").astype(np.float32)

    async def _answer(self, at: Address, asked: Question) -> "_Heard":
        request = canonical_bytes(asked.request)
        request_key = sha256_hex(request)
        found = self._tape.find(at, request_key)
        heard = _Heard(_moved_to(found, at)) if found else await self._ask(at, request.decode(), request_key, asked)
        await self._tape.keep(heard.call)
        row = heard.call.row
        if row.error is not None:
            raise ContentError(row.error, json.loads(row.response)["message"])
        return heard

    async def _ask(self, at: Address, request: str, request_key: str, asked: Question) -> "_Heard":
        started_at = datetime.now(UTC)
        answer, tries, seconds = await self._send_until_answered(asked)
        row = CallRow(
            **at.columns(),
            **_told(answer),
            request_key=request_key,
            model_id=model_id(asked.model.identity),
            seed=asked.seed,
            request=request,
            run_id=self._run_id,
            seconds=seconds,
            tries=tries,
            backend=canonical_text(dict(answer.backend)) if answer.backend else None,
            started_at=started_at,
        )
        named = {row.image_sha256: answer.picture and answer.picture.data, row.vector_sha256: answer.vector}
        attachments = {sha256: data for sha256, data in named.items() if sha256 and data}
        return _Heard(RecordedCall(row, attachments), answer)

    async def _send_until_answered(self, asked: Question) -> tuple[Answer, int, float]:
        """The answer, how often it was asked for, and the seconds of the last time, waiting for room left out.

        A request is repeated after transient errors, with growing, jittered waits, none shorter than the backend asks
        for. The last error is raised once failed tries and waits have taken longer than the patience, time in the queue
        not counted; not before the third, unless the backend asks for a wait that is longer by itself.
        """
        first = since = lost = 0.0
        tries = reached = 0
        name = asked.model.identity.name

        async def send() -> Answer:
            nonlocal first, since, reached
            self._refuse_when_stopped()
            reached = tries
            since = time.monotonic()
            first = first or since
            return await asked.send()

        while True:
            self._refuse_when_stopped()
            tries += 1
            try:
                answer = await self._desk(asked.model, send)
                self._absences.heard(name)
                return answer, tries, time.monotonic() - since
            except ContentError as error:
                self._absences.heard(name)
                refusal = Answer(response={"message": str(error)}, error=error.reason, backend=error.backend)
                return refusal, tries, time.monotonic() - since
            except TransientError as error:
                growing = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** (tries - 1)) * random.uniform(0.5, 1.5)
                wait = max(growing, error.retry_after or 0)
                # A model that could not be woken was not asked: what went by until then was waiting for its turn.
                lost += wait + (time.monotonic() - since if reached == tries else 0.0)
                first = first or time.monotonic()
                if self._stopped or (lost > self._patience and (tries >= FEWEST_TRIES or wait > self._patience)):
                    raise
                self._absences.missed(name, since=first, why=str(error))
                await self._rest(wait)

    def _refuse_when_stopped(self) -> None:
        if self._stopped:
            raise self._stopped.with_traceback(self._stopped_at)

    async def _rest(self, seconds: float) -> None:
        """Wait, but no longer once nothing more is asked; that may be said in another thread."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not self._stopped and (left := end - loop.time()) > 0:
            await asyncio.sleep(min(left, LOOK_SECONDS))


async def finish_all(recorder: Recorder, works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all works, in their order.

    After a first error nothing more is asked: what is under way is heard and recorded, so that nobody pays for it
    twice, and then that error is raised.
    """

    async def finish(work: Coroutine[Any, Any, T]) -> list[T]:
        try:
            return [await work]
        except Exception as error:
            recorder.stop(error)
            return []

    results = await asyncio.gather(*map(finish, works))
    if recorder.stopped:
        raise recorder.stopped
    return [result for found in results for result in found]


def model_id(identity: ModelIdentity) -> str:
    """The id under which a model stands in the lake."""
    return _model_id(identity.name, identity.revision)


@cache
def _model_id(name: str, revision: str) -> str:
    return derive_id("model", name, revision)


def vector_row(encoder: str, vector: Vector) -> VectorRow:
    """A vector as the lake keeps it, under the hash by which calls and turns name it."""
    data = vector.astype("<f4").tobytes()
    return VectorRow(vector_sha256=sha256_hex(data), encoder=encoder, dims=len(vector), vector=data)


def _tokens_told(reply: ChatReply) -> dict[str, Json]:
    """The tokens of a reply as they are recorded; nothing where none were asked for."""
    return {} if reply.tokens is None else {"tokens": [token.canonical() for token in reply.tokens]}


def _read_tokens(response: Mapping[str, Any]) -> tuple[Token, ...] | None:
    told = response.get("tokens")
    return None if told is None else tuple(map(Token.from_canonical, told))


def _told(answer: Answer) -> dict[str, Any]:
    """The columns of a call's row that say what was answered, and the hash that guards them."""
    told: dict[str, Any] = {
        "response": canonical_text(answer.response),
        "error": answer.error,
        "image_sha256": answer.picture.sha256 if answer.picture else None,
        "vector_sha256": sha256_hex(answer.vector) if answer.vector is not None else None,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
    }
    return told | {"answer_sha256": hash_answer(**told)}


def _moved_to(call: RecordedCall, at: Address) -> RecordedCall:
    """The same answer as the call of another place: an equal request is an equal call, whoever asked first."""
    if call.row.call_id == at.call_id():
        return call
    return RecordedCall(replace(call.row, **at.columns()), call.attachments)
