"""Invariants of the rows, over all packages of a version: keys, slots, pictures, rounds, vectors, outcomes."""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl
import pyarrow as pa

from storage.canonical import sha256_hex
from storage.errors import LakeDamaged
from storage.fsck.drafts import baseless_verdicts, judged_drafts
from storage.fsck.findings import Finding, Seen, counted, few
from storage.fsck.stock import Stock
from storage.records import (
    CallRow,
    ClaimRow,
    DecisionRow,
    DuplicateRow,
    EmbeddingRow,
    ImageRow,
    InquiryRow,
    IterationRow,
    NearRow,
    ProposalDecisionRow,
    ProposalRow,
    RecipeRow,
    Row,
    RunStartRow,
    SampleRow,
    TemplateRow,
    TopicRow,
    TurnRow,
    VectorRow,
    VerdictRow,
    from_arrow,
)
from storage.reviews import REVIEW
from storage.slots import ABANDONED, ABANDONING, without_abandoned
from storage.tables import packages_of
from storage.turn_rows import checked_vector

OUTCOMES = ("kept", "rejected", "duplicate", "failed")
STAGES = ("question", "answer", "image")
_ONCE: tuple[type[Row], ...] = (
    RunStartRow,
    SampleRow,
    TurnRow,
    EmbeddingRow,
    IterationRow,
    CallRow,
    DecisionRow,
    DuplicateRow,
    NearRow,
    VerdictRow,
    InquiryRow,
    ProposalRow,
    ProposalDecisionRow,
    TemplateRow,
)
_NAME_SAMPLES: tuple[type[Row], ...] = (TurnRow, EmbeddingRow, IterationRow, CallRow, DecisionRow, VerdictRow)
_NAME_PICTURES: tuple[type[Row], ...] = (TurnRow, IterationRow, CallRow)


def check_ids(stock: Stock) -> Seen:
    """No two rows of a table have one key, in whatever packages; a slot is claimed once a version."""
    findings: list[Finding] = []
    rows = 0
    keys: list[tuple[type[Row], list[str]]] = [(kind, list(kind.key)) for kind in _ONCE]
    keys.append((ClaimRow, ["slot_id", "version"]))
    for kind, key in keys:
        frame = stock.frame(kind, [name for name in key if name != "version"])
        rows += frame.height
        again = frame.group_by(key, maintain_order=True).agg(pl.len(), pl.col("package")).filter(pl.col("len") > 1)
        for row in again.iter_rows(named=True):
            names = ", ".join(dict.fromkeys(row["package"]))
            what = f"key {' '.join(str(row[name]) for name in key)} comes {row['len']} times, in {names}"
            findings.append(Finding(where=kind.table, what=what))
    return Seen(looked_at=counted(rows, "row"), findings=few(findings, of="keys"))


def check_slots(stock: Stock) -> Seen:
    """A slot has at most one sample for each recipe of generation."""
    samples = stock.frame(SampleRow, ["sample_id", "slot_id", "recipe_id"])
    recipes = stock.frame(RecipeRow, ["recipe_id", "generation_id"]).unique("recipe_id").drop("version", "package")
    shared = (
        samples.join(recipes, on="recipe_id", how="left")
        .group_by("slot_id", pl.col("generation_id").fill_null(pl.col("recipe_id")), maintain_order=True)
        .agg(pl.col("sample_id").unique(maintain_order=True))
        .filter(pl.col("sample_id").list.len() > 1)
    )
    findings = [
        Finding(where=f"slot {row['slot_id']}", what=f"has the samples {', '.join(row['sample_id'])} of one recipe")
        for row in shared.iter_rows(named=True)
    ]
    return Seen(looked_at=counted(samples["slot_id"].n_unique(), "slot"), findings=few(findings, of="slots"))


def check_pictures(stock: Stock) -> Seen:
    """Every picture that a turn, round or call names lies in a pack, and all pictures there hash to their names."""
    named = pl.concat([stock.frame(kind, ["image_sha256"]) for kind in _NAME_PICTURES])["image_sha256"].drop_nulls()
    there = stock.frame(ImageRow, ["image_sha256"])["image_sha256"]
    missing = sorted(set(named) - set(there))
    findings = [Finding(where=f"picture {sha256}", what="is named and lies in no package") for sha256 in missing]
    findings += _bad_pictures(stock)
    return Seen(looked_at=counted(there.n_unique(), "picture"), findings=few(findings, of="pictures"))


