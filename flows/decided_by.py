"""By what the samples of a lake were last decided: thresholds, and the encoder whose vectors were compared."""

import json
from dataclasses import dataclass

from dedup.decide import Thresholds
from flows.errors import UserError
from flows.settings import DuplicateSettings, EncoderSettings
from models.identity import ModelIdentity
from storage.canonical import Json
from storage.embeddings import Standing
from storage.errors import LakeDamaged
from storage.lake import Lake
from storage.projection import read_link
from storage.records import ModelRow, RecipeRow, RunStartRow
from storage.tables import Among
from storage.versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedBy:
    """`thresholds` are several where builds had other settings than those before them, the newest first.

    `encoder_settings` are those of the last run that decided: JSON of its table `selection.encoder`.
    """

    thresholds: tuple[Thresholds, ...]
    encoder: ModelIdentity
    encoder_id: str
    encoder_settings: Json


def thresholds_of(settings: DuplicateSettings) -> Thresholds:
    """The thresholds that settings name."""
    return Thresholds(image=settings.image, text=settings.text, policy=settings.policy)


def thresholds_words(thresholds: Thresholds) -> str:
    """Thresholds as a person reads them."""
    return f"pictures {thresholds.image:g}, captions {thresholds.text:g}, policy {thresholds.policy}"


def read_decided_by(lake: Lake, head: Version, standing: Standing) -> DecidedBy | None:
    """By what the latest decisions rest, None before there are any.

    UserError where they rest on vectors of several encoders, LakeDamaged where a run or its recipe is not told of.
    """
    if not standing.kept:
        return None
    if len(standing.encoders) != 1:
        raise UserError(
            f"{lake.path} has samples that were decided by {len(standing.encoders)} encoders, and thresholds belong to "
            "one: see 'interlake fsck'"
        )
    (encoder_id,) = standing.encoders
    runs = _runs(lake, head, standing)
    recipes = {
        row.recipe_id: row
        for row in lake.rows(
            RecipeRow, head, Among(column="recipe_id", values={start.recipe_id for start in runs.values()})
        )
    }
    thresholds = [_thresholds(runs[number], recipes) for number in sorted(runs, reverse=True)]
    return DecidedBy(
        thresholds=tuple(dict.fromkeys(thresholds)),
        encoder=_identity(lake, head, encoder_id),
        encoder_id=encoder_id,
        encoder_settings=json.loads(runs[max(runs)].settings)["selection"]["encoder"],
    )


def is_named(found: DecidedBy, settings: EncoderSettings) -> bool:
    """Whether settings name the encoder as those of the last run did; under what licence is of no weight."""
    recorded, named = found.encoder_settings, settings.model_dump(mode="json")
    assert isinstance(recorded, dict), "a run's settings are whole"
    return {**recorded, "licence": None} == {**named, "licence": None}


def _runs(lake: Lake, head: Version, standing: Standing) -> dict[int, RunStartRow]:
    """By version the run that decided in it."""
    names = {number: read_link(lake, number).run_id for number in standing.decided_at}
    among = Among(column="run_id", values={name for name in names.values() if name})
    starts = {row.run_id: row for row in lake.rows(RunStartRow, head, among)}
    for number, name in names.items():
        if name not in starts:
            raise LakeDamaged(f"nothing says how run {name} of version {number} began: see 'interlake fsck'")
    return {number: starts[name] for number, name in names.items() if name}


def _thresholds(start: RunStartRow, recipes: dict[str, RecipeRow]) -> Thresholds:
    try:
        return Thresholds(**json.loads(recipes[start.recipe_id].selection)["settings"]["duplicates"])
    except (KeyError, TypeError, ValueError) as error:
        raise LakeDamaged(f"nothing says by which thresholds run {start.run_id} decided") from error


def _identity(lake: Lake, head: Version, encoder_id: str) -> ModelIdentity:
    """The encoder as it last told of itself."""
    found: ModelRow | None = None
    for row in lake.rows(ModelRow, head, Among(column="model_id", values=[encoder_id])):
        found = row if row.role == "encoder" else found
    if found is None:
        raise LakeDamaged(f"nothing says who encoder {encoder_id} is: see 'interlake fsck'")
    return ModelIdentity(
        name=found.name,
        revision=found.revision,
        licence=found.licence,
        weights_sha256=found.weights_sha256,
        fingerprint=json.loads(found.fingerprint),
    )
