"""Other thresholds for a lake: what they would change, and one version that decides all samples by them.

Everything is in the packages, so what was dropped comes back, and no model is asked. The settings follow the version:
a process that is killed in between leaves a lake that was decided by thresholds which its settings do not name yet.
"""

import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dedup.decide import Decision, Policy, Thresholds
from flows.claim import died_rows, end_row, publish_if_free, start_row
from flows.decided_by import DecidedBy, is_named, read_decided_by, thresholds_of, thresholds_words
from flows.deciding import Ruling
from flows.engine import Engine
from flows.errors import UserError
from flows.opening import open_lake
from flows.recipe import model_rows, write_selection
from flows.recorder import model_id
from flows.redeciding import RETHRESHOLD, DecidedAnew, decide_anew
from flows.reembedding import LOCK
from flows.settings import FILE, DuplicateSettings, Settings
from flows.settings_file import change_settings
from flows.shifts import Shifts, find_shifts
from flows.studio import Studio
from flows.workshop import Workshop
from storage.embeddings import Standing, read_standing
from storage.lake import Lake
from storage.lock import hold
from storage.packages import PackageDraft
from storage.versions import Version
from storage.writing import Writer, writing

SHOWN = 5
"""Examples of each kind of change."""
COLUMNS = ("what", "before", "come", "go", "after")


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedThresholds:
    """Thresholds that a user asks for; None is as the lake's settings say."""

    image: float | None = None
    text: float | None = None
    policy: Policy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rethresholded:
    """What other thresholds come to. `decided_by` are those of the latest decisions, newest first.

    `version` is the one that decided by `thresholds`, None where there is none; `settings` are those that
    interlake.toml named before, and `settings_are_written` tells whether it names `thresholds` now.
    """

    version: int | None
    encoder: str | None
    decided_by: tuple[Thresholds, ...]
    settings: Thresholds
    thresholds: Thresholds
    settings_are_written: bool
    kept_before: int
    kept: int
    duplicate_before: int
    duplicate: int
    flagged_before: int
    flagged: int
    shifts: Shifts

    @property
    def is_due(self) -> bool:
        """Whether the latest decisions rest on other thresholds, so that it takes a version."""
        return bool(self.decided_by) and self.decided_by != (self.thresholds,)

    def line(self) -> str:
        """The thresholds and the version in one line."""
        version = f"decided as version {self.version}" if self.version else "no version was needed"
        return f"{thresholds_words(self.thresholds)}: {version}"

    def json(self) -> dict[str, Any]:
        return asdict(self) | {"is_due": self.is_due}

    def table(self) -> list[dict[str, str | int]]:
        """Samples kept, samples dropped, turns flagged: how many before, how many came and went, how many now."""
        back, gone, flagged, freed = (getattr(self.shifts, name).count for name in ("back", "gone", "flagged", "freed"))
        rows = (
            ("samples kept", self.kept_before, back, gone, self.kept),
            ("samples dropped", self.duplicate_before, gone, back, self.duplicate),
            ("turns flagged", self.flagged_before, flagged, freed, self.flagged),
        )
        return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """A lake with the settings that are asked for, and what comes of them; `decided` where a version is due."""

    lake: Lake
    settings: Settings
    found: DecidedBy | None
    outlook: Rethresholded
    decided: DecidedAnew | None


def check_thresholds(path: Path, asked: AskedThresholds) -> None:
    """UserError for what is no threshold; NotALake, SettingsError."""
    _, settings = open_lake(path)
    _chosen(settings.selection.duplicates, asked)


def preview_rethreshold(path: Path, asked: AskedThresholds, *, shown: int = SHOWN) -> Rethresholded:
    """What other thresholds would change; writes nothing.

    NotALake, SettingsError; UserError for what is no threshold, and where the settings name another encoder.
    """
    lake, settings = open_lake(path)
    return _try(lake, lake.version(), settings, asked, shown).outlook


def rethreshold(
    path: Path,
    asked: AskedThresholds,
    *,
    lock_timeout: float | None = None,
    flow_run_id: str | None = None,
    shown: int = SHOWN,
) -> Rethresholded:
    """Decide all samples by other thresholds, as one version, and put them into the settings.

    Errors as for `preview_rethreshold`, and LakeBusy; then nothing has changed. A UserError that names a version tells
    of settings that could not be written after it.
    """
    with hold(Lake.open(path).path / LOCK, purpose="deciding the lake by other thresholds", timeout=0):
        lake, settings = open_lake(path, lock_timeout=lock_timeout)
        with writing(lake, purpose="other thresholds", timeout=settings.run.lock_timeout) as writer:
            trial = _try(lake, writer.head, settings, asked, shown)
            done = _commit(writer, trial, flow_run_id)
            return _write_settings(path / FILE, done)


