"""A model hub on this machine: as much of the protocol as the real client speaks when it looks up and fetches."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

from models.errors import TerminalError

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(slots=True, kw_only=True)
class Repository:
    """What the hub holds under a name, at one commit. `gated` repositories show their card, but give no file."""

    commit: str
    files: Mapping[str, bytes]
    card: Mapping[str, object] = field(default_factory=dict)
    gated: bool = False


@dataclass(slots=True, kw_only=True)
class FakeHub:
    """A hub that is being served at `url`. `asked` are the methods and paths of all requests, in their order."""

    url: str
    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)


@contextmanager
def serve_hub(repositories: Mapping[str, Repository]) -> Iterator[FakeHub]:
    """A hub on a free port of 127.0.0.1, gone at the end."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Desk)
    server.daemon_threads = False
    hub = FakeHub(url=f"http://127.0.0.1:{server.server_port}", repositories=dict(repositories))
    server.hub = hub  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, name="fake hub")
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Desk(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    timeout = 5  # a client that keeps its connection must not keep the server

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named so by the standard library
        """Nothing: requests are in `asked`."""

    def _answer(self) -> None:
        hub: FakeHub = self.server.hub  # type: ignore[attr-defined]
        path = unquote(urlsplit(self.path).path).strip("/")
        hub.asked.append(f"{self.command} /{path}")
        hub.tokens.add(self.headers.get("Authorization", ""))
        parts = path.split("/")
        is_api = parts[:2] == ["api", "models"]
        name = "/".join(parts[2:4] if is_api else parts[:2])
        repository = hub.repositories.get(name)
        if repository is None:
            self._refuse(404, "RepoNotFound")
        elif len(parts) > 4 and parts[5 if is_api else 3] != repository.commit:
            self._refuse(404, "RevisionNotFound")
        elif is_api and parts[4:5] != ["tree"]:
            self._send_json(describe(name, repository))
        elif repository.gated:
            self._refuse(403, "GatedRepo")
        elif is_api:
            self._send_json([list_file(path, data) for path, data in repository.files.items()])
        elif parts[2] == "resolve" and "/".join(parts[4:]) in repository.files:
            data = repository.files["/".join(parts[4:])]
            self._send(data, {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": repository.commit})
        else:
            self._refuse(404, "EntryNotFound")

    def _refuse(self, status: int, code: str) -> None:
        self._send(b"", {"X-Error-Code": code, "X-Error-Message": code}, status)

    def _send_json(self, value: object) -> None:
        self._send(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, body: bytes, headers: Mapping[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def describe(name: str, repository: Repository) -> Mapping[str, object]:
    return {
        "id": name,
        "sha": repository.commit,
        "cardData": repository.card,
        "siblings": [{"rfilename": path} for path in repository.files],
        "gated": "manual" if repository.gated else False,
    }


def list_file(path: str, data: bytes) -> Mapping[str, object]:
    blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()
    return {"type": "file", "path": path, "size": len(data), "oid": blob}


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A user's machine that asks the hub at `url`, in a process of its own each time; the cache is in `home`.

    The real client reads where the hub is from the environment, once, when it is imported.
    """

    home: Path
    url: str

    def run(self, expression: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        program = (
            "import sys\nfrom models import hub\nfrom models.errors import TerminalError\n"
            f"try:\n    print({expression})\nexcept TerminalError as error:\n    sys.exit(f'TerminalError: {{error}}')"
        )
        settings = {"HF_ENDPOINT": self.url, "HF_HOME": str(self.home), "HOME": str(self.home), "NO_PROXY": "127.0.0.1"}
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            cwd=ROOT, env=settings | environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def ask(self, expression: str, **environment: str) -> str:
        """What is printed; TerminalError as it was raised over there."""
        done = self.run(expression, **environment)
        if done.stderr.startswith("TerminalError: "):
            raise TerminalError(done.stderr.removeprefix("TerminalError: ").strip())
        assert done.returncode == 0, done.stderr
        assert done.stderr == "", "the client is quiet"
        return done.stdout.strip()

    def fetch(self, repository: str = "owner/clip", revision: str = COMMIT, **environment: str) -> Path:
        return Path(self.ask(f"hub.fetch({repository!r}, {revision!r})", **environment))
