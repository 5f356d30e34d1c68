"""With what a sample was compared when it was decided, and how near the nearest came, exactly, by the recorded vectors.

Nothing here asks the table of turns: who was kept then is in the history, the vectors are in the packages.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dedup.decide import Thresholds
from dedup.similarity import Vector, cosine
from storage.embeddings import all_vectors
from storage.errors import LakeDamaged
from storage.lake import Lake
from storage.query import query
from storage.records import EmbeddingRow
from storage.reviews import REVIEW
from storage.turn_rows import find_vectors

Record = Mapping[str, Any]

NEAR = 1e-9
"""How much nearer than another a turn may be by sums in float64 and still not be nearer exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """A kept turn, and its exact cosines to another turn."""

    sample_id: str
    turn: int
    image: float
    text: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedTurn:
    """A turn, and of those that it was compared with the one that came nearest to making it a duplicate, if any."""

    turn: int
    nearest: Nearest | None
    is_reached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What one decision about a sample rests on: `kept_turns` it was compared with, and the thresholds then in use."""

    decision_id: str
    version: int
    kind: str
    outcome: str
    encoder: str
    kept_turns: int
    thresholds: Thresholds
    turns: tuple[ComparedTurn, ...]


_COMPARED = """
WITH whole AS (
    SELECT sample_id, arg_max(outcome, (version, line)) FILTER (version < {at}) AS before,
        arg_max(outcome, (version, line)) AS after
    FROM decisions WHERE turn IS NULL AND version <= {at} GROUP BY sample_id
), flags AS (
    SELECT sample_id, turn, arg_max(outcome, (version, line)) FILTER (version < {at}) AS before,
        arg_max(outcome, (version, line)) AS after
    FROM decisions WHERE turn IS NOT NULL AND version <= {at} GROUP BY sample_id, turn
), completed AS (
    SELECT sample_id, max(version) AS completed FROM turns WHERE version <= {at} GROUP BY sample_id
), embedded AS (
    SELECT * EXCLUDE (version) FROM embeddings WHERE encoder = '{encoder}' AND version <= {at}
), placed AS (
    SELECT embedded.*, completed, whole.before = 'kept' AND flags.before IS DISTINCT FROM 'duplicate' AS was_keeper,
        whole.after = 'kept' AND flags.after IS DISTINCT FROM 'duplicate' AS is_keeper,
        whole.before IS DISTINCT FROM 'kept' AS is_newcomer
    FROM embedded JOIN whole USING (sample_id) JOIN completed USING (sample_id) LEFT JOIN flags USING (sample_id, turn)
)
SELECT sample_id, turn, encoder, image_vector_sha256, text_vector_sha256 FROM placed
WHERE sample_id = '{sample}' OR ({compared}) ORDER BY completed, sample_id, turn
"""
_AS_MADE = """
    (was_keeper OR (is_newcomer AND is_keeper AND sample_id < '{sample}'))
    AND sample_id NOT IN (SELECT claims.sample_id FROM claims WHERE slot_id = '{slot}' AND version <= {at})
"""
"""Kept turns of the version before, and of the same one those of smaller ids; not of samples whose place it takes."""
_IN_ORDER = """
    is_keeper AND (completed, sample_id) < (SELECT (completed, sample_id) FROM completed WHERE sample_id = '{sample}')
