"""Asking the models of a lake again what they were asked, model by model. Writes nothing into the lake."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polars as pl

from flows.engine import Engine
from flows.environment import describe_environment
from flows.regenerate.asking import Asking
from flows.regenerate.casting import NotThere, Part, find_part, opened
from flows.regenerate.choosing import MeantModel, RegenerateOptions, choose
from flows.regenerate.environments import OtherFact, differing_facts, environment_now, environment_then, grouped
from flows.regenerate.interview import Interview
from flows.regenerate.reading import CallReader
from flows.regenerate.report import RegeneratedModel, Regeneration, Tally, Verdict
from flows.replay.past import NotReplayable
from flows.settings import FILE, Settings, read_settings
from flows.studio import Studio
from models.identity import ModelIdentity
from storage.errors import LakeDamaged
from storage.records import ModelRow


class Regenerating:
    """A regeneration that goes from model to model, one open at a time; `models` are those to be asked.

    `at_once` is how many calls each is asked at a time, as many as it bears by default. A batch that was recorded is
    asked as a whole all the same.
    """

    def __init__(
        self,
        path: Path,
        options: RegenerateOptions,
        *,
        at_once: int | None = None,
        studio: Callable[[Settings], Studio] = Studio,
    ) -> None:
        """NotALake, SettingsError; NoSuchThing for what is not there; UserError when nothing is meant."""
        self._began = time.monotonic()
        self._present = read_settings(path / FILE)
        self._choice = choose(path, options)
        self._at_once = at_once
        self._studio = studio
        self._names = _names(self._choice.lake.scan(ModelRow, self._choice.head, ["model_id", "name", "revision"]))
        self._opened: dict[str, ModelIdentity] = {}
        self.models = self._choice.models

    def regenerate(self, meant: MeantModel) -> RegeneratedModel:
        """Ask one model again. What stands in the way of that makes its calls impossible."""
        problem = None
        try:
            part = find_part(self._choice.runs, meant)
            with Engine() as engine:
                tally = engine.submit(self._interview(part, meant)).result()
        except NotThere as error:
            tally, problem = _none_of(meant), str(error)
        name, revision = self._names.get(meant.model_id, (meant.model_id, ""))
        return RegeneratedModel(
            name=name,
            revision=revision,
            problem=problem,
            counts=tally.counts,
            outcomes=tuple(tally.outcomes),
        )

    def report(self, models: Sequence[RegeneratedModel]) -> Regeneration:
        """All that was asked again, put together, and what may explain that it drifted."""
        return Regeneration(
            path=str(self._choice.lake.path),
            version=self._choice.head.number,
            sha256=self._choice.lake.version(self._choice.head.number).sha256,
            models=tuple(models),
            environments=grouped(self._other_facts()),
            seconds=time.monotonic() - self._began,
        )

    async def _interview(self, part: Part, meant: MeantModel) -> Tally:
        async with opened(part, self._present, self._studio) as model:
            self._opened[meant.model_id] = model.identity
            asking = Asking(model, at_once=self._at_once, patience=self._present.run.patience)
            return await Interview(CallReader(self._choice.lake, self._choice.head), asking).hold(meant)

    def _other_facts(self) -> Iterator[tuple[str, tuple[OtherFact, ...]]]:
        """By run what it computed with that is not here now; of models, those that were asked again."""
        now = describe_environment()
        for run_id, model_ids in self._asked_by_run().items():
            asked = {model_id: self._opened[model_id] for model_id in sorted(model_ids)}
            try:
                run = self._choice.runs.find(run_id)
            except (NotReplayable, LakeDamaged):
                continue
            then = environment_then(self._choice.lake, self._choice.head, run, asked)
            yield run_id, differing_facts(then, environment_now(now, asked.values()))

    def _asked_by_run(self) -> dict[str, set[str]]:
        asked: dict[str, set[str]] = {}
        for meant in self.models:
            for call in meant.calls() if meant.model_id in self._opened else ():
                asked.setdefault(call.run_id, set()).add(meant.model_id)
        return asked


def _names(models: pl.LazyFrame) -> dict[str, tuple[str, str]]:
    return {row[0]: (row[1], row[2]) for row in models.unique("model_id").collect().iter_rows()}


def _none_of(meant: MeantModel) -> Tally:
    """All calls of a model that is not there."""
    tally = Tally()
    for call in meant.calls():
        impossible: Counter[Verdict] = tally.counts.setdefault(call.at.purpose, Counter())
        impossible["impossible"] += 1
    return tally


def regenerate_lake_at(
    path: Path,
    options: RegenerateOptions,
    *,
    at_once: int | None = None,
    studio: Callable[[Settings], Studio] = Studio,
) -> Regeneration:
    """Ask again all that is meant, and say what it came to."""
    regenerating = Regenerating(path, options, at_once=at_once, studio=studio)
    return regenerating.report([regenerating.regenerate(meant) for meant in regenerating.models])
