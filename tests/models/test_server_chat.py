"""Chat over real sockets, with servers that answer well and servers that misbehave in every documented way."""

import asyncio
import base64
import gc
import json
import logging
import re
from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from models.chat import ChatReply, ChatRequest, ImagePart
from models.errors import ContentError, ModelError, TerminalError, TransientError
from models.fake_behaviour import (
    Answer,
    Behaviour,
    Drop,
    Half,
    Huge,
    Never,
    NoJson,
    OtherModel,
    Say,
    Status,
    Whitespace,
    WrongShape,
)
from models.fake_server import FakeServer, read_request
from models.fakes import FakeChat
from models.identity import Json
from models.picture import ALGORITHMIC, Picture
from models.secret import Secret
from models.server_chat import ServerChat, ServerSource
from models.server_connections import LARGEST_BODY
from models.server_facts import PAGES
from models.server_wire import LONGEST_WISH
from tests.models.servers import ask, behave_in_turn, contracted_server_chat, settled, source_of, until
from tests.models.test_server_connections import connections_to

KEY = "sk-planted-0123456789"
SCHEMA: Mapping[str, Json] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "maxLength": 40}},
    "required": ["answer"],
    "additionalProperties": False,
}

TOO_LONG = {"message": "This model's maximum context length is 8 tokens. However, you requested 9 input tokens."}

TRANSIENT: list[tuple[Behaviour, str]] = [
    (Drop(), "broke off"),
    (Half(), "broke off"),
    (Status(408), "answered 408: as you asked"),
    (Status(429), "answered 429"),
    (Status(500), "answered 500"),
    (Status(502, error=""), "answered 502"),
    (Status(503), "answered 503"),
    (NoJson(), "no chat reply: <html>It works!</html>"),
    (WrongShape(), "no chat reply"),
    (Say("Half a sen", finish_reason="abort"), "broke off its reply, finish_reason abort"),
    (Say("Half a sen", finish_reason=None), "broke off its reply"),
]
TERMINAL: list[tuple[Behaviour, str]] = [
    (Status(307), "redirects are not followed"),
    (Status(400), "as you asked; mend the settings"),
    (Status(401), "wants another key"),
    (Status(403), "does not let this key in"),
    (Status(404), "mend urls"),
    (Status(422, error="x" * 5000), "x{200}…; mend the settings"),
    (OtherModel("gpt-oss"), "another model answered at .*: gpt-oss, not fake-chat"),
]
CONTENT: list[tuple[Behaviour, str]] = [
    (Status(400, error=TOO_LONG), "prompt_too_long"),
    (Say(None), "empty_reply"),
    (Say(""), "empty_reply"),
    (Say(None, refusal="I will not"), "refused"),
    (Say("Once upon", finish_reason="content_filter"), "refused"),
    (Huge(LARGEST_BODY + 1, declared=False), "reply_too_large"),
    (Huge(50_000_000, declared=False), "reply_too_large"),
    (Huge(50_000_000, declared=True), "reply_too_large"),
]


def outcomes(*behaviours: Behaviour, request: ChatRequest | None = None) -> list[ChatReply | ModelError]:
    """What comes of each behaviour, for one request each."""

    async def run() -> list[ChatReply | ModelError]:
        with FakeServer(behave=behave_in_turn(*behaviours)) as server:
            async with ServerChat(source_of(server.url)) as chat:
                found = [await outcome(chat, request or ask("Hello")) for _ in behaviours]
            await settled(server)
            assert len(server.asked) == len(behaviours), "each was asked once"
            return found

    return asyncio.run(run())


async def outcome(chat: ServerChat, request: ChatRequest) -> ChatReply | ModelError:
    try:
        return await chat.chat(request)
    except ModelError as error:
        return error


def reply_to(behaviour: Behaviour, request: ChatRequest) -> ChatReply:
    (reply,) = outcomes(behaviour, request=request)
    assert isinstance(reply, ChatReply)
    return reply


def test_what_may_pass_is_transient() -> None:
    found = outcomes(*(behaviour for behaviour, _ in TRANSIENT))
    for (behaviour, words), error in zip(TRANSIENT, found, strict=True):
        assert isinstance(error, TransientError), behaviour
        assert re.search(words, str(error)), behaviour
        assert error.retry_after is None, behaviour


