"""Verdicts on drafts, as fsck looks at them: what they are about, and which of them could choose a draft."""

from collections.abc import Iterator

import polars as pl

from storage.fsck.findings import Finding
from storage.fsck.stock import Stock
from storage.records import VerdictRow

DRAFT = ["sample_id", "turn", "stage", "round"]


def judged_drafts(stock: Stock) -> pl.DataFrame:
    """The stages whose drafts were judged as they were made, `is_judged` being true; later verdicts choose nothing."""
    return _verdicts(stock).select("sample_id", "turn", "stage", "version", is_judged=pl.lit(value=True)).unique()


def baseless_verdicts(stock: Stock, rounds: pl.DataFrame) -> Iterator[Finding]:
    """Verdicts on drafts that are not among the recorded rounds."""
    drafts = _verdicts(stock).select(DRAFT).unique()
    for sample_id, turn, stage, number in drafts.join(rounds, on=DRAFT, how="anti").sort(DRAFT).iter_rows():
        what = f"round {number} of stage {stage} of turn {turn} of sample {sample_id} is judged and was never made"
        yield Finding(where=VerdictRow.table, what=what)


def _verdicts(stock: Stock) -> pl.DataFrame:
    return stock.frame(VerdictRow, DRAFT).filter(pl.col("stage").is_not_null())
