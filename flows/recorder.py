"""The recorder: the one seam between what asks and what answers. Every call passes it, is answered from the record
when it was asked before, and is otherwise asked, recorded and only then handed on."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import numpy as np

from models.chat import ChatModel, ChatReply, ChatRequest
from models.drawing import Drawing, DrawRequest, TextToImage
from models.embedding import EmbedRequest, Encoder, Vector
from models.errors import ContentError, TransientError
from models.identity import Json, ModelIdentity
from models.picture import Picture
from storage.calls import answer_hash
from storage.canonical import canonical_text, derive_id, sha256_hex
from storage.records import CallRow, VectorRow
from storage.spool import RecordedCall

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0
FEWEST_TRIES = 3
NORM_TOLERANCE = 1e-3

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

    def call_id(self) -> str:
        return derive_id("call", self.sample_id, self.turn, self.stage, self.round, self.purpose, self.attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model said, in the form in which it is recorded; `error` is a reason word when it was no content."""

    response: Json
    error: str | None = None
    backend: Mapping[str, Json] = field(default_factory=dict)
    picture: bytes | None = None
    vector: bytes | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def attachments(self) -> dict[str, bytes]:
        """The bytes that the row names by hash."""
        return {sha256_hex(data): data for data in (self.picture, self.vector) if data is not None}


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

    def keep(self, call: RecordedCall) -> None:
        """Record a call; one that is there already under the same id is not recorded twice."""
        ...


class Desk(Protocol):
    """Lets calls through to a model, so many at a time, and counts them."""

    async def __call__(self, model: Asked, send: Callable[[], Awaitable[Answer]]) -> Answer: ...


class Recorder:
    """Asks models on behalf of one batch; hands on what was recorded, so that a replay sees the very same.

    This is the one place that repeats a request: after a TransientError, for up to `patience` seconds.
    """

    def __init__(self, *, tape: Tape, desk: Desk, run_id: str, patience: float) -> None:
        self._tape = tape
        self._desk = desk
        self._run_id = run_id
        self._patience = patience
        self._stopped: Exception | None = None

    @property
    def stopped(self) -> Exception | None:
        """Why nothing more is asked, if so."""
        return self._stopped

    def stop(self, error: Exception) -> None:
        """Ask nothing more: whoever does gets the first such error. What is under way is still heard and recorded."""
        self._stopped = self._stopped or error

    async def chat(self, model: ChatModel, at: Address, request: ChatRequest) -> ChatReply:
        """Ask a chat model. ContentError when it has no usable answer, TransientError when patience is at its end."""

        async def send() -> Answer:
            reply = await model.chat(request)
            _refuse_unsafe(reply.text)
            return Answer(
                response={"text": reply.text, "finish_reason": reply.finish_reason},
                backend=reply.backend,
                prompt_tokens=reply.prompt_tokens,
                completion_tokens=reply.completion_tokens,
            )

        asked = Question(request=request.canonical(), seed=request.seed, model=model, send=send)
        call = await self._answer(at, asked)
        response = json.loads(call.row.response)
        return ChatReply(
            text=response["text"],
            finish_reason=response["finish_reason"],
            prompt_tokens=call.row.prompt_tokens or 0,
            completion_tokens=call.row.completion_tokens or 0,
        )

    async def draw(self, model: TextToImage, at: Address, request: DrawRequest) -> Drawing:
        """Have a picture drawn; errors as for `chat`."""

        async def send() -> Answer:
            drawing = await model.draw(request)
            await asyncio.to_thread(_refuse_broken, drawing.picture)
            _refuse_another_size(drawing.picture, request)
            what: Json = {"licence": drawing.licence, "pixel_sha256": drawing.picture.pixel_sha256}
            return Answer(response=what, backend=drawing.backend, picture=drawing.picture.data)

        asked = Question(request=request.canonical(), seed=request.seed, model=model, send=send)
        call = await self._answer(at, asked)
        picture = await asyncio.to_thread(Picture.from_bytes, call.attachments[call.row.image_sha256 or ""])
        return Drawing(picture=picture, licence=json.loads(call.row.response)["licence"])

    async def embed(self, model: Encoder, at: Address, request: EmbedRequest) -> Vector:
        """The vector of a picture or text, float32 of shape (dims,); errors as for `chat`."""

        async def send() -> Answer:
            embedding = await model.embed(request)
            _refuse_unfit(embedding.vector, model.dims)
            return Answer(response={}, backend=embedding.backend, vector=embedding.vector.astype("<f4").tobytes())

        asked = Question(request=request.canonical(), seed=None, model=model, send=send)
        call = await self._answer(at, asked)
        return np.frombuffer(call.attachments[call.row.vector_sha256 or ""], dtype="<f4").astype(np.float32)

    async def _answer(self, at: Address, asked: Question) -> RecordedCall:
        request = canonical_text(asked.request)
        request_key = sha256_hex(request.encode())
        call = self._tape.find(at, request_key) or await self._ask(at, request, request_key, asked)
        call = _moved_to(call, at)
        self._tape.keep(call)
        if call.row.error is not None:
            raise ContentError(call.row.error, json.loads(call.row.response)["message"])
        return call

    async def _ask(self, at: Address, request: str, request_key: str, asked: Question) -> RecordedCall:
        started_at = datetime.now(UTC)
        answer, tries, seconds = await self._send_until_answered(asked)
        row = CallRow(
            **{name: getattr(at, name) for name in Address.__slots__},
            call_id=at.call_id(),
            request_key=request_key,
            model_id=model_id(asked.model.identity),
            seed=asked.seed,
            request=request,
            response=canonical_text(answer.response),
            error=answer.error,
            image_sha256=sha256_hex(answer.picture) if answer.picture is not None else None,
            vector_sha256=sha256_hex(answer.vector) if answer.vector is not None else None,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            run_id=self._run_id,
            seconds=seconds,
            tries=tries,
            backend=canonical_text(dict(answer.backend)) if answer.backend else None,
            started_at=started_at,
        )
        return RecordedCall(replace(row, answer_sha256=answer_hash(row)), answer.attachments())

    async def _send_until_answered(self, asked: Question) -> tuple[Answer, int, float]:
        """The answer, how often it was asked for, and the seconds of the last time, waiting for room left out.

        A request is repeated after transient errors, with growing, jittered waits, none shorter than the backend asks
        for. The last error is raised once failed tries and waits have taken longer than the patience, time in the queue
        not counted; not before the third, unless the backend asks for a wait that is longer by itself.
        """
        since = lost = 0.0
        tries = 0

        async def send() -> Answer:
            nonlocal since
            if self._stopped:
                raise self._stopped
            since = time.monotonic()
            return await asked.send()

        while True:
            tries += 1
            try:
                return await self._desk(asked.model, send), tries, time.monotonic() - since
            except ContentError as error:
                refusal = Answer(response={"message": str(error)}, error=error.reason)
                return refusal, tries, time.monotonic() - since
            except TransientError as error:
                growing = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** (tries - 1)) * random.uniform(0.5, 1.5)
                wait = max(growing, error.retry_after or 0)
                lost += time.monotonic() - since + wait
                if self._stopped or (lost > self._patience and (tries >= FEWEST_TRIES or wait > self._patience)):
                    raise
                await asyncio.sleep(wait)


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
    return derive_id("model", identity.name, identity.revision)


