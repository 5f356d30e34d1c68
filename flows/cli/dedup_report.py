"""`interlake dedup report`: what lies near the thresholds, as a page with plots and pairs side by side."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.options import Line, NumberRange, counted, json_option, lake_option, print_json, say_lines

if TYPE_CHECKING:
    from flows.nearness.findings import Findings
    from flows.nearness.precision import Curve


@click.command()
@lake_option
@json_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for the report: not there yet, empty, or an earlier report, whose place it takes.",
)
@click.option(
    "--near",
    type=NumberRange(min=0, max=1, min_open=True),
    default=0.05,
    show_default=True,
    help="How far below the thresholds every pair is looked at.",
)
@click.option(
    "--pairs",
    type=click.IntRange(min=0, max=500),
    default=24,
    show_default=True,
    help="Example pairs on each side of the thresholds.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="CSV of pairs with the columns sample_a, turn_a, sample_b, turn_b, same (1, 0, yes, no).",
)
@click.option("--version", "number", type=click.IntRange(min=1), help="As the lake stood at this version.")
def report(
    *,
    lake_path: Path,
    as_json: bool,
    out: Path,
    near: float,
    pairs: int,
    labels: Path | None,
    number: int | None,
) -> None:
    """Draw what lies near the thresholds: distributions, pairs side by side, and, with labels, precision and recall."""
    from flows.nearness.report import Asked, make_report

    found = make_report(lake_path, out, Asked(near=near, pairs=pairs, labels=labels, version=number))
    if as_json:
        print_json({**found.json(), "page": str(out / "index.html")})
    else:
        say_lines(report_lines(found, out))


def report_lines(found: "Findings", out: Path) -> Iterator[Line]:
    """The report in short."""
    from flows.nearness.page import rule_words

    yield 0, f"version {found.version}: a turn is a repeat {rule_words(found.thresholds)}"
    if not found.turns:
        yield 2, "no turn has been decided by its vectors yet"
    else:
        yield 2, ", ".join(f"{label}: {number}" for label, number in found.numbers())
    for curve in found.curves:
        yield 2, _curve_words(curve, found.labelled)
    yield 0, f"the page: {out / 'index.html'}"


def _curve_words(curve: "Curve", labelled: int) -> str:
    from flows.nearness.page import rate_words

    rule = {"image": "pictures", "text": "captions", "policy": "the policy, thresholds moved by"}[curve.kind]
    if curve.best is None:
        return f"by {rule}: no pair of {counted(labelled, 'labelled pair')} is the same, so there is no recall"
    sign = "+" if curve.kind == "policy" else ""
    best, used = curve.best, curve.used
    return (
        f"by {rule}: best F1 {best.f1:.3f} at {best.threshold:{sign}.4f}, precision {rate_words(best.precision)}, "
        f"recall {rate_words(best.recall)}; in use: {used.threshold:{sign}.4f} with F1 {used.f1:.3f}"
    )
