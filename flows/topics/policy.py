"""Which topics a build takes and why: the policy, from top to bottom, on a table of topics. Knows no lake, no models.

Every rule is the same game: topics stand on levels, the lowest comes first; on a level they are dealt out, first
inside a domain by category, then by domain. A group's next topic has its turn at (2 n + 1) / weight, where n is how
many topics the group has that stand higher or were dealt before (Webster's method; Balinski and Young, Fair
Representation, 1982, say why: what is dealt never has to be taken back when there is more to deal). With equal weights
that is: from the group with the fewest. Ties go by name, inside a category by topic id; the order of the rows is of no
weight. So five topics, and then five more, are the same as ten at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from flows.plan_settings import PlanSettings
from flows.topics.branches import Branches, with_branches
from flows.topics.exhausted import tell_exhausted
from flows.topics.wanted import Wanted

DOMAIN, CATEGORY = ("domain_key",), ("domain_key", "category_key")
NEW = pl.col("slots") == 0
DROPPED = pl.sum_horizontal("rejected", "duplicate", "failed")
UNDER_WAY = pl.sum_horizontal("kept", "open")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The topics that come next. `picks` has their rows in order, with `samples` to be made for each and the `reason`;
    `exhausted` says in sentences what ran out."""

    picks: pl.DataFrame
    exhausted: tuple[str, ...]


def choose_topics(topics: pl.DataFrame, plan: PlanSettings, wanted: Wanted) -> Chosen:
    """The next topics by a policy, as many as wanted or as there are.

    `topics` has a row each: topic_id, name, category, domain, and how many slots it has, in all (`slots`) and by
    outcome (kept, rejected, duplicate, failed, open). ValueError for a negative number, UserError for branches that
    there are not.
    """
    if wanted.topics < 0:
        raise ValueError(f"cannot pick {wanted.topics} topics: give 0 or more")
    table = _with_settings(with_branches(topics), plan).with_columns(
        level=_level(plan), is_due=_is_due(plan, wanted), samples=_samples(plan, wanted)
    )
    table = table.with_columns(
        *(pl.col("level").rank("min", descending=True).over(group).sub(1).cast(pl.Int64).alias(name)
          for name, group in (("domain_ahead", DOMAIN), ("category_ahead", CATEGORY))),
        domain_covered=(~NEW).sum().over(DOMAIN).cast(pl.Int64),
        category_covered=(~NEW).sum().over(CATEGORY).cast(pl.Int64),
    )  # fmt: skip
    in_scope = table.filter(pl.col("is_in_scope") & _is_given(wanted))
    candidates = in_scope.filter(pl.col("is_due") & _has_weight())
    by_category = _deal(candidates.sort("topic_id"), "category", CATEGORY)
    in_order = by_category.sort("level", "category_turn", "category_key", "topic_id")
    by_domain = _deal(in_order, "domain", DOMAIN)
    order = by_domain.sort("level", "domain_turn", "domain_key", "category_turn", "category_key", "topic_id")
    picks = order.head(wanted.topics).with_columns(reason=_reason(plan, wanted))
    left = order.slice(wanted.topics)
    told = tell_exhausted(in_scope, picks, left, plan, wanted) if wanted.topics else ()
    return Chosen(picks=picks, exhausted=told)


def _deal(topics: pl.DataFrame, what: str, group: tuple[str, ...]) -> pl.DataFrame:
    """Number the topics of each level and group in their present order, end at the quota, and say when each has its
    turn."""
    held = pl.col(f"{what}_ahead") + pl.col("place")
    room = pl.col(f"{what}_quota") - pl.col(f"{what}_covered")
    return (
        topics.with_columns(place=pl.int_range(pl.len(), dtype=pl.Int64).over("level", *group))
        .filter(~NEW | pl.col(f"{what}_quota").is_null() | (pl.col("place") < room))
        .with_columns(held.alias(f"{what}_held"), ((2 * held + 1) / pl.col(f"{what}_weight")).alias(f"{what}_turn"))
    )


