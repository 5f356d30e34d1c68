"""Stand-ins that ship: a chat, a painter and an encoder that need no model, for tests and for trying out the machine.

They hold to the same contract as the real adapters; what they answer depends on nothing but the request.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from models.chat import ChatReply, ChatRequest, TextPart
from models.drawing import Drawing, DrawRequest
from models.embedding import Embedding, EmbedRequest, Vector
from models.identity import Json, ModelIdentity
from models.picture import ALGORITHMIC, Picture
from models.refusal import refuse_another_model

_FAKES_AT_ONCE = 1024
_GRID = 8  # blocks a side of a fake picture


class FakeChat:
    """A `ChatModel` whose replies follow from the request's key.

    With a schema it replies minimal JSON that satisfies it (see `minimal_json`), else a short sentence. `script` writes
    the replies instead; `failures` may return an error to be raised for a request; `latency` is in seconds.
    """

    def __init__(
        self,
        *,
        script: Callable[[ChatRequest], str] | None = None,
        failures: Callable[[ChatRequest], Exception | None] | None = None,
        latency: float = 0.0,
        name: str = "fake-chat",
    ) -> None:
        self._identity = ModelIdentity(name=name, revision="1", licence="Apache-2.0")
        self._script = script
        self._failures = failures
        self._latency = latency
        self._active = 0

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    @property
    def at_once(self) -> int:
        return _FAKES_AT_ONCE

    @property
    def active(self) -> int:
        """How many requests are being answered right now."""
        return self._active

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The reply, after `latency`; TerminalError for another model, or what `failures` says."""
        refuse_another_model(request.model, request.revision, self._identity)
        self._active += 1
        try:
            await asyncio.sleep(self._latency)
        finally:
            self._active -= 1
        error = self._failures(request) if self._failures else None
        if error is not None:
            raise error
        text = self._script(request) if self._script else _reply(request)
        asked = [part.text for message in request.messages for part in message.parts if isinstance(part, TextPart)]
        return ChatReply(
            text=text,
            finish_reason="stop",
            prompt_tokens=sum(len(each.split()) for each in asked),
            completion_tokens=len(text.split()),
        )


class FakePainter:
    """A `TextToImage` that draws coloured blocks; they follow from the whole request, seed and caption included."""

    def __init__(
        self, *, latency: float = 0.0, failures: Callable[[DrawRequest], Exception | None] | None = None
    ) -> None:
        self._identity = ModelIdentity(name="fake-painter", revision="1", licence="CC0-1.0")
        self._latency = latency
        self._failures = failures

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    @property
    def at_once(self) -> int:
        return _FAKES_AT_ONCE

    async def draw(self, request: DrawRequest) -> Drawing:
        """The picture, after `latency` seconds; TerminalError for another model, or what `failures` says."""
        refuse_another_model(request.model, request.revision, self._identity)
        await asyncio.sleep(self._latency)
        error = self._failures(request) if self._failures else None
        if error is not None:
            raise error
        blocks = _stream(request.key(), _GRID * _GRID * 3).reshape(_GRID, _GRID, 3)
        rows = np.arange(request.height) * _GRID // request.height
        columns = np.arange(request.width) * _GRID // request.width
        marks = {"Software": "interlake fake painter 1", "Description": request.caption}
        picture = Picture.from_pixels(blocks[rows][:, columns], source=ALGORITHMIC, marks=marks)
        return Drawing(picture=picture, licence=self._identity.licence)


class FakeEncoder:
    """An `Encoder` whose vectors follow from the sha256 of the subject; unlike subjects are nearly orthogonal.

    `vectors` gives chosen ones, by the text itself or by a picture's sha256; each must be of unit norm.
    """

    def __init__(self, *, dims: int = 32, vectors: Mapping[str, Vector] | None = None) -> None:
        self._identity = ModelIdentity(name="fake-encoder", revision="1", licence="Apache-2.0")
        self._dims = dims
        self._vectors = dict(vectors or {})

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    @property
    def at_once(self) -> int:
        return _FAKES_AT_ONCE

    @property
    def dims(self) -> int:
        return self._dims

    async def embed(self, request: EmbedRequest) -> Embedding:
        """The vector at once; TerminalError for another model."""
        refuse_another_model(request.model, request.revision, self._identity)
        subject = request.subject
        key = subject if isinstance(subject, str) else subject.sha256
        if key in self._vectors:
            return Embedding(vector=self._vectors[key])
        values = _stream(hashlib.sha256(key.encode()).hexdigest(), self._dims).astype(np.float64) - 127.5
        return Embedding(vector=(values / np.sqrt(np.sum(values * values))).astype(np.float32))


