"""Where proposals of topics stand: open until somebody accepts or refuses them, the latest word holding."""

import polars as pl

from storage.lake import Lake
from storage.records import ProposalDecisionRow, ProposalRow
from storage.versions import Version

OPEN, ACCEPTED, REFUSED = "open", "accepted", "refused"


def proposal_states(lake: Lake, version: Version) -> pl.DataFrame:
    """One row a proposal in the order in which they came: its columns, `version`, and its `state` with who decided."""
    decided = (
        lake.scan(ProposalDecisionRow, version)
        .sort("version", maintain_order=True)
        .unique("proposal_id", keep="last", maintain_order=True)
        .select("proposal_id", "accepted", "by", "reason")
    )
    state = (
        pl.when(pl.col("accepted").is_null())
        .then(pl.lit(OPEN))
        .when("accepted")
        .then(pl.lit(ACCEPTED))
        .otherwise(pl.lit(REFUSED))
    )
    return (
        lake.scan(ProposalRow, version)
        .join(decided, on="proposal_id", how="left", maintain_order="left")
        .with_columns(state=state)
        .drop("accepted")
        .collect()
    )
