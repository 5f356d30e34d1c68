"""One Prefect server for all tests that run flows."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """A real server over an empty database, used by flows in this process; its address for other processes.

    Takes 10 to 25 seconds, once a test run: only for tests that run a flow or a task.
    """
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield str(PREFECT_API_URL.value())
