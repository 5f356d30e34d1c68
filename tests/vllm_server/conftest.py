"""Two servers for all tests of this folder, started once, side by side; their logs stand beside a test that fails."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack

import pytest

from tests.vllm_server.servers import CHAT, VIEWER, VllmServer, ended

SERVERS = pytest.StashKey[list[VllmServer]]()


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[VllmServer]]:
    """A chat and a vision server, both up."""
    folder = tmp_path_factory.mktemp("servers")
    both = [VllmServer(served=served, log=folder / f"{served.name}.log") for served in (CHAT, VIEWER)]
    pytestconfig.stash[SERVERS] = both
    with ExitStack() as exits:
        exits.enter_context(ended(*both))
        for server in both:
            server.start()
        for server in both:
            server.wait_until_healthy()
        yield both


@pytest.fixture(scope="session")
def chat_server(servers: list[VllmServer]) -> VllmServer:
    """SmolLM2 in vLLM."""
    return servers[0]


@pytest.fixture(scope="session")
def view_server(servers: list[VllmServer]) -> VllmServer:
    """A tiny vision model with random weights in vLLM."""
    return servers[1]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the servers said last beside a test that failed."""
    report = yield
    if report.failed:
        for server in item.config.stash.get(SERVERS, []):
            report.sections.append((f"log of {server.served.name}", server.last_words()))
    return report