def _try(lake: Lake, head: Version, settings: Settings, asked: AskedThresholds, shown: int) -> _Trial:
    duplicates = _chosen(settings.selection.duplicates, asked)
    before, after = thresholds_of(settings.selection.duplicates), thresholds_of(duplicates)
    standing = read_standing(lake, head)
    found = read_decided_by(lake, head, standing)
    if found:
        _refuse_another_encoder(lake, found, settings)
    decided = None
    if found and found.thresholds != (after,):
        decided = decide_anew(lake, head, _ruling(head.number + 1, found, duplicates))
    decision = decided.decision if decided else _as_it_stands(standing)
    flagged_before = sum(sample_id in standing.kept for sample_id, _ in standing.flagged)
    outlook = Rethresholded(
        version=None,
        encoder=found.encoder.name if found else None,
        decided_by=found.thresholds if found else (),
        settings=before,
        thresholds=after,
        settings_are_written=before == after,
        kept_before=sum(standing.kept.values()),
        kept=len(decision.kept_samples),
        duplicate_before=len(standing.kept) - sum(standing.kept.values()),
        duplicate=len(decision.dropped_samples),
        flagged_before=flagged_before,
        flagged=len(decision.duplicates) if decided else flagged_before,
        shifts=find_shifts(lake, head, standing, decision, shown=shown) if decided else Shifts(),
    )
    selection = settings.selection.model_copy(update={"duplicates": duplicates})
    chosen = settings.model_copy(update={"selection": selection})
    return _Trial(lake=lake, settings=chosen, found=found, outlook=outlook, decided=decided)


def _as_it_stands(standing: Standing) -> Decision:
    """Who is kept and who is not, as was decided."""
    return Decision(
        kept_samples=tuple(sample_id for sample_id, is_kept in standing.kept.items() if is_kept),
        dropped_samples=tuple(sample_id for sample_id, is_kept in standing.kept.items() if not is_kept),
    )


def _ruling(version: int, found: DecidedBy, duplicates: DuplicateSettings) -> Ruling:
    return Ruling(kind=RETHRESHOLD, version=version, encoder=found.encoder_id, duplicates=duplicates)


def _chosen(settings: DuplicateSettings, asked: AskedThresholds) -> DuplicateSettings:
    """The settings with what is asked for; UserError for what is no threshold."""
    given = {"image": asked.image, "text": asked.text, "policy": asked.policy}
    values = settings.model_dump() | {name: value for name, value in given.items() if value is not None}
    try:
        return DuplicateSettings.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        what = "policy is one of both, image, text, either" if problem["loc"][0] == "policy" else "it lies in [0, 1]"
        raise UserError(f"{problem['loc'][0]} threshold {problem['input']!r} cannot be used: {what}") from error


def _refuse_another_encoder(lake: Lake, found: DecidedBy, settings: Settings) -> None:
    """UserError where the settings name another encoder than the one that decided; asked itself only where in doubt."""
    if is_named(found, settings.selection.encoder):
        return
    with Engine() as engine:
        models = Studio(settings)
        try:
            identity = engine.submit(models.encoder()).result().identity
        finally:
            engine.submit(models.close()).result()
    if model_id(identity) != found.encoder_id:
        raise UserError(
            f"{lake.path} was decided by vectors of the encoder {found.encoder.name}, the setting 'selection.encoder' "
            f"names {identity.name}, and thresholds belong to an encoder: put the setting back, or move the lake with "
            "'interlake reembed' first"
        )


def _commit(writer: Writer, trial: _Trial, flow_run_id: str | None) -> Rethresholded:
    """One version with the whole run, if one is due: its start, its decisions, its end."""
    if trial.decided is None or trial.found is None:
        return trial.outlook
    lake, roles = trial.lake, {"encoder": trial.found.encoder}
    shop = Workshop(
        lake=lake,
        settings=trial.settings,
        roles=roles,
        recipe=write_selection(trial.settings, trial.found.encoder),
        run_id=uuid.uuid4().hex,
    )
    start = start_row(shop, kind=RETHRESHOLD, planned=0, topics=0, flow_run_id=flow_run_id)
    rows = [start, shop.recipe.row(), *model_rows(roles), *died_rows(lake, writer.head)]
    drafts = [
        PackageDraft("run", [*rows, end_row(shop.run_id, "finished")]),
        PackageDraft("decision", trial.decided.rows),
    ]
    version = writer.commit(drafts, run_id=shop.run_id)
    publish_if_free(lake, version)
    return replace(trial.outlook, version=version.number)


def _write_settings(file: Path, done: Rethresholded) -> Rethresholded:
    """Have interlake.toml name the thresholds, so that the next build decides by them; all else in it stays."""
    if done.settings_are_written:
        return done
    before = asdict(done.settings)
    changed = {name: value for name, value in asdict(done.thresholds).items() if value != before[name]}
    try:
        change_settings(file, {"selection.duplicates": changed})
    except (UserError, OSError) as error:
        if done.version is None:
            raise
        raise UserError(
            f"version {done.version} decided by the new thresholds, and {file} names the old ones still ({error}); the "
            "same command again puts that right"
        ) from error
    return replace(done, settings_are_written=True)