def test_what_no_request_can_get_past_is_terminal_and_says_what_to_do() -> None:
    found = outcomes(*(behaviour for behaviour, _ in TERMINAL))
    for (behaviour, words), error in zip(TERMINAL, found, strict=True):
        assert isinstance(error, TerminalError), behaviour
        assert re.search(words, str(error)), behaviour
        assert len(str(error)) < 600, behaviour


def test_what_this_request_alone_cannot_get_is_a_content_error() -> None:
    found = outcomes(*(behaviour for behaviour, _ in CONTENT))
    for (behaviour, reason), error in zip(CONTENT, found, strict=True):
        assert isinstance(error, ContentError), behaviour
        assert error.reason == reason, behaviour
        assert "127.0.0.1" not in str(error), "it goes into the record, and addresses do not"


def test_a_server_that_never_answers_is_left_in_time() -> None:
    async def run() -> str:
        with FakeServer(behave=lambda _number, _body: Never()) as server:
            async with ServerChat(source_of(server.url, timeout=0.3)) as chat:
                with pytest.raises(TransientError, match=r"no whole reply within 0.3 s"):
                    await chat.chat(ask("Hello"))
                await settled(server)
                return server.asked[0].outcome

    assert asyncio.run(run()) == "left", "the server must see the connection closed, to stop its work"


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_of_50_mb_is_left_before_its_end(declared: bool) -> None:  # noqa: FBT001
    async def run() -> str:
        with FakeServer(behave=lambda _number, _body: Huge(50_000_000, declared)) as server:
            async with ServerChat(source_of(server.url)) as chat:
                assert isinstance(await outcome(chat, ask("Hello")), ContentError)
                await settled(server)
                return server.asked[0].outcome

    assert asyncio.run(run()) == "left"


def test_a_wish_to_be_left_alone_reaches_whoever_repeats() -> None:
    date = "Wed, 21 Oct 2065 07:28:00 GMT"
    for wish, seconds in (("7", 7.0), (date, LONGEST_WISH)):
        for code in (429, 503):
            (error,) = outcomes(Status(code, retry_after=wish))
            assert isinstance(error, TransientError) and error.retry_after == seconds


def test_a_server_that_wants_to_be_left_alone_is_told_of_nobody_else() -> None:
    async def run() -> tuple[list[ChatReply | ModelError], int]:
        with FakeServer(behave=lambda _number, _body: Status(429, retry_after="300")) as server:
            async with ServerChat(source_of(server.url)) as chat:
                found = [await outcome(chat, ask(f"Hello {number}")) for number in range(5)]
            return found, len(server.asked)

    found, asked = asyncio.run(run())
    assert asked == 1
    assert all(isinstance(error, TransientError) and 250 < (error.retry_after or 0) <= 300 for error in found)


def test_blanks_until_max_tokens_are_an_ordinary_reply_that_tells_its_length() -> None:
    request = ask("Hello", schema=SCHEMA)
    reply = reply_to(Whitespace(), request)
    assert (reply.text, reply.finish_reason) == (" " * request.sampling.max_tokens, "length")
    assert reply.completion_tokens == request.sampling.max_tokens


def test_json_against_the_schema_is_an_ordinary_reply() -> None:
    assert reply_to(Say('{"question": 1}'), ask("Hello", schema=SCHEMA)).text == '{"question": 1}'


def test_a_reply_is_the_models_with_its_counts_and_what_the_server_told() -> None:
    request = ask("What grows in sand?", seed=2**53 - 1, schema=SCHEMA)
    reply = reply_to(Answer(), request)
    direct = asyncio.run(FakeChat().chat(read_request(run_and_see(request), FakeChat())))
    assert (reply.text, reply.finish_reason) == (direct.text, "stop")
    assert (reply.prompt_tokens, reply.completion_tokens) == (direct.prompt_tokens, direct.completion_tokens)
    assert reply.backend == {"model": "fake-chat", "system_fingerprint": "interlake-fake-1"}
    assert list(json.loads(reply.text)) == ["answer"]


