"""A comparison as a picture: the mean of each score by system, with its interval; the same in, the same out."""

import io
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flows.benchmark.comparing import Comparison
from flows.judge.candidate import HIGHEST, LOWEST, SCORES

INCHES, DPI = (8.0, 4.5), 110
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
MARKS = "osD^vP"
NOTHING: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


def draw_scores(comparison: Comparison, *, kind: Literal["png", "svg"]) -> bytes:
    """The chart. Systems differ in colour and mark; beyond six, they come again."""
    with rc_context({"svg.hashsalt": "interlake", "svg.fonttype": "none", "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=INCHES, dpi=DPI)
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        systems = list(dict.fromkeys(row.system for row in comparison.systems))
        for number, system in enumerate(systems):
            shift = (number - (len(systems) - 1) / 2) * 0.7 / max(len(systems), 1)
            rows = [row for row in comparison.systems if row.system == system and row.table.mean is not None]
            places = [SCORES.index(row.table.score) + shift for row in rows]
            means = [row.table.mean or 0.0 for row in rows]
            lows = [mean - (mean if row.low is None else row.low) for mean, row in zip(means, rows, strict=True)]
            highs = [(mean if row.high is None else row.high) - mean for mean, row in zip(means, rows, strict=True)]
            axes.errorbar(
                places,
                means,
                yerr=[lows, highs],
                label=f"{number + 1}: {system}",
                color=COLOURS[number % len(COLOURS)],
                fmt=MARKS[number % len(MARKS)],
                capsize=3,
            )
        axes.set_xticks(range(len(SCORES)), [name.upper() for name in SCORES])
        axes.set_ylim(LOWEST - 0.1, HIGHEST + 0.1)
        axes.set_ylabel("mean score, with its interval of 95 %")
        axes.grid(axis="y", alpha=0.3)
        for label in axes.legend(loc="best", frameon=False).get_texts():
            label.set_parse_math(False)  # a name is a name, whatever signs it has
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, metadata=NOTHING[kind], bbox_inches="tight")
    return buffer.getvalue()