def _bad_pictures(stock: Stock) -> Iterator[Finding]:
    for holding in stock.holdings:
        rows = holding.read(ImageRow.table, ImageRow.columns()) if holding.has(ImageRow.table) else None
        if rows is None:
            continue
        for image, package in zip(from_arrow(ImageRow, rows), packages_of(rows), strict=True):
            try:
                holding.picture(image, package)
            except LakeDamaged:
                yield Finding(
                    where=str(holding.pack(package)), what=f"does not have the bytes of picture {image.image_sha256}"
                )


def check_rounds(stock: Stock) -> Seen:
    """Rounds count on from 0, a stage stops in its last one, one round of it is chosen; kept samples are complete.

    Another round than the last is chosen only in the image stage, where verdicts on its drafts say so.
    """
    rounds = stock.frame(IterationRow, ["sample_id", "turn", "stage", "round", "stopped", "chosen"])
    chains = chains_of(rounds, judged_drafts(stock))
    findings = [*_broken_chains(chains), *_incomplete(stock, chains), *baseless_verdicts(stock, rounds)]
    return Seen(
        looked_at=f"{counted(rounds.height, 'round')} of {counted(chains.height, 'stage')}",
        findings=few(findings, of="stages"),
    )


def chains_of(rounds: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    """One row a stage: how its rounds look from afar. Of a stage with judged drafts any one round may be chosen."""
    stopped = pl.col("stopped").is_not_null()
    is_judged = pl.col("is_judged").fill_null(value=False).any()
    rounds = rounds.join(judged, on=["sample_id", "turn", "stage", "version"], how="left", maintain_order="left")
    return rounds.group_by("sample_id", "turn", "stage", maintain_order=True).agg(
        rounds=pl.len(),
        different=pl.col("round").n_unique(),
        first=pl.col("round").min(),
        last=pl.col("round").max(),
        stops=stopped.sum(),
        stopped_at=pl.col("round").filter(stopped).max(),
        strange_choices=pl.when(is_judged & stopped.any())
        .then((pl.col("chosen").sum().cast(pl.Int64) - 1).abs())
        .otherwise((pl.col("chosen") != stopped).sum()),
    )


def _broken_chains(chains: pl.DataFrame) -> Iterator[Finding]:
    whole = (
        (pl.col("first") == 0) & (pl.col("last") == pl.col("rounds") - 1) & (pl.col("different") == pl.col("rounds"))
    )
    ended = (pl.col("stops") == 0) | ((pl.col("stops") == 1) & (pl.col("stopped_at") == pl.col("last")))
    for wrong, what in (
        (~whole, "has rounds that do not follow one another from 0"),
        (~ended, "stops before its last round"),
        (pl.col("strange_choices") > 0, "has a chosen round other than the one in which it stopped, or more than one"),
    ):
        for row in chains.filter(wrong).iter_rows(named=True):
            yield Finding(where=_place(row["sample_id"], row["turn"], row["stage"]), what=what)


def _incomplete(stock: Stock, chains: pl.DataFrame) -> Iterator[Finding]:
    """Stages and turns that finished samples lack, and turns whose stages never ended."""
    states = latest_decisions(stock)
    finished = states.filter(pl.col("outcome").is_in(["kept", "duplicate"]))
    samples = stock.frame(SampleRow, ["sample_id", "turns"]).unique("sample_id", keep="last")
    expected = (
        finished.join(samples, on="sample_id")
        .select("sample_id", turn=pl.int_ranges(1, pl.col("turns") + 1, dtype=pl.Int64))
        .explode("turn", empty_as_null=False)
    )
    turns = stock.frame(TurnRow, ["sample_id", "turn"]).select("sample_id", "turn")
    for sample_id, turn in expected.join(turns, on=["sample_id", "turn"], how="anti").iter_rows():
        yield Finding(where=f"sample {sample_id}", what=f"is finished and lacks turn {turn}")
    more = turns.join(finished, on="sample_id", how="semi").join(expected, on=["sample_id", "turn"], how="anti")
    for sample_id, turn in more.iter_rows():
        yield Finding(where=f"sample {sample_id}", what=f"has turn {turn}, more than it says")
    stages = turns.join(pl.DataFrame({"stage": STAGES}), how="cross")
    ended = chains.filter(pl.col("stops") > 0)
    for sample_id, turn, stage in stages.join(ended, on=["sample_id", "turn", "stage"], how="anti").iter_rows():
        yield Finding(where=_place(sample_id, turn, stage), what="never ended, and the turn is there")


def latest_decisions(stock: Stock, until: int | None = None) -> pl.DataFrame:
    """One row a decided sample: its `outcome`, the `encoder` that decided it, and `version`, the decision's."""
    decisions = stock.frame(DecisionRow, ["sample_id", "turn", "outcome", "encoder"])
    if until is not None:
        decisions = decisions.filter(pl.col("version") <= until)
    encoders = decisions.group_by("sample_id").agg(pl.col("encoder").drop_nulls().last())
    whole = decisions.filter(pl.col("turn").is_null()).unique("sample_id", keep="last", maintain_order=True)
    return whole.select("sample_id", "outcome", "version").join(encoders, on="sample_id", maintain_order="left")


def flagged_turns(stock: Stock, until: int | None = None) -> pl.DataFrame:
    """Sample and turn of every turn whose latest decision says that it repeats another sample's."""
    decisions = stock.frame(DecisionRow, ["sample_id", "turn", "outcome"]).filter(pl.col("turn").is_not_null())
    if until is not None:
        decisions = decisions.filter(pl.col("version") <= until)
    latest = decisions.unique(["sample_id", "turn"], keep="last", maintain_order=True)
    return latest.filter(pl.col("outcome") == "duplicate").select("sample_id", "turn")


def words_on_turns(stock: Stock) -> pl.DataFrame:
    """Sample and turn of what persons spoke of: `said`, their latest word (kept or duplicate), and `said_at`."""
    decisions = stock.frame(DecisionRow, ["sample_id", "turn", "kind", "outcome"])
    words = decisions.filter(pl.col("turn").is_not_null() & (pl.col("kind") == REVIEW))
    latest = words.unique(["sample_id", "turn"], keep="last", maintain_order=True)
    return latest.select("sample_id", "turn", said="outcome", said_at="version")


def ruled_at(stock: Stock) -> pl.DataFrame:
    """One row a sample that a rule decided: `ruled`, the version that did so last, whatever a person said since."""
    decisions = stock.frame(DecisionRow, ["sample_id", "turn", "kind"])
    whole = decisions.filter(pl.col("turn").is_null() & (pl.col("kind") != REVIEW))
    return whole.group_by("sample_id").agg(ruled=pl.max("version"))


def check_vectors(stock: Stock) -> Seen:
    """Every vector is what its name says and can be compared; every embedding's are there; one encoder decides."""
    stock.require(VectorRow)
    found: dict[tuple[str, str], int] = {}
    findings: list[Finding] = []
    for part in stock.parts(VectorRow, VectorRow.columns()):
        findings += _bad_vectors(part, found)
    findings += _missing_vectors(stock, found)
    findings += _several_lengths(found)
    kept = latest_decisions(stock).filter(pl.col("outcome") == "kept")
    encoders = sorted(kept["encoder"].unique().drop_nulls())
    if len(encoders) > 1:
        findings.append(Finding(where="decisions", what=f"kept samples rest on the encoders {', '.join(encoders)}"))
    return Seen(looked_at=counted(len(found), "vector"), findings=few(findings, of="vectors"))


def _bad_vectors(part: pa.Table, found: dict[tuple[str, str], int]) -> Iterator[Finding]:
    for row, package in zip(from_arrow(VectorRow, part), packages_of(part), strict=True):
        found[row.vector_sha256, row.encoder] = row.dims
        where = f"vector {row.vector_sha256} of {package}"
        if sha256_hex(row.vector) != row.vector_sha256:
            yield Finding(where=where, what="does not hash to its name")
        elif not np.isfinite(np.frombuffer(row.vector[: len(row.vector) // 4 * 4], dtype="<f4")).all():
            yield Finding(where=where, what="is not finite")
        else:
            try:
                checked_vector(row)
            except ValueError as error:
                yield Finding(where=where, what=str(error).partition(" has ")[2] or str(error))


def _missing_vectors(stock: Stock, found: dict[tuple[str, str], int]) -> Iterator[Finding]:
    for row in stock.frame(EmbeddingRow).iter_rows(named=True):
        for kind in ("image", "text"):
            sha256 = row[f"{kind}_vector_sha256"]
            if (sha256, row["encoder"]) not in found:
                where = f"turn {row['turn']} of sample {row['sample_id']}"
                yield Finding(where=where, what=f"has no {kind} vector {sha256} of encoder {row['encoder']}")
    named = stock.frame(CallRow, ["vector_sha256"])["vector_sha256"].drop_nulls()
    for sha256 in sorted(set(named) - {sha256 for sha256, _ in found}):
        yield Finding(where=f"vector {sha256}", what="is named by a call and lies in no package")
    decided = latest_decisions(stock).filter(pl.col("outcome").is_in(["kept", "duplicate"])).drop("version")
    turns = stock.frame(TurnRow, ["sample_id", "turn"]).join(decided, on="sample_id")
    embeddings = stock.frame(EmbeddingRow, ["sample_id", "turn", "encoder"])
    for row in turns.join(embeddings, on=["sample_id", "turn", "encoder"], how="anti").iter_rows(named=True):
        where = f"turn {row['turn']} of sample {row['sample_id']}"
        yield Finding(where=where, what=f"has no vectors of encoder {row['encoder']}, by which it was decided")


def _several_lengths(found: dict[tuple[str, str], int]) -> Iterator[Finding]:
    lengths = Counter((encoder, dims) for (_, encoder), dims in found.items())
    for encoder in sorted({encoder for encoder, _ in lengths}):
        dims = sorted(length for name, length in lengths if name == encoder)
        if len(dims) > 1:
            yield Finding(where=f"encoder {encoder}", what=f"has vectors of {' and '.join(map(str, dims))} numbers")


def check_outcomes(stock: Stock) -> Seen:
    """Conservation: every slot that was planned is open or closed by a decision, and rows name what is there."""
    claims = stock.frame(ClaimRow, ["slot_id", "sample_id", "topic_id", "recipe_id"])
    samples = stock.frame(SampleRow, ["sample_id", "slot_id", "topic_id", "recipe_id"])
    states = latest_decisions(stock)
    findings = [*_strange_outcomes(states), *_undecided(stock, samples, states), *_unknown(stock, claims, samples)]
    findings += [*_baseless_duplicates(stock), *_baseless_proposals(stock)]
    standing = without_abandoned(claims.lazy(), stock.frame(DecisionRow, ABANDONING).lazy()).collect()
    slots = standing.unique("slot_id", keep="last", maintain_order=True).join(
        states.select("sample_id", "outcome", decided="version"), on="sample_id", how="left"
    )
    counts = Counter(
        row["outcome"] if row["decided"] is not None and row["decided"] > row["version"] else "open"
        for row in slots.iter_rows(named=True)
    )
    parts = [f"{counts[name]} {name}" for name in (*OUTCOMES, "open")]
    return Seen(looked_at=f"{slots.height} planned = {' + '.join(parts)}", findings=few(findings, of="rows"))


def _strange_outcomes(states: pl.DataFrame) -> Iterator[Finding]:
    for row in states.filter(~pl.col("outcome").is_in(OUTCOMES)).iter_rows(named=True):
        yield Finding(where=f"sample {row['sample_id']}", what=f"has the outcome {row['outcome']!r}, which is none")


def _undecided(stock: Stock, samples: pl.DataFrame, states: pl.DataFrame) -> Iterator[Finding]:
    decided = set(states["sample_id"])
    for sample_id in sorted(set(samples["sample_id"]) - decided):
        yield Finding(where=f"sample {sample_id}", what="was made, and nothing decides about it")
    made = set(samples["sample_id"])
    besides = {DecisionRow: _abandoned(stock), CallRow: set(stock.frame(InquiryRow, ["inquiry_id"])["inquiry_id"])}
    for kind in _NAME_SAMPLES:
        known = made | besides.get(kind, set())
        for sample_id in sorted(set(stock.frame(kind, ["sample_id"])["sample_id"]) - known):
            yield Finding(where=kind.table, what=f"sample {sample_id} is named and was never made")


def _abandoned(stock: Stock) -> set[str]:
    """Samples that were claimed, and given up before they were made."""
    reasons = stock.frame(DecisionRow, ABANDONING).filter(pl.col("reason") == ABANDONED)
    claims = stock.frame(ClaimRow, ["sample_id"]).join(reasons, on="sample_id", how="semi")
    return set(claims["sample_id"])


def _unknown(stock: Stock, claims: pl.DataFrame, samples: pl.DataFrame) -> Iterator[Finding]:
    topics = set(stock.frame(TopicRow, ["topic_id"])["topic_id"])
    recipes = set(stock.frame(RecipeRow, ["recipe_id"])["recipe_id"])
    slots = set(claims["slot_id"])
    for table, frame in (("claims", claims), ("samples", samples)):
        yield from _not_in(table, "topic", frame["topic_id"], topics)
        yield from _not_in(table, "recipe", frame["recipe_id"], recipes)
    yield from _not_in("run_starts", "recipe", stock.frame(RunStartRow, ["recipe_id"])["recipe_id"], recipes)
    for slot_id in sorted(set(samples["slot_id"]) - slots):
        yield Finding(where="samples", what=f"slot {slot_id} has a sample and was never claimed")


def _not_in(table: str, noun: str, named: Iterable[str], there: set[str]) -> Iterator[Finding]:
    for missing in sorted(set(named) - there):
        yield Finding(where=table, what=f"{noun} {missing} is named and is not there")


def _baseless_duplicates(stock: Stock) -> Iterator[Finding]:
    """Evidence without its decision, turns that are decided about or kept against and are not there."""
    duplicates = stock.frame(DuplicateRow, ["decision_id", "sample_id", "turn", "kept_sample_id", "kept_turn"])
    decisions = stock.frame(DecisionRow, ["decision_id", "sample_id", "turn", "outcome"]).drop("version", "package")
    turns = stock.frame(TurnRow, ["sample_id", "turn"]).select("sample_id", "turn")
    flagging = decisions.filter((pl.col("outcome") == "duplicate") & pl.col("turn").is_not_null())
    key = ["decision_id", "sample_id", "turn"]
    for row in duplicates.join(flagging, on=key, how="anti").iter_rows(named=True):
        yield Finding(where="duplicates", what=f"decision {row['decision_id']} is named and flags no such turn")
    for row in flagging.join(duplicates, on=key, how="anti").iter_rows(named=True):
        yield Finding(where="decisions", what=f"decision {row['decision_id']} flags a turn without evidence")
    near = stock.frame(NearRow, ["decision_id", "sample_id", "turn", "kept_sample_id", "kept_turn"])
    keeping = decisions.filter((pl.col("outcome") == "kept") & pl.col("turn").is_null())
    for row in near.join(keeping, on=["decision_id", "sample_id"], how="anti").iter_rows(named=True):
        yield Finding(where="near_misses", what=f"decision {row['decision_id']} is named and keeps no such sample")
    decided = decisions.filter(pl.col("turn").is_not_null()).select("sample_id", "turn")
    for table, named in (
        ("duplicates", _keepers(duplicates)),
        ("near_misses", pl.concat([near.select("sample_id", "turn"), _keepers(near)])),
        ("decisions", decided),
    ):
        for sample_id, turn in (
            named.unique().join(turns, on=["sample_id", "turn"], how="anti").sort("sample_id").iter_rows()
        ):
            yield Finding(where=table, what=f"turn {turn} of sample {sample_id} is named and was never made")


def _baseless_proposals(stock: Stock) -> Iterator[Finding]:
    """Proposals of no inquiry or call, decisions on none, and accepted ones that are no topics."""
    proposals = stock.frame(ProposalRow, ["proposal_id", "topic_id", "inquiry_id", "call_id"])
    decisions = stock.frame(ProposalDecisionRow, ["proposal_id", "accepted"])
    yield from _not_in("proposals", "inquiry", proposals["inquiry_id"], _named(stock, InquiryRow, "inquiry_id"))
    yield from _not_in("proposals", "call", proposals["call_id"], _named(stock, CallRow, "call_id"))
    yield from _not_in("proposal_decisions", "proposal", decisions["proposal_id"], set(proposals["proposal_id"]))
    accepted = proposals.join(decisions.filter("accepted"), on="proposal_id", how="semi")
    yield from _not_in("proposals", "topic", accepted["topic_id"], _named(stock, TopicRow, "topic_id"))


def _named(stock: Stock, kind: type[Row], column: str) -> set[str]:
    return set(stock.frame(kind, [column])[column])


def _keepers(pairs: pl.DataFrame) -> pl.DataFrame:
    return pairs.select(sample_id="kept_sample_id", turn="kept_turn")


def _place(sample_id: str, turn: int, stage: str) -> str:
    return f"stage {stage} of turn {turn} of sample {sample_id}"
