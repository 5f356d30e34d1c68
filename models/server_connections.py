"""Connections kept to one server: a request goes out once, its response comes whole or not at all. Knows no chat."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import product

import httpx

from models.errors import ContentError, TransientError
from models.identity import Json
from models.secret import SecretFilter
from models.server_wire import Response, Server, ServerLate

LARGEST_BODY = 8 * 1024 * 1024
CONNECT_SECONDS = 5.0
TALKATIVE = ("httpx", "httpcore.connection", "httpcore.http11")  # loggers that may tell what a server said
KEPT_SECONDS = 3.0  # an idle connection is closed before the server (vLLM: after 5) closes it under a request


class Connections:
    """As many connections to a server as are needed at a time, used again while they are good.

    Each is a client of its own: httpcore 1.0.9 can lose sight of a connection whose request was cancelled, which then
    stays open and fills its pool; closing the whole client is what surely ends it.
    """

    def __init__(self, server: Server, context: ssl.SSLContext) -> None:
        self._server = server
        self._context = context
        self._clients: set[httpx.AsyncClient] = set()
        self._idle: list[httpx.AsyncClient] = []
        self._filters = [SecretFilter(server.secret)] if server.secret is not None else []
        for name, quiet in product(TALKATIVE, self._filters):
            logging.getLogger(name).addFilter(quiet)

    @property
    def server(self) -> Server:
        return self._server

    @property
    def kept(self) -> int:
        """How many connections wait to be used again."""
        return len(self._idle)

    @property
    def busy(self) -> int:
        """How many connections are in use."""
        return len(self._clients) - len(self._idle)

    async def send(self, method: str, url: str, *, seconds: float, body: Mapping[str, Json] | None = None) -> Response:
        """The response, of whatever status, that came whole within `seconds`.

        ServerLate when none did, TransientError when the server cannot be reached or breaks off, ContentError as soon
        as the body is known to exceed LARGEST_BODY. After each of them, and when cancelled, the connection is closed.
        """
        try:
            async with asyncio.timeout(seconds), self._client() as client, client.stream(method, url, json=body) as it:
                return await _read_whole(it)
        except TimeoutError as error:
            raise ServerLate(f"{self._server.url} sent no whole reply within {seconds:g} s") from error
        except httpx.TransportError as error:
            cause = error
        # Out of the handler, or the cause would come along where it must not be shown.
        why = self._server.quote(cause) or type(cause).__name__
        secret = self._server.secret
        shown = None if secret is not None and secret.is_in(str(cause)) else cause
        raise TransientError(f"{self._server.url} cannot be reached, or broke off: {why}") from shown

    async def close(self) -> None:
        """Close all connections; requests that still run break off."""
        for client in tuple(self._clients):
            await self._discard(client)
        self._idle.clear()
        for name, quiet in product(TALKATIVE, self._filters):
            logging.getLogger(name).removeFilter(quiet)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client that nobody uses; the one used last, so that few are kept warm."""
        client = self._idle.pop() if self._idle else self._add_client()
        try:
            yield client
        except BaseException:
            await self._discard(client)
            raise
        self._idle.append(client)

    def _add_client(self) -> httpx.AsyncClient:
        # Bodies come as they are: one that unpacks itself would not be bounded by its length.
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        if self._server.secret is not None:
            headers["authorization"] = f"Bearer {self._server.secret.value}"
        client = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=1, keepalive_expiry=KEPT_SECONDS),
            verify=self._context,
            follow_redirects=False,
            trust_env=False,
            http2=False,
        )
        self._clients.add(client)
        return client

    async def _discard(self, client: httpx.AsyncClient) -> None:
        self._clients.discard(client)
        await client.aclose()


async def _read_whole(stream: httpx.Response) -> Response:
    """The response with its body; ContentError as soon as that is known to be too large."""
    declared = stream.headers.get("content-length", "")
    size, chunks = int(declared) if declared.isdecimal() else 0, bytearray()
    if size <= LARGEST_BODY:
        async for chunk in stream.aiter_raw():
            chunks += chunk
            size = len(chunks)
            if size > LARGEST_BODY:
                break
    if size > LARGEST_BODY:
        raise ContentError("reply_too_large", f"the reply is larger than {LARGEST_BODY} bytes: ask for less at a time")
    return Response(status=stream.status_code, headers=stream.headers, body=bytes(chunks))
