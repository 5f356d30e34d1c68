"""The pages of a comparison: Markdown, and one page of HTML that needs nothing else. Reckons nothing.

Every text in it is escaped: systems have the names that somebody gave them.
"""

import base64
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import jinja2

from flows.benchmark.comparing import GROUPS, Comparison
from flows.benchmark.page import NOTES, Table, difference_table, group_table, score_table, write_page
from storage.durable import write_durably

TEMPLATE = "comparison.html"
MARKDOWN, HTML = "report.md", "report.html"


def write_reports(out: Path, comparison: Comparison) -> None:
    """Write both pages into a folder."""
    write_durably(out / MARKDOWN, write_page(comparison).encode())
    write_durably(out / HTML, render_page(comparison).encode())


def render_page(comparison: Comparison) -> str:
    """The page of HTML, with the chart inside."""
    from flows.benchmark.chart import draw_scores  # noqa: PLC0415  matplotlib takes a second, and only this draws

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(files("flows.benchmark").joinpath(TEMPLATE).read_text(encoding="utf-8"))
    return template.render(
        runs=comparison.told,
        first=comparison.told[0],
        careful=[*comparison.careful(), *(warning for run in comparison.told for warning in run["warnings"])],
        chart=f"data:image/png;base64,{base64.b64encode(draw_scores(comparison, kind='png')).decode()}",
        tables=list(_tables(comparison)),
        notes=NOTES.replace("`", ""),
    )


def _tables(comparison: Comparison) -> Iterator[tuple[str, Table]]:
    yield "Scores", score_table(comparison.systems)
    if comparison.differences:
        yield "Differences", difference_table(comparison.differences)
    yield from ((f"By {by}", group_table(comparison, by)) for by in GROUPS)
