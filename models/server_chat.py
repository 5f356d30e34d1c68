"""Chat over HTTP with any server that speaks OpenAI's chat protocol: vLLM's, llama.cpp's, a hosted one.

A request is sent once, to one replica; who repeats it after a TransientError is whoever asked. What may come of it:

| what the server does | what the caller gets |
|---|---|
| refuses, resets or drops the connection; no such host | TransientError; the replica is set aside for a while |
| sends no whole reply within `timeout` (never, or drop by drop) | TransientError; the connection is closed; as above |
| 429 or 503 | TransientError with the `retry_after` that it wishes; it is given fewer requests |
| 408, or another 5xx | TransientError; the replica is set aside for a while |
| closes midway; 200 with what is no JSON or no chat reply; breaks its reply off | TransientError; as above |
| 401 or 403: refuses the key | TerminalError |
| 404: has no such path or model | TerminalError |
| 3xx: sends us elsewhere | TerminalError; nobody is told a prompt but whom the settings name |
| 400, 413, 422 for another reason than length | RefusedRequest (a TerminalError) with the beginning of its words |
| another 4xx | TerminalError with the beginning of the server's words |
| answers as another model, or lists no such model | TerminalError |
| 400: prompt and reply do not fit the context | ContentError `prompt_too_long` |
| a body of more than 8 MB, declared or not | ContentError `reply_too_large`; the connection is closed at that point |
| refuses (`refusal`, or finish_reason `content_filter`) | ContentError `refused` |
| replies without content | ContentError `empty_reply` |
| repeats the key in its reply | ContentError `secret_in_reply`; nothing of the reply is kept |
| blanks until `max_tokens`, JSON cut off or against the schema | a reply like any: whoever asked for it judges it |

Nothing but the addresses in the settings is ever contacted: proxies and keys of the environment are not looked at
(`trust_env` is off). A sampling parameter that the server does not know is an error, never dropped in silence.
"""

import asyncio
import re
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from urllib.parse import urlsplit

import certifi
import orjson

from models.chat import ChatReply, ChatRequest, ImagePart
from models.errors import ContentError, TerminalError, TransientError
from models.identity import ModelIdentity
from models.refusal import refuse_another_model
from models.secret import Secret
from models.server_connections import Connections
from models.server_facts import PAGES, plain_name, read_facts
from models.server_replicas import Limit, Replica, choose_replica, total_room, wished_rest
from models.server_wire import (
    Dialect,
    Response,
    ServedModel,
    Server,
    ServerBusy,
    ServerLate,
    read_models,
    read_refusal,
    read_reply,
    request_body,
)

LOOK_SECONDS = 10.0  # for the list of models, which no server has to think about
AS_SERVED = "as-served"
COMMIT = re.compile(r"[0-9a-f]{40}")
CLEAN_KEY = re.compile(r"[!#-\[\]-~]+")  # visible ASCII but quotes and backslashes, which JSON would write otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSource:
    """Which model the settings ask for, and where. ValueError for what cannot be."""

    model: str
    """As the server serves it."""
    revision: str
    """A commit of 40 hex digits, or `as-served` where nobody knows."""
    licence: str
    """An SPDX expression."""
    urls: tuple[str, ...]
    """Base addresses such as `http://127.0.0.1:8000/v1`; several are replicas that serve the same."""
    at_once: int
    """Requests that one replica is given at most at a time."""
    timeout: float
    """Seconds that a whole reply may take."""
    api_key: str | None = field(repr=False)
    """Sent as a bearer token, never recorded, logged or shown."""
    dialect: Dialect
    """Which sampling parameters the server knows."""

    def __post_init__(self) -> None:
        if self.revision != AS_SERVED and not COMMIT.fullmatch(self.revision):
            raise ValueError(f"revision must be a commit of 40 hex digits or {AS_SERVED}, not {self.revision!r}")
        if self.at_once < 1 or not self.timeout > 0:
            raise ValueError(f"at_once and timeout must be above 0, not {self.at_once} and {self.timeout}")
        if self.api_key is not None and not CLEAN_KEY.fullmatch(self.api_key):
            raise ValueError(
                "api_key is no key: it must be of visible ASCII characters without quotes; or leave it out"
            )
        if not self.urls or len({url.rstrip("/") for url in self.urls}) < len(self.urls):
            raise ValueError(f"urls must name one or more addresses, each once, not {len(self.urls)}")
        for url in self.urls:
            _refuse_odd(url)