def _level(plan: PlanSettings) -> pl.Expr:
    """Lower comes first. `gaps`: the fewest samples kept or under way, of those the most dropped; else the fewest
    slots."""
    if plan.policy != "gaps":
        return pl.col("slots")
    return UNDER_WAY * (DROPPED.max() + 1) - DROPPED


def _is_due(plan: PlanSettings, wanted: Wanted) -> pl.Expr:
    """`gaps`: whether a topic lacks samples and is not given up; else whether it has none. All, when deepening."""
    if plan.policy != "gaps":
        return pl.lit(wanted.deepen) | NEW
    return (pl.lit(wanted.deepen) | (wanted.samples > UNDER_WAY)) & (plan.give_up_after > DROPPED)


def _samples(plan: PlanSettings, wanted: Wanted) -> pl.Expr:
    """How many a topic gets. `gaps`: what it lacks, or when it is deepened as many as any."""
    lacking = wanted.samples - UNDER_WAY
    fills = (lacking > 0) & (plan.policy == "gaps")
    return pl.when(fills).then(lacking).otherwise(wanted.samples).cast(pl.Int64)


def _is_given(wanted: Wanted) -> pl.Expr:
    return pl.lit(value=True) if wanted.only_topics is None else pl.col("topic_id").is_in(sorted(wanted.only_topics))


def _has_weight() -> pl.Expr:
    return (pl.col("domain_weight") > 0) & (pl.col("category_weight") > 0)


def _reason(plan: PlanSettings, wanted: Wanted) -> pl.Expr:
    """One phrase a pick, from what the rule looked at."""
    where = {
        "even": "domain {} has the fewest covered topics ({}), category {} the fewest in it ({})",
        "weighted": "domain {} is furthest below its weight ({} covered, weight {}), category {} in it ({} of {})",
    }
    domain, category = ("domain_name", "domain_held"), ("category_name", "category_held")
    if plan.policy == "gaps":
        return pl.format(f"{{}} of {wanted.samples} samples kept or under way, {{}} dropped", UNDER_WAY, DROPPED)
    if plan.policy == "weighted":
        fresh = pl.format(where["weighted"], *domain, "domain_weight", *category, "category_weight")
    else:
        fresh = pl.format(where["even"], *domain, *category)
    return (
        pl.when(NEW).then(fresh).otherwise(pl.format("all topics are covered, it has the fewest slots ({})", "slots"))
    )


def _with_settings(topics: pl.DataFrame, plan: PlanSettings) -> pl.DataFrame:
    """Each topic with weight and quota of its domain and category, and whether it is in the branches asked for."""
    branches = Branches.of(topics)
    weights = _by_key(branches, plan.weights, where="plan.weights") if plan.policy == "weighted" else {}
    quotas = _by_key(branches, plan.quotas, where="plan.quotas")
    only = branches.keys(plan.only, where="plan.only")
    settings = [
        column
        for what in ("domain", "category")
        for column in (
            _looked_up(f"{what}_key", weights, pl.Float64).fill_null(1.0).alias(f"{what}_weight"),
            _looked_up(f"{what}_key", quotas, pl.Int64).alias(f"{what}_quota"),
        )
    ]
    is_in_scope = pl.any_horizontal(pl.col("domain_key", "category_key").is_in(only)) if only else pl.lit(value=True)
    return topics.with_columns(*settings, is_in_scope=is_in_scope)


def _by_key(branches: Branches, values: Mapping[str, float], *, where: str) -> dict[str, float]:
    return dict(zip(branches.keys(values, where=where), values.values(), strict=True))


def _looked_up(column: str, values: Mapping[str, float], kind: type[pl.DataType]) -> pl.Expr:
    return pl.col(column).replace_strict(list(values), list(values.values()), default=None, return_dtype=kind)
