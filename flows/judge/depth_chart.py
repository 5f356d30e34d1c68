"""The depth curves as a plot: scores by round above, what each round changed below. Drawn without a screen.

Equal numbers give equal bytes with the same versions of matplotlib.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flows.judge.candidate import HIGHEST, LOWEST
from flows.judge.depth import SCORES_OF, Depth, RoundDepth
from flows.judge.intervals import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Kind = Literal["svg", "png"]
COLOURS = {"tcc": "#4c78a8", "icc": "#c8553d", "iq": "#3a8f5c", "its": "#7b5ea7"}
MARKS = {"tcc": "o", "icc": "s", "iq": "^", "its": "D"}
ASIDE = 0.09
"""How far the scores of one round stand apart, in rounds, so that their intervals do not cover each other."""
DPI = 110


def draw_depth(found: Depth, kind: Kind) -> bytes:
    """A column for each stage; intervals of 95 % where they can be told."""
    stages = [stage for stage in SCORES_OF if any(each.stage == stage for each in found.rounds)]
    figure = Figure(figsize=(1.5 + 5.2 * len(stages), 7.2), dpi=DPI)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1)
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(stages), squeeze=False, sharex="col", sharey="row")
    for column, stage in enumerate(stages):
        rounds = [each for each in found.rounds if each.stage == stage]
        _draw_means(axes[0][column], stage, rounds)
        _draw_changes(axes[1][column], stage, rounds)
    figure.suptitle(f"Rounds of refinement by the judge {found.judge}", fontsize=12)
    return _bytes(figure, kind)


def _draw_means(axes: "Axes", stage: str, rounds: Sequence[RoundDepth]) -> None:
    for name in SCORES_OF[stage]:
        places = [each.round + _aside(stage, name) for each in rounds]
        _draw(axes, places, [each.score(name).mean for each in rounds], name, joined=True)
    axes.set(ylim=(LOWEST - 0.1, HIGHEST + 0.1), ylabel="mean score of the drafts of a round")
    axes.set_title(f"Drafts of the {stage} stage", fontsize=10.5, loc="left")
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2, fontsize=9, frameon=False,
        ncols=len(SCORES_OF[stage]), columnspacing=1.0, handletextpad=0.3,
    )  # fmt: skip
    _finish(axes)


def _draw_changes(axes: "Axes", stage: str, rounds: Sequence[RoundDepth]) -> None:
    axes.axhline(0, color="#222222", linewidth=1)
    later = [each for each in rounds if each.round]
    for name in SCORES_OF[stage]:
        changes = [each.score(name).change for each in later]
        places = [each.round + _aside(stage, name) for each in later]
        known = [change.difference if change else Estimate(value=None) for change in changes]
        _draw(axes, places, known, name, joined=False)
    axes.set(ylabel="change since the round before, same turns")
    axes.set_xticks([each.round for each in rounds], [_label(each) for each in rounds], fontsize=9)
    axes.set_xlim(-0.4, rounds[-1].round + 0.4)
    axes.margins(y=0.12)
    _finish(axes)


def _draw(axes: "Axes", places: Sequence[float], values: Sequence[Estimate], name: str, *, joined: bool) -> None:
    there = [(place, each, each.value) for place, each in zip(places, values, strict=True) if each.value is not None]
    line, colour = ":" if joined else "none", COLOURS[name]  # dotted: not the same turns
    axes.plot(
        [place for place, _, _ in there], [value for _, _, value in there],
        color=colour, linestyle=line, linewidth=1.3, marker=MARKS[name], markersize=5, label=name.upper(),
    )  # fmt: skip
    for place, each, _ in there:
        if each.low is not None and each.high is not None:
            axes.vlines(place, each.low, each.high, color=colour, linewidth=1.6, alpha=0.55)


def _aside(stage: str, name: str) -> float:
    names = SCORES_OF[stage]
    return ASIDE * (names.index(name) - (len(names) - 1) / 2)


def _label(of: RoundDepth) -> str:
    stopped = of.satisfied + of.rounds_spent
    return f"round {of.round}\n{of.drafts} drafts\n{stopped / of.drafts:.0%} end here"


def _finish(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _bytes(figure: Figure, kind: Kind) -> bytes:
    buffer = io.BytesIO()
    nobody = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    with mpl.rc_context({"svg.hashsalt": "interlake", "svg.fonttype": "none"}):
        figure.savefig(buffer, format=kind, metadata=nobody)
    return buffer.getvalue()
