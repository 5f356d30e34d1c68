"""One stack for all end-to-end tests, brought up and down by the commands that people use."""

from collections.abc import Iterator

import pytest

from tests.e2e.stacks import Stack, free_port


@pytest.fixture(scope="session")
def down_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A folder and a port of their own; whatever comes to be there is ended."""
    stack = Stack(state=tmp_path_factory.mktemp("stack") / "state", port=free_port())
    try:
        yield stack
    finally:
        stack.command("down")


@pytest.fixture(scope="session")
def first_words(down_stack: Stack) -> str:
    """What `up` says where nothing is up: a server, all deployments and a worker are there after it."""
    return down_stack.command("up")


@pytest.fixture(scope="session")
def stack(down_stack: Stack, first_words: str) -> Stack:
    """A server, all deployments and a worker."""
    assert first_words
    return down_stack
