"""Whether a lake is sound: storage's invariants, its settings, and that no kept turn repeats another; and mending it.

Thresholds are those by which a sample was last decided: its decision's version, that version's run, the run's recipe.
"""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from dedup.decide import Excused, Thresholds, decide
from dedup.kept import KeptTurns
from dedup.turns import TurnKey, TurnVectors
from flows.settings import FILE, SettingsError, read_settings
from storage.errors import LakeDamaged
from storage.fsck.check import Survey, look_over, settled, survey
from storage.fsck.findings import INVARIANTS, Finding, Mended, Report, Seen, UncheckedError, counted, few, look
from storage.fsck.mending import mend, renew_history, renew_table
from storage.fsck.rows import flagged_turns, latest_decisions, ruled_at, words_on_turns
from storage.fsck.stock import Stock
from storage.lake import Lake
from storage.records import EmbeddingRow, RecipeRow, RunStartRow, SampleRow, TurnRow, VectorRow, from_arrow
from storage.turns_table import count

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a rebuild came to: the newest version, turns in the table, seconds it took, and what was done."""

    version: int
    turns: int
    seconds: float
    done: tuple[Mended, ...]


def check_soundness(path: Path) -> Report:
    """Look a lake over, without its lock and without writing; NotALake when there is none."""
    return settled(path, lambda: _report(survey(path)))


def mend_lake(path: Path, *, lock_timeout: float) -> Report:
    """Mend what can be mended, and look the lake over then. NotALake, LakeBusy after `lock_timeout` seconds."""
    lake = survey(path).lake
    with lake.lock(purpose="repair", timeout=lock_timeout):
        mended = mend(path)
        return replace(_report(survey(path, is_mine=True)), mended=mended)


def rebuild_lake(path: Path, *, lock_timeout: float) -> Rebuilt:
    """Make the table of turns and the history anew from the packages; what was there lies in `aside` then.

    NotALake, LakeBusy after `lock_timeout` seconds; LakeDamaged when a package is not whole: then all stays as it is.
    """
    since = time.monotonic()
    lake = Lake.open(path)
    with lake.lock(purpose="rebuild", timeout=lock_timeout):
        head = lake.head()
        if head is None:
            return Rebuilt(version=0, turns=0, seconds=0.0, done=())
        stock = survey(path, is_mine=True).stock
        if stock is None or not stock.all_whole:
            raise LakeDamaged(f"{path} cannot be rebuilt from packages that are damaged: see 'interlake fsck'")
        done = (*renew_table(lake, head), *renew_history(lake, head))
        turns = count(lake, head)
    return Rebuilt(version=head.number, turns=turns, seconds=time.monotonic() - since, done=done)


def _report(found: Survey) -> Report:
    lines = [
        *look_over(found),
        look("settings", lambda: _check_settings(found.lake.path / FILE)),
        look("duplicates", lambda: check_duplicates(found)),
    ]
    order = list(INVARIANTS)
    lines.sort(key=lambda line: order.index(line.invariant))
    return Report(path=found.lake.path, version=found.chain.head, lines=tuple(lines))


def _check_settings(path: Path) -> Seen:
    try:
        settings = read_settings(path)
    except (SettingsError, OSError) as error:
        what = str(error).removeprefix(f"{path}: ").removeprefix(f"{path} ")
        return Seen(looked_at="", findings=(Finding(where=str(path), what=what, advice="mend it by hand"),))
    return Seen(looked_at=f"encoder {settings.selection.encoder.backend}")


def check_duplicates(found: Survey) -> Seen:
    """Decide all unflagged turns of kept samples again, in the order in which they were: none may be a duplicate.

    What a person keeps may, and counts among the kept ones from then on.
    """
    stock = found.needed_stock()
    turns = _unflagged(stock)
    encoders = turns["encoder"].unique().to_list()
    if len(encoders) > 1:
        raise UncheckedError("kept samples rest on vectors of several encoders, see 'vectors'")
    findings: list[Finding] = []
    kept = KeptTurns(encoder=encoders[0] if encoders else "")
    vectors, excused = _vectors(stock, kept.encoder), _siblings(stock)
    for (decided, _), group in groupby(turns.iter_rows(named=True), key=lambda row: (row["decided"], row["completed"])):
        rows = list(group)
        newcomers = [_comparable(row, vectors) for row in rows]
        spared = {turn.key for row, turn in zip(rows, newcomers, strict=True) if row["said"] == "kept"}
        if any(row["ruled"] == decided for row in rows):
            findings += _repeated(kept, newcomers, _thresholds(found, stock, decided), (excused, spared))
        kept.add(newcomers, encoder=kept.encoder)
    return Seen(looked_at=counted(turns.height, "unflagged turn"), findings=few(findings, of="turns"))


def _unflagged(stock: Stock) -> pl.DataFrame:
    """The turns of kept samples that repeat none, with their vectors' hashes, in the order of their decisions."""
    kept = latest_decisions(stock).filter(pl.col("outcome") == "kept").drop("version")
    late = pl.when(pl.col("said") == "kept").then("said_at")
    turns = stock.frame(TurnRow, ["sample_id", "turn"]).with_columns(
        completed=pl.col("version").max().over("sample_id")
    )
    return (
        turns.select("sample_id", "turn", "completed")
        .join(kept, on="sample_id")
        .join(ruled_at(stock), on="sample_id")
        .join(words_on_turns(stock), on=["sample_id", "turn"], how="left")
        .with_columns(decided=pl.max_horizontal("ruled", late))
        .join(flagged_turns(stock), on=["sample_id", "turn"], how="anti")
        .join(stock.frame(EmbeddingRow).drop("version", "package"), on=["sample_id", "turn", "encoder"])
        .sort("decided", "completed", "sample_id", "turn")
    )