def run_and_see(request: ChatRequest) -> Mapping[str, Json]:
    """The body that the server gets."""

    async def run() -> Mapping[str, Json]:
        with FakeServer() as server:
            async with ServerChat(source_of(server.url)) as chat:
                await chat.chat(request)
            return server.asked[0].body

    return asyncio.run(run())


def test_pictures_arrive_as_they_are() -> None:
    picture = Picture.from_pixels(np.full((4, 4, 3), 9, dtype=np.uint8), source=ALGORITHMIC, marks={"Title": "Nine"})
    request = ask(ImagePart(picture), "What is this?")
    read = read_request(run_and_see(request), FakeChat())
    assert read.messages == request.messages
    assert isinstance(read.messages[0].parts[0], ImagePart)
    assert read.messages[0].parts[0].picture.data == picture.data


def open_one(source: ServerSource) -> ServerChat:
    async def run() -> ServerChat:
        async with ServerChat(source) as chat:
            return chat

    return asyncio.run(run())


def test_the_identity_holds_what_the_server_tells_and_no_address() -> None:
    with FakeServer() as server:
        identity = open_one(source_of(server.url)).identity
    assert (identity.name, identity.revision, identity.licence) == ("fake-chat", "as-served", "Apache-2.0")
    assert identity.fingerprint == {
        "dialect": "vllm",
        "at_once": "8",
        "server": "interlake-fake-1",
        "root": "fake-chat",
        "max_model_len": "32768",
    }


def test_another_model_is_refused_when_it_is_opened() -> None:
    with (
        FakeServer(brain=FakeChat(name="llama")) as other,
        FakeServer() as right,
        pytest.raises(TerminalError, match=f"{other.url} serves llama, not fake-chat: mend model or urls"),
    ):
        open_one(source_of(right.url, other.url))


def test_a_refused_key_stops_the_opening() -> None:
    with FakeServer(api_key=KEY) as server, pytest.raises(TerminalError, match="wants another key"):
        open_one(source_of(server.url, api_key="sk-wrong"))


def test_servers_that_are_all_down_are_named_when_opened() -> None:
    with FakeServer() as one, FakeServer() as other:
        urls = (one.url, other.url)
    with pytest.raises(TerminalError, match=f"cannot be reached at {urls[0]}, {urls[1]}: start it, or mend urls"):
        open_one(source_of(*urls))


def test_a_host_that_nobody_knows_is_named_when_opened() -> None:
    with pytest.raises(TerminalError, match=r"cannot be reached at http://nowhere\.invalid/v1"):
        open_one(source_of("http://nowhere.invalid/v1"))


def test_a_path_without_a_server_is_named_when_opened() -> None:
    with FakeServer() as server, pytest.raises(TerminalError, match="mend urls"):
        open_one(source_of(server.url.replace("/v1", "/v2")))


def test_proxies_of_the_environment_see_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert reply_to(Answer(), ask("Hello")).text


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that it came of."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def test_the_key_is_sent_and_is_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    said = f"Authorization: Bearer {KEY}"
    echoes: list[Behaviour] = [
        Answer(fingerprint=said, headers={"x-echo": said}),
        Drop(), OtherModel(KEY), Say(None, refusal=KEY), Say("A", None, KEY), Say(f"Yes: {KEY}"),
        Say(base64.b64encode(said.encode()).decode()),
        *(Status(code, error={"message": f"Incorrect API key provided: {KEY}."}) for code in (400, 401, 429, 500)),
    ]  # fmt: skip
    pages: Mapping[str, Json] = {"/version": {"version": said}, "/server_info": {"vllm_env": {"VLLM_BUILD": said}}}
    seen: list[object] = []
    found: list[ChatReply | ModelError] = []

    async def run() -> None:
        with FakeServer(api_key=KEY, behave=behave_in_turn(*echoes), pages=pages) as server:
            source = source_of(server.url, api_key=KEY)
            async with ServerChat(source) as chat:
                seen.extend([source, chat, chat.identity])
                found.extend([await outcome(chat, ask("Hello")) for _ in echoes])
            assert {asked.key_sent for asked in server.asked} == {f"Bearer {KEY}"}
            seen.extend(asked.body for asked in server.asked)

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run())
    for each in found:
        seen.extend([each, *chain_of(each)] if isinstance(each, ModelError) else [each])
    seen.extend(record.getMessage() for record in caplog.records)
    assert [each.reason for each in found if isinstance(each, ContentError)] == ["refused", *["secret_in_reply"] * 2]
    assert any("***" in repr(each) for each in seen), "the server's words were quoted"
    secret = Secret(KEY)
    assert [each for each in seen if secret.is_in(f"{each!r} {each}")] == []


