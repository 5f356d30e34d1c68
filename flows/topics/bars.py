"""Coverage as a tree with bars, for a terminal: lines of styled text, of a width that is given. Prints nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import polars as pl

from flows.topics.coverage import OUTCOMES, PATH

Styled: TypeAlias = tuple[str, str]
"""A piece of a line, and its style as rich names it."""

STYLES = dict(zip(OUTCOMES, ("green", "red", "yellow", "magenta", "blue"), strict=True))
SIGNS = dict(zip(OUTCOMES, "█▓▒░·", strict=True))
PLAIN_SIGNS = dict(zip(OUTCOMES, "#x=!.", strict=True))
HEADS = ("kept", "rej.", "dupl.", "fail.", "open")
COUNT, TOPICS, TEMPLATES = 5, 9, 11
"""Columns of a count, of covered topics, of the templates' entropy."""
LONGEST_NAME, SHORTEST_NAME, SHORTEST_BAR = 34, 12, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How wide the name and the bar are, and by which signs a bar tells outcomes."""

    name: int
    bar: int
    is_unicode: bool

    def signs(self) -> dict[str, str]:
        return SIGNS if self.is_unicode else PLAIN_SIGNS


def draw_tree(table: pl.DataFrame, *, width: int, is_unicode: bool) -> Iterator[list[Styled]]:
    """The lines for what `cover` told: a heading, a legend, the branches. Bars are as long as slots are many, by depth.

    A terminal of fewer columns than the figures need gets longer lines.
    """
    rows = table.to_dicts()
    most = dict(table.group_by("depth").agg(pl.col("slots").max()).iter_rows())
    figures = TOPICS + (COUNT + 1) * len(OUTCOMES) + TEMPLATES + 4
    longest = min(LONGEST_NAME, max((len(_label(row)) for row in rows), default=0))
    name = max(SHORTEST_NAME, min(longest, width - figures - SHORTEST_BAR))
    layout = Layout(name=name, bar=max(SHORTEST_BAR, width - figures - name - 1), is_unicode=is_unicode)
    yield _heading(layout)
    for row in rows:
        yield _line(row, layout, most[row["depth"]])
    yield [("", "")]
    yield _legend(layout)


def _heading(layout: Layout) -> list[Styled]:
    counts = " ".join(f"{head:>{COUNT}}" for head in HEADS)
    text = f"{'':{layout.name}} {'covered':>{TOPICS}} {'slots':{layout.bar}} {counts} {'templates':>{TEMPLATES}}"
    return [(text.rstrip(), "bold")]


def _legend(layout: Layout) -> list[Styled]:
    pieces: list[Styled] = []
    for outcome, sign in layout.signs().items():
        pieces += [(sign, STYLES[outcome]), (f" {outcome}  ", "")]
    return [*pieces, ("templates: entropy in bits over turns of kept samples, share of the most", "dim")]


def _line(row: dict[str, Any], layout: Layout, most: int) -> list[Styled]:
    style = "bold" if row["depth"] < 2 else ""
    covered = f"{row['covered']}/{row['topics']}"
    counts = [(f" {row[outcome] or '-':>{COUNT}}", STYLES[outcome] if row[outcome] else "dim") for outcome in OUTCOMES]
    return [
        (f"{_fit(_label(row), layout)} ", style),
        (f"{covered:>{TOPICS}} ", style),
        *_bar(row, layout, most),
        *counts,
        (f" {_templates(row):>{TEMPLATES}}", "dim"),
    ]


def _bar(row: dict[str, Any], layout: Layout, most: int) -> Iterator[Styled]:
    """As long as the branch's slots are against the most of its depth; a slot of any outcome shows where it can."""
    length = max(1, round(layout.bar * row["slots"] / most)) if row["slots"] else 0
    cells = share_out([row[outcome] for outcome in OUTCOMES], length)
    for (outcome, sign), count in zip(layout.signs().items(), cells, strict=True):
        yield sign * count, STYLES[outcome]
    yield " " * (layout.bar - length), ""


def share_out(counts: Sequence[int], cells: int) -> list[int]:
    """So many cells by counts: largest remainders, and at least one for each that is not 0 while there are enough."""
    whole = sum(counts)
    shares = [count * cells / whole if whole else 0.0 for count in counts]
    given = [int(share) for share in shares]
    by_remainder = sorted(range(len(counts)), key=lambda at: (given[at] - shares[at], at))
    for at in by_remainder[: cells - sum(given)] if whole else []:
        given[at] += 1
    for at, count in enumerate(counts):
        richest = max(range(len(counts)), key=lambda other: given[other])
        if count and not given[at] and given[richest] > 1:
            given[at], given[richest] = 1, given[richest] - 1
    return given


def _label(row: dict[str, Any]) -> str:
    """The name of a branch at its indent; what could steer a terminal is escaped."""
    depth: int = row["depth"]
    name = row[PATH[depth - 1]] if depth else "all topics"
    safe = "".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in name)
    return f"{'  ' * (depth - 1)}{safe}"


def _fit(name: str, layout: Layout) -> str:
    """A name in its columns, cut where it is too long."""
    more = "…" if layout.is_unicode else "~"
    shown = name if len(name) <= layout.name else f"{name[: layout.name - 1]}{more}"
    text = f"{shown:{layout.name}}"
    return text if layout.is_unicode else text.encode("ascii", "replace").decode()


def _templates(row: dict[str, Any]) -> str:
    if row["template_entropy"] is None:
        return "-"
    evenness = row["template_evenness"]
    share = f", {100 * evenness:.0f} %" if evenness is not None else ""
    return f"{row['template_entropy']:.2f}{share}"
