"""The adapter of chat servers with a real vLLM: the contract of all adapters, and what the fake server only claims."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import jsonschema
import pytest

from flows.seir.prompts import critique_image, draft_answer, draft_question, rewrite_caption
from flows.seir.replies import MAX_TOKENS, AnswerReply, CaptionReply, Critique, QuestionReply, Reply, schema_of
from models.chat import ChatReply, ChatRequest, Message, Sampling
from models.errors import ContentError, TerminalError
from models.server_chat import ServerChat, ServerSource
from tests.models.contract import (
    Case,
    chat_case,
    picture_like,
    test_another_model_is_refused_as_terminal,
    test_another_seed_gives_another_answer_where_seeds_count,
    test_cancellation_leaves_nothing_running,
    test_identity_is_complete,
    test_the_same_request_has_the_same_bytes_in_a_fresh_adapter,
)
from tests.vllm_server.servers import CONTEXT, VllmServer

__all__ = [
    "test_another_model_is_refused_as_terminal",
    "test_another_seed_gives_another_answer_where_seeds_count",
    "test_cancellation_leaves_nothing_running",
    "test_identity_is_complete",
    "test_the_same_request_has_the_same_bytes_in_a_fresh_adapter",
]

T = TypeVar("T")

SAMPLING = Sampling(temperature=0.7, top_p=0.9, top_k=40, min_p=0.0, repeat_penalty=1.0, max_tokens=24)
DRAFT = AnswerReply(answer="A cat likes to sit high.", caption="A cat on a chair.")


def source_of(server: VllmServer, *, model: str | None = None) -> ServerSource:
    return ServerSource(
        model=model or server.served.name,
        revision="as-served",
        licence="Apache-2.0",
        urls=(server.url,),
        at_once=4,
        timeout=300.0,
        api_key=None,
        dialect="vllm",
    )


@pytest.fixture(params=["smollm2", "tiny-viewer"])
def case(request: pytest.FixtureRequest, chat_server: VllmServer, view_server: VllmServer) -> Case:
    """Either server under the contract. Its promise of equal answers in company is not for vLLM, so it is left out."""
    sees = request.param == "tiny-viewer"
    server = view_server if sees else chat_server

    @asynccontextmanager
    async def opened() -> AsyncIterator[ServerChat]:
        async with ServerChat(source_of(server)) as chat:
            yield chat

    return chat_case(request.param, opened, seeded=True, pictures=sees)


def ask(server: VllmServer, *requests: ChatRequest) -> list[ChatReply]:
    """The replies to requests that are sent one after the other."""

    async def replies(chat: ServerChat) -> list[ChatReply]:
        return [await chat.chat(request) for request in requests]

    return with_chat(server, replies)


def with_chat(server: VllmServer, work: Callable[[ServerChat], Awaitable[T]]) -> T:
    async def run() -> T:
        async with ServerChat(source_of(server)) as chat:
            return await work(chat)

    return asyncio.run(run())


def request_for(server: VllmServer, *messages: Message, reply: type[Reply] | None = None, seed: int = 1) -> ChatRequest:
    return ChatRequest(
        model=server.served.name,
        revision="as-served",
        messages=messages,
        sampling=SAMPLING,
        schema=schema_of(reply) if reply else None,
        seed=seed,
    )


def check_shape(reply: ChatReply, shape: type[Reply]) -> None:
    """A reply that ended by itself is JSON of its shape."""
    assert reply.finish_reason == "stop"
    schema = schema_of(shape)
    assert isinstance(schema, dict)
    jsonschema.validate(json.loads(reply.text), schema)


REAL: Mapping[str, tuple[Sequence[Message], type[Reply], str]] = {
    "question": (draft_question("an owl", "Ask what it looks like.", []), QuestionReply, "question"),
    "answer": (draft_answer("an owl", "What does an owl look like?", []), AnswerReply, "answer"),
    "caption": (
        rewrite_caption("What does it look like?", DRAFT.answer, DRAFT.caption, "Say what colour it has.", []),
        CaptionReply,
        "caption",
    ),
}


@pytest.mark.parametrize("kind", REAL)
def test_every_real_prompt_of_the_texts_is_answered_in_the_shape_of_its_schema(
    chat_server: VllmServer, kind: str
) -> None:
    messages, shape, room = REAL[kind]
    asked = request_for(chat_server, *messages, reply=shape)
    asked = replace(asked, sampling=replace(SAMPLING, max_tokens=MAX_TOKENS[room]))
    (reply,) = ask(chat_server, asked)
    check_shape(reply, shape)
    assert reply.prompt_tokens > 50
    assert 0 < reply.completion_tokens <= MAX_TOKENS[room]


def test_a_picture_is_criticised_in_the_shape_of_the_schema(view_server: VllmServer) -> None:
    messages = critique_image("What is it?", DRAFT.answer, DRAFT.caption, picture_like("a cat"), [])
    sampling = replace(SAMPLING, max_tokens=MAX_TOKENS["critique"])
    asked = [
        replace(request_for(view_server, *messages, reply=Critique, seed=seed), sampling=sampling) for seed in (1, 2, 3)
    ]
    replies = ask(view_server, *asked)
    for reply in replies:
        check_shape(reply, Critique)
    assert len({reply.text for reply in replies}) > 1


def test_another_picture_under_the_same_prompt_and_seed_is_another_question(view_server: VllmServer) -> None:
    pictures = [picture_like(name) for name in ("a cat", "a cat", "a dog")]
    prompts = [critique_image("What is it?", DRAFT.answer, DRAFT.caption, picture, []) for picture in pictures]
    same, again, other = ask(view_server, *(request_for(view_server, *messages) for messages in prompts))
    assert same.prompt_tokens == other.prompt_tokens
    assert same.text == again.text
    assert same.text != other.text


def test_no_more_tokens_come_than_were_asked_for(chat_server: VllmServer) -> None:
    asked = request_for(chat_server, Message.of("user", "Tell me a long story about an owl."))
    replies = ask(chat_server, *(replace(asked, sampling=replace(SAMPLING, max_tokens=most)) for most in (5, 11)))
    assert [(reply.completion_tokens, reply.finish_reason) for reply in replies] == [(5, "length"), (11, "length")]


def test_a_prompt_that_does_not_fit_is_content_that_cannot_be_made(chat_server: VllmServer) -> None:
    with pytest.raises(ContentError) as caught:
        ask(chat_server, request_for(chat_server, Message.of("user", "owl " * 2 * CONTEXT)))
    assert caught.value.reason == "prompt_too_long"


def test_a_model_that_is_not_served_is_refused_when_it_is_opened(chat_server: VllmServer) -> None:
    async def open_another() -> None:
        async with ServerChat(source_of(chat_server, model="large-chat")):
            pass

    with pytest.raises(TerminalError, match="serves smollm2, not large-chat"):
        asyncio.run(open_another())


def test_what_vllm_tells_of_itself_is_in_the_fingerprint(chat_server: VllmServer) -> None:
    async def look(chat: ServerChat) -> dict[str, str]:
        return dict(chat.identity.fingerprint)

    told = with_chat(chat_server, look)
    assert told["server"] == "0.32.0"
    assert told["max_model_len"] == str(CONTEXT)
    assert told["device"] == "cpu"
    assert told["root"] == "smollm2"
    assert told["enforce_eager"] == "true"
