"""Lakes whose texts come from a server of the test's own, which takes its time and remembers what it was asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.settings import FILE
from models.fake_behaviour import Answer
from models.fake_server import FakeServer
from storage.lake import Lake
from tests.flows.casts import fake_lake

SERVED = """\
backend = "server"
model = "fake-chat"
revision = "as-served"
licence = "Apache-2.0"
"""
PLACE = """
[servers.fake-chat]
urls = ["{url}"]
at_once = 4
timeout = 60.0
"""


@contextmanager
def slow_writer(seconds: float) -> Iterator[FakeServer]:
    """A server on which each reply takes so long."""
    with FakeServer(behave=lambda _number, _body: Answer(after=seconds)) as server:
        yield server


def written_by(server: FakeServer, path: Path) -> Lake:
    """A lake of the fake profile whose writer is behind the server; two samples a batch, few rounds."""
    quick = {"question = 3": "question = 1", "answer = 3": "answer = 1", "image = 3": "image = 1"}
    lake = fake_lake(path, settings={**quick, "batch_size = 8": "batch_size = 2"})
    file = path / FILE
    head, there, tail = file.read_text().partition("[generation.writer]")
    file.write_text(head + there + tail.replace('backend = "fake"\n', SERVED, 1) + PLACE.format(url=server.url))
    return lake
