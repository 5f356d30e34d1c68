"""Keeps the tests apart from whoever runs them: their Prefect profile and server, their lake, usage reports."""

import os
import shutil
import tempfile

import pytest

HOME = pytest.StashKey[str]()
APART = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_LOGGING_LEVEL": "WARNING",
}


def pytest_configure(config: pytest.Config) -> None:
    """Before any test module is imported: Prefect reads its settings when it is."""
    for name in [name for name in os.environ if name.startswith(("PREFECT_", "INTERLAKE_"))]:
        del os.environ[name]
    config.stash[HOME] = tempfile.mkdtemp(prefix="interlake-tests-")
    os.environ.update(APART, PREFECT_HOME=config.stash[HOME])


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[HOME], ignore_errors=True)