def _vectors(stock: Stock, encoder: str) -> dict[str, Floats]:
    stock.require(VectorRow)
    return {
        row.vector_sha256: np.frombuffer(row.vector, dtype="<f4").astype(np.float32)
        for part in stock.parts(VectorRow, VectorRow.columns())
        for row in from_arrow(VectorRow, part)
        if row.encoder == encoder
    }


def _comparable(row: dict[str, object], vectors: dict[str, Floats]) -> TurnVectors:
    """UncheckedError for a vector that is not there or that cannot be compared."""
    try:
        image, text = (vectors[str(row[f"{kind}_vector_sha256"])] for kind in ("image", "text"))
        return TurnVectors(sample_id=str(row["sample_id"]), turn=int(str(row["turn"])), image=image, text=text)
    except (KeyError, ValueError) as error:
        raise UncheckedError(f"vectors cannot be compared ({error}), see 'vectors'") from error


def _siblings(stock: Stock) -> Excused:
    """By sample the others of its slot, by other recipes, with which it is never compared."""
    samples = stock.frame(SampleRow, ["sample_id", "slot_id"]).filter(pl.len().over("slot_id") > 1)
    slots = dict(samples.group_by("slot_id").agg("sample_id").iter_rows())
    return {name: frozenset(slots[slot_id]) for name, slot_id in samples.select("sample_id", "slot_id").iter_rows()}


def _repeated(
    kept: KeptTurns, newcomers: Iterable[TurnVectors], thresholds: Thresholds, exempt: tuple[Excused, set[TurnKey]]
) -> Iterator[Finding]:
    excused, spared = exempt
    for pair in decide(kept, newcomers, thresholds, excused=excused, spared=spared).duplicates:
        yield Finding(
            where=f"turn {pair.turn} of sample {pair.sample_id}",
            what=f"is kept and not flagged, and repeats turn {pair.kept_turn} of sample {pair.kept_sample_id}: image "
            f"{pair.image_similarity:.4f}, text {pair.text_similarity:.4f}",
            advice="'interlake reembed' decides all turns anew when the encoder changes",
        )


def _thresholds(found: Survey, stock: Stock, version: int) -> Thresholds:
    """The thresholds of the run that committed a version; UncheckedError when nothing says them."""
    link = found.chain.link(version)
    runs = stock.frame(RunStartRow, ["run_id", "recipe_id"])
    recipes = stock.frame(RecipeRow, ["recipe_id", "selection"]).unique("recipe_id").drop("version", "package")
    chosen = runs.filter(pl.col("run_id") == (link.run_id if link else None)).join(recipes, on="recipe_id")
    try:
        said = json.loads(chosen["selection"][0])["settings"]["duplicates"]
        return Thresholds(image=float(said["image"]), text=float(said["text"]), policy=said["policy"])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise UncheckedError(f"nothing says by which thresholds version {version} decided") from error
