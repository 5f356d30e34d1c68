"""The calibration of a judge as one page of HTML that needs nothing else; every text escaped, since models wrote it."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import jinja2

from flows.judge.calibration import Figures, ScoreCalibration
from flows.judge.candidate import SCORES, Candidate
from flows.judge.intervals import FEWEST, Estimate

if TYPE_CHECKING:
    from flows.judge.calibrating import Calibrated

TEMPLATE = "calibration.html"
MEASURES = {
    "rmse": "RMSE",
    "mae": "mean absolute error",
    "close": "share within 1",
    "bias": "judge minus people",
    "spearman": "Spearman",
    "alpha_people": "alpha among people",
    "alpha_judge": "alpha judge and people's mean",
    "alpha_joined": "alpha with the judge as one more",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """An item on which judge and people differ. `people` are raters with what they said."""

    name: str
    sample_id: str | None
    turn: int | None
    candidate: Candidate
    judge: Mapping[str, float]
    unknown: Mapping[str, str]
    people: tuple[tuple[str, Mapping[str, float]], ...]

    def picture(self) -> str | None:
        """The picture itself, with its marks, as a link that holds it."""
        return data_link(self.candidate.picture.data) if self.candidate.picture else None

    def rows(self) -> Iterator[tuple[str, list[str]]]:
        """Who said what, score by score."""
        yield "judge", [_said(self.judge.get(name), self.unknown.get(name, "-")) for name in SCORES]
        for rater, scores in self.people:
            yield rater, [_said(scores.get(name), "-") for name in SCORES]


def render_page(found: "Calibrated", plot: bytes, misses: Iterable[Miss]) -> str:
    """The page for what was found, with the plot and the worst items inside."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(files("flows.judge").joinpath(TEMPLATE).read_text(encoding="utf-8"))
    return template.render(
        found=found,
        plot=data_link(plot),
        tables=list(_tables(found)),
        counts=list(count_rows(found)),
        failures=list(failure_lines(found)),
        names=[name.upper() for name in SCORES],
        misses=list(misses),
    )


def data_link(png: bytes) -> str:
    """A PNG as a link that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def estimate_words(estimate: Estimate) -> str:
    """A figure with its interval; a dash where it is not defined."""
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def figure_rows(parts: Mapping[str, Figures]) -> Iterator[tuple[str, list[str]]]:
    """A row for each measure: its name, and the figure of each score."""
    for name, words in MEASURES.items():
        yield words, [estimate_words(getattr(parts[score], name)) if score in parts else "-" for score in SCORES]


def count_rows(found: "Calibrated") -> Iterator[tuple[str, list[str]]]:
    """What was counted, score by score."""
    yield "items that people scored", [str(each.all.items) for each in found.scores]
    yield "of these, known to the judge", [str(each.all.known) for each in found.scores]
    yield "of these, unknown to the judge", [str(each.all.unknown) for each in found.scores]
    yield "verdicts without a score", [f"{each.silent} of {each.verdicts}" for each in found.scores]
    yield (
        "why (items)",
        [", ".join(f"{count} {why}" for why, count in each.reasons.items()) or "-" for each in found.scores],
    )


def failure_lines(found: "Calibrated") -> Iterator[str]:
    """Where the judge fails, in words, as far as the figures show it."""
    for each in found.scores:
        name, of = each.score.upper(), each.all
        if not of.known:
            yield f"{name}: nothing can be said: no item has a score of both."
            continue
        if of.unknown:
            yield f"{name}: the judge does not know {of.unknown} of {of.items} items."
        if of.bias.low is not None and of.bias.high is not None and of.bias.low * of.bias.high > 0:
            word = "higher" if of.bias.low > 0 else "lower"
            yield f"{name}: it scores {word} than people: {estimate_words(of.bias)}."
        if of.spearman.value is None:
            yield f"{name}: judge or people give one score to all, so their order cannot be compared."
        elif of.spearman.low is None:
            why = (
                f"{of.samples} of the {FEWEST} samples that an interval takes are there"
                if of.samples < FEWEST
                else "its draws are all alike, or undefined too often, so there is no interval"
            )
            yield f"{name}: {why}; its order of items is {of.spearman.value:.3f} by Spearman."
        elif of.spearman.low <= 0:
            yield f"{name}: it is not shown to order items as people do: {estimate_words(of.spearman)} by Spearman."
        yield from _below_people(each)


def _below_people(each: ScoreCalibration) -> Iterator[str]:
    of = each.all
    people, judge = of.alpha_people, of.alpha_judge
    if people.low is not None and judge.high is not None and judge.high < people.low:
        yield (
            f"{each.score.upper()}: it agrees less with people ({estimate_words(judge)}) than they do among "
            f"themselves ({estimate_words(people)})."
        )


def _tables(found: "Calibrated") -> Iterator[tuple[str, list[tuple[str, list[str]]]]]:
    yield "All items", list(figure_rows({each.score: each.all for each in found.scores}))
    held = {each.score: each.held_out for each in found.scores if each.held_out}
    if held:
        yield "Held out, as the judge says it", list(figure_rows(held))
    mapped = {each.score: each.mapped for each in found.scores if each.mapped}
    if mapped:
        yield "Held out, by the map of the others", list(figure_rows(mapped))


def _said(value: float | None, otherwise: str) -> str:
    return otherwise if value is None else f"{value:.3g}"
