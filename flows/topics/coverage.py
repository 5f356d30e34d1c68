"""How much of the topics is covered, category by category."""

from collections.abc import Sequence

import polars as pl

from flows.topics.pick import TopicState, category_of

SCHEMA = {
    "domain_key": pl.String,
    "category_key": pl.String,
    "domain": pl.String,
    "category": pl.String,
    "slots": pl.Int64,
}


def coverage(topics: Sequence[TopicState]) -> pl.DataFrame:
    """One row per domain and category, in their order: how many topics, how many of them covered, how many slots.

    Columns: domain, category (String), topics, covered, slots (Int64). Names that differ only by case or spacing are
    one domain or category, shown in the spelling that sorts first.
    """
    rows = [(*category_of(topic), topic.domain, topic.category, topic.slots) for topic in topics]
    keys = ("domain_key", "category_key")
    return (
        pl.DataFrame(rows, schema=SCHEMA, orient="row")
        .with_columns(pl.col("domain").min().over("domain_key"))
        .group_by(keys)
        .agg(
            pl.col("domain", "category").min(),
            pl.len().cast(pl.Int64).alias("topics"),
            (pl.col("slots") > 0).sum().cast(pl.Int64).alias("covered"),
            pl.col("slots").sum(),
        )
        .sort(keys)
        .drop(keys)
    )
