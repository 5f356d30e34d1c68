"""Whether another round helped: scores of drafts by stage and round, gains of the same turns, and what they cost.

Turns that stopped earlier have no draft of a round. The mean of a round is over the drafts that came to it, so means of
two rounds are of different turns; the gain is over the turns that have both, and says what going on did for those that
went on, nothing of those that stopped. Intervals and p values draw whole samples, as `flows.judge.intervals` has it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from flows.judge.agreement import mean_of
from flows.judge.candidate import SCORES
from flows.judge.intervals import FEWEST, LEVEL, Clusters, Estimate, Paired, compare_paired, estimate_all, holm
from storage.lake import Lake
from storage.query import query
from storage.versions import Version

SCORES_OF = {"answer": ("tcc",), "image": SCORES}
"""What a draft of a stage can be scored by: while answers are written there is no picture."""
LEADING = {"answer": "tcc", "image": "its"}
"""The score that a stage is told by in one sentence."""
SEED = 1
HELPED, HARMED, NOT_SHOWN, TOO_FEW = "helped", "made it worse", "not shown to help", "too few samples to tell"
NOT_AMONG_ALL = "not sure: one such change among so many comes by chance"
"""Of a change whose own p value is small, and is not once all changes of the judge are allowed for."""

_DRAFTS = """
SELECT judge, judge_sha256, rubric_sha256, stage, round, sample_id, turn,
    avg(tcc) AS tcc, avg(icc) AS icc, avg(iq) AS iq, avg(its) AS its,
