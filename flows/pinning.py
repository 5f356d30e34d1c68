"""Pinning: the settings get the commit at which each model of the hub stands today."""

from dataclasses import dataclass
from pathlib import Path

from flows.errors import UserError
from flows.settings import AS_SERVED, FILE, UNPINNED, ChosenModel, OpenClipSettings, Settings, read_settings
from flows.settings_file import change_settings
from models.errors import TerminalError
from models.hub import look_up
from storage.lake import Lake


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A model's table in the settings, its repository, and the commit and licence that it has now."""

    table: str
    repository: str
    revision: str
    licence: str | None


def pin_models(path: Path, *, again: bool) -> list[Pin]:
    """Look up each model that is not pinned yet, or every one that could be, and write what was found.

    NotALake, SettingsError; UserError when the hub cannot be asked or does not know a model; then nothing is written.
    """
    Lake.open(path)
    settings = read_settings(path / FILE)
    pins = [
        _look_up(table, model)
        for table, model in settings.chosen().items()
        if _has_repository(settings, model) and (model.revision == UNPINNED or again)
    ]
    if pins:
        change_settings(path / FILE, {pin.table: _values(pin, settings.chosen()[pin.table]) for pin in pins})
    return pins


def _has_repository(settings: Settings, model: ChosenModel) -> bool:
    """Whether a model is the hub's; a folder without a commit is known by its hash."""
    place = settings.local.get(model.model)
    return model.revision != AS_SERVED and not (place and place.folder and model.revision == UNPINNED)


def _look_up(table: str, model: ChosenModel) -> Pin:
    try:
        entry = look_up(repository_of(model))
    except TerminalError as error:
        raise UserError(f"[{table}] {model.model}: {error}") from error
    return Pin(table=table, repository=entry.repository, revision=entry.revision, licence=entry.licence)


def repository_of(model: ChosenModel) -> str:
    """The hub repository of a model; a pretrained tag of open_clip stands for one."""
    if isinstance(model, OpenClipSettings) and model.architecture and model.pretrained:
        from models.open_clip_encoder import repository_of_tag

        return repository_of_tag(model.architecture, model.pretrained)
    return model.model


def _values(pin: Pin, model: ChosenModel) -> dict[str, str]:
    values = {"revision": pin.revision}
    if pin.licence and not model.licence:
        values["licence"] = pin.licence
    return values
