"""One Prefect server for all tests that run flows, and the command line as tests call it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.cli.main import main

Said = tuple[int, str, str]
Interlake = Callable[..., Said]


@pytest.fixture
def interlake(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Interlake:
    """Calls the command in this process; returns exit code, standard output and standard error."""

    def call(*words: str | int | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["interlake", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """A real server over an empty database, used by flows in this process; its address for other processes.

    Takes 10 to 25 seconds, once a test run: only for tests that run a flow or a task.
    """
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield str(PREFECT_API_URL.value())
