"""What a run of the benchmark leaves behind: a row for each verdict, and one file that says what all of it is of.

`benchmark.json` is written last, and holds the hash of the rows: a folder without it is no finished run. A question
counts once, by the mean of its repeats; a score that is unknown enters no mean and no variance.
"""

import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, variance
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from flows.benchmark.answers import RefusedRow
from flows.benchmark.questions import BenchmarkQuestion
from flows.errors import UserError
from flows.judge.candidate import SCORES
from storage.canonical import sha256_hex
from storage.durable import write_durably
from storage.records import VerdictRow

NUMBERS, ROWS = "benchmark.json", "results.parquet"
KIND = "interlake benchmark results 1"
SCHEMA = {
    "question_id": pl.String,
    "domain": pl.String,
    "category": pl.String,
    "type": pl.String,
    "problem": pl.String,
    "answer_sha256": pl.String,
    "repeat": pl.Int64,
    "verdict_id": pl.String,
    **dict.fromkeys(SCORES, pl.Float64),
    "unknown": pl.String,
}
"""Columns of the rows. `problem` says why a question has no answer, null where it has one; `unknown` is JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable:
    """One score over some questions: `n` with a known mean, the `mean` and the sample `variance` of these, and how many
    are `unknown`; None where too few are known. `reasons` counts verdicts that left it open."""

    score: str
    n: int
    mean: float | None
    variance: float | None
    unknown: int
    reasons: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is judged: a question, the hash of what was given as its answer, its verdicts. `problem` is why nothing was
    given, `refused` the row that was refused, if one was."""

    question: BenchmarkQuestion
    answer_sha256: str
    problem: str | None
    refused: RefusedRow | None
    verdicts: Sequence[VerdictRow]


class ToldModel(BaseModel):
    """A model, as a run tells of it."""

    name: str
    revision: str


class ToldJudge(BaseModel):
    """The judge, as a run tells of it."""

    name: str
    sha256: str
    models: dict[str, ToldModel]


class Told(BaseModel):
    """What every benchmark.json says, as far as anybody reads it."""

    model_config = ConfigDict(strict=True)

    name: str
    judge: ToldJudge
    models: dict[str, ToldModel]
    rubric_sha256: str
    questions_sha256: str
    questions: int
    answered: int
    repeats: int
    problems: dict[str, int]
    warnings: list[str]
    results_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A finished run: `told` is what benchmark.json says of it, `rows` as SCHEMA has them."""

    told: Mapping[str, Any]
    rows: pl.DataFrame

    @property
    def name(self) -> str:
        return str(self.told["name"])


def rows_of(judgements: Iterable[Judgement]) -> pl.DataFrame:
    """The rows, in the order of questions and repeats."""
    rows = [_row(judgement, verdict) for judgement in judgements for verdict in judgement.verdicts]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _row(judgement: Judgement, verdict: VerdictRow) -> dict[str, Any]:
    question = judgement.question
    return {
        "question_id": question.question_id,
        "domain": question.domain,
        "category": question.category,
        "type": question.type,
        "problem": judgement.problem,
        "answer_sha256": judgement.answer_sha256,
        "repeat": verdict.repeat,
        "verdict_id": verdict.verdict_id,
        **{name: getattr(verdict, name) for name in SCORES},
        "unknown": verdict.unknown,
    }


def mean_by_question(rows: pl.DataFrame) -> pl.DataFrame:
    """A row for each question, in their order, with the mean of what is known of each score, null where nothing is."""
    known = [pl.col(name).mean() for name in SCORES]
    return rows.group_by("question_id", "domain", "category", "type", maintain_order=True).agg(*known)


def tell_scores(rows: pl.DataFrame) -> list[ScoreTable]:
    """The four scores over all questions of some rows."""
    means = mean_by_question(rows)
    return [_tell_score(name, means[name].to_list(), rows) for name in SCORES]


def _tell_score(name: str, means: Sequence[float | None], rows: pl.DataFrame) -> ScoreTable:
    known = [value for value in means if value is not None]
    open_verdicts = rows.filter(pl.col(name).is_null())["unknown"].to_list()
    return ScoreTable(
        score=name,
        n=len(known),
        mean=fmean(known) if known else None,
        variance=variance(known) if len(known) > 1 else None,
        unknown=len(means) - len(known),
        reasons=dict(sorted(Counter(json.loads(text)[name] for text in open_verdicts).items())),
    )


def write_results(out: Path, rows: pl.DataFrame, told: Mapping[str, Any]) -> Results:
    """Write rows, then what they are of. An earlier result of the folder is no result any more while this is done."""
    (out / NUMBERS).unlink(missing_ok=True)
    buffer = io.BytesIO()
    rows.write_parquet(buffer)
    data = buffer.getvalue()
    write_durably(out / ROWS, data)
    scores = [asdict(score) for score in tell_scores(rows)]
    whole = {"kind": KIND, **told, "scores": scores, "results_sha256": sha256_hex(data)}
    write_durably(out / NUMBERS, json.dumps(whole, indent=1, ensure_ascii=False).encode())
    return Results(told=whole, rows=rows)


def read_results(out: Path) -> Results:
    """A finished run; UserError where the folder holds none, or its rows are not the ones that it was finished with."""
    try:
        told = json.loads((out / NUMBERS).read_text(encoding="utf-8"))
        data = (out / ROWS).read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(
            f"{out} is no finished run of the benchmark; 'interlake benchmark run --out {out}' makes one"
        ) from error
    if not isinstance(told, dict) or told.get("kind") != KIND:
        raise UserError(f"{out / NUMBERS} is of another kind than '{KIND}'; run the benchmark anew")
    try:
        Told.model_validate(told)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise UserError(
            f"{out / NUMBERS} is not what a run writes ({where}: {error.errors()[0]['msg']}); run the benchmark anew"
        ) from error
    if sha256_hex(data) != told["results_sha256"]:
        raise UserError(f"{out / ROWS} is not what the run wrote; run the benchmark anew, which asks nothing twice")
    return Results(told=told, rows=_read_rows(out / ROWS, data))


def _read_rows(path: Path, data: bytes) -> pl.DataFrame:
    """The rows; UserError where they have other columns than SCHEMA, or are no table at all."""
    try:
        rows = pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} is no table ({str(error).splitlines()[0][:200]}); run the benchmark anew") from error
    if dict(rows.schema) != SCHEMA:
        raise UserError(f"{path} has other columns than a run writes; run the benchmark anew")
    return rows