def vector_row(encoder: str, vector: Vector) -> VectorRow:
    """A vector as the lake keeps it, under the hash by which calls and turns name it."""
    data = vector.astype("<f4").tobytes()
    return VectorRow(vector_sha256=sha256_hex(data), encoder=encoder, dims=len(vector), vector=data)


def _refuse_unsafe(text: str) -> None:
    """ContentError for text that UTF-8 cannot hold, and so no lake can."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ContentError("unsafe_text", f"the reply is no valid text: {error.reason}") from error


def _refuse_broken(picture: Picture) -> None:
    """ContentError for bytes that are not the whole picture that they are said to be."""
    try:
        decoded = Picture.from_bytes(picture.data)
    except ValueError as error:
        raise ContentError("broken_picture", str(error)) from error
    if decoded != picture:
        raise ContentError("broken_picture", "the picture is not what its hashes and size say")


def _refuse_another_size(picture: Picture, request: DrawRequest) -> None:
    """ContentError for a picture of another size than was asked for: what is recorded as asked would not be so."""
    if (picture.width, picture.height) != (request.width, request.height):
        raise ContentError(
            "wrong_size",
            f"the picture is {picture.width}x{picture.height}; {request.width}x{request.height} was asked for",
        )


def _refuse_unfit(vector: Vector, dims: int) -> None:
    """ContentError for a vector that cannot be compared: another type or length, not finite, not of unit norm."""
    if vector.dtype != np.float32 or vector.shape != (dims,):
        raise ContentError("unfit_vector", f"the vector is {vector.dtype} {vector.shape}, not float32 ({dims},)")
    norm = float(np.sqrt(np.sum(np.square(vector, dtype=np.float64))))
    if not abs(norm - 1) <= NORM_TOLERANCE:
        raise ContentError("unfit_vector", f"the vector has norm {norm}, not 1")


def _moved_to(call: RecordedCall, at: Address) -> RecordedCall:
    """The same answer as the call of another place: an equal request is an equal call, whoever asked first."""
    if call.row.call_id == at.call_id():
        return call
    row = {name: getattr(call.row, name) for name in CallRow.columns()}
    row |= {name: getattr(at, name) for name in Address.__slots__}
    return RecordedCall(CallRow(**row | {"call_id": at.call_id()}), call.attachments)
