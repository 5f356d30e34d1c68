"""A server that only waits: OpenAI's chat protocol, latencies that follow from the request, and a log of what was under
way when. Bears well over what its clients can ask, in one process; knows nothing of who asks.

`python -m tests.benchmarks.pipeline.slow_server --mean 1` prints its address on its first line, and serves until it is
stopped. `GET /log` gives all calls so far as JSON, `GET /stats` what they come to, `POST /reset?mean=0&content=0.5`
forgets them and sets the means of the next ones. Times are those of `time.monotonic`, which all processes share.
"""

import argparse
import asyncio
import contextlib
import gc
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from tests.benchmarks.pipeline.latencies import dice_of, latency_of
from tests.benchmarks.pipeline.slow_replies import reply_to
from tests.benchmarks.pipeline.traffic import Call, summarise

MODEL = "slow-chat"
END_OF_HEAD = b"\r\n\r\n"
LENGTH = b"content-length:"
CARD = {"id": MODEL, "object": "model", "owned_by": "interlake", "root": MODEL, "max_model_len": 32768}


@dataclass(slots=True)
class Manners:
    """How the server behaves now: the mean of its latencies in seconds, and the share of critics who are content.

    It works on `places` calls at a time; more of them wait in the order in which they came, as with a real server.
    """

    mean: float
    content: float
    places: int
    waiting: "deque[Conversation]" = field(default_factory=deque)
    calls: list[Call] = field(default_factory=list)
    under_way: int = 0
    lost: int = 0
    """Calls whose client went before they were answered."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that is to be answered by `response`, some seconds later."""

    arrived: float
    latency: float
    seed: int
    row: int
    step: int
    response: bytes


class Conversation(asyncio.Protocol):
    """One connection, kept alive; one request after the other, as HTTP/1.1 clients without pipelining send them."""

    def __init__(self, manners: Manners) -> None:
        self._manners = manners
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._asked: Asked | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._asked is None:
            return
        self._manners.lost += 1
        if self._timer is None:
            self._manners.waiting.remove(self)
        else:
            self._timer.cancel()
            self._make_room()

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(END_OF_HEAD)
        if end < 0:
            return
        head = bytes(self._received[:end])
        start = end + len(END_OF_HEAD)
        length = _length_of(head)
        if len(self._received) < start + length:
            return
        body = bytes(self._received[start : start + length])
        del self._received[: start + length]
        self._hear(head, body)

    def _hear(self, head: bytes, body: bytes) -> None:
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        url = urlsplit(target) if method == "GET" or "?" in target else None
        path = url.path if url else target
        if path.endswith("/chat/completions"):
            self._chat(body)
        elif path.endswith("/models"):
            self._send(_json({"object": "list", "data": [CARD]}))
        elif path == "/log":
            self._send(_json([call.cells() for call in self._manners.calls]))
        elif path == "/stats":
            self._send(_json(self._told()))
        elif path == "/reset":
            self._reset(dict(parse_qsl(url.query if url else "")))
        else:
            self._send(_response(HTTPStatus.NOT_FOUND, orjson.dumps({"error": {"message": f"no {path} here"}})))

    def _chat(self, raw: bytes) -> None:
        now, manners = time.monotonic(), self._manners
        try:
            body = orjson.loads(raw)
            _refuse_wordless(body)
            dice = dice_of(raw, body)
            latency = latency_of(dice.chance, manners.mean)
            response = _completion(body, reply_to(body, dice.reply, content=manners.content), len(raw))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            words = {"error": {"message": f"not a request that this server understands: {error!r}"}}
            self._send(_response(HTTPStatus.BAD_REQUEST, orjson.dumps(words)))
            return
        seed = body.get("seed")
        self._asked = Asked(now, latency, seed if isinstance(seed, int) else -1, dice.row, dice.step, response)
        if not latency:
            self._answer(began=now)
        elif manners.under_way < manners.places:
            manners.under_way += 1
            self._begin(now)
        else:
            manners.waiting.append(self)

    def _begin(self, now: float) -> None:
        """Work on what was asked; a place is taken for it."""
        assert self._asked is not None
        self._timer = self._loop.call_later(self._asked.latency, self._finish, now)

    def _finish(self, began: float) -> None:
        self._timer = None
        self._answer(began)
        self._make_room()

    def _answer(self, began: float) -> None:
        asked, self._asked = self._asked, None
        assert asked is not None
        self._manners.calls.append(
            Call(
                arrived=asked.arrived,
                began=began,
                left=time.monotonic(),
                latency=asked.latency,
                seed=asked.seed,
                row=asked.row,
                step=asked.step,
            )
        )
        self._send(asked.response)

    def _make_room(self) -> None:
        """A place is free: whoever waits longest takes it."""
        if self._manners.waiting:
            self._manners.waiting.popleft()._begin(time.monotonic())
        else:
            self._manners.under_way -= 1

    def _reset(self, wanted: Mapping[str, str]) -> None:
        manners = self._manners
        manners.calls.clear()
        manners.lost = 0
        manners.mean = float(wanted.get("mean", manners.mean))
        manners.content = float(wanted.get("content", manners.content))
        self._send(_json({"mean": manners.mean, "content": manners.content}))

    def _told(self) -> dict[str, Any]:
        manners = self._manners
        return {**summarise(manners.calls), "under_way": manners.under_way, "lost": manners.lost}

    def _send(self, response: bytes) -> None:
        self._transport.write(response)


def listen(port: int) -> socket.socket:
    """A socket on 127.0.0.1 with a long queue; port 0 takes a free one."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    return listening


async def serve(listening: socket.socket, manners: Manners, ready: Callable[[], None]) -> None:
    """Answer until cancelled."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Conversation(manners), sock=listening, backlog=4096)
    ready()
    async with server:
        await server.serve_forever()


def main() -> None:
    """Serve until stopped; says where on its first line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--mean", type=float, default=1.0, help="mean latency in seconds; 0: none")
    parser.add_argument("--content", type=float, default=0.5, help="the share of critics with nothing to add")
    parser.add_argument("--places", type=int, default=256, help="calls that it works on at a time; others wait")
    asked = parser.parse_args()
    listening = listen(asked.port)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"

    def tell() -> None:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()

    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)  # the log only grows: looking through it again would delay answers
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(listening, Manners(mean=asked.mean, content=asked.content, places=asked.places), tell))


def _length_of(head: bytes) -> int:
    at = head.lower().find(LENGTH)
    if at < 0:
        return 0
    end = head.find(b"\r\n", at)
    return int(head[at + len(LENGTH) : end if end >= 0 else None])


def _refuse_wordless(body: Mapping[str, Any]) -> None:
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list) or not body["messages"]:
        raise ValueError("it has no messages")


def _completion(body: Mapping[str, Any], message: Mapping[str, Any], size: int) -> bytes:
    written = len(message["content"] or "") // 4
    usage = {"prompt_tokens": size // 4, "completion_tokens": written, "total_tokens": size // 4 + written}
    finish = "tool_calls" if "tool_calls" in message else "stop"
    return _json(
        {
            "id": "chatcmpl-slow",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": body.get("model", MODEL),
            "choices": [{"index": 0, "message": {**message, "refusal": None}, "finish_reason": finish}],
            "usage": usage,
            "system_fingerprint": "slow-1",
        }
    )


def _json(value: object) -> bytes:
    return _response(HTTPStatus.OK, orjson.dumps(value))


def _response(status: HTTPStatus, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


if __name__ == "__main__":
    main()
