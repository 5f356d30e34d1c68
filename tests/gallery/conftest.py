"""One small lake for all tests of the gallery, and the gallery over it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from flows.gallery.access import Access
from flows.gallery.app import make_app
from storage.lake import Lake
from tests.gallery.lakes import judged, make_lake

HERE = "http://127.0.0.1:4280"
Open = Callable[..., TestClient]


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake to be read, and copied by those who write."""
    return judged(make_lake(tmp_path_factory.mktemp("gallery") / "lake", topics=6, turns=2))


@pytest.fixture
def lake(shown: Lake, tmp_path: Path) -> Lake:
    """A lake of the test's own."""
    shutil.copytree(shown.path, tmp_path / "lake")
    return Lake.open(tmp_path / "lake")


def open_gallery(lake: Lake, access: Access | None = None, address: str = HERE) -> TestClient:
    """A browser of sorts at a gallery; it follows no redirect."""
    return TestClient(make_app(lake, access), base_url=address, follow_redirects=False)


@pytest.fixture(scope="session")
def gallery(shown: Lake) -> Iterator[TestClient]:
    """The gallery over the lake that is only read."""
    with open_gallery(shown) as client:
        yield client
