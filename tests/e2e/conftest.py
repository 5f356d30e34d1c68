"""One stack for all end-to-end tests, brought up and down by the commands that people use."""

from collections.abc import Iterator

import pytest

from tests.e2e.stacks import Stack, free_port


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A server, all deployments and a worker, in a folder of their own."""
    stack = Stack(state=tmp_path_factory.mktemp("stack") / "state", port=free_port())
    try:
        stack.command("up")
        yield stack
    finally:
        stack.command("down")
