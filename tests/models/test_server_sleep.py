"""Servers are told to sleep and to wake; those that cannot, and those that are not there, are told apart."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from models.errors import NobodyThere, TerminalError, TransientError
from models.server_sleep import ServerSleeper


@contextmanager
def served(status: int, heard: list[str]) -> Iterator[str]:
    """A server that answers every order with this status; its address."""

    class Pages(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(f"{self.path} {self.headers.get('authorization')}")
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_all_replicas_are_told_beside_their_api_and_with_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    heard: list[str] = []
    with served(200, heard) as one, served(200, heard) as other:
        sleeper = ServerSleeper((one, other), "key")
        asyncio.run(sleeper.sleep())
        asyncio.run(sleeper.wake())
    assert heard == ["/sleep?level=1 Bearer key"] * 2 + ["/wake_up Bearer key"] * 2


def test_one_that_knows_no_such_page_was_started_wrongly() -> None:
    heard: list[str] = []
    with served(404, heard) as url, pytest.raises(TerminalError, match="--enable-sleep-mode"):
        asyncio.run(ServerSleeper((url,), None).sleep())
    assert heard == ["/sleep?level=1 None"]


def test_one_that_fails_or_is_gone_may_come_back() -> None:
    with served(500, []) as url, pytest.raises(TransientError, match="answered 500"):
        asyncio.run(ServerSleeper((url,), None).wake())
    with pytest.raises(NobodyThere, match="refuses connections"):
        asyncio.run(ServerSleeper((url,), None).wake())
