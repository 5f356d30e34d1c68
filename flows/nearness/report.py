"""Makes a report on near-duplicates: measures, draws, and writes the folder."""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dedup.nearness import Nearness, measure
from flows.nearness.charts import draw_distribution, draw_plane, draw_precision
from flows.nearness.decided import STATES, DecidedTurns, decided_turns, read_rules
from flows.nearness.examples import read_examples, read_pictures
from flows.nearness.findings import Findings, NearPairs
from flows.nearness.labels import read_labels
from flows.nearness.page import render_page
from flows.nearness.precision import Curve, draw_curves
from flows.report_folder import ReportKind
from storage.lake import Lake
from storage.records import ModelRow
from storage.versions import Version

PAGE, PICTURES = "index.html", "pictures"
KIND = ReportKind(name="interlake dedup report", numbers="report.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A report that is asked for: `near` is how far below the thresholds all pairs are taken, `pairs` are shown."""

    near: float
    pairs: int
    labels: Path | None = None
    version: int | None = None


def make_report(path: Path, out: Path, asked: Asked) -> Findings:
    """Write the report on the lake at `path` into the folder `out`, which takes the place of an earlier report.

    UserError for a folder that holds anything else and for bad labels, before anything is written; NotALake,
    NoSuchThing for a version that is not there, LakeDamaged when a vector or picture is nowhere.
    """
    lake, out = Lake.open(path), Path(os.path.abspath(out))  # noqa: PTH100  a link is refused, not followed
    KIND.refuse_foreign(out, path.resolve())
    version = lake.version(asked.version)
    rules = read_rules(lake, version)
    with decided_turns(lake, version, rules.encoder) as decided:
        labelled = read_labels(asked.labels, decided) if asked.labels else None
        near = measure(decided.turns, rules.thresholds, near=asked.near, examples=asked.pairs)
        found = Findings(
            version=version.number,
            encoder=_encoder_name(lake, version, rules.encoder),
            thresholds=rules.thresholds,
            near=asked.near,
            states={state: int((decided.rows["state"] == state).sum()) for state in STATES},
            near_pairs={"image": NearPairs.of(near.image), "text": NearPairs.of(near.text)},
            repeats=near.repeats,
            beyond=len(near.beyond),
            short=len(near.short),
            labelled=len(labelled.same) if labelled else 0,
            curves=draw_curves(labelled.pairs, labelled.same, rules.thresholds) if labelled else (),
        )
        KIND.write(out, _files(lake, version, decided, near, found), found.json())
    return found


def _encoder_name(lake: Lake, version: Version, encoder: str | None) -> str | None:
    rows = lake.scan(ModelRow, version, ["model_id", "name", "revision"]).collect()
    for row in rows.iter_rows(named=True):
        if row["model_id"] == encoder:
            return f"{row['name']} {row['revision'] or ''}".strip()
    return encoder


def _files(
    lake: Lake, version: Version, decided: DecidedTurns, near: Nearness, found: Findings
) -> Iterator[tuple[str, bytes]]:
    """All files of the report but its numbers, one after another."""
    thresholds = found.thresholds
    if found.turns:
        states = decided.rows["state"].to_list()
        nearest, histograms = {"image": near.by_image, "text": near.by_text}, {"image": near.image, "text": near.text}
        yield "distribution.png", draw_distribution(nearest, histograms, states, thresholds)
        yield "nearest.png", draw_plane(near.by_policy, states, thresholds)
    if found.curves:
        yield "precision_recall.png", draw_precision(found.curves)
        yield "precision_recall.csv", curves_csv(found.curves).encode()
    beyond, short = read_examples(lake, version, decided, (near.beyond, near.short), thresholds)
    for sha256, data in read_pictures(lake, version, [*beyond, *short]):
        yield f"{PICTURES}/{sha256[:16]}.png", data
    yield PAGE, render_page(found, beyond, short).encode()


def curves_csv(curves: Sequence[Curve]) -> str:
    """A line for each rule and threshold."""
    names = ("precision", "precision_low", "precision_high", "recall", "recall_low", "recall_high")
    counts = ("true_positives", "false_positives", "false_negatives", "true_negatives")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("by", "threshold", *counts, *names, "f1", "in_use", "best"))
    for curve in curves:
        for point in curve.points:
            rates = [value for each in (point.precision, point.recall) for value in (each.share, each.low, each.high)]
            numbers = [getattr(point, name) for name in counts]
            marks = (int(point.is_used), int(point == curve.best))
            writer.writerow((curve.kind, point.threshold, *numbers, *rates, point.f1, *marks))
    return text.getvalue()
