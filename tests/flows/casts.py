"""Casts for tests: shipped stand-ins that are told what to do wrong, and lakes that are built with them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np

from flows.asked import BuildOptions
from flows.lakes import make_lake
from flows.maintaining import Maintained, open_maintenance
from flows.opening import open_build
from flows.run import Run
from flows.settings import Settings
from flows.soundness import check_soundness
from flows.studio import Cast
from flows.topics.catalogue import TopicEntry
from models.chat import ChatRequest
from models.drawing import DrawRequest
from models.embedding import Embedding, EmbedRequest
from models.fakes import FakeChat, FakeEncoder, FakePainter
from storage.lake import Lake
from storage.turns_index import INDEX_FROM


@dataclass(slots=True)
class Troupe:
    """A studio whose writer and painter may fail; `asked` holds the key of every chat and drawing asked for."""

    writer_fails: Callable[[ChatRequest], Exception | None] = lambda _: None
    painter_fails: Callable[[DrawRequest], Exception | None] = lambda _: None
    encoder: FakeEncoder = field(default_factory=FakeEncoder)
    latency: float = 0.0
    asked: list[str] = field(default_factory=list)

    def __call__(self, _: Settings) -> "Troupe":
        return self

    async def __aenter__(self) -> Cast:
        chat = FakeChat(failures=self._noted(self.writer_fails), latency=self.latency)
        painter = FakePainter(failures=self._noted_drawing)
        return Cast(writer=chat, critic=chat, painter=painter, viewer=FakeChat(), encoder=self.encoder)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def _noted(self, fails: Callable[[ChatRequest], Exception | None]) -> Callable[[ChatRequest], Exception | None]:
        def note(request: ChatRequest) -> Exception | None:
            self.asked.append(request.key())
            return fails(request)

        return note

    def _noted_drawing(self, request: DrawRequest) -> Exception | None:
        self.asked.append(request.key())
        return self.painter_fails(request)


class GradedEncoder(FakeEncoder):
    """Sees all subjects alike, some more and some less: cosines lie between about 0.2 and 0.98."""

    async def embed(self, request: EmbedRequest) -> Embedding:
        seen = await super().embed(request)
        subject = request.subject if isinstance(request.subject, str) else request.subject.sha256
        weight = (0.7, 1.5, 3.0, 6.0)[hashlib.sha256(subject.encode()).digest()[0] % 4]
        vector = seen.vector + weight * np.eye(1, self.dims, dtype=np.float32)[0]
        return Embedding(vector=(vector / np.linalg.norm(vector)).astype(np.float32))


def fake_lake(
    path: Path,
    *,
    seed: int = 1,
    settings: Mapping[str, str] | None = None,
    topics: Sequence[TopicEntry] | None = None,
) -> Lake:
    """A lake of the fake profile with small pictures; `settings` replaces lines of its interlake.toml."""
    lake = make_lake(path, profile="fake", seed=seed, topics=topics)
    file = path / "interlake.toml"
    text = file.read_text().replace("= 512", "= 64")
    for old, new in (settings or {}).items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    return lake


def assert_fsck_finds_nothing(lake: Lake) -> None:
    """All invariants hold, as `interlake fsck` knows them."""
    report = check_soundness(lake.path)
    assert report.is_sound, report


def grow(
    path: Path,
    options: BuildOptions,
    troupe: Callable[[Settings], AbstractAsyncContextManager[Cast]] | None = None,
) -> Run:
    """Build as the flow does, batch after batch, without Prefect; a budget that is used up ends it."""
    with open_build(path, options, studio=troupe or Troupe()) as run:
        for number in range(len(run.batches)):
            if not run.make(number):
                break
            run.commit(number)
    return run


def maintain(lake: Lake, *, days: float | None = None, index_from: int = INDEX_FROM) -> Maintained:
    """Maintain as the flow does, without Prefect; `days` is the retention, None keeps everything."""
    with open_maintenance(
        lake.path, least=1, retire_after_days=days, lock_timeout=20, index_from=index_from
    ) as maintenance:
        maintenance.lift_format()
        for number in range(len(maintenance.groups)):
            maintenance.compact(number)
        maintenance.retire()
        maintenance.optimize()
        maintenance.index()
        return maintenance.finish()
