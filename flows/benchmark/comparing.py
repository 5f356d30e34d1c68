"""Systems side by side: means and variances by score, and paired differences on the questions that both answered.

Differences are of one judge with one rubric over one set of questions; runs that differ in any of these are not
compared. Pure reckoning on results that are there: asks nobody.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np
import polars as pl

from flows.benchmark.results import Results, ScoreTable, mean_by_question, tell_scores
from flows.errors import UserError
from flows.judge.agreement import Floats, mean_of
from flows.judge.candidate import SCORES
from flows.judge.intervals import Clusters, Estimate, Paired, compare_paired, estimate_all, holm

SEED = 1
GROUPS = ("domain", "type")
SAME = {
    "judge": "judges (by name, model or sampling)",
    "rubric_sha256": "rubrics",
    "questions_sha256": "sets of questions",
}


UNLIKE = {
    "questions": "the runs were asked different numbers of questions, so their means are of different ones; "
    "differences are on those that both answered",
    "repeats": "answers were judged a different number of times, so means over repeats are more or less sure",
}
"""What may differ between runs that are compared, and is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemScore:
    """A row of the table: one score of one system over all its questions, with the 95 % interval of the mean."""

    system: str
    table: ScoreTable
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How much higher `second` scores than `first`, on questions that both answered and that are known of both.

    `p` is of changed signs; `p_holm` is corrected for all differences of the comparison.
    """

    first: str
    second: str
    score: str
    paired: Paired
    p_holm: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMean:
    """Mean and number of known questions of a system in one domain or type; None where none is known."""

    by: str
    group: str
    system: str
    score: str
    n: int
    mean: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDifference:
    """As `Difference`, in one domain or type, over `n` questions: with its interval, and without a p value."""

    by: str
    group: str
    first: str
    second: str
    score: str
    n: int
    difference: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that a comparison comes to. `told` is what benchmark.json says of each run, in the order given."""

    told: tuple[Mapping[str, Any], ...]
    systems: tuple[SystemScore, ...]
    differences: tuple[Difference, ...]
    groups: tuple[GroupMean, ...]
    group_differences: tuple[GroupDifference, ...]

    def careful(self) -> Iterator[str]:
        """What whoever reads the table must know of how unlike its runs are."""
        for key, words in UNLIKE.items():
            if len({run[key] for run in self.told}) > 1:
                each = ", ".join(f"{run['name']} {run[key]}" for run in self.told)
                yield f"{words} ({each})"

    def json(self) -> dict[str, Any]:
        first = self.told[0]
        return {
            "judge": first["judge"],
            "rubric_sha256": first["rubric_sha256"],
            "questions_sha256": first["questions_sha256"],
            "careful": list(self.careful()),
            "runs": [{key: each[key] for key in ("name", "questions", "answered", "repeats")} for each in self.told],
            "systems": [_flat(row) for row in self.systems],
            "differences": [_flat_difference(row) for row in self.differences],
            "groups": [asdict(row) for row in self.groups],
            "group_differences": [_flat_group(row) for row in self.group_differences],
        }


def compare_runs(runs: Sequence[Results]) -> Comparison:
    """The comparison of one run or more; UserError where they cannot be compared."""
    _refuse_unlike(runs)
    return Comparison(
        told=tuple(run.told for run in runs),
        systems=tuple(row for run in runs for row in _tell_system(run)),
        differences=tuple(_differences(runs)),
        groups=tuple(row for by in GROUPS for row in _tell_groups(runs, by)),
        group_differences=tuple(row for by in GROUPS for row in _group_differences(runs, by)),
    )


def _refuse_unlike(runs: Sequence[Results]) -> None:
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise UserError(f"two of the runs have one name ({', '.join(names)}): there is one row for each system")
    for key, what in SAME.items():
        for run in runs[1:]:
            if run.told[key] != runs[0].told[key]:
                raise UserError(f"{runs[0].name} and {run.name} have different {what}: judge them alike, then compare")


