"""`interlake judge calibrate` and `interlake judge controls`: how far a judge can be believed."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.options import NumberRange, counted, json_option, lake_option, plain, print_json, print_table

if TYPE_CHECKING:
    from flows.judge.calibrating import Calibrated
    from flows.judge.controls import Controls, ControlScore


@click.command()
@lake_option
@click.option(
    "--human",
    type=click.Path(path_type=Path),
    required=True,
    help="CSV or Parquet of what people say: sample_id, turn, rater, tcc, icc, iq, its; or, in place of the first two, "
    "question, answer, image.",
)
@click.option("--judge", "name", metavar="NAME", help="Which judge, where there are several.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the page: not there yet, empty, or an earlier one, whose place it takes.",
)
@click.option(
    "--holdout",
    type=NumberRange(min=0, max=0.9),
    default=0.3,
    show_default=True,
    help="Share of samples that the map to people's scores is not made from; 0: no map.",
)
@json_option
def calibrate(
    *, lake_path: Path, human: Path, name: str | None, out: Path | None, holdout: float, as_json: bool
) -> None:
    """Compare a judge's verdicts with what people say, score by score, with intervals of 95 %; write a page of it.

    Turns of the lake need verdicts first ('interlake judge run'). Items of other origin are judged now; that is not
    recorded.
    """
    from flows.judge.calibrating import PAGE, make_calibration

    found = make_calibration(lake_path, human, judge=name, holdout=holdout, out=out)
    if found.missing:
        lacking = f"careful: {found.missing} of {counted(found.items, 'item')} have no verdict by {found.judge}"
        click.echo(plain(f"{lacking}; 'interlake judge run' gives them"), err=True)
    if as_json:
        print_json({**found.json(), "page": str(out / PAGE) if out else None})
    else:
        _tell_calibrated(found)
        if out:
            click.echo(plain(f"the page: {out / PAGE}"))


def _tell_calibrated(found: "Calibrated") -> None:
    from flows.judge.calibration_page import count_rows, failure_lines, figure_rows

    columns = ["", *(each.score for each in found.scores)]
    setups = f"; it was set up in {found.setups} ways, the last one counts" if found.setups > 1 else ""
    raters = counted(found.raters, "rater")
    click.echo(plain(f"judge {found.judge}: {counted(found.items, 'item')} of {raters}{setups}"))
    rows = [*count_rows(found), *figure_rows({each.score: each.all for each in found.scores})]
    print_table(columns, [(label, *cells) for label, cells in rows])
    for title, parts in (
        ("held out, as the judge says it", {each.score: each.held_out for each in found.scores if each.held_out}),
        ("held out, by the map of the others", {each.score: each.mapped for each in found.scores if each.mapped}),
    ):
        if parts:
            click.echo(title)
            print_table(columns, [(label, *cells) for label, cells in figure_rows(parts)])
    for line in failure_lines(found):
        click.echo(plain(line))


@click.command()
@lake_option
@click.option("--judge", "name", metavar="NAME", help="Which judge, where the settings name several.")
@click.option(
    "--samples", type=click.IntRange(2, 1000), default=20, show_default=True, help="Kept samples to be altered."
)
@click.option(
    "--repeats", type=click.IntRange(2, 100), default=20, show_default=True, help="How often one turn is judged."
)
@json_option
def controls(*, lake_path: Path, name: str | None, samples: int, repeats: int, as_json: bool) -> None:
    """Alter kept turns so that scores must fall, or must not change, and see whether the judge notices.

    Another sample's picture, a blurred one, another answer, shuffled words, an answer said three times, the picture
    first, earlier turns in reverse; and one turn many times, for the spread. Nothing is recorded. Exit code 1 when a
    control fails.
    """
    from flows.judge.controls import run_controls

    found = run_controls(lake_path, judge=name, samples=samples, repeats=repeats)
    if as_json:
        print_json(found.json())
    else:
        _tell_controls(found)
    if found.failed():
        raise click.exceptions.Exit(1)


def _tell_controls(found: "Controls") -> None:
    click.echo(
        plain(f"judge {found.judge}: the last turns of {counted(found.samples, 'kept sample')}; nothing was recorded")
    )
    print_table(
        ["control", "score", "must be", "pairs", "unknown", "difference", "p", "outcome"], list(_control_rows(found))
    )
    if not found.is_seeded:
        click.echo("this judge takes no seed: its repeats are the same by its nature")
    print_table(
        ["score", "known", "unknown", "mean", "deviation", "lowest", "highest"],
        [
            (each.score, len(each.values), each.unknown, each.mean, each.deviation, *_ends(each.values))
            for each in found.spread
        ],
    )
    for score, reasons in found.unknown.items():
        if reasons:
            told = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
            click.echo(plain(f"{score} unknown of unaltered turns: {told}"))
    failed = found.failed()
    click.echo(plain(f"failed: {', '.join(failed)}" if failed else "no control failed"))


def _control_rows(found: "Controls") -> Iterator[tuple[object, ...]]:
    for control in found.controls:
        if not control.applies:
            yield control.name, "-", "-", 0, 0, None, None, "does not apply to this judge"
        for score in control.scores if control.applies else ():
            if score.expected is not None:
                yield _score_row(control.name, score)


def _score_row(name: str, score: "ControlScore") -> tuple[object, ...]:
    from flows.judge.calibration_page import estimate_words

    paired, expected = score.paired, (score.expected or "").replace("_", " ")
    p = None if paired.p is None else f"{paired.p:.4f}"
    difference = estimate_words(paired.difference)
    return name, score.score, expected, paired.items, paired.unknown, difference, p, score.outcome


def _ends(values: tuple[float, ...]) -> tuple[float | None, float | None]:
    return (min(values), max(values)) if values else (None, None)
