"""A lake in which everything happened: repeats, failures, a retry, a stop, new recipes, topics, two moves, a rerun."""

import hashlib
from pathlib import Path

import numpy as np

from flows.asked import BuildOptions
from flows.lakes import add_topics
from flows.newcomers import Choices
from flows.rerunning.choosing import Choice
from flows.rerunning.opening import open_rerun
from models.chat import ChatRequest
from models.drawing import DrawRequest
from models.embedding import Embedding, EmbedRequest
from models.errors import ContentError, TerminalError
from models.fakes import FakeEncoder
from storage.lake import Lake
from tests.flows.casts import Troupe, fake_lake, grow
from tests.flows.test_reembed import OtherEncoder, move

FOUNDED, BUILT, FAILED, STOPPED, RESUMED, RETRIED, TOPICS, MOVED, BACK, AGAIN = 1, 4, 7, 9, 12, 15, 16, 20, 23, 27
"""The versions in which each event has ended."""

NEW_TOPICS = 25


class HalfBlindEncoder(FakeEncoder):
    """Sees the same in all pictures, and in about half of all captions."""

    async def embed(self, request: EmbedRequest) -> Embedding:
        seen = await super().embed(request)
        is_text = isinstance(request.subject, str)
        if is_text and hashlib.sha256(str(request.subject).encode()).digest()[0] % 2:
            return seen
        return Embedding(vector=np.eye(1, self.dims, dtype=np.float32)[0])


def make(path: Path) -> Lake:
    """Grow the lake, event by event."""
    lake = fake_lake(path)
    grow(path, _asked(3), _troupe())
    _fail(path)
    _stop(path)
    change_settings(path, "image = 3\n", "image = 1\n")
    grow(path, _asked(1), _troupe())
    grow(path, BuildOptions(new_topics=0, samples_per_topic=2, turns=2, retry_failed=True), _troupe())
    file = path.parent / "crafts.txt"
    file.write_text("".join(f"craft {number}\n" for number in range(NEW_TOPICS)))
    add_topics(path, file, Choices(domain="Crafts"))
    move(lake, OtherEncoder(alike=True))
    move(lake, FakeEncoder())
    change_settings(path, "answer = 3\n", "answer = 1\n")
    make_again(path, Choice(outcomes=("kept",)), _troupe())
    return lake


def make_again(path: Path, choice: Choice, troupe: Troupe) -> None:
    """Fill chosen slots by the present settings, and retire what gave way, as the flow does."""
    with open_rerun(path, choice, studio=troupe) as rerun:
        for number in range(len(rerun.run.batches)):
            rerun.run.make(number)
            rerun.run.commit(number)
        rerun.retire()


def change_settings(path: Path, old: str, new: str) -> None:
    """Replace a line of a lake's interlake.toml."""
    settings = path / "interlake.toml"
    assert old in settings.read_text()
    settings.write_text(settings.read_text().replace(old, new))


def _asked(topics: int) -> BuildOptions:
    return BuildOptions(new_topics=topics, samples_per_topic=2, turns=2)


def _troupe() -> Troupe:
    return Troupe(encoder=HalfBlindEncoder())


def _fail(path: Path) -> None:
    drawn: list[str] = []

    def fail_from_second(request: DrawRequest) -> Exception | None:
        drawn.append(request.key())
        return ContentError("blank_picture", "all one colour") if len(drawn) > 1 else None

    grow(path, _asked(1), Troupe(encoder=HalfBlindEncoder(), painter_fails=fail_from_second))


def _stop(path: Path) -> None:
    asked: list[str] = []

    def stop_soon(request: ChatRequest) -> Exception | None:
        asked.append(request.key())
        return TerminalError("the server went away") if len(asked) > 12 else None

    try:
        grow(path, _asked(1), Troupe(encoder=HalfBlindEncoder(), writer_fails=stop_soon))
    except TerminalError:
        return
    raise AssertionError("the run was to stop")