def test_a_line_that_is_no_header_and_holds_the_key_is_not_shown() -> None:
    async def run() -> TransientError:
        async with connections_to(f"HTTP/1.1 200 OK\r\nBearer {KEY}\r\n\r\n".encode(), key=KEY) as connections:
            with pytest.raises(TransientError, match=r"broke off: Invalid header token: .*\*\*\*") as caught:
                await connections.send("GET", connections.server.url, seconds=30)
            return caught.value

    assert not any(KEY in str(error) for error in chain_of(asyncio.run(run())))


@pytest.mark.parametrize("key", ["", "two words", 'quo"ted', "line\nbreak", "schlüssel"])
def test_what_cannot_be_a_key_is_refused_unseen(key: str) -> None:
    with pytest.raises(ValueError, match="api_key is no key") as caught:
        source_of("http://127.0.0.1:8000/v1", api_key=key)
    assert not key or key not in str(caught.value)


def test_settings_that_cannot_be_are_refused() -> None:
    url = "http://127.0.0.1:8000/v1"
    for urls in ((), (url, f"{url}/"), ("127.0.0.1:8000",), ("ftp://a/v1",), (f"{url}?a=1",), ("http://",)):
        with pytest.raises(ValueError, match="urls"):
            source_of(*urls)
    with pytest.raises(ValueError, match="password") as caught:
        source_of("http://me:secret@host/v1")
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="at_once"):
        source_of(url, at_once=0)
    with pytest.raises(ValueError, match="40 hex digits"):
        ServerSource(
            model="m", revision="main", licence="MIT", urls=(url,), at_once=1, timeout=1, api_key=None, dialect="vllm"
        )


def test_connections_are_used_again() -> None:
    async def run() -> int:
        with FakeServer() as server:
            async with ServerChat(source_of(server.url)) as chat:
                for seed in range(12):
                    await chat.chat(ask("Hello", seed=seed))
            return len({asked.connection for asked in server.asked})

    assert asyncio.run(run()) <= 1 + len(PAGES["vllm"])  # as many as were open at once, when it told of itself


def test_a_replica_is_never_given_more_than_its_most() -> None:
    async def run() -> None:
        with FakeServer(behave=lambda _number, _body: Never()) as server:
            async with ServerChat(source_of(server.url, at_once=3)) as chat:
                tasks = [asyncio.create_task(chat.chat(ask("Hello", seed=seed))) for seed in range(9)]
                await until(lambda: len(server.asked) == 3)
                await asyncio.sleep(0.05)
                assert len(server.asked) == 3
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


def test_a_cancelled_chat_closes_its_connection_and_leaves_room_for_the_next() -> None:
    behave = behave_in_turn(*[Never()] * 4)

    async def run() -> None:
        with FakeServer(behave=behave) as server:
            async with ServerChat(source_of(server.url, at_once=4)) as chat:
                before = asyncio.all_tasks()
                tasks = [asyncio.create_task(chat.chat(ask("Hello", seed=seed))) for seed in range(4)]
                await until(lambda: len(server.asked) == 4)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                assert asyncio.all_tasks() <= before
                await settled(server)
                assert {asked.outcome for asked in server.asked} == {"left"}
                replies = await asyncio.gather(*(chat.chat(ask("Hello", seed=seed)) for seed in range(4)))
                assert len({reply.text for reply in replies}) == 4

    asyncio.run(run())
    gc.collect()


def test_the_contract_can_open_one() -> None:
    async def run() -> str:
        async with contracted_server_chat() as chat:
            return (await chat.chat(ask("Hello"))).text

    assert asyncio.run(run())
