"""What people say against what a judge says, drawn as a grid of counts for each score. Drawn without a screen."""

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS = 6
"""Whole scores, 0 to 5; what lies between is counted at the nearer one, half of it upwards."""
UNKNOWN = LEVELS
"""The row of what the judge did not know."""
DPI = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """One score: for each item the mean of the people and the score of the judge, None where there is none."""

    score: str
    pairs: tuple[tuple[float | None, float | None], ...]

    def counts(self) -> "np.typing.NDArray[np.int64]":
        """Items by the judge's level (rows, the last one unknown) and the people's (columns); others are left out."""
        found = Counter((_level(judge), _level(people)) for people, judge in self.pairs if people is not None)
        counts = np.zeros((LEVELS + 1, LEVELS), dtype=np.int64)
        for (row, column), count in found.items():
            counts[row, column] = count
        return counts


def draw_confusion(grids: Sequence[Grid]) -> bytes:
    """PNG with a grid for each score."""
    figure = Figure(figsize=(3.6 * len(grids), 4.6), dpi=DPI)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.15)
    FigureCanvasAgg(figure)
    for axes, grid in zip(figure.subplots(1, len(grids), squeeze=False)[0], grids, strict=True):
        _draw(axes, grid)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw(axes: "Axes", grid: Grid) -> None:
    counts = grid.counts()
    most = max(1, int(counts.max()))
    axes.imshow(counts, origin="lower", cmap="Blues", vmin=0, vmax=most)
    axes.plot([-0.5, LEVELS - 0.5], [-0.5, LEVELS - 0.5], color="#b3412b", linestyle="--", linewidth=1)
    axes.axhline(LEVELS - 0.5, color="#222222", linewidth=1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        count = int(counts[row, column])
        axes.text(
            column, row, str(count), ha="center", va="center", color="white" if count > most / 2 else "#1d2430", size=9
        )
    axes.set_xticks(range(LEVELS))
    axes.set_yticks(range(LEVELS + 1), [*map(str, range(LEVELS)), "?"])
    axes.set(xlabel="people (mean)", ylabel="judge")
    axes.set_title(f"{grid.score.upper()}: {int(counts.sum())} items", fontsize=10.5)


def _level(value: float | None) -> int:
    return UNKNOWN if value is None else int(np.floor(value + 0.5))
