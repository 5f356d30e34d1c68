"""A chat server that ships: it speaks OpenAI's protocol over real sockets, with a stand-in for a model, and misbehaves
when it is told to. Knows nothing of whoever asks it.

Run one with `python -m models.fake_server --port 8000`, or in tests with `FakeServer` as a context manager.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal, TypeAlias, TypeVar, cast

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from models.chat import ChatModel, ChatReply, ChatRequest, ImagePart, Message, Part, Sampling, TextPart
from models.fake_behaviour import (
    VERSION,
    Answer,
    Behaviour,
    Drop,
    Half,
    Huge,
    Never,
    Status,
    completion,
    refuse,
    say,
)
from models.fakes import FakeChat
from models.identity import Json, canonical_sha256
from models.picture import Picture

CONTEXT = 32768  # tokens that it claims to take
PNG_URL = "data:image/png;base64,"
CHUNK = b" " * 65536
OWN_PAGES: Mapping[str, Json] = {"/version": {"version": VERSION}}

T = TypeVar("T")


Behave: TypeAlias = Callable[[int, Mapping[str, Json]], Behaviour]
Outcome: TypeAlias = Literal["open", "answered", "spoilt", "left"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request for a chat, as the server saw it.

    `outcome` is `answered` when a whole reply was sent, `spoilt` when something else was, `left` when the client went
    first, and `open` until then. `connection` is the client's port.
    """

    key: str
    body: Mapping[str, Json]
    key_sent: str | None
    connection: int
    outcome: Outcome


