"""A judge of a lake's settings that is asked directly: nothing is recorded, and the lake stays as it is."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.engine import Engine
from flows.errors import UserError
from flows.judge.candidate import Candidate, Judge, Line, Verdict
from flows.judge.judging import JudgeSource
from flows.judge.seating import seat_judge
from flows.judge_settings import JudgeEntry
from flows.opening import open_lake
from flows.settings import FILE, Settings
from flows.studio import Studio
from models.chat import ChatModel, ChatReply, ChatRequest
from models.embedding import EmbedRequest, Encoder, Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLine:
    """A judge's line to its models, as many requests at a time as they bear; records nothing."""

    engine: Engine

    async def chat(self, model: ChatModel, request: ChatRequest, purpose: str) -> ChatReply:  # noqa: ARG002
        return await self.engine.ask(model, lambda: model.chat(request))

    async def embed(self, encoder: Encoder, request: EmbedRequest, purpose: str) -> Vector:  # noqa: ARG002
        return (await self.engine.ask(encoder, lambda: encoder.embed(request))).vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A candidate with the seed that it is judged by, over the judge's own line or `line`."""

    candidate: Candidate
    seed: int
    line: Line | None = None


class OpenedJudge:
    """A judge that is ready to be asked."""

    def __init__(self, judge: Judge, engine: Engine) -> None:
        self.judge = judge
        self._engine = engine
        self.line: Line = EngineLine(engine=engine)

    def decide(self, cases: Sequence[Case]) -> list[Verdict]:
        """A verdict for each case, all asked at once; errors of models other than unusable content pass through."""
        return self._engine.submit(self._decide(cases)).result() if cases else []

    async def _decide(self, cases: Sequence[Case]) -> list[Verdict]:
        judge = self.judge.judge
        asked = [judge(case.candidate, case.seed, case.line or self.line) for case in cases]
        return await asyncio.gather(*asked)


@contextmanager
def open_judge(
    path: Path, name: str | None, studio: Callable[[Settings], JudgeSource] = Studio
) -> Iterator[OpenedJudge]:
    """The judge of that name, or the only one. NotALake, SettingsError; UserError where there is no such judge."""
    _, settings = open_lake(path)
    number, entry = find_entry(settings, name, path)
    with ExitStack() as stack:
        engine = stack.enter_context(Engine())
        source = studio(settings)
        stack.callback(lambda: engine.submit(source.close()).result())
        model = engine.submit(source.judge(number)).result()
        yield OpenedJudge(seat_judge(entry, settings.judge, model), engine)


def find_entry(settings: Settings, name: str | None, path: Path) -> tuple[int, JudgeEntry]:
    """The place and the entry of a judge; UserError where there is no such one, or several and none is named."""
    entries = settings.judge.judges
    if not entries:
        raise UserError(f"{path} names no judge: add [[judge.judges]] with name and backend to its {FILE}")
    names = ", ".join(entry.name for entry in entries)
    if name is None and len(entries) > 1:
        raise UserError(f"{path} has several judges: choose one by --judge: {names}")
    for number, entry in enumerate(entries):
        if name in (None, entry.name):
            return number, entry
    raise UserError(f"{path} has no judge {name}: its settings name {names}")