FROM verdicts WHERE stage IS NOT NULL GROUP BY ALL ORDER BY ALL
"""
_SETUP = ("judge", "judge_sha256", "rubric_sha256")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreDepth:
    """One score of the drafts of a round: its mean over those that know it, and the change since the round before.

    `change` is None in round 0. `p` is the p value of the change, by Holm's correction for all changes of the judge.
    """

    score: str
    known: int
    mean: Estimate
    change: Paired | None = None
    p: float | None = None

    @property
    def outcome(self) -> str | None:
        """Whether the round helped, by this score; None for round 0."""
        if self.change is None:
            return None
        if self.change.clusters < FEWEST or self.p is None:
            return TOO_FEW
        if self.p < 1 - LEVEL and self.change.difference.value:
            return HELPED if self.change.difference.value > 0 else HARMED
        return NOT_AMONG_ALL if self.change.p is not None and self.change.p < 1 - LEVEL else NOT_SHOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundDepth:
    """A round of a stage; all but the scores as the view `depth` has it (see `storage.depth`)."""

    stage: str
    round: int
    drafts: int
    unknown: int
    satisfied: int
    rounds_spent: int
    calls: int
    seconds: float
    gain: float | None
    calls_per_point: float | None
    seconds_per_point: float | None
    scores: tuple[ScoreDepth, ...]

    def score(self, name: str) -> ScoreDepth:
        return next(each for each in self.scores if each.score == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """The rounds of a lake as one judge saw them, as it was set up at one time."""

    judge: str
    judge_sha256: str
    rubric_sha256: str
    rounds: tuple[RoundDepth, ...]

    def json(self) -> dict[str, Any]:
        told = asdict(self)
        for has, of in zip(told["rounds"], self.rounds, strict=True):
            for line, score in zip(has["scores"], of.scores, strict=True):
                line["outcome"] = score.outcome
        return told | {"sentences": list(self.sentences())}

    def sentences(self) -> Iterator[str]:
        """For each round but the first, whether it helped by the leading score of its stage."""
        for each in self.rounds:
            found = each.score(LEADING[each.stage])
            if found.change is not None:
                yield _sentence(each, found, found.change)


def read_depth(lake: Lake, version: Version, judge: str | None = None) -> list[Depth]:
    """What each judge says of the rounds; nothing where no draft was judged.

    `judge` is the name of one, or the first eight digits of the hash of how it was set up.
    """
    drafts = query(lake, _DRAFTS, at=version.number)
    rows = query(lake, "SELECT * FROM depth", at=version.number).to_dicts()
    chosen = [row for row in rows if judge in (None, row["judge"], row["judge_sha256"][:8])]
    setups = dict.fromkeys(tuple(row[name] for name in _SETUP) for row in chosen)
    return [_depth(setup, drafts, rows) for setup in setups]


def _depth(setup: Sequence[str], drafts: pl.DataFrame, rows: Sequence[Mapping[str, Any]]) -> Depth:
    mine = drafts.filter(pl.all_horizontal(pl.col(name) == value for name, value in zip(_SETUP, setup, strict=True)))
    theirs = [row for row in rows if all(row[name] == value for name, value in zip(_SETUP, setup, strict=True))]
    rounds = [_round(row, mine.filter(pl.col("stage") == row["stage"])) for row in theirs]
    return Depth(**dict(zip(_SETUP, setup, strict=True)), rounds=tuple(_corrected(rounds)))


def _mean_of_known(drafts: pl.DataFrame, name: str) -> Estimate:
    """The mean of a score that is known of all these drafts, with its interval over samples."""
    clusters = Clusters.by(drafts["sample_id"].to_list())
    return estimate_all({name: mean_of(drafts[name].cast(pl.Float64).to_numpy())}, clusters, seed=SEED)[name]


def _round(row: Mapping[str, Any], drafts: pl.DataFrame) -> RoundDepth:
    """A round of the stage whose drafts these are."""
    names = SCORES_OF[row["stage"]]
    now = drafts.filter(pl.col("round") == row["round"])
    means = {name: _mean_of_known(now.drop_nulls(name), name) for name in names}
    both = drafts.filter(pl.col("round") == row["round"] - 1).join(
        now, on=["sample_id", "turn"], suffix="_now", maintain_order="left"
    )
    plain = {name: row[name] for name in RoundDepth.__slots__ if name != "scores"}
    return RoundDepth(
        **plain,
        scores=tuple(
            ScoreDepth(
                score=name,
                known=len(now) - now[name].null_count(),
                mean=means[name],
                change=_change(both, name) if row["round"] else None,
            )
            for name in names
        ),
    )


def _change(both: pl.DataFrame, name: str) -> Paired:
    then, now = (both[column].cast(pl.Float64).fill_null(np.nan).to_numpy() for column in (name, f"{name}_now"))
    return compare_paired(then, now, both["sample_id"].to_list(), seed=SEED)


def _corrected(rounds: Sequence[RoundDepth]) -> Iterator[RoundDepth]:
    """The rounds with p values that allow for all their changes being looked at."""
    plain = [score.change.p for each in rounds for score in each.scores if score.change and score.change.p is not None]
    left = iter(holm(plain))
    for each in rounds:
        scores = [
            replace(score, p=next(left)) if score.change and score.change.p is not None else score
            for score in each.scores
        ]
        yield replace(each, scores=tuple(scores))


def _sentence(of: RoundDepth, score: ScoreDepth, change: Paired) -> str:
    by = change.difference
    if by.value is None:
        return f"round {of.round} of the {of.stage} stage: no turn has {score.score.upper()} of it and the round before"
    sure = "" if by.low is None or by.high is None else f"{100 * LEVEL:.0f} % {by.low:.2f} to {by.high:.2f}, "
    turns = f"{change.items} turn{'' if change.items == 1 else 's'}"
    return (
        f"round {of.round} of the {of.stage} stage changed {score.score.upper()} by {by.value:+.2f} ({sure}{turns}): "
        f"{score.outcome}"
    )


def depth_table(found: Depth) -> Iterator[dict[str, str | int]]:
    """A row for each stage, round and score, as people read it; what there is none of is a dash."""
    for each in found.rounds:
        for score in each.scores:
            change = score.change
            yield {
                "judge": found.judge,
                "setup": found.judge_sha256[:8],
                "stage": each.stage,
                "round": each.round,
                "drafts": each.drafts,
                "satisfied": _share(each.satisfied, each.drafts),
                "spent": _share(each.rounds_spent, each.drafts),
                "score": score.score,
                "mean": _told(score.mean, "", score.known),
                "change": "-" if change is None else _told(change.difference, "+", change.items),
                "turns": change.items if change else 0,
                "outcome": score.outcome or "-",
                "calls a point": "-" if each.calls_per_point is None else f"{each.calls_per_point:.1f}",
                "seconds a point": "-" if each.seconds_per_point is None else f"{each.seconds_per_point:.1f}",
            }


def _told(estimate: Estimate, sign: str, count: int) -> str:
    """A figure with its interval; a dash where nothing is known."""
    if estimate.value is None or not count:
        return "-"
    sure = "" if estimate.low is None or estimate.high is None else f" ({estimate.low:.2f} to {estimate.high:.2f})"
    return f"{estimate.value:{sign}.2f}{sure}"


def _share(part: int, whole: int) -> str:
    return f"{part} ({part / whole:.0%})"
