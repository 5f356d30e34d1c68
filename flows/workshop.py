"""What a run works with, from its first look at the lake to its last commit."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.recipe import Recipe
from flows.recorder import model_id
from flows.settings import Settings
from models.identity import ModelIdentity
from storage.lake import Lake


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """A lake, who plays which role, and the recipe that they are used by, for one run."""

    lake: Lake
    settings: Settings
    roles: Mapping[str, ModelIdentity]
    recipe: Recipe
    run_id: str

    @property
    def folder(self) -> Path:
        """Where the run keeps its lock, progress and spools while it needs them."""
        return self.lake.runs / self.run_id

    @property
    def encoder(self) -> str:
        """The model id of the encoder, under which its vectors stand in the lake."""
        return model_id(self.roles["encoder"])

    @property
    def lock_timeout(self) -> float:
        return self.settings.run.lock_timeout
