"""The report as one page of HTML: relative links alone, and every text escaped, since models wrote them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files

import jinja2

from dedup.decide import Thresholds
from flows.nearness.examples import Example
from flows.nearness.findings import Findings
from flows.nearness.precision import Curve, Point, Rate

TEMPLATE = "page.html"
MOST_ROWS = 24
"""Of a table; of more thresholds, so many, evenly chosen, with the one in use and the best."""

_TITLES = {
    "image": ("By pictures alone", "threshold"),
    "text": ("By captions alone", "threshold"),
    "policy": ("By the policy, both thresholds moved together", "moved by"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A threshold as text."""

    threshold: str
    precision: str
    recall: str
    f1: str
    counts: str
    style: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveTable:
    """One rule's table."""

    title: str
    what: str
    points: Sequence[TableRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Examples on one side of the thresholds."""

    title: str
    note: str
    style: str
    pairs: Sequence[Example]


def render_page(report: Findings, beyond: Sequence[Example], short: Sequence[Example]) -> str:
    """The page for what was found."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(files("flows.nearness").joinpath(TEMPLATE).read_text(encoding="utf-8"))
    turns = [turn for example in (*beyond, *short) for turn in (example.newer, example.kept)]
    return template.render(
        report=report,
        rule=rule_words(report.thresholds),
        numbers=report.numbers(),
        curves=[_table(curve) for curve in report.curves],
        sides=[side for side in _sides(beyond, short) if side.pairs],
        licences=sorted({turn.licence for turn in turns}),
    )


def rule_words(thresholds: Thresholds) -> str:
    """From when on a turn repeats another."""
    image, text = f"pictures reach {thresholds.image:g}", f"captions reach {thresholds.text:g}"
    return {
        "both": f"when {image} and {text}",
        "either": f"when {image} or {text}",
        "image": f"when {image}",
        "text": f"when {text}",
    }[thresholds.policy]


def _sides(beyond: Sequence[Example], short: Sequence[Example]) -> Iterator[Side]:
    yield Side(
        title="Just beyond the thresholds",
        note="Repeats, those that only just are first: left the kept turn, right the one that repeats it.",
        style="beyond",
        pairs=beyond,
    )
    yield Side(
        title="Just short of the thresholds",
        note="No repeats, those that almost are first: left a kept turn, right the other.",
        style="short",
        pairs=short,
    )


def _table(curve: Curve) -> CurveTable:
    title, what = _TITLES[curve.kind]
    points = curve.telling()
    step = -(-len(points) // MOST_ROWS)
    chosen = [point for place, point in enumerate(points) if place % step == 0 or point.is_used or point == curve.best]
    return CurveTable(title=title, what=what, points=[_row(point, curve) for point in chosen])


def _row(point: Point, curve: Curve) -> TableRow:
    styles = ("used" if point.is_used else "", "best" if point == curve.best else "")
    return TableRow(
        threshold=f"{point.threshold:+.4f}" if curve.kind == "policy" else f"{point.threshold:.4f}",
        precision=rate_words(point.precision),
        recall=rate_words(point.recall),
        f1="-" if point.f1 is None else f"{point.f1:.3f}",
        counts=f"{point.true_positives} / {point.false_positives} / {point.false_negatives}",
        style=" ".join(filter(None, styles)),
    )


def rate_words(rate: Rate) -> str:
    """A share with its interval, in per cent."""
    if rate.share is None or rate.low is None or rate.high is None:
        return "-"
    return f"{rate.share:.1%} ({rate.low:.1%} to {rate.high:.1%})"