"""
"""Where all was decided anew, in the order in which the samples came."""
_POLICIES = """
SELECT recipes.selection FROM versions JOIN runs ON runs.run_id = versions.run_id
JOIN recipes ON recipes.recipe_id = runs.recipe_id WHERE versions.version = {at}
"""


def read_comparisons(
    lake: Lake, sample: Record, decisions: Sequence[Record], claims: Sequence[Record]
) -> Iterator[Comparison]:
    """One for each decision about the sample as a whole that rests on vectors and on no person's word, oldest first.

    `decisions` and `claims` are the sample's own rows. LakeDamaged when a vector is nowhere.
    """
    bench = _Bench(lake, sample)
    decided_at = 0
    for decision in decisions:
        if decision["turn"] is None:
            was_made = not decided_at or any(decided_at < claim["version"] < decision["version"] for claim in claims)
            decided_at = decision["version"]
            by_rule = decision["encoder"] and decision["kind"] != REVIEW
            if by_rule and decision["outcome"] in ("kept", "duplicate"):
                yield from bench.compare(decision, _AS_MADE if was_made else _IN_ORDER)


class _Bench:
    """Compares the turns of one sample with others; goes through the vectors of an encoder once."""

    def __init__(self, lake: Lake, sample: Record) -> None:
        self._lake, self._sample, self._version = lake, sample, lake.version()
        self._products: dict[str, pl.DataFrame] = {}

    def compare(self, decision: Record, compared: str) -> Iterator[Comparison]:
        """What a decision rests on; nothing where its run's thresholds are not recorded."""
        names = {"sample": self._sample["sample_id"], "slot": self._sample["slot_id"], "at": decision["version"]}
        names["encoder"] = decision["encoder"]
        selections = query(self._lake, _POLICIES.format(**names))
        if not selections.height:
            return
        thresholds = Thresholds(**json.loads(selections["selection"][0])["settings"]["duplicates"])
        found = query(self._lake, _COMPARED.format(compared=compared.format(**names), **names))
        is_own = pl.col("sample_id") == self._sample["sample_id"]
        own, others = found.filter(is_own), found.filter(~is_own)
        turns = [self._compare_turn(row, others, thresholds) for row in own.iter_rows(named=True)]
        yield Comparison(
            decision_id=decision["decision_id"],
            version=decision["version"],
            kind=decision["kind"],
            outcome=decision["outcome"],
            encoder=decision["encoder"],
            kept_turns=others.height,
            thresholds=thresholds,
            turns=tuple(sorted(turns, key=lambda turn: turn.turn)),
        )

    def _compare_turn(self, own: Record, others: pl.DataFrame, thresholds: Thresholds) -> ComparedTurn:
        nearest = self._nearest(EmbeddingRow(**own), others, thresholds) if others.height else None
        is_reached = nearest is not None and thresholds.are_reached(image=nearest.image, text=nearest.text)
        return ComparedTurn(turn=own["turn"], nearest=nearest, is_reached=is_reached)

    def _nearest(self, own: EmbeddingRow, others: pl.DataFrame, thresholds: Thresholds) -> Nearest:
        """The first of those that come nearest: sums in float64 say which it could be, exact cosines which it is."""
        products = self._products_with(own.encoder)
        near = others
        for kind in ("image", "text"):
            theirs = products.select(f"{kind}_vector_sha256", pl.col(f"{kind}_{own.turn}").alias(kind))
            near = near.join(theirs, on=f"{kind}_vector_sha256", how="left", maintain_order="left")
        if near["image"].null_count() or near["text"].null_count():
            raise LakeDamaged(f"vectors of encoder {own.encoder} are missing; 'interlake fsck' says which")
        close = near.with_columns(closeness=_closeness(thresholds))
        rows = close.filter(pl.col("closeness") >= pl.col("closeness").max() - NEAR).select(EmbeddingRow.columns())
        could_be = [EmbeddingRow(**row) for row in rows.iter_rows(named=True)]
        vectors = find_vectors(self._lake, self._version, [own, *could_be])
        return max((_measure(own, row, vectors) for row in could_be), key=lambda each: _exact(thresholds, each))

    def _products_with(self, encoder: str) -> pl.DataFrame:
        """Every vector of an encoder by hash, and its cosines with those of the sample, in float64.

        Columns are `image_vector_sha256` and `text_vector_sha256`, both the hash, and `image_TURN` and `text_TURN`.
        """
        if encoder not in self._products:
            own = self._own_vectors(encoder)
            columns = _directions(np.stack(list(own.values()))).T
            parts = [
                pl.DataFrame(_directions(rows) @ columns, schema=list(own)).with_columns(
                    image_vector_sha256=pl.Series(sha256s), text_vector_sha256=pl.Series(sha256s)
                )
                for sha256s, rows in all_vectors(self._lake, self._version, encoder)
            ]
            self._products[encoder] = pl.concat(parts).unique("image_vector_sha256")
        return self._products[encoder]

    def _own_vectors(self, encoder: str) -> dict[str, Vector]:
        """The sample's own vectors, under the names of their columns."""
        which = f"sample_id = '{self._sample['sample_id']}' AND encoder = '{encoder}'"
        found = query(self._lake, f"SELECT * EXCLUDE (version) FROM embeddings WHERE {which} ORDER BY turn")
        rows = [EmbeddingRow(**row) for row in found.iter_rows(named=True)]
        vectors = find_vectors(self._lake, self._version, rows)
        return {
            f"{kind}_{row.turn}": vectors[getattr(row, f"{kind}_vector_sha256"), encoder]
            for row in rows
            for kind in ("image", "text")
        }


def _directions(rows: Vector) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    unit: NDArray[np.float64] = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return unit


def _measure(own: EmbeddingRow, other: EmbeddingRow, vectors: Mapping[tuple[str, str], Vector]) -> Nearest:
    def of(kind: str) -> float:
        name = f"{kind}_vector_sha256"
        return cosine(vectors[getattr(own, name), own.encoder], vectors[getattr(other, name), other.encoder])

    return Nearest(sample_id=other.sample_id, turn=other.turn, image=of("image"), text=of("text"))


def _exact(thresholds: Thresholds, near: Nearest) -> float:
    """How far beyond the thresholds a turn is, by their policy; below zero it falls short of them."""
    image, text = near.image - thresholds.image, near.text - thresholds.text
    return {"both": min(image, text), "image": image, "text": text, "either": max(image, text)}[thresholds.policy]


def _closeness(thresholds: Thresholds) -> pl.Expr:
    """The same of the columns `image` and `text`."""
    image, text = pl.col("image") - thresholds.image, pl.col("text") - thresholds.text
    beyond = {
        "both": pl.min_horizontal(image, text),
        "image": image,
        "text": text,
        "either": pl.max_horizontal(image, text),
    }
    return beyond[thresholds.policy]