@dataclass(slots=True, eq=False)
class Line:
    """One replica as the adapter sees it; `served` is None until it has told what it serves."""

    connections: Connections
    replica: Replica
    places: asyncio.Semaphore
    served: ServedModel | None = None
    told: Mapping[str, str] = field(default_factory=dict)

    @property
    def server(self) -> Server:
        return self.connections.server


class ServerChat:
    """A `ChatModel`. Use as an async context manager, or `open` and `close` it.

    `at_once` follows what the replicas in use bear, see `models.server_replicas`.
    """

    def __init__(self, source: ServerSource) -> None:
        self._source = source
        self._identity = _identify(source, ())
        self._lines: dict[Replica, Line] = {}

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    @property
    def at_once(self) -> int:
        return total_room(tuple(self._lines))

    async def __aenter__(self) -> "ServerChat":
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Ask every replica what it serves. One that is down is left for later.

        TerminalError when all are down, and when one refuses the key or does not serve the model.
        """
        context = ssl.create_default_context(cafile=certifi.where())
        lines = [_draw_line(self._source, url, context) for url in self._source.urls]
        self._lines = {line.replica: line for line in lines}
        try:
            troubles = await asyncio.gather(*map(self._try, self._lines.values()), return_exceptions=True)
            _refuse_unfit(self._source, troubles)
        except BaseException:
            await self.close()
            raise
        self._identity = _identify(self._source, self._lines.values())

    async def close(self) -> None:
        """Close all connections; after it, `open` may come again."""
        lines, self._lines = self._lines, {}
        for line in lines.values():
            await line.connections.close()

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The reply of one replica, asked once. Errors: see the table above."""
        refuse_another_model(request.model, request.revision, self._identity)
        body = await encode_request(request, self._source.dialect)
        assert self._lines, "open the chat before asking"
        rest = wished_rest(tuple(self._lines))
        if rest > 0:  # who else waits for them need not be told so by the servers, one after the other
            raise ServerBusy(f"{self._identity.name}: its servers want to be left alone", retry_after=rest)
        line = self._lines[choose_replica(tuple(self._lines))]
        replica = line.replica
        with replica.occupied():
            async with line.places:
                started = replica.clock()
                try:
                    reply = await self._ask(line, body, with_tokens=request.top_logprobs is not None)
                except ServerBusy as error:
                    replica.overloaded(started, error.retry_after or 0.0)
                    raise
                except ServerLate:
                    replica.hung(started)
                    raise
                except TransientError:
                    replica.failed(started)
                    raise
                except (ContentError, TerminalError):
                    replica.answered(started)
                    raise
                replica.answered(started)
                return reply

    async def _ask(self, line: Line, body: bytes, *, with_tokens: bool) -> ChatReply:
        served = line.served or await self._look(line)
        response = await self._fetch(line, "POST", f"{line.server.url}/chat/completions", self._source.timeout, body)
        return read_reply(response.body, names=served.names, server=line.server, with_tokens=with_tokens)

    async def _try(self, line: Line) -> None:
        """Ask a replica what it serves; it is set aside when it is down."""
        started = line.replica.clock()
        try:
            await self._look(line)
        except TransientError:
            line.replica.failed(started)
            raise

    async def _look(self, line: Line) -> ServedModel:
        """What a replica serves under the name of our model; TerminalError when it is nothing."""
        seconds = min(LOOK_SECONDS, self._source.timeout)
        try:
            response = await self._fetch(line, "GET", f"{line.server.url}/models", seconds)
        except ContentError as error:
            raise TerminalError(f"{line.server.url} gives no list of its models: {error}; mend urls") from error
        models = read_models(response.body, server=line.server)
        if self._source.model not in models:
            raise TerminalError(
                f"{line.server.url} serves {line.server.quote(', '.join(sorted(models)) or 'nothing')}, "
                f"not {self._source.model}: mend model or urls in the settings, or start the right one"
            )
        line.served = models[self._source.model]
        pages = await asyncio.gather(*(self._ask_about(line, page, seconds) for page in PAGES[self._source.dialect]))
        line.told = {name: fact for page in pages for name, fact in page.items()}
        return line.served

    async def _ask_about(self, line: Line, page: str, seconds: float) -> dict[str, str]:
        """What a page of the server tells of it; nothing where it has no such page."""
        url = line.server.url.removesuffix("/v1") + page
        try:
            return read_facts(page, (await self._fetch(line, "GET", url, seconds)).body, line.server)
        except (TransientError, TerminalError, ContentError):
            return {}

    async def _fetch(self, line: Line, method: str, url: str, seconds: float, body: bytes | None = None) -> Response:
        """A response of 2xx; the error that the table names otherwise."""
        response = await line.connections.send(method, url, seconds=seconds, body=body)
        if not 200 <= response.status < 300:
            raise read_refusal(response, now=datetime.now(UTC), server=line.server)
        return response


