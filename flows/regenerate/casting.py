"""Which role a recorded call was for, and how its model is opened again: as then, where the lake's models are now."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from flows.errors import UserError
from flows.place_settings import LocalSettings
from flows.recorder import model_id
from flows.regenerate.asking import Model
from flows.regenerate.choosing import MeantModel
from flows.replay.past import NotReplayable, PastRun, PastRuns
from flows.settings import ServedChat, Settings
from flows.studio import Studio
from models.errors import ModelError
from models.identity import ModelIdentity
from storage.errors import LakeDamaged

WINDOW_SECONDS = 60.0
"""How long a model that answers in batches waits for the last member: long, for all of them are on their way."""


class NotThere(Exception):
    """A model that cannot be asked here, or is another one; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A role of a run, and who played it."""

    run: PastRun
    role: str
    identity: ModelIdentity


def find_part(runs: PastRuns, meant: MeantModel) -> Part:
    """A role that the model played in a run that asked it; NotThere when no run tells."""
    problem = "no run that asked it says which role it played"
    for run_id in dict.fromkeys(call.run_id for call in meant.calls()):
        try:
            run = runs.find(run_id)
        except (NotReplayable, LakeDamaged) as error:
            problem = str(error)
            continue
        for role, identity in run.roles.items():
            if model_id(identity) == meant.model_id:
                return Part(run=run, role=role, identity=identity)
    raise NotThere(problem)


@asynccontextmanager
async def opened(part: Part, present: Settings, studio: Callable[[Settings], Studio]) -> AsyncIterator[Model]:
    """The model, open for as long as the block lasts; NotThere when it cannot be opened, or is another one."""
    source = studio(settings_here(part.run.settings, present))
    try:
        model = await _open(source, part.role)
        now, then = model.identity, part.identity
        if (now.name, now.revision) != (then.name, then.revision):
            raise NotThere(
                f"the settings of run {part.run.start.run_id[:8]} open {now.name} {now.revision} here, "
                f"and {then.name} {then.revision} was asked"
            )
        yield model
    finally:
        await source.close()


async def _open(source: Studio, role: str) -> Model:
    ways = {
        "writer": source.writer,
        "critic": source.critic,
        "painter": source.painter,
        "viewer": source.viewer,
        "encoder": source.encoder,
    }
    try:
        model = await ways[role]()
    except (UserError, ModelError) as error:
        raise NotThere(str(error)) from error
    except Exception as error:  # whatever it is, other models can still be asked
        raise NotThere(f"it cannot be opened ({type(error).__name__}: {error})") from error
    assert model is not None, "a role that a run recorded has a model"
    return model


def settings_here(then: Settings, present: Settings) -> Settings:
    """The models of a run, where the lake's settings say that they are now; where these do not name them, as then.

    A model that answers in batches begins with batches of one, and then waits for whom it is told to.
    """
    chosen = {model.model for model in present.chosen().values()}
    servers = {name: place for name, place in then.servers.items() if name not in chosen}
    places = {name: place for name, place in then.local.items() if name not in chosen} | present.local
    loaded = {model.model for model in then.chosen().values() if not isinstance(model, ServedChat)}
    alone = {"batch": 1, "window": WINDOW_SECONDS}
    local = {name: places.get(name, LocalSettings()).model_copy(update=alone) for name in loaded}
    return then.model_copy(update={"servers": servers | present.servers, "local": local})
