"""A picture of one table of `make bench-dedup`: what a tool takes against what it finds."""

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from tests.benchmarks.dedup import Table


def draw(table: "Table", path: Path) -> None:
    """Write a PNG of some 30 KB."""
    from tests.benchmarks.dedup import label

    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for nth, each in enumerate(sorted(table.found, key=table.cost)):
        at = (table.cost(each), each.recall)
        axes.plot(*at, "o", color="tab:red" if each.tool.startswith("this") else "tab:gray")
        name = f"{label(each.tool)}\n{at[0]:.3g}"
        below = -8 - 28 * (nth % 2)  # neighbours' names would lie on each other
        axes.annotate(name, at, xytext=(0, below), textcoords="offset points", ha="center", va="top", fontsize=8)
    axes.margins(x=0.1)
    axes.set_xscale("log")
    axes.set_ylim(0.985, 1.001)
    axes.set_xlabel("CPU-seconds for 1,000 queries")
    axes.set_ylabel("share of the true pairs found")
    axes.set_title(f"Near-duplicates among {table.rows:,} vectors of 512 numbers", fontsize=10)
    axes.grid(visible=True, which="major", alpha=0.3)
    FigureCanvasAgg(figure).print_figure(path, dpi=100)
