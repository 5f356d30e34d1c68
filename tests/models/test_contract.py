"""What every adapter promises, checked over the shipped fakes and the embedded models alike."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import jsonschema
import numpy as np
import pytest

from models.chat import ChatModel, ChatRequest, ImagePart, Message, Sampling, TextPart
from models.descriptor_encoder import DescriptorEncoder
from models.drawing import DrawRequest, TextToImage
from models.embedding import EmbedRequest, Encoder
from models.errors import ModelError, TerminalError, TransientError
from models.fakes import FakeChat, FakeEncoder, FakePainter, minimal_json
from models.identity import Json, ModelIdentity
from models.openmoji_painter import OpenmojiPainter
from models.picture import ALGORITHMIC, Picture
from models.scene import SCENE_MARK, Backdrop, Scene
from models.scene_critic import SceneCritic

SAMPLING = Sampling(temperature=0.7, top_p=0.9, top_k=40, min_p=0.0, repeat_penalty=1.0, max_tokens=48)
SUBJECTS = ("A cat on a chair", "Two red boats on a lake", "A moon cake", "A house in the snow", "An owl at night")

Ask: TypeAlias = Callable[[str, int, str], Awaitable[bytes]]  # what is asked, seed, model name -> the answer's bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An adapter under the contract: how it is made, and whether another seed must give another answer."""

    name: str
    make: Callable[[], tuple[ModelIdentity, Ask]]
    seeded: bool


def chat_case(name: str, make: Callable[[], ChatModel], *, seeded: bool, pictures: bool = False) -> Case:
    def build() -> tuple[ModelIdentity, Ask]:
        model = make()

        async def ask(subject: str, seed: int, name: str) -> bytes:
            parts = (ImagePart(marked_picture()), TextPart(subject)) if pictures else (TextPart(subject),)
            request = ChatRequest(
                model=name, revision=model.identity.revision, messages=(Message("user", parts),),
                sampling=SAMPLING, schema=None, seed=seed,
            )  # fmt: skip
            return (await model.chat(request)).text.encode()

        return model.identity, ask

    return Case(name=name, make=build, seeded=seeded)


def draw_case(name: str, make: Callable[[], TextToImage]) -> Case:
    def build() -> tuple[ModelIdentity, Ask]:
        model = make()

        async def ask(subject: str, seed: int, name: str) -> bytes:
            request = DrawRequest(
                model=name, revision=model.identity.revision, caption=subject,
                width=128, height=96, steps=0, guidance=0.0, seed=seed,
            )  # fmt: skip
            drawing = await model.draw(request)
            assert (drawing.picture.width, drawing.picture.height) == (128, 96)
            return drawing.picture.data

        return model.identity, ask

    return Case(name=name, make=build, seeded=True)


def embed_case(name: str, make: Callable[[], Encoder], *, pictures: bool) -> Case:
    def build() -> tuple[ModelIdentity, Ask]:
        model = make()

        async def ask(subject: str, _seed: int, name: str) -> bytes:
            what = picture_like(subject) if pictures else subject
            vector = (
                await model.embed(EmbedRequest(model=name, revision=model.identity.revision, subject=what))
            ).vector
            assert vector.shape == (model.dims,)
            assert vector.dtype == np.float32
            assert abs(float(np.sum(vector.astype(np.float64) ** 2)) - 1) < 1e-5
            return vector.tobytes()

        return model.identity, ask

    return Case(name=name, make=build, seeded=False)


def marked_picture() -> Picture:
    scene = Scene(objects=(), background=Backdrop(ground="field", light="day"), drawn_words=(), undrawn_words=())
    return Picture.from_pixels(
        np.zeros((8, 8, 3), dtype=np.uint8), source=ALGORITHMIC, marks={SCENE_MARK: scene.to_text()}
    )


def picture_like(subject: str) -> Picture:
    rng = np.random.Generator(np.random.PCG64(list(subject.encode())))
    pixels = rng.integers(0, 256, size=(40, 48, 3), dtype=np.uint8)
    return Picture.from_pixels(pixels, source=ALGORITHMIC, marks={})


CASES = [
    chat_case("fake chat", FakeChat, seeded=True),
    chat_case("slow fake chat", lambda: FakeChat(latency=0.01), seeded=True),
    # The place for the embedded chat: chat_case("llama chat", …, seeded=True), marked slow.
    chat_case("scene critic", SceneCritic, seeded=False, pictures=True),
    draw_case("fake painter", FakePainter),
    draw_case("openmoji painter", OpenmojiPainter),
    embed_case("fake encoder of texts", FakeEncoder, pictures=False),
    embed_case("fake encoder of pictures", FakeEncoder, pictures=True),
    embed_case("descriptor of texts", DescriptorEncoder, pictures=False),
    embed_case("descriptor of pictures", DescriptorEncoder, pictures=True),
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


def test_answers_come_in_the_order_of_the_questions(case: Case) -> None:
    async def both_ways() -> tuple[list[bytes], list[bytes]]:
        identity, ask = case.make()
        together = await asyncio.gather(*(ask(subject, 7, identity.name) for subject in SUBJECTS))
        return together, [await ask(subject, 7, identity.name) for subject in SUBJECTS]

    together, alone = asyncio.run(both_ways())
    assert together == alone
    assert len(set(together)) > 1


def test_the_same_request_has_the_same_bytes_in_a_fresh_adapter(case: Case) -> None:
    async def ask_fresh() -> bytes:
        identity, ask = case.make()
        return await ask(SUBJECTS[1], 3, identity.name)

    assert asyncio.run(ask_fresh()) == asyncio.run(ask_fresh())


def test_another_seed_gives_another_answer_where_seeds_count(case: Case) -> None:
    async def two_seeds() -> tuple[bytes, bytes]:
        identity, ask = case.make()
        return await ask(SUBJECTS[0], 1, identity.name), await ask(SUBJECTS[0], 2, identity.name)

    first, second = asyncio.run(two_seeds())
    assert (first != second) == case.seeded


def test_another_model_is_refused_as_terminal(case: Case) -> None:
    async def ask_another() -> None:
        _, ask = case.make()
        await ask(SUBJECTS[0], 1, "another-model")

    with pytest.raises(TerminalError, match="another-model") as caught:
        asyncio.run(ask_another())
    assert isinstance(caught.value, ModelError)


def test_identity_is_complete(case: Case) -> None:
    identity, _ = case.make()
    assert identity.name
    assert identity.revision
    assert identity.licence
    assert all(isinstance(value, str) for value in identity.fingerprint.values())


def test_cancellation_leaves_nothing_running(case: Case) -> None:
    async def cancel_midway() -> float:
        identity, ask = case.make()
        tasks = [asyncio.create_task(asyncio.wait_for(ask(subject, 1, identity.name), 60)) for subject in SUBJECTS]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        started = time.monotonic()
        await asyncio.get_running_loop().shutdown_default_executor()
        return time.monotonic() - started

    assert asyncio.run(cancel_midway()) < 5


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
