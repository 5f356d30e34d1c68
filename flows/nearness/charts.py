"""Plots as PNG, drawn without a screen. Equal numbers give equal bytes with the same versions of matplotlib."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dedup.decide import Thresholds
from dedup.nearness import Histogram, Measured
from flows.nearness.decided import STATES
from flows.nearness.precision import Curve, Point, Rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = {"image": "pictures", "text": "captions", "policy": "the policy"}
COLOURS = {"kept": "#4c78a8", "flagged": "#f2a541", "dropped": "#c8553d"}
REPEATS, OTHERS, MARK = "#c8553d", "#9fb8cf", "#222222"
BINS = 40
"""Of the nearest ones, over the range in which they lie."""
DPI = 110
MOST_POINTS = 20_000
"""Turns that are drawn one by one; of more, these, evenly chosen."""


def draw_distribution(
    nearest: Mapping[str, Measured], near: Mapping[str, Histogram], states: Sequence[str], thresholds: Thresholds
) -> bytes:
    """For pictures and for captions: the nearest kept turn of each turn, and all pairs near the threshold."""
    figure = _figure(11, 6.6)
    axes = figure.subplots(2, 2)
    for column, (kind, limit) in enumerate((("image", thresholds.image), ("text", thresholds.text))):
        top, bottom = axes[0][column], axes[1][column]
        values = nearest[kind].images if kind == "image" else nearest[kind].texts
        _draw_nearest(top, values, states, limit)
        top.set_title(f"Each turn and its nearest kept turn: {KINDS[kind]}")
        _draw_near(bottom, near[kind], limit)
        bottom.set_title(f"All pairs near the threshold: {KINDS[kind]}")
    return _png(figure)


def draw_plane(nearest: Measured, states: Sequence[str], thresholds: Thresholds) -> bytes:
    """Each turn and the kept turn that came nearest by the policy: similarity of pictures against that of captions."""
    figure = _figure(7.2, 5.6)
    axes = figure.subplots()
    step = max(1, -(-len(nearest) // MOST_POINTS))
    images, texts, which = nearest.images[::step], nearest.texts[::step], np.array(states, dtype=np.str_)[::step]
    for state in STATES:
        chosen = which == state
        if chosen.any():
            colour = COLOURS[state]
            axes.scatter(images[chosen], texts[chosen], s=16, alpha=0.65, color=colour, linewidths=0, label=state)
    axes.axvline(thresholds.image, color=MARK, linestyle="--", linewidth=1)
    axes.axhline(thresholds.text, color=MARK, linestyle="--", linewidth=1)
    axes.set(xlabel="similarity of pictures", ylabel="similarity of captions")
    axes.set_title("Nearest kept turn by the policy; dashed: thresholds")
    _finish(axes)
    return _png(figure)


def draw_precision(curves: Sequence[Curve]) -> bytes:
    """Precision and recall with their 95 % intervals where thresholds make a difference, a panel for each rule."""
    figure = _figure(13, 4.2)
    for axes, curve in zip(figure.subplots(1, len(curves)), curves, strict=True):
        points = curve.telling()
        levels = [point.threshold for point in points]
        for name, colour in (("precision", COLOURS["kept"]), ("recall", COLOURS["dropped"])):
            _draw_rate(axes, levels, [_rate(point, name) for point in points], name, colour)
        axes.axvline(curve.used.threshold, color=MARK, linestyle="--", linewidth=1, label="in use")
        if curve.best is not None:
            axes.axvline(curve.best.threshold, color="#3a8f5c", linestyle=":", linewidth=1.5, label="best F1")
        axes.set(ylim=(-0.03, 1.03), xlabel="both thresholds moved by" if curve.kind == "policy" else "threshold")
        axes.set_title(f"By {KINDS[curve.kind]}")
        _finish(axes)
    return _png(figure)


def _rate(point: Point, name: str) -> Rate:
    return point.precision if name == "precision" else point.recall


def _draw_rate(axes: "Axes", levels: Sequence[float], rates: Sequence[Rate], name: str, colour: str) -> None:
    low, share, high = (
        np.array([np.nan if value is None else value for value in values])
        for values in zip(*((rate.low, rate.share, rate.high) for rate in rates), strict=True)
    )
    axes.plot(levels, share, color=colour, marker="o", markersize=3, label=name)
    axes.fill_between(levels, low, high, color=colour, alpha=0.15, linewidth=0)


def _draw_nearest(axes: "Axes", values: "np.typing.NDArray[np.float64]", states: Sequence[str], limit: float) -> None:
    known, which = ~np.isnan(values), np.array(states, dtype=np.str_)
    lowest = min(values[known].min() if known.any() else 0.0, limit, 0.99)
    edges = np.linspace(lowest, 1.0, BINS + 1)
    parts = [values[known & (which == state)] for state in STATES]
    if known.any():
        axes.hist(parts, bins=edges.tolist(), stacked=True, color=[COLOURS[state] for state in STATES], label=STATES)
    _mark(axes, limit)
    axes.set_ylabel("turns")
    _finish(axes)


def _draw_near(axes: "Axes", found: Histogram, limit: float) -> None:
    widths, left = np.diff(found.edges), found.edges[:-1]
    for counts, bottom, colour, label in (
        (found.repeats, 0, REPEATS, "repeats by the policy"),
        (found.others, found.repeats, OTHERS, "others"),
    ):
        drawn = axes.bar(left, counts, widths, bottom=bottom, align="edge", color=colour, label=label)
        for bar in drawn:
            bar.set(edgecolor="white", linewidth=0.4)
    axes.set_xlim(found.edges[0], found.edges[-1])
    _mark(axes, limit)
    axes.set(xlabel="cosine similarity", ylabel="pairs")
    _finish(axes)


def _mark(axes: "Axes", limit: float) -> None:
    axes.axvline(limit, color=MARK, linestyle="--", linewidth=1.2, label=f"threshold {limit:g}")


def _finish(axes: "Axes") -> None:
    """A quiet frame and, where there is something to tell apart, a legend."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.title.set_fontsize(10.5)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8.5, framealpha=0.85, edgecolor="none")


def _figure(width: float, height: float) -> Figure:
    """Inches."""
    figure = Figure(figsize=(width, height), dpi=DPI)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12, wspace=0.02, hspace=0.02)
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
