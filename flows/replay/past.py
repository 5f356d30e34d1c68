"""A run as its start was written down: its settings, its models by role, its recipe."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from flows.replay.prefixes import find_by_prefix
from flows.settings import Settings
from models.identity import ModelIdentity
from storage.errors import LakeDamaged
from storage.lake import Lake
from storage.records import ModelRow, RecipeRow, RunStartRow
from storage.tables import Among
from storage.versions import Version


class NotReplayable(Exception):
    """Something that was recorded is more or other than this interlake can make again; the message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """A run that began; `version` is the one that says so. `roles` are the models as they told of themselves then."""

    start: RunStartRow
    version: int
    settings: Settings
    roles: Mapping[str, ModelIdentity]
    recipe: RecipeRow


class PastRuns:
    """The runs of a lake, each read once."""

    def __init__(self, lake: Lake, head: Version) -> None:
        self._lake = lake
        self._head = head
        starts = lake.scan(RunStartRow, head, ["run_id"]).collect()
        self._versions = dict(starts.iter_rows())
        self._read: dict[str, PastRun] = {}

    def named(self, prefix: str) -> str:
        """The id of the run whose id begins like this; NoSuchThing when there is none, or more than one."""
        return find_by_prefix(self._versions, prefix, what="run")

    def find(self, run_id: str | None) -> PastRun:
        """A run by its id; NotReplayable when no package tells of it, or its settings are none of this interlake."""
        if run_id is None or run_id not in self._versions:
            raise NotReplayable(f"no package says how run {run_id} began")
        if run_id not in self._read:
            self._read[run_id] = self._look_up(run_id)
        return self._read[run_id]

    def _look_up(self, run_id: str) -> PastRun:
        number = self._versions[run_id]
        began = self._head.until(number).since(number - 1)
        (start,) = self._lake.rows(RunStartRow, began, Among(column="run_id", values=[run_id]))
        recipes = self._lake.rows(RecipeRow, began, Among(column="recipe_id", values=[start.recipe_id]))
        recipe = next(recipes, None)
        if recipe is None:
            raise LakeDamaged(f"version {number} has run {run_id} without its recipe {start.recipe_id}")
        try:
            settings = Settings.model_validate_json(start.settings)
        except ValidationError as error:
            raise NotReplayable(f"the settings of run {run_id} are not as this interlake has them: {error}") from error
        roles = {row.role: _identity(row) for row in self._lake.rows(ModelRow, began)}
        return PastRun(start=start, version=number, settings=settings, roles=roles, recipe=recipe)


def _identity(row: ModelRow) -> ModelIdentity:
    """Who a model was; what it said of itself beyond that is no part of a replay."""
    return ModelIdentity(name=row.name, revision=row.revision, licence=row.licence, weights_sha256=row.weights_sha256)
