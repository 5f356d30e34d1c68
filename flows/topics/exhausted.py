"""What has run out, in sentences: branches that have no topic left to be taken, and why. Tables in, text out."""

from collections.abc import Iterator

import polars as pl

from flows.plan_settings import PlanSettings
from flows.topics.branches import Branches, branch_key
from flows.topics.wanted import Wanted

MOST_NAMED = 5
"""Branches and quotas that are named one by one; of others it is said how many there are."""


def tell_exhausted(
    in_scope: pl.DataFrame, picks: pl.DataFrame, left: pl.DataFrame, plan: PlanSettings, wanted: Wanted
) -> tuple[str, ...]:
    """Say which branches have nothing left once `picks` are taken, and why.

    `in_scope` has all topics that could be asked for, `left` those that would come after the picks. Branches are
    those that the plan is confined to, or else domains.
    """
    told = _with_cause(in_scope, picks, left, plan)
    branches = Branches.of(in_scope)
    empty = told.filter(pl.col("cause").is_not_null().all().over("branch"))
    lines = list(_told_branches(empty, branches, plan, wanted, whole=empty.height == told.height))
    quotas = list(_told_quotas(told, picks, branches, plan))
    return (*lines, *quotas)


def _with_cause(in_scope: pl.DataFrame, picks: pl.DataFrame, left: pl.DataFrame, plan: PlanSettings) -> pl.DataFrame:
    """Each topic with the branch it counts for, and why it does not come any more; null for one that still may."""
    dropped = pl.sum_horizontal("rejected", "duplicate", "failed")
    has_weight = (pl.col("domain_weight") > 0) & (pl.col("category_weight") > 0)
    only = [branch_key(name) for name in plan.only]
    by_category = pl.col("category_key").is_in(only) & ~pl.col("domain_key").is_in(only)
    return in_scope.with_columns(
        branch=pl.when(by_category).then("category_key").otherwise("domain_key"),
        cause=pl.when(pl.col("topic_id").is_in(picks["topic_id"].implode()))
        .then(pl.lit("done"))
        .when(pl.col("topic_id").is_in(left["topic_id"].implode()))
        .then(pl.lit(None, pl.String))
        .when(~pl.col("is_due") & (plan.policy == "gaps") & (dropped >= plan.give_up_after))
        .then(pl.lit("given up"))
        .when(~pl.col("is_due"))
        .then(pl.lit("done"))
        .when(~has_weight)
        .then(pl.lit("weight"))
        .otherwise(pl.lit("quota")),
    )


def _told_branches(
    empty: pl.DataFrame, branches: Branches, plan: PlanSettings, wanted: Wanted, *, whole: bool
) -> Iterator[str]:
    """A sentence for each cause, with the branches that have nothing left but for it."""
    has = f"{wanted.samples} samples, kept or under way" if plan.policy == "gaps" else "samples"
    others = {
        "given up": f"given up after {plan.give_up_after} dropped samples (plan.give_up_after)",
        "weight": "of weight 0",
        "quota": "beyond a quota",
    }
    plain: list[str] = []
    told = 0
    for key, counts in _causes(empty):
        said = [f"{counts[cause]} {words}" for cause, words in others.items() if cause in counts]
        if not said:
            plain.append(branches.shown[key])
            continue
        told += 1
        if told <= MOST_NAMED:
            done = [f"{counts['done']} with {has}"] if "done" in counts else []
            yield f"no topic of {branches.shown[key]} is left: {', '.join([*done, *said])}"
    if told > MOST_NAMED:
        yield f"no topic of {told - MOST_NAMED} branches more is left, for reasons like these"
    if plain and whole and not plan.only and len(plain) == empty["branch"].n_unique():
        yield f"every {'topic' if wanted.only_topics is None else 'one of the topics given'} has {has}"
    elif plain:
        more = f" and {len(plain) - MOST_NAMED} branches more" if len(plain) > MOST_NAMED else ""
        yield f"every topic of {', '.join(plain[:MOST_NAMED])}{more} has {has}"


def _causes(empty: pl.DataFrame) -> Iterator[tuple[str, dict[str, int]]]:
    """Each branch, in order, with how many of its topics do not come any more for which cause."""
    found: dict[str, dict[str, int]] = {}
    for branch, cause, count in empty.group_by("branch", "cause").len().sort("branch", "cause").iter_rows():
        found.setdefault(branch, {})[cause] = count
    yield from found.items()


def _told_quotas(told: pl.DataFrame, picks: pl.DataFrame, branches: Branches, plan: PlanSettings) -> Iterator[str]:
    """A sentence for each quota that keeps topics out; of the MOST_NAMED first, and one for the others."""
    reached = list(_reached_quotas(told, picks, branches, plan))
    yield from (f"the quota of {name} ({quota}) is reached" for name, quota in reached[:MOST_NAMED])
    if more := len(reached) - MOST_NAMED if len(reached) > MOST_NAMED else 0:
        yield f"so {'are' if more > 1 else 'is'} {more} quota{'s' if more > 1 else ''} more"


def _reached_quotas(
    told: pl.DataFrame, picks: pl.DataFrame, branches: Branches, plan: PlanSettings
) -> Iterator[tuple[str, int]]:
    for name, quota in plan.quotas.items():
        key = branch_key(name)
        inside = pl.any_horizontal(pl.col("domain_key", "category_key") == key)
        out = told.filter(inside & (pl.col("cause") == "quota")).height
        column = "domain" if key in told["domain_key"] else "category"
        new = picks.filter(inside & (pl.col("slots") == 0)).height
        covered = told.filter(inside)[f"{column}_covered"].max() if out else None
        if isinstance(covered, int) and covered + new >= quota:
            yield branches.shown[key], quota