def minimal_json(schema: Json, key: str) -> Json:
    """A small value that satisfies a simple JSON schema, chosen by `key` (hex); ValueError for what is not understood.

    Knows `const`, `enum`, `anyOf`/`oneOf`, lists of types, objects, arrays, strings, numbers, booleans and null.
    Where null is allowed it is chosen for half of all keys.
    """
    if not isinstance(schema, Mapping):
        raise ValueError(f"not a schema that this stand-in understands: {schema!r}")  # noqa: TRY004
    turn = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16)
    if "const" in schema:
        return schema["const"]
    options = _options(schema)
    if options:
        return options[turn % len(options)]
    for word in ("anyOf", "oneOf"):
        choices = schema.get(word)
        if _is_list(choices):
            return minimal_json(choices[turn % len(choices)], key + word)
    kind = schema.get("type")
    if _is_list(kind):
        return _minimal_of(str(kind[turn % len(kind)]), schema, key)
    return _minimal_of(str(kind), schema, key)


def _options(schema: Mapping[str, Json]) -> Sequence[Json]:
    options = schema.get("enum", [])
    return options if _is_list(options) else []


def _is_list(value: Json) -> TypeGuard[Sequence[Json]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _minimal_of(kind: str, schema: Mapping[str, Json], key: str) -> Json:
    if kind == "object":
        properties = schema.get("properties", {})
        if not isinstance(properties, Mapping):
            raise ValueError(f"not a schema that this stand-in understands: {schema!r}")
        return {name: minimal_json(each, f"{key}/{name}") for name, each in properties.items()}
    if kind == "array":
        return [
            minimal_json(schema.get("items", {"type": "null"}), f"{key}/{place}")
            for place in range(_whole(schema, "minItems", 0))
        ]
    if kind == "string":
        text = _sentence(key)[: _whole(schema, "maxLength", 200)]
        return text.ljust(_whole(schema, "minLength", 0), ".")
    if kind in ("integer", "number"):
        return _whole(schema, "minimum", 0)
    if kind in ("boolean", "null"):
        return None if kind == "null" else int(hashlib.sha256(key.encode()).hexdigest()[:2], 16) % 2 == 0
    raise ValueError(f"not a schema that this stand-in understands: {schema!r}")


def _whole(schema: Mapping[str, Json], name: str, default: int) -> int:
    value = schema.get(name, default)
    return value if isinstance(value, int) else default


def _reply(request: ChatRequest) -> str:
    if request.schema is None:
        return _sentence(request.key())
    return json.dumps(minimal_json(request.schema, request.key()), ensure_ascii=False, sort_keys=True)


_SUBJECTS = (
    "red apple",
    "black cat",
    "green tree",
    "yellow boat",
    "white horse",
    "blue car",
    "brown dog",
    "pink flower",
)
_PLACES = (
    "on a table",
    "in a field",
    "by the sea",
    "in the snow",
    "in a forest",
    "on the beach",
    "in a city",
    "at night",
)


def _sentence(key: str) -> str:
    """A short sentence that differs from key to key."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    subject, place = _SUBJECTS[int(digest[0], 16) % len(_SUBJECTS)], _PLACES[int(digest[1], 16) % len(_PLACES)]
    return f"A {subject} {place}, number {int(digest[2:8], 16)}."


def _stream(key: str, length: int) -> NDArray[np.uint8]:
    """`length` bytes that follow from `key`."""
    blocks = [hashlib.sha256(f"{key}:{block}".encode()).digest() for block in range(-(-length // 32))]
    return np.frombuffer(b"".join(blocks), dtype=np.uint8)[:length]
