"""Coverage as a picture: a treemap of domains and categories. Numbers in, SVG or PNG out; the same in, the same out."""

import io
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import polars as pl
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from flows.topics.squarify import Box as Box  # noqa: PLC0414
from flows.topics.squarify import squarify as squarify  # noqa: PLC0414

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 14.0, 9.0
"""Inches."""
DPI = 110
HEAD = 0.3
"""Inches above the categories of a domain, for its name."""
EMPTY, INK, PALE = "#e9e9e6", "#222222", "#77776f"
KEPT = LinearSegmentedColormap.from_list("kept", ["#e58e7a", "#f6d990", "#86c596"])
"""From nothing kept to everything."""
LETTER, LINE = 0.0085, 0.19
"""Inches that a letter is wide, for each point of its size, and that a line is high."""


def draw_treemap(table: pl.DataFrame, *, kind: str) -> bytes:
    """The picture of what `cover` told down to depth 2, as `svg` or `png`.

    A category is as large as its topics are many. The part of it that is coloured is the share of its topics that have
    slots, and the colour is the share of those slots that are kept.
    """
    with rc_context({"svg.hashsalt": "interlake", "svg.fonttype": "none", "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
        axes.axis("off")
        _draw_head(axes, table)
        _draw_domains(axes, table, Box(x=0.15, y=0.85, width=WIDTH - 0.3, height=HEIGHT - 1.0))
        buffer = io.BytesIO()
        nothing = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, metadata=nothing)
    return buffer.getvalue()


def _draw_head(axes: "Axes", table: pl.DataFrame) -> None:
    whole = table.filter(pl.col("depth") == 0).to_dicts()
    if not whole:
        return
    all_of_it = whole[0]
    axes.text(0.2, 0.33, _covered(all_of_it), fontsize=15, weight="bold", color=INK, va="center")
    told = ", ".join(f"{all_of_it[name]} {name}" for name in ("kept", "rejected", "duplicate", "failed", "open"))
    axes.text(0.2, 0.63, f"{all_of_it['slots']} slots: {told}", fontsize=10, color=PALE, va="center")
    x, y = WIDTH - 4.3, 0.3
    for step in range(50):
        axes.add_patch(Rectangle((x + step * 0.04, y), 0.041, 0.18, color=KEPT(step / 49), linewidth=0))
    for place, text in ((x, "0 % kept"), (x + 2.0, "100 %")):
        axes.text(place, y + 0.32, text, fontsize=8.5, color=PALE, va="center", ha="left" if place == x else "right")
    axes.add_patch(Rectangle((x + 2.4, y), 0.3, 0.18, facecolor=EMPTY, linewidth=0))
    axes.text(x + 2.8, y + 0.09, "without samples", fontsize=8.5, color=PALE, va="center")


def _draw_domains(axes: "Axes", table: pl.DataFrame, box: Box) -> None:
    domains = _by_size(table.filter(pl.col("depth") == 1), "domain")
    for domain, place in zip(domains, squarify([row["topics"] for row in domains], box), strict=True):
        inner = place.inside(top=HEAD, rim=0.04)
        label = _fitting(f"{domain['domain']}  {domain['covered']}/{domain['topics']}", place.width - 0.1, 11)
        axes.text(place.x + 0.07, place.y + HEAD / 2 + 0.02, label, fontsize=11, weight="bold", color=INK, va="center")
        inside = table.filter((pl.col("depth") == 2) & (pl.col("domain") == domain["domain"]))
        categories = _by_size(inside, "category")
        places = squarify([row["topics"] for row in categories], inner)
        for category, spot in zip(categories, places, strict=True):
            _draw_category(axes, category, spot)


def _by_size(branches: pl.DataFrame, name: str) -> list[dict[str, Any]]:
    return branches.sort("topics", name, descending=[True, False]).to_dicts()


def _draw_category(axes: "Axes", row: dict[str, Any], box: Box) -> None:
    axes.add_patch(Rectangle((box.x, box.y), box.width, box.height, facecolor=EMPTY, linewidth=0))
    if row["slots"]:
        share = box.height * row["covered"] / row["topics"]
        colour = to_hex(KEPT(row["kept"] / row["slots"]))
        bottom = box.y + box.height - share
        axes.add_patch(Rectangle((box.x, bottom), box.width, share, facecolor=colour, linewidth=0))
    rim = Rectangle((box.x, box.y), box.width, box.height, fill=False, edgecolor="white", linewidth=1.6)
    axes.add_patch(rim)
    for line, (text, size) in enumerate(_labels(row, box)):
        axes.text(box.x + 0.08, box.y + 0.16 + LINE * line, text, fontsize=size, color=INK, va="center")


def _labels(row: dict[str, Any], box: Box) -> Iterator[tuple[str, float]]:
    """The lines that a category has room for, with their sizes: its name, what is covered, what is kept."""
    width, room = box.width - 0.14, int((box.height - 0.06) / LINE)
    name = textwrap.wrap(row["category"], max(4, _letters(width, 9.0)))
    if len(name) > max(1, room - 2):
        name = [row["category"]]
    told = [(line, 9.0) for line in name]
    told.append((f"{row['covered']}/{row['topics']} topics", 8.0))
    told += [(f"{row['kept']}/{row['slots']} kept", 8.0)] if row["slots"] else []
    for text, size in told[:room]:
        if shown := _fitting(text, width, size):
            yield shown, size


def _letters(width: float, size: float) -> int:
    return int(width / (LETTER * size))


def _fitting(text: str, width: float, size: float) -> str:
    """As much of a text as fits into so many inches, dollar signs as they are; nothing where that is next to none."""
    letters = _letters(width, size)
    if letters < 4:
        return ""
    shown = text if len(text) <= letters else f"{text[: letters - 1]}…"
    return shown.replace("$", r"\$")


def _covered(row: dict[str, Any]) -> str:
    return f"{row['covered']} of {row['topics']} topics have samples"
