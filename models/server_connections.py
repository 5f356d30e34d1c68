"""Connections kept to one server: a request goes out once, its response comes whole or not at all. Knows no chat."""

import asyncio
import logging
import ssl
from itertools import product

import aiohttp

from models.errors import ContentError, TransientError
from models.secret import SecretFilter
from models.server_wire import Response, Server, ServerLate

LARGEST_BODY = 8 * 1024 * 1024
CONNECT_SECONDS = 5.0
TALKATIVE = ("aiohttp.client", "aiohttp.internal")  # loggers that may tell what a server said
KEPT_SECONDS = 3.0  # an idle connection is closed before the server (vLLM: after 5) closes it under a request


class Connections:
    """As many connections to a server as are needed at a time, used again while they are good. For one event loop."""

    def __init__(self, server: Server, context: ssl.SSLContext) -> None:
        self._server = server
        self._context = context
        self._session: aiohttp.ClientSession | None = None
        self._filters = [SecretFilter(server.secret)] if server.secret is not None else []
        for name, quiet in product(TALKATIVE, self._filters):
            logging.getLogger(name).addFilter(quiet)

    @property
    def server(self) -> Server:
        return self._server

    async def send(self, method: str, url: str, *, seconds: float, body: bytes | None = None) -> Response:
        """The response, of whatever status, that came whole within `seconds`; `body` is JSON.

        ServerLate when none did, TransientError when the server cannot be reached or breaks off, ContentError as soon
        as the body is known to exceed LARGEST_BODY. After each of them, and when cancelled, the connection is closed.
        """
        session = self._session = self._session or self._open_session()
        try:
            async with (
                asyncio.timeout(seconds),
                session.request(method, url, data=body, allow_redirects=False) as response,
            ):
                return await _read_whole(response)
        except aiohttp.ServerTimeoutError as error:  # it could not be reached, which is not being late
            cause: Exception = error
        except TimeoutError as error:
            raise ServerLate(f"{self._server.url} sent no whole reply within {seconds:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            cause = error
        # Out of the handler, or the cause would come along where it must not be shown.
        words = cause.message if isinstance(cause, aiohttp.ClientResponseError) else cause
        why = self._server.quote(words) or type(cause).__name__
        secret = self._server.secret
        shown = None if secret is not None and secret.is_in(repr(cause)) else cause
        raise TransientError(f"{self._server.url} cannot be reached, or broke off: {why}") from shown

    async def close(self) -> None:
        """Close all connections; requests that still run break off."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        for name, quiet in product(TALKATIVE, self._filters):
            logging.getLogger(name).removeFilter(quiet)

    def _open_session(self) -> aiohttp.ClientSession:
        # Bodies come as they are: one that unpacks itself would not be bounded by its length.
        headers = {"accept": "application/json", "accept-encoding": "identity", "content-type": "application/json"}
        if self._server.secret is not None:
            headers["authorization"] = f"Bearer {self._server.secret.value}"
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_SECONDS, ssl=self._context),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
            auto_decompress=False,
            trust_env=False,
        )


async def _read_whole(stream: aiohttp.ClientResponse) -> Response:
    """The response with its body; ContentError as soon as that is known to be too large."""
    size, chunks = stream.content_length or 0, bytearray()
    if size <= LARGEST_BODY:
        async for chunk in stream.content.iter_any():
            chunks += chunk
            size = len(chunks)
            if size > LARGEST_BODY:
                break
    if size > LARGEST_BODY:
        stream.close()
        raise ContentError("reply_too_large", f"the reply is larger than {LARGEST_BODY} bytes: ask for less at a time")
    headers = {name.lower(): value for name, value in stream.headers.items()}
    return Response(status=stream.status, headers=headers, body=bytes(chunks))
