"""The turns that were ever decided by their vectors: where each stands, and its vectors, in a file on the disk."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from dedup.decide import Thresholds
from dedup.nearness import Turns
from dedup.screen import Matrix
from flows.settings import FILE, read_settings
from storage.embeddings import Standing, all_vectors, read_standing
from storage.errors import LakeDamaged
from storage.lake import Lake
from storage.query import query
from storage.records import EmbeddingRow, SampleRow, TurnRow
from storage.versions import Version

STATES = ("kept", "flagged", "dropped")
"""Kept and compared with later ones; flagged as a repeat in a kept sample; of a sample that is dropped."""

_RULES = """
SELECT decisions.encoder, recipes.selection FROM decisions
JOIN versions ON versions.version = decisions.version JOIN runs ON runs.run_id = versions.run_id
JOIN recipes ON recipes.recipe_id = runs.recipe_id
WHERE decisions.encoder IS NOT NULL AND decisions.outcome IN ('kept', 'duplicate')
ORDER BY decisions.version DESC, decisions.line DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """By what turns were last decided: an encoder's id, None where nothing was decided yet, and thresholds."""

    encoder: str | None
    thresholds: Thresholds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecidedTurns:
    """Decided turns in their order, with sample_id, turn, state, image_sha256 a row each, and the same as vectors."""

    rows: pl.DataFrame
    turns: Turns

    def places(self) -> dict[tuple[str, int], int]:
        """The place of each turn by sample id and turn."""
        return {key: place for place, key in enumerate(self.rows.select("sample_id", "turn").iter_rows())}


def read_rules(lake: Lake, version: Version) -> Rules:
    """Those of the latest decision up to a version that rests on vectors; the settings where there is none."""
    found = query(lake, _RULES, at=version.number)
    if not found.height:
        chosen = read_settings(lake.path / FILE).selection.duplicates
        return Rules(encoder=None, thresholds=Thresholds(image=chosen.image, text=chosen.text, policy=chosen.policy))
    encoder, selection = found.row(0)
    return Rules(encoder=encoder, thresholds=Thresholds(**json.loads(selection)["settings"]["duplicates"]))


@contextmanager
def decided_turns(lake: Lake, version: Version, encoder: str | None) -> Iterator[DecidedTurns]:
    """The turns of kept and of duplicate samples by one encoder, by version, sample id and turn.

    Their vectors are copied from the packages into a scratch file, which goes when this ends: they are gone through
    many times, and need not fit into memory. LakeDamaged when a vector is nowhere.
    """
    rows = _decided_rows(lake, version, encoder)
    with tempfile.TemporaryDirectory(prefix="interlake-") as folder:
        images, texts = _copy_vectors(lake, version, encoder, rows, Path(folder))
        turns = Turns(
            images=images,
            texts=texts,
            groups=rows["slot_id"].rank("dense").cast(pl.Int64).to_numpy(),
            are_keepers=(rows["state"] == "kept").to_numpy(),
        )
        yield DecidedTurns(rows=rows, turns=turns)


def _decided_rows(lake: Lake, version: Version, encoder: str | None) -> pl.DataFrame:
    standing = read_standing(lake, version)
    turns = lake.scan(TurnRow, version, ["sample_id", "turn", "image_sha256"]).rename({"version": "completed"})
    slots = lake.scan(SampleRow, version, ["sample_id", "slot_id"]).select("sample_id", "slot_id")
    return (
        lake.scan(EmbeddingRow, version)
        .drop("version")
        .filter(pl.col("encoder") == (encoder or ""))
        .unique(["sample_id", "turn"], keep="last")
        .join(_states(standing).lazy(), on="sample_id")
        .join(slots.unique("sample_id"), on="sample_id")
        .join(turns.unique(["sample_id", "turn"], keep="last"), on=["sample_id", "turn"])
        .with_columns(completed=pl.col("completed").max().over("sample_id"))
        .join(_flags(standing).lazy(), on=["sample_id", "turn"], how="left")
        .with_columns(
            state=pl.when(~pl.col("is_kept"))
            .then(pl.lit("dropped"))
            .when(pl.col("flagged"))
            .then(pl.lit("flagged"))
            .otherwise(pl.lit("kept"))
        )
        .sort("completed", "sample_id", "turn")
        .collect()
    )


def _states(standing: Standing) -> pl.DataFrame:
    columns = {"sample_id": list(standing.kept), "is_kept": list(standing.kept.values())}
    return pl.DataFrame(columns, schema={"sample_id": pl.String, "is_kept": pl.Boolean})


def _flags(standing: Standing) -> pl.DataFrame:
    known = [(sample_id, turn, True) for sample_id, turn in sorted(standing.flagged)]
    schema = {"sample_id": pl.String, "turn": pl.Int64, "flagged": pl.Boolean}
    return pl.DataFrame(known, schema=schema, orient="row")


def _copy_vectors(
    lake: Lake, version: Version, encoder: str | None, rows: pl.DataFrame, folder: Path
) -> tuple[Matrix, Matrix]:
    """Vectors of pictures and of captions in the order of `rows`, float32 of shape (turns, dims), on the disk."""
    copied: dict[str, Matrix] = {}
    missing = {kind: np.ones(rows.height, dtype=np.bool_) for kind in ("image", "text")}
    wanted = {kind: _places_of(rows[f"{kind}_vector_sha256"]) for kind in missing}
    for sha256s, vectors in all_vectors(lake, version, encoder) if encoder and rows.height else ():
        for kind, places in wanted.items():
            if kind not in copied:
                shape = (rows.height, vectors.shape[1])
                copied[kind] = np.memmap(folder / kind, dtype=np.float32, mode="w+", shape=shape)
            for sha256, vector in zip(sha256s, vectors, strict=True):
                if sha256 in places:
                    copied[kind][places[sha256]] = vector
                    missing[kind][places[sha256]] = False
    lost = [rows[f"{kind}_vector_sha256"][int(np.argmax(each))] for kind, each in missing.items() if each.any()]
    if lost:
        raise LakeDamaged(f"no package has vector {lost[0]}; put the lake back from a copy")
    nothing = np.empty((0, 1), dtype=np.float32)
    return copied.get("image", nothing), copied.get("text", nothing)


def _places_of(sha256s: pl.Series) -> Mapping[str, list[int]]:
    """Where each vector belongs."""
    found: dict[str, list[int]] = {}
    for place, sha256 in enumerate(sha256s):
        found.setdefault(sha256, []).append(place)
    return found
