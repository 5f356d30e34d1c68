"""A comparison as people read it: tables for a terminal, and a page of Markdown. Reckons nothing."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flows.benchmark.comparing import GROUPS, Comparison, Difference, GroupDifference, SystemScore
from flows.judge.candidate import SCORES
from flows.ui.escaping import as_text

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Heads, and rows of as many cells."""

_FIGURES = re.compile(r"[-+<]? ?[\d.]*(?: to [-+]?[\d.]+)?(?: \[[-+\d. to]+\])?(?: \(\d+\))?")
NOTES = (
    "Scores are from 0 to 5; a question counts once, by the mean of its repeats. What has no answer is worth 0, and "
    "counts in the scores; differences are on the questions that both answered. What a judge does not know is "
    "`unknown`, and enters nothing. Intervals are of 95 %, by bootstrap over questions; p by changes of signs (all "
    "counted where scores are whole or means of a few, else drawn at random), corrected after Holm for all differences "
    "of the second table. Those by domain and by type are many, of few questions each, and not corrected: look, and do "
    "not conclude."
)


def score_table(rows: Sequence[SystemScore]) -> Table:
    """System by score: mean with its interval, variance, n, unknown."""
    heads = ("system", "score", "mean", "95 %", "variance", "n", "unknown", "why")
    return heads, [
        (
            row.system,
            row.table.score,
            _number(row.table.mean),
            _range(row.low, row.high),
            _number(row.table.variance),
            str(row.table.n),
            str(row.table.unknown),
            ", ".join(f"{count} {reason}" for reason, count in row.table.reasons.items()) or "-",
        )
        for row in rows
    ]


def difference_table(rows: Sequence[Difference]) -> Table:
    """Pairs by score: how much higher the second is, its interval, p before and after correction."""
    heads = ("second - first", "score", "difference", "95 %", "n", "left out", "p", "p (Holm)")
    return heads, [
        (
            f"{row.second} - {row.first}",
            row.score,
            _number(row.paired.difference.value, sign="+"),
            _range(row.paired.difference.low, row.paired.difference.high, sign="+"),
            str(row.paired.items),
            str(row.paired.unknown),
            _chance(row.paired.p),
            _chance(row.p_holm),
        )
        for row in rows
    ]


def group_table(comparison: Comparison, by: str) -> Table:
    """Domain or type by system: the mean of each score and of how many questions it is, then the differences."""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for row in comparison.groups:
        if row.by == by:
            cells.setdefault((row.group, row.system), {})[row.score] = f"{_number(row.mean)} ({row.n})"
    for found in comparison.group_differences:
        if found.by == by:
            place = (found.group, f"{found.second} - {found.first}")
            cells.setdefault(place, {})[found.score] = _away(found)
    heads = (by, "system", *(f"{score} (n)" for score in SCORES))
    return heads, [(*place, *(scores[name] for name in SCORES)) for place, scores in _by_group(cells)]


def _by_group(cells: Mapping[tuple[str, str], dict[str, str]]) -> list[tuple[tuple[str, str], dict[str, str]]]:
    """By group; in it as they came: systems, then differences."""
    return sorted(cells.items(), key=lambda item: item[0][0])


def _away(found: GroupDifference) -> str:
    value, span = found.difference, _range(found.difference.low, found.difference.high, sign="+")
    return f"{_number(value.value, sign='+')} [{span}] ({found.n})"


def write_page(comparison: Comparison) -> str:
    """The page."""
    return "\n".join(_page(comparison)) + "\n"


def _page(comparison: Comparison) -> Iterator[str]:
    yield "# Benchmark\n"
    yield from _facts(comparison.told)
    yield from (f"- Careful: {as_text(warning, limit=4000)}" for warning in comparison.careful())
    yield "\n## Scores\n"
    yield from _markdown(score_table(comparison.systems))
    if comparison.differences:
        yield "\n## Differences\n"
        yield from _markdown(difference_table(comparison.differences))
    for by in GROUPS:
        yield f"\n## By {by}\n"
        yield from _markdown(group_table(comparison, by))
    yield f"\n{NOTES}"


def _facts(told: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    first = told[0]
    who = ", ".join(f"{model['name']} at {model['revision']}" for model in first["judge"]["models"].values())
    yield f"- Judge: {as_text(str(first['judge']['name']))} ({as_text(who)}), set up as `{first['judge']['sha256']}`"
    yield f"- Rubric: `{first['rubric_sha256']}`"
    yield f"- Questions: `{first['questions_sha256']}`"
    for run in told:
        models = ", ".join(f"{role} {model['name']}" for role, model in run["models"].items()) or "not known here"
        problems = ", ".join(f"{count} {reason}" for reason, count in run["problems"].items())
        yield (
            f"- {as_text(str(run['name']))}: {run['answered']} of {run['questions']} questions answered"
            f"{f' ({as_text(problems)})' if problems else ''}, verdicts on each: {run['repeats']}; "
            f"models: {as_text(models)}"
        )
        yield from (f"- Careful: {as_text(warning, limit=400)}" for warning in run["warnings"])


def _markdown(table: Table) -> Iterator[str]:
    heads, rows = table
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    yield from (f"| {' | '.join(map(_cell, row))} |" for row in rows)


def _cell(text: str) -> str:
    """Figures stay as they are; all else may be what somebody called a system."""
    return text if _FIGURES.fullmatch(text) else as_text(text)


def _number(value: float | None, *, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.2f}"


def _range(low: float | None, high: float | None, *, sign: str = "") -> str:
    return "-" if low is None else f"{_number(low, sign=sign)} to {_number(high, sign=sign)}"


def _chance(p: float | None) -> str:
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
