"""Kept connections, against servers that say exactly what a test wants, and under cancellation at any moment."""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from models.errors import ContentError, TransientError
from models.fake_behaviour import Answer
from models.fake_server import FakeServer
from models.secret import Secret
from models.server_connections import LARGEST_BODY, Connections
from models.server_wire import Response, Server, ServerLate, request_body
from tests.models.servers import ask, settled, until

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@asynccontextmanager
async def connections_to(*words: bytes, url: str = "", key: str | None = None) -> AsyncIterator[Connections]:
    """Connections to a server that says these words, one after the other, and then nothing; or to the one at `url`."""

    speakers: list[asyncio.Task[None]] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            for word in words:
                writer.write(word)
                await writer.drain()
                await asyncio.sleep(0.05)
            await reader.read()
        except ConnectionError:
            pass  # the client left
        finally:
            writer.close()

    def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        speakers.append(asyncio.create_task(speak(reader, writer)))

    async with await asyncio.start_server(greet, "127.0.0.1") as listening:
        here = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
        server = Server(url=url or here, secret=Secret(key) if key else None)
        connections = Connections(server, ssl.create_default_context())
        try:
            yield connections
        finally:
            await connections.close()
            await asyncio.gather(*speakers)


def hear(*words: bytes, seconds: float = 30.0) -> Response:
    async def run() -> Response:
        async with connections_to(*words) as connections:
            return await connections.send("GET", connections.server.url, seconds=seconds)

    return asyncio.run(run())


def test_a_response_may_come_in_pieces_and_its_headers_are_in_lower_case() -> None:
    response = hear(HEAD, b"Retry-After: 7\r\nContent-Length: 6\r\n\r\n", b" [1", b", 2")
    assert (response.status, response.body, response.headers["retry-after"]) == (200, b" [1, 2", "7")


def test_a_body_declared_too_large_is_not_waited_for() -> None:
    with pytest.raises(ContentError, match="larger than 8388608 bytes"):
        hear(HEAD + f"content-length: {LARGEST_BODY + 1}\r\n\r\n".encode())


def test_drop_by_drop_is_late_as_a_whole() -> None:
    with pytest.raises(ServerLate, match=r"within 0.3 s"):
        hear(HEAD + b"content-length: 1000\r\n\r\n", *[b" "] * 1000, seconds=0.3)


def test_what_is_not_http_is_transient() -> None:
    with pytest.raises(TransientError, match="broke off"):
        hear(b"220 mail.example.org ESMTP\r\n\r\n")


def test_a_redirect_comes_back_as_it_is() -> None:
    moved = b"HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:9/elsewhere\r\ncontent-length: 0\r\n\r\n"
    assert hear(moved).status == 307


def test_a_body_that_unpacks_itself_is_left_packed() -> None:
    assert hear(HEAD + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x8b").body == b"\x1f\x8b"


def test_no_connection_is_lost_to_requests_that_are_cancelled_at_any_moment() -> None:
    rng = random.Random(7)
    body = orjson.dumps(request_body(ask("Hello"), "vllm"))

    async def run() -> None:
        with FakeServer(behave=lambda _number, _body: Answer(after=rng.uniform(0, 0.02))) as server:
            async with connections_to(url=server.url) as connections:
                url = f"{server.url}/chat/completions"
                for _ in range(15):
                    tasks = [
                        asyncio.create_task(connections.send("POST", url, seconds=30, body=body)) for _ in range(8)
                    ]
                    await asyncio.sleep(rng.uniform(0, 0.03))
                    for task in rng.sample(tasks, 5):
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
                await until(lambda: server.connected <= 8)
            await settled(server)

    asyncio.run(run())
