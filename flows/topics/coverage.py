"""How far the topics are covered, branch by branch, and how evenly templates are used there. Tables in, tables out."""

import polars as pl

from flows.topics.branches import Branches, with_branches

OUTCOMES = ("kept", "rejected", "duplicate", "failed", "open")
LEVELS: tuple[tuple[str, ...], ...] = (
    (),
    ("domain_key",),
    ("domain_key", "category_key"),
    ("domain_key", "category_key", "topic_id"),
)
"""What identifies a branch by its depth: the whole lake, a domain, a category, a topic."""
DEEPEST = len(LEVELS) - 1
PATH = ("domain", "category", "topic")
COUNTS = ("topics", "covered", "slots", *OUTCOMES)
SHOWN = (*PATH, *COUNTS, "turns", "templates_used", "template_entropy", "template_evenness")


def cover(topics: pl.DataFrame, turns: pl.DataFrame, *, templates: int, depth: int, under: str = "") -> pl.DataFrame:
    """Every branch down to `depth` (0 is the lake, 1 domains, 2 categories, 3 topics), each before what it consists of.

    `topics` has topic_id, name, category, domain, slots and outcomes; `turns` topic_id and template_id of the turns of
    kept samples; `templates` is how many there are. Columns are `depth` and SHOWN: the path (null below the branch),
    how many topics, how many of them with slots, slots by outcome, turns of kept samples, templates used in them, their
    entropy in bits, and that as a share of the most that so many turns can have (null for fewer than two). `under`
    confines it to a branch: UserError when there is none.
    """
    placed = with_branches(topics)
    if under:
        key = Branches.of(placed).keys([under], where="--under")[0]
        placed = placed.filter(pl.any_horizontal(pl.col("domain_key", "category_key") == key))
    counted = pl.concat([_count(placed, turns, templates, level) for level in range(depth + 1)])
    order = [pl.col(name).fill_null("") for name in LEVELS[DEEPEST][:2]]
    return counted.sort(*order, pl.col("topic").fill_null(""), "depth", "topic_id", nulls_last=False).select(
        "depth", *SHOWN
    )


def _count(placed: pl.DataFrame, turns: pl.DataFrame, templates: int, depth: int) -> pl.DataFrame:
    """The branches of one depth."""
    keys = LEVELS[depth]
    names = {"domain": "domain_name", "category": "category_name", "topic": "name"}
    shown = [
        pl.col(names[part]).first().alias(part) if depth > at else pl.lit(None, pl.String).alias(part)
        for at, part in enumerate(PATH)
    ]
    missing = [pl.lit(None, pl.String).alias(key) for key in LEVELS[DEEPEST] if key not in keys]
    branches = (
        placed.with_columns(lake=pl.lit(""))
        .group_by("lake", *keys)
        .agg(
            *shown,
            pl.len().cast(pl.Int64).alias("topics"),
            (pl.col("slots") > 0).sum().cast(pl.Int64).alias("covered"),
            pl.col("slots", *OUTCOMES).sum(),
        )
    )
    used = _use_of_templates(placed, turns, templates, keys)
    return (
        branches.join(used, on=["lake", *keys], how="left")
        .with_columns(*missing, pl.col("turns", "templates_used").fill_null(0), depth=pl.lit(depth, pl.Int64))
        .select("depth", *LEVELS[DEEPEST], *SHOWN)
    )


def _use_of_templates(placed: pl.DataFrame, turns: pl.DataFrame, templates: int, keys: tuple[str, ...]) -> pl.DataFrame:
    by_template = (
        turns.join(placed.select("topic_id", *LEVELS[2]), on="topic_id")
        .with_columns(lake=pl.lit(""))
        .group_by("lake", *keys, "template_id")
        .agg(times=pl.len())
    )
    most = pl.min_horizontal("turns", pl.lit(templates)).log(2)
    return (
        by_template.group_by("lake", *keys)
        .agg(
            turns=pl.col("times").sum().cast(pl.Int64),
            templates_used=pl.len().cast(pl.Int64),
            template_entropy=pl.col("times").sort().entropy(2, normalize=True).round(12),
        )
        .with_columns(template_evenness=pl.when(most > 0).then(pl.col("template_entropy") / most))
    )