async def encode_request(request: ChatRequest, dialect: Dialect) -> bytes:
    """The body of a request; one with pictures is written in another thread, so that the loop is not held up."""

    def encode() -> bytes:
        return orjson.dumps(request_body(request, dialect))

    has_pictures = any(isinstance(part, ImagePart) for message in request.messages for part in message.parts)
    return await asyncio.to_thread(encode) if has_pictures else encode()


def _draw_line(source: ServerSource, url: str, context: ssl.SSLContext) -> Line:
    secret = Secret(source.api_key) if source.api_key is not None else None
    return Line(
        connections=Connections(Server(url=url.rstrip("/"), secret=secret), context),
        replica=Replica(limit=Limit(most=source.at_once), clock=time.monotonic),
        places=asyncio.Semaphore(source.at_once),
    )


def _refuse_unfit(source: ServerSource, troubles: Sequence[BaseException | None]) -> None:
    """Raise what stops us of the `troubles` that the replicas gave, one for each: any but being down, or all down."""
    for trouble in troubles:
        if trouble is not None and not isinstance(trouble, TransientError):
            raise trouble
    if all(troubles):
        raise TerminalError(
            f"{source.model} cannot be reached at {', '.join(source.urls)}: "
            f"start it, or mend urls ({'; '.join(map(str, troubles))})"
        )


def _identify(source: ServerSource, lines: Iterable[Line]) -> ModelIdentity:
    """The identity, with what the replicas tell of themselves; where they differ, all of it."""
    told: dict[str, list[str]] = {"dialect": [source.dialect], "at_once": [str(source.at_once)]}
    for line in lines:
        for name, fact in (*_listed_facts(line).items(), *line.told.items()):
            if fact not in told.setdefault(name, []):
                told[name].append(fact)
    return ModelIdentity(
        name=source.model,
        revision=source.revision,
        licence=source.licence,
        fingerprint={name: ", ".join(facts) for name, facts in told.items()},
    )


def _listed_facts(line: Line) -> dict[str, str]:
    """What the server's list of models tells of ours."""
    if line.served is None:
        return {}
    root, length = line.served.root, line.served.max_model_len
    facts = {"root": line.server.quote(plain_name(root)) if root else None, "max_model_len": length}
    return {name: str(fact) for name, fact in facts.items() if fact is not None}


def _refuse_odd(url: str) -> None:
    """ValueError for what is no plain address; one with a password in it is not shown."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ValueError(f"urls: not an address ({error})") from error
    if parts.username or parts.password:
        raise ValueError(f"urls: the address of {parts.hostname} holds a password: give it as api_key instead")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"urls: {url!r} is no address such as http://127.0.0.1:8000/v1")