class FakeServer:
    """Serves one model on 127.0.0.1 while it is entered; port 0 takes a free one.

    `behave` is told the number of a request, from 0, and its body. With `api_key`, others are refused. `pages` are what
    it tells of itself, by path: `/version`, and whatever else a server of some kind has beside `/v1`.
    """

    def __init__(
        self,
        *,
        brain: ChatModel | None = None,
        behave: Behave = lambda _number, _body: Answer(),
        api_key: str | None = None,
        pages: Mapping[str, Json] = OWN_PAGES,
        port: int = 0,
    ) -> None:
        self._brain = brain or FakeChat()
        self._behave = behave
        self._api_key = api_key
        self._pages = pages
        self._port = port
        self._asked: list[Asked] = []
        app = Starlette(
            routes=[
                Route("/v1/models", self._tell_models),
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/{page}", self._tell_page),
            ]
        )
        self._server = QuickServer(
            uvicorn.Config(
                app, loop="asyncio", http="h11", ws="none", lifespan="off",
                log_config=None, access_log=False, proxy_headers=False,
            )
        )  # fmt: skip
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "FakeServer":
        self._thread = threading.Thread(target=self.serve, args=(self.bind(),), name="fake-server", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def asked(self) -> Sequence[Asked]:
        """All requests for chats so far."""
        return tuple(self._asked)

    @property
    def connected(self) -> int:
        """How many connections are open."""
        return len(self._server.connections())

    def bind(self) -> socket.socket:
        """Take the port: from now on clients may connect, and wait until `serve` is given the socket."""
        # The protocol is named, for only then asyncio sets TCP_NODELAY; each reply would take 40 ms without.
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", self._port))
            listening.listen(1024)
        except OSError:
            listening.close()
            raise
        self._port = listening.getsockname()[1]
        return listening

    def serve(self, listening: socket.socket) -> None:
        """Answer until `stop`, or until a signal where this is the main thread."""
        self._server.run(sockets=[listening])

    def stop(self) -> None:
        """Drop all connections and end; a second time does nothing."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()

    async def _tell_page(self, request: Request) -> Response:
        page = self._pages.get(request.url.path)
        return refuse(Status(404, error="Not Found")) if page is None else JSONResponse(page)

    async def _tell_models(self, request: Request) -> Response:
        if not self._lets_in(request):
            return refuse(Status(401, error="Unauthorized"))
        name = self._brain.identity.name
        card = {"id": name, "object": "model", "owned_by": "interlake", "root": name, "max_model_len": CONTEXT}
        return JSONResponse({"object": "list", "data": [card]})

    async def _complete(self, request: Request) -> Response:
        if not self._lets_in(request):
            return refuse(Status(401, error="Unauthorized"))
        try:
            body = json.loads(await request.body())
        except ClientDisconnect:
            return Response()
        except (ValueError, RecursionError):
            return refuse(Status(400, error="the body is not JSON"))
        try:
            parsed = read_request(body, self._brain)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return refuse(Status(400, error=f"not a request that this server understands: {error!r}"))
        if parsed.model != self._brain.identity.name:
            return refuse(Status(404, error=f"The model `{parsed.model}` does not exist."))
        number = len(self._asked)
        self._asked.append(
            Asked(
                key=canonical_sha256(body),
                body=body,
                key_sent=request.headers.get("authorization"),
                connection=request.client.port if request.client else 0,
                outcome="open",
            )
        )
        return Act(self, number, parsed, self._behave(number, body))

    def _lets_in(self, request: Request) -> bool:
        return self._api_key is None or request.headers.get("authorization") == f"Bearer {self._api_key}"

    def note(self, number: int, outcome: Outcome) -> None:
        """Write down how a request ended; the first word counts."""
        if self._asked[number].outcome == "open":
            self._asked[number] = replace(self._asked[number], outcome=outcome)

    async def think(self, request: ChatRequest) -> ChatReply:
        """What the model replies."""
        return await self._brain.chat(request)

    def hang_up(self, client: tuple[str, int] | None, *, flush: bool) -> None:
        """Close the connection to a client, after what was sent has gone out or at once."""
        for connection in self._server.connections():
            if connection.client == client:
                connection.transport.close() if flush else connection.transport.abort()


class QuickServer(uvicorn.Server):
    """A server that does not wait for its clients when it ends."""

    def connections(self) -> list[H11Protocol]:
        return [each for each in self.server_state.connections if isinstance(each, H11Protocol)]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in self.connections():
            connection.transport.abort()
        await super().shutdown(sockets)


class Act(Response):
    """A behaviour, played out on the connection that asked for it."""

    def __init__(self, server: FakeServer, number: int, request: ChatRequest, behaviour: Behaviour) -> None:
        super().__init__()
        self._server = server
        self._number = number
        self._request = request
        self._behaviour = behaviour

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left = asyncio.create_task(_wait_until_left(receive))
        try:
            outcome = await _unless(left, self._play(scope, receive, send))
            self._server.note(self._number, outcome or "left")
        finally:
            left.cancel()
            await asyncio.gather(left, return_exceptions=True)

    async def _play(self, scope: Scope, receive: Receive, send: Send) -> Outcome:
        """Do as the behaviour says; ends when all is sent, or never."""
        match self._behaviour:
            case Answer(after, fingerprint, headers):
                await asyncio.sleep(after)
                reply = await self._server.think(self._request)
                body = completion(self._request, reply, fingerprint)
                await JSONResponse(body, headers=headers)(scope, receive, send)
                return "answered"
            case Never():
                await asyncio.Event().wait()
            case Drop():
                await self._hang_up(scope, flush=False)
            case Half():
                whole = json.dumps(completion(self._request, await self._server.think(self._request))).encode()
                await _send_head(send, len(whole))
                await send({"type": "http.response.body", "body": whole[: len(whole) // 2], "more_body": True})
                await self._hang_up(scope, flush=True)
            case Huge(size, declared):
                await _send_head(send, size if declared else None)
                for _ in range(size // len(CHUNK)):
                    await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
                    await asyncio.sleep(0)
                await send({"type": "http.response.body", "body": CHUNK[: size % len(CHUNK)]})
            case behaviour:
                await say(behaviour, self._request)(scope, receive, send)
        return "spoilt"

    async def _hang_up(self, scope: Scope, *, flush: bool) -> None:
        """Close the connection, and wait to be told so: only then is the server quiet about it."""
        self._server.note(self._number, "spoilt")
        self._server.hang_up(scope["client"], flush=flush)
        await asyncio.Event().wait()


def read_request(body: Mapping[str, Json], brain: ChatModel) -> ChatRequest:
    """The request in a body, for the model behind the server; a built-in error for what is none."""
    form = cast(Mapping[str, Mapping[str, Json]], body.get("response_format") or {})
    repetition = body.get("repetition_penalty", body.get("repeat_penalty", 1.0))
    return ChatRequest(
        model=cast(str, body["model"]),
        revision=brain.identity.revision,
        messages=tuple(_read_message(each) for each in cast(Sequence[Mapping[str, Json]], body["messages"])),
        sampling=Sampling(
            temperature=_number(body.get("temperature", 1.0)),
            top_p=_number(body.get("top_p", 1.0)),
            top_k=max(int(_number(body.get("top_k", 0))), 0),
            min_p=_number(body.get("min_p", 0.0)),
            repeat_penalty=_number(repetition),
            max_tokens=int(_number(body["max_tokens"])),
        ),
        schema=form["json_schema"]["schema"] if form else None,
        seed=int(_number(body.get("seed", 0))),
        top_logprobs=int(_number(body["top_logprobs"])) if body.get("logprobs") else None,
    )


def main() -> None:
    """Serve until stopped; says where on its first line."""
    parser = argparse.ArgumentParser(prog="python -m models.fake_server", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that the model takes for a reply")
    parser.add_argument("--model", default="fake-chat", help="the name that it serves")
    options = parser.parse_args()
    server = FakeServer(brain=FakeChat(name=options.model, latency=options.latency), port=options.port)
    listening = server.bind()
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        server.serve(listening)


def _read_message(message: Mapping[str, Json]) -> Message:
    role, content = cast(Literal["system", "user", "assistant"], message["role"]), message["content"]
    if isinstance(content, str):
        return Message.of(role, content)
    return Message(role, tuple(_read_part(each) for each in cast(Sequence[Mapping[str, Json]], content)))


def _read_part(part: Mapping[str, Json]) -> Part:
    if part["type"] == "text":
        return TextPart(cast(str, part["text"]))
    url = cast(Mapping[str, str], part["image_url"])["url"]
    if not url.startswith(PNG_URL):
        raise ValueError(f"a picture is {PNG_URL}..., not {url[:40]}")
    return ImagePart(Picture.from_bytes(base64.b64decode(url.removeprefix(PNG_URL), validate=True)))


def _number(value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"not a number: {value!r}")
    return value


async def _send_head(send: Send, length: int | None) -> None:
    headers = [(b"content-type", b"application/json")]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _wait_until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _unless(left: asyncio.Task[None], work: Awaitable[T]) -> T | None:
    """What comes of `work`, or None when the client leaves before; the work is ended then."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({left, task}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


if __name__ == "__main__":
    main()