def _tell_system(run: Results) -> Iterator[SystemScore]:
    means = mean_by_question(run.rows)
    for table in tell_scores(run.rows):
        found = _interval(means[table.score], means["question_id"].to_list())
        yield SystemScore(system=run.name, table=table, low=found.low, high=found.high)


def _interval(values: pl.Series, names: Sequence[str]) -> Estimate:
    """Of what is known: an interval that counted unknown scores among its samples would be too narrow."""
    floats = _floats(values)
    is_known = ~np.isnan(floats)
    clusters = Clusters.by([name for name, known in zip(names, is_known, strict=True) if known])
    return estimate_all({"mean": mean_of(floats[is_known])}, clusters, seed=SEED)["mean"]


def _floats(values: pl.Series) -> Floats:
    """NaN for what is unknown."""
    return np.array([np.nan if value is None else value for value in values.to_list()], dtype=np.float64)


def _differences(runs: Sequence[Results]) -> Iterator[Difference]:
    """Every pair of systems and every score; Holm's correction is over all of them that have a p value."""
    pairs = list(combinations(runs, 2))
    comparisons = len(pairs) * len(SCORES)
    found = [
        (first.name, second.name, score, _compare(first, second, score, comparisons))
        for first, second in pairs
        for score in SCORES
    ]
    corrected = iter(holm([paired.p for *_, paired in found if paired.p is not None]))
    for first_name, second_name, score, paired in found:
        p_holm = next(corrected) if paired.p is not None else None
        yield Difference(first=first_name, second=second_name, score=score, paired=paired, p_holm=p_holm)


def _compare(first: Results, second: Results, score: str, comparisons: int) -> Paired:
    both = _answered_by_both(first, second)
    names = both["question_id"].to_list()
    before, after = _floats(both[score]), _floats(both[f"{score}_second"])
    return compare_paired(before, after, names, seed=SEED, comparisons=comparisons)


def _group_differences(runs: Sequence[Results], by: str) -> Iterator[GroupDifference]:
    for first, second in combinations(runs, 2):
        both = _answered_by_both(first, second)
        for (group,), rows in sorted(both.group_by(by), key=lambda item: str(item[0])):
            for score in SCORES:
                away = (rows[f"{score}_second"] - rows[score]).drop_nulls()
                found = _interval(away, [str(number) for number in range(len(away))])
                yield GroupDifference(
                    by=by,
                    group=str(group),
                    first=first.name,
                    second=second.name,
                    score=score,
                    n=len(away),
                    difference=found,
                )


def _answered_by_both(first: Results, second: Results) -> pl.DataFrame:
    """A row for each question, in the order of the first run; what the second was given stands under `…_second`."""
    return _answered(first).join(_answered(second), on="question_id", suffix="_second", maintain_order="left")


def _answered(run: Results) -> pl.DataFrame:
    return mean_by_question(run.rows.filter(pl.col("problem").is_null()))


def _tell_groups(runs: Sequence[Results], by: str) -> Iterator[GroupMean]:
    for run in runs:
        for (group,), rows in sorted(mean_by_question(run.rows).group_by(by), key=lambda item: str(item[0])):
            for score in SCORES:
                known = rows[score].drop_nulls().to_list()
                mean = fmean(known) if known else None
                yield GroupMean(by=by, group=str(group), system=run.name, score=score, n=len(known), mean=mean)


def _flat(row: SystemScore) -> dict[str, Any]:
    return {"system": row.system, **asdict(row.table), "low": row.low, "high": row.high}


def _flat_difference(row: Difference) -> dict[str, Any]:
    paired = row.paired
    return {
        "first": row.first,
        "second": row.second,
        "score": row.score,
        "n": paired.items,
        "unknown": paired.unknown,
        "difference": paired.difference.value,
        "low": paired.difference.low,
        "high": paired.difference.high,
        "p": paired.p,
        "least_p": paired.least_p,
        "p_holm": row.p_holm,
    }


def _flat_group(row: GroupDifference) -> dict[str, Any]:
    found = row.difference
    names = {name: getattr(row, name) for name in ("by", "group", "first", "second", "score", "n")}
    return names | {"difference": found.value, "low": found.low, "high": found.high}
