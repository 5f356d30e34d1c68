"""What the slow server itself bears without latency: raw requests over many connections, one by one on each."""

import asyncio
import json
import time
from dataclasses import dataclass, field

import click

from flows.seir.prompts import draft_answer
from flows.seir.replies import AnswerReply, schema_of
from models.chat import TextPart
from tests.benchmarks.pipeline.serving import Served
from tests.benchmarks.pipeline.slow_server import MODEL

CONNECTIONS = 256
CALLS = 20_000


@dataclass(slots=True)
class Crowd:
    """Clients that share a number of calls to be made; `done` is set when all were answered."""

    request: bytes
    unsent: int
    unanswered: int
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Client(asyncio.Protocol):
    """Sends, waits, sends; a reply that is this short comes in one piece."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 200"), data
        self._crowd.unanswered -= 1
        if self._crowd.unanswered == 0:
            self._crowd.done.set()
        self._send()

    def _send(self) -> None:
        if self._crowd.unsent:
            self._crowd.unsent -= 1
            self._transport.write(self._crowd.request)


def measure_bearing() -> bool:
    """Print the calls a second, and what of the processor they take on either side."""
    with Served(mean=0, content=0.5) as server:
        host, _, port = server.url.removeprefix("http://").removesuffix("/v1").partition(":")
        since, own, its = time.perf_counter(), time.process_time(), server.cpu()
        asyncio.run(_crowd_in(host, int(port)))
        seconds, own, its = time.perf_counter() - since, time.process_time() - own, server.cpu() - its
    click.echo(
        f"the server answers {CALLS / seconds:,.0f} calls/s over {CONNECTIONS} connections, "
        f"{len(_request()):,} bytes each; "
        f"processor time a call: {1e6 * its / CALLS:.0f} us of the server, {1e6 * own / CALLS:.0f} us of the client"
    )
    return True


async def _crowd_in(host: str, port: int) -> None:
    crowd = Crowd(request=_request(), unsent=CALLS, unanswered=CALLS)
    loop = asyncio.get_running_loop()
    lines = [await loop.create_connection(lambda: Client(crowd), host, port) for _ in range(CONNECTIONS)]
    await crowd.done.wait()
    for transport, _ in lines:
        transport.close()


def _request() -> bytes:
    """A request as the writer of an answer sends it."""
    prompt = draft_answer("ants", "What are ants like? Tell me and draw a picture.", ())
    messages = [
        {"role": message.role, "content": part.text}
        for message in prompt
        for part in message.parts
        if isinstance(part, TextPart)
    ]
    form = {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema_of(AnswerReply), "strict": True}}
    body = json.dumps({"model": MODEL, "messages": messages, "seed": 1, "response_format": form}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body
