"""Real servers on 127.0.0.1 and chats with them, for the suites."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from models.chat import ChatModel, ChatReply, ChatRequest, Message, Part, TextPart
from models.errors import TransientError
from models.fake_behaviour import Answer, Behaviour
from models.fake_server import Behave, FakeServer
from models.identity import Json
from models.server_chat import ServerChat, ServerSource
from models.server_wire import Dialect
from tests.models.contract import SAMPLING

TRIES = 50


def source_of(
    *urls: str, api_key: str | None = None, timeout: float = 30.0, at_once: int = 8, dialect: Dialect = "vllm"
) -> ServerSource:
    return ServerSource(
        model="fake-chat",
        revision="as-served",
        licence="Apache-2.0",
        urls=urls,
        at_once=at_once,
        timeout=timeout,
        api_key=api_key,
        dialect=dialect,
    )


def ask(*parts: Part | str, seed: int = 1, schema: Json = None) -> ChatRequest:
    return ChatRequest(
        model="fake-chat",
        revision="as-served",
        messages=(Message("user", tuple(TextPart(part) if isinstance(part, str) else part for part in parts)),),
        sampling=SAMPLING,
        schema=schema,
        seed=seed,
    )


def behave_in_turn(*behaviours: Behaviour) -> Behave:
    """Each behaviour for one request, then answers."""
    return lambda number, _body: behaviours[number] if number < len(behaviours) else Answer()


@asynccontextmanager
async def contracted_server_chat() -> AsyncIterator[ServerChat]:
    """A chat with a server of its own, for the contract."""
    with FakeServer() as server:
        async with ServerChat(source_of(server.url)) as chat:
            yield chat


async def repeated(chat: ChatModel, request: ChatRequest) -> ChatReply:
    """Asks again after each TransientError, as whoever records calls does, but hardly waits."""
    for _ in range(TRIES):
        try:
            return await chat.chat(request)
        except TransientError as error:
            await asyncio.sleep(max(0.01, error.retry_after or 0.0))
    raise AssertionError(f"no answer in {TRIES} tries")


async def until(what: Callable[[], bool]) -> None:
    """Waits for what another thread brings about."""
    async with asyncio.timeout(30):
        while not what():
            await asyncio.sleep(0.005)


async def settled(*servers: FakeServer) -> None:
    """Waits until the servers have written down how every request ended."""
    await until(lambda: all(asked.outcome != "open" for server in servers for asked in server.asked))
