"""What every adapter promises: cases are made here, and the checks that run over them. Imported by the suites."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
import pytest

from models.chat import ChatModel, ChatRequest, ImagePart, Message, Sampling, TextPart
from models.drawing import DrawRequest, TextToImage
from models.embedding import EmbedRequest, Encoder
from models.errors import ModelError, TerminalError
from models.identity import ModelIdentity
from models.picture import ALGORITHMIC, Picture
from models.scene import SCENE_MARK, Backdrop, Scene

__all__ = [
    "test_another_model_is_refused_as_terminal",
    "test_another_seed_gives_another_answer_where_seeds_count",
    "test_answers_come_in_the_order_of_the_questions",
    "test_cancellation_leaves_nothing_running",
    "test_identity_is_complete",
    "test_the_same_request_has_the_same_bytes_in_a_fresh_adapter",
]

SAMPLING = Sampling(temperature=0.7, top_p=0.9, top_k=40, min_p=0.0, repeat_penalty=1.0, max_tokens=48)
SUBJECTS = ("A cat on a chair", "Two red boats on a lake", "A moon cake", "A house in the snow", "An owl at night")

T = TypeVar("T")
Make: TypeAlias = Callable[[], T | AbstractAsyncContextManager[T]]
Ask: TypeAlias = Callable[[str, int, str], Awaitable[bytes]]  # what is asked, seed, model name -> the answer's bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An adapter under the contract: how it is opened, and whether another seed must give another answer."""

    name: str
    opened: Callable[[], AbstractAsyncContextManager[tuple[ModelIdentity, Ask]]]
    seeded: bool


@asynccontextmanager
async def opened(model: T | AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """The model, opened and closed if it is one of those that must be."""
    async with AsyncExitStack() as stack:
        if isinstance(model, AbstractAsyncContextManager):
            yield await stack.enter_async_context(model)
        else:
            yield model


def chat_case(
    name: str,
    make: Make[ChatModel],
    *,
    seeded: bool,
    pictures: bool = False,
) -> Case:
    @asynccontextmanager
    async def build() -> AsyncIterator[tuple[ModelIdentity, Ask]]:
        async with opened(make()) as model:

            async def ask(subject: str, seed: int, name: str) -> bytes:
                parts = (ImagePart(marked_picture()), TextPart(subject)) if pictures else (TextPart(subject),)
                request = ChatRequest(
                    model=name, revision=model.identity.revision, messages=(Message("user", parts),),
                    sampling=SAMPLING, schema=None, seed=seed,
                )  # fmt: skip
                return (await model.chat(request)).text.encode()

            yield model.identity, ask

    return Case(name=name, opened=build, seeded=seeded)


def draw_case(name: str, make: Make[TextToImage], *, steps: int = 0) -> Case:
    @asynccontextmanager
    async def build() -> AsyncIterator[tuple[ModelIdentity, Ask]]:
        async with opened(make()) as model:

            async def ask(subject: str, seed: int, name: str) -> bytes:
                request = DrawRequest(
                    model=name, revision=model.identity.revision, caption=subject,
                    width=128, height=96, steps=steps, guidance=0.0, seed=seed,
                )  # fmt: skip
                drawing = await model.draw(request)
                assert (drawing.picture.width, drawing.picture.height) == (128, 96)
                return drawing.picture.data

            yield model.identity, ask

    return Case(name=name, opened=build, seeded=True)


def embed_case(name: str, make: Make[Encoder], *, pictures: bool) -> Case:
    @asynccontextmanager
    async def build() -> AsyncIterator[tuple[ModelIdentity, Ask]]:
        async with opened(make()) as model:

            async def ask(subject: str, _seed: int, name: str) -> bytes:
                what = picture_like(subject) if pictures else subject
                vector = (
                    await model.embed(EmbedRequest(model=name, revision=model.identity.revision, subject=what))
                ).vector
                assert vector.shape == (model.dims,)
                assert vector.dtype == np.float32
                assert abs(float(np.sum(vector.astype(np.float64) ** 2)) - 1) < 1e-5
                return vector.tobytes()

            yield model.identity, ask

    return Case(name=name, opened=build, seeded=False)


def marked_picture() -> Picture:
    scene = Scene(objects=(), background=Backdrop(ground="field", light="day"), drawn_words=(), undrawn_words=())
    return Picture.from_pixels(
        np.zeros((8, 8, 3), dtype=np.uint8), source=ALGORITHMIC, marks={SCENE_MARK: scene.to_text()}
    )


def picture_like(subject: str) -> Picture:
    rng = np.random.Generator(np.random.PCG64(list(subject.encode())))
    pixels = rng.integers(0, 256, size=(40, 48, 3), dtype=np.uint8)
    return Picture.from_pixels(pixels, source=ALGORITHMIC, marks={})


def test_answers_come_in_the_order_of_the_questions(case: Case) -> None:
    async def both_ways() -> tuple[list[bytes], list[bytes]]:
        async with case.opened() as (identity, ask):
            together = await asyncio.gather(*(ask(subject, 7, identity.name) for subject in SUBJECTS))
            return together, [await ask(subject, 7, identity.name) for subject in SUBJECTS]

    together, alone = asyncio.run(both_ways())
    assert together == alone
    assert len(set(together)) > 1


def test_the_same_request_has_the_same_bytes_in_a_fresh_adapter(case: Case) -> None:
    async def ask_fresh() -> bytes:
        async with case.opened() as (identity, ask):
            return await ask(SUBJECTS[1], 3, identity.name)

    assert asyncio.run(ask_fresh()) == asyncio.run(ask_fresh())


def test_another_seed_gives_another_answer_where_seeds_count(case: Case) -> None:
    async def two_seeds() -> tuple[bytes, bytes]:
        async with case.opened() as (identity, ask):
            return await ask(SUBJECTS[0], 1, identity.name), await ask(SUBJECTS[0], 2, identity.name)

    first, second = asyncio.run(two_seeds())
    assert (first != second) == case.seeded


def test_another_model_is_refused_as_terminal(case: Case) -> None:
    async def ask_another() -> None:
        async with case.opened() as (_, ask):
            await ask(SUBJECTS[0], 1, "another-model")

    with pytest.raises(TerminalError, match="another-model") as caught:
        asyncio.run(ask_another())
    assert isinstance(caught.value, ModelError)


def test_identity_is_complete(case: Case) -> None:
    async def who() -> ModelIdentity:
        async with case.opened() as (identity, _):
            return identity

    identity = asyncio.run(who())
    assert identity.name
    assert identity.revision
    assert identity.licence
    assert all(isinstance(value, str) and 0 < len(value) < 400 for value in identity.fingerprint.values())
    assert not any(Path(__file__).parents[2].as_posix() in value for value in identity.fingerprint.values())


def test_cancellation_leaves_nothing_running(case: Case) -> None:
    async def cancel_midway() -> float:
        async with case.opened() as (identity, ask):
            before = asyncio.all_tasks()
            tasks = [asyncio.create_task(asyncio.wait_for(ask(subject, 1, identity.name), 60)) for subject in SUBJECTS]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert asyncio.all_tasks() <= before
            started = time.monotonic()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await asyncio.get_running_loop().shutdown_default_executor()
        return time.monotonic() - started

    assert asyncio.run(cancel_midway()) < 5
