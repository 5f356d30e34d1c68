"""How far a judge agrees with people, score by score, with intervals: figures alone. Knows no lakes and asks nobody."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from flows.judge.agreement import Floats, alpha_of, close_of, mae_of, mean_of, rmse_of, spearman_of
from flows.judge.candidate import SCORES
from flows.judge.intervals import FEWEST, Clusters, Estimate, estimate_all, estimate_share
from flows.judge.monotone import MonotoneMap, fit_monotone
from storage.canonical import derive_seed, sha256_hex


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What a judge says of an item, over its repeats: the mean of each score that is known, else a reason why not.

    `verdicts` counts how often it was heard, and `silent`, by score, how many of these did not know.
    """

    scores: Mapping[str, float]
    unknown: Mapping[str, str]
    verdicts: int = 1
    silent: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """One score of the same items: `judge` of shape (items,), `people` of (items, raters), NaN where unknown.

    `clusters` names the sample of each item.
    """

    score: str
    judge: Floats
    people: Floats
    clusters: tuple[str, ...]

    def mean_people(self) -> Floats:
        """The mean of those who said something, NaN where nobody did."""
        said = ~np.isnan(self.people)
        total, count = np.where(said, self.people, 0.0).sum(axis=1), said.sum(axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def chosen(self, which: np.typing.NDArray[np.bool_]) -> "Scored":
        """Some of the items."""
        clusters = tuple(name for name, is_chosen in zip(self.clusters, which.tolist(), strict=True) if is_chosen)
        return Scored(score=self.score, judge=self.judge[which], people=self.people[which], clusters=clusters)

    def mapped(self, by: MonotoneMap) -> "Scored":
        """With the judge's scores put through a map."""
        return Scored(score=self.score, judge=by.apply(self.judge), people=self.people, clusters=self.clusters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Agreement in one score over some items. What is unknown is counted, and is in no mean.

    `items` have a person's score; of these `known` have the judge's too, and `unknown` do not. `bias` is how much
    higher the judge scores. `alpha_people` is among single persons, `alpha_judge` between the judge and their mean,
    `alpha_joined` among all persons with the judge as one more.
    """

    items: int
    known: int
    unknown: int
    samples: int
    rmse: Estimate
    mae: Estimate
    close: Estimate
    bias: Estimate
    spearman: Estimate
    alpha_people: Estimate
    alpha_judge: Estimate
    alpha_joined: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCalibration:
    """One score: over all items, and over those held out, as the judge says it and by the map of the others.

    `fitted` are the items that the map was made from. `held_out` and `mapped` are None without a split, `mapped` and
    `map` also with fewer than FEWEST samples to make a map from. `reasons` counts why the judge knew no score.
    """

    score: str
    all: Figures
    held_out: Figures | None
    mapped: Figures | None
    map: MonotoneMap | None
    fitted: int
    reasons: Mapping[str, int]
    verdicts: int
    silent: int

    def json(self) -> dict[str, Any]:
        return asdict(self)


def is_held_out(cluster: str, share: float) -> bool:
    """Whether a sample is held out, by its id alone: the same one always, and those of a smaller share among them."""
    return int(sha256_hex(f"held out:{cluster}".encode())[:13], 16) < share * 16**13


def calibrate(scored: Scored, opinions: Sequence[Opinion], holdout: float) -> ScoreCalibration:
    """All figures of one score. `holdout` is the share of samples that is held out, 0 for none."""
    held = np.array([is_held_out(name, holdout) for name in scored.clusters], dtype=np.bool_)
    rest = scored.chosen(~held)
    both = ~np.isnan(rest.judge) & ~np.isnan(rest.mean_people())
    enough = len({name for name, known in zip(rest.clusters, both.tolist(), strict=True) if known}) >= FEWEST
    found = fit_monotone(rest.judge, rest.mean_people()) if enough and held.any() else None
    out = scored.chosen(held)
    reasons = Counter(each.unknown[scored.score] for each in opinions if scored.score in each.unknown)
    return ScoreCalibration(
        score=scored.score,
        all=figures(scored),
        held_out=figures(out) if held.any() else None,
        mapped=figures(out.mapped(found)) if found else None,
        map=found,
        fitted=int(both.sum()) if found else 0,
        reasons=dict(sorted(reasons.items())),
        verdicts=sum(each.verdicts for each in opinions),
        silent=sum(each.silent.get(scored.score, 0) for each in opinions),
    )


def figures(scored: Scored) -> Figures:
    """The figures of one score over its items, each with an interval where one can be told."""
    people = scored.mean_people()
    rated = ~np.isnan(people)
    scored, people = scored.chosen(rated), people[rated]
    judge, names = scored.judge, scored.clusters
    known = ~np.isnan(judge)
    seed = derive_seed("calibrate", scored.score)
    both = _of(names, known)
    j, p = judge[known], people[known]
    measures = {
        "rmse": rmse_of(j, p),
        "mae": mae_of(j, p),
        "bias": mean_of(j - p),
        "spearman": spearman_of(j, p),
        "alpha_judge": alpha_of(np.column_stack([j, p])),
        "alpha_joined": alpha_of(np.column_stack([j, scored.people[known]])),
    }
    among = {"alpha_people": alpha_of(scored.people)}
    return Figures(
        items=len(people),
        known=int(known.sum()),
        unknown=int((~known).sum()),
        samples=both.count,
        close=estimate_share(close_of(j, p), both, known=int(known.sum()), seed=seed),
        **estimate_all(measures, both, seed=seed),
        **estimate_all(among, Clusters.by(names), seed=seed),
    )


def score_items(
    names: Sequence[str],
    clusters: Sequence[str],
    opinions: Mapping[str, Opinion],
    ratings: Mapping[tuple[str, str], Mapping[str, float]],
    raters: Sequence[str],
) -> Iterator[Scored]:
    """The four scores of items by name; `ratings` are known scores by item and rater."""
    for score in SCORES:
        judge = [opinions[name].scores.get(score, np.nan) if name in opinions else np.nan for name in names]
        people = [[ratings.get((name, rater), {}).get(score, np.nan) for rater in raters] for name in names]
        yield Scored(
            score=score,
            judge=np.array(judge, dtype=np.float64),
            people=np.array(people, dtype=np.float64).reshape(len(names), len(raters)),
            clusters=tuple(clusters),
        )


def _of(names: Sequence[str], which: np.typing.NDArray[np.bool_]) -> Clusters:
    return Clusters.by([name for name, is_chosen in zip(names, which.tolist(), strict=True) if is_chosen])
