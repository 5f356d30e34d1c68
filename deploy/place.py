"""Where a stack lives: its folder, its port, its database, its secret, and the environment of what it starts."""

import fcntl
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import StackError
from deploy.processes import MARK

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
PORT = 4200
HEARTBEAT_SECONDS = 30
_DATABASE_NAMES = (
    "INTERLAKE_DATABASE_URL",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    "PREFECT_API_DATABASE_CONNECTION_URL",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One stack. `database` is none where the state folder holds it; `asked_port` what the caller asked for."""

    state: Path
    asked_port: int | None = None
    database: str | None = None

    @property
    def port(self) -> int:
        """The port asked for, else that of last time, else 4200."""
        return self.asked_port or self.last_port or PORT

    @property
    def last_port(self) -> int | None:
        text = _read(self.state / "port")
        return int(text) if text and text.isdigit() else None

    @property
    def page(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def api(self) -> str:
        return f"{self.page}/api"

    @property
    def secret_file(self) -> Path:
        return self.state / "auth"

    @property
    def secret(self) -> str:
        """`user:password`, as Prefect wants it."""
        return self.secret_file.read_text().strip()

    @property
    def mark(self) -> str | None:
        """What processes of this stack carry; none before its first start."""
        return _read(self.state / "mark")

    def pid_file(self, part: str) -> Path:
        return self.state / f"{part}.pid"

    def log(self, part: str) -> Path:
        return self.state / f"{part}.log"

    def prepare(self) -> None:
        """Make the folder, for this user alone, the secret and the mark, once; write down the port."""
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.state.chmod(0o700)
        _write_once(self.secret_file, f"interlake:{secrets.token_urlsafe(24)}")
        _write_once(self.state / "mark", secrets.token_hex(16))
        (self.state / "port").write_text(str(self.port))
        login = self.state / "env"
        login.touch(mode=0o600)
        login.write_text(f"export PREFECT_API_URL='{self.api}'\nexport PREFECT_API_AUTH_STRING='{self.secret}'\n")

    def environment(self) -> dict[str, str]:
        """The environment of everything that the stack starts."""
        kept = {name: value for name, value in os.environ.items() if name not in {*_DATABASE_NAMES, "PREFECT_API_KEY"}}
        return {
            **kept,
            "DO_NOT_TRACK": "1",
            "PREFECT_HOME": str(self.state / "prefect"),
            "PREFECT_API_URL": self.api,
            "PREFECT_API_AUTH_STRING": self.secret,
            MARK: self.mark or "",
        }

    def server_environment(self) -> dict[str, str]:
        """What the server needs besides: its secret, its database, leases that outlive it."""
        database = self.database or f"sqlite+aiosqlite:///{self.state / 'prefect.db'}"
        return {
            **self.environment(),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_API_AUTH_STRING": self.secret,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
            # On a busy machine SQLite is locked for longer than the 10 seconds that Prefect waits.
            "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
            # Kept in memory, a slot taken before a restart would never be given back.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        }

    def worker_environment(self) -> dict[str, str]:
        """What the worker and the runs need besides: heartbeats as often as the automation looks for them."""
        return {**self.environment(), "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS)}

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Be the only one that brings this stack up or down. StackError."""
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.state / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StackError("Another make up or make down is at work here; wait for it.") from error
            yield


def find_place(environment: Mapping[str, str]) -> Place:
    """The stack that the environment describes. StackError."""
    if not sys.platform.startswith("linux"):
        raise StackError("The stack needs Linux; elsewhere, start Prefect's server and worker by hand (README).")
    asked = environment.get("INTERLAKE_PREFECT_PORT")
    if asked and not (asked.isdigit() and 0 < int(asked) < 65536):
        raise StackError(f"INTERLAKE_PREFECT_PORT is {asked!r}; it must be a number from 1 to 65535.")
    database = next((environment[name] for name in _DATABASE_NAMES if environment.get(name)), None)
    return Place(
        state=Path(environment.get("INTERLAKE_STATE") or ROOT / ".interlake").resolve(),
        asked_port=int(asked) if asked else None,
        database=database and _with_driver(database),
    )


def _with_driver(database: str) -> str:
    """A database's address as Prefect wants it. StackError."""
    scheme, there, rest = database.partition("://")
    if scheme in {"postgres", "postgresql", "postgresql+asyncpg"}:
        return f"postgresql+asyncpg://{rest}"
    if there and scheme == "sqlite+aiosqlite":
        return database
    raise StackError("The database's address must begin with postgresql:// or sqlite+aiosqlite://.")


def _write_once(file: Path, text: str) -> None:
    if not _read(file):
        file.touch(mode=0o600)
        file.chmod(0o600)
        file.write_text(text)


def _read(file: Path) -> str | None:
    try:
        return file.read_text().strip() or None
    except FileNotFoundError:
        return None
