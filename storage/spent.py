"""What samples of one generation recipe took to make: calls, tokens and pictures by sample, seconds and bytes by batch.

Reads packages and versions alone, and of these the newest batches, so that asking is cheap in a large lake too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from storage.lake import Lake
from storage.projection import read_link
from storage.records import CallRow, RecipeRow, SampleRow
from storage.sizes import measure
from storage.tables import Among
from storage.versions import Version

NEWEST_BATCHES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCost:
    """What one sample took, kept or not. `calls` counts requests sent, repeats included; equal ones were asked once."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCost:
    """A batch of samples: seconds since its run's commit before, and bytes of its packages.

    `seconds` is None where answers came from the record, `bytes` where the packages were retired.
    """

    samples: int
    seconds: float | None
    bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was spent so far; `bytes_per_sample` are those of the whole lake, shared out to all samples that it made."""

    samples: tuple[SampleCost, ...]
    batches: tuple[BatchCost, ...]
    bytes_per_sample: float | None


def read_spent(lake: Lake, version: Version, generation_id: str) -> Spent:
    """What the newest batches of a generation recipe took; LakeDamaged when packages cannot be read."""
    recipes = {row.recipe_id for row in lake.rows(RecipeRow, version) if row.generation_id == generation_id}
    made = lake.scan(SampleRow, version, ["sample_id", "run_id"], Among(column="recipe_id", values=recipes)).collect()
    versions = sorted(made["version"].unique().to_list())[-NEWEST_BATCHES:]
    if not versions:
        return Spent(samples=(), batches=(), bytes_per_sample=None)
    asked = _asked(lake, version.since(versions[0] - 1), made.filter(pl.col("version") >= versions[0]))
    sizes = measure(lake, version)
    return Spent(
        samples=tuple(_by_sample(asked)),
        batches=tuple(_by_batch(lake, version, asked)),
        bytes_per_sample=(sizes.total - sizes.runs - sizes.aside) / sizes.samples,
    )


def _asked(lake: Lake, since: Version, made: pl.DataFrame) -> pl.DataFrame:
    """A row for each request of a sample, one with nulls for a sample without; `is_old`: another run asked it."""
    columns = ["sample_id", "request_key", "run_id", "tries", "prompt_tokens", "completion_tokens", "image_sha256"]
    calls = lake.scan(CallRow, since, columns, Among(column="sample_id", values=set(made["sample_id"]))).collect()
    return made.join(calls, on=["sample_id", "version"], how="left", suffix="_of_call").with_columns(
        is_old=pl.col("run_id_of_call") != pl.col("run_id")
    )


def _by_sample(asked: pl.DataFrame) -> Iterator[SampleCost]:
    once = asked.unique(["sample_id", "request_key"], keep="first", maintain_order=True)
    costs = once.group_by("sample_id", maintain_order=True).agg(
        pl.col("tries").sum(),
        pl.col("prompt_tokens", "completion_tokens").sum(),
        pl.col("image_sha256").drop_nulls().n_unique(),
    )
    for _, tries, prompt, completion, pictures in costs.iter_rows():
        yield SampleCost(calls=tries, prompt_tokens=prompt, completion_tokens=completion, pictures=pictures)


def _by_batch(lake: Lake, version: Version, asked: pl.DataFrame) -> Iterator[BatchCost]:
    batches = asked.group_by("version").agg(
        pl.col("run_id").first(), pl.col("sample_id").n_unique(), pl.col("is_old").fill_null(value=False).any()
    )
    weights = _weights(lake, version)
    for number, run_id, samples, is_old in batches.sort("version").iter_rows():
        seconds = None if is_old else _seconds(lake, number, run_id)
        yield BatchCost(samples=samples, seconds=seconds, bytes=weights[number])


def _seconds(lake: Lake, number: int, run_id: str) -> float | None:
    """From the commit before of the same run, its claim or a batch, to this one."""
    before = number - 1
    while before and read_link(lake, before).run_id != run_id:
        before -= 1
    if not before:
        return None
    return max(0.0, (read_link(lake, number).created_at - read_link(lake, before).created_at).total_seconds())


def _weights(lake: Lake, version: Version) -> dict[int, int | None]:
    """Bytes on the disk of the packages that each version brought in."""
    weights: dict[int, int | None] = {}
    for entry in version.packages:
        folder, before = lake.folder(entry), weights.get(entry.version, 0)
        weights[entry.version] = before + _weigh(folder) if folder.is_dir() and before is not None else None
    return weights


def _weigh(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in folder.iterdir())
