"""`interlake judge depth`: what each round of refinement was worth, and what it cost."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from flows.cli.options import json_option, lake_option, plain, print_json, print_table
from flows.errors import UserError

if TYPE_CHECKING:
    from flows.judge.depth import Depth

NONE_YET = "no draft was judged yet; 'interlake judge run --rounds' has them judged"
CAREFUL = (
    "changes are over turns that have both rounds: one that stopped earlier is in none of them. 'helped' and 'made it "
    "worse' allow for all changes of the judge being looked at (Holm)"
)


@click.command()
@lake_option
@click.option("--version", "version", type=click.IntRange(min=1), help="As it stood at this version.")
@click.option("--judge", "name", metavar="NAME", help="Only this judge, by its name or its setup's digits.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="A plot of it: FILE.svg or FILE.png.")
@json_option
def depth(*, lake_path: Path, version: int | None, name: str | None, plot: Path | None, as_json: bool) -> None:
    """Did another round help? Scores of recorded drafts by stage and round, with intervals of 95 %, and their cost.

    The drafts need verdicts first: 'interlake judge run --rounds'.
    """
    from flows.judge.depth import read_depth
    from storage.lake import Lake

    kind = _kind_of(plot) if plot else None
    lake = Lake.open(lake_path)
    found = read_depth(lake, lake.version(version), name)
    if plot and kind:
        _plot(found, plot, kind)
    if as_json:
        print_json([each.json() for each in found])
    elif not found:
        click.echo(NONE_YET)
    else:
        _tell(found)


def _kind_of(plot: Path) -> Literal["svg", "png"]:
    match plot.suffix.lower():
        case ".svg":
            return "svg"
        case ".png":
            return "png"
    raise UserError(f"{plot} is neither .svg nor .png: name one of these")


def _plot(found: "list[Depth]", plot: Path, kind: Literal["svg", "png"]) -> None:
    """UserError where there is nothing to draw, or more than fits one plot, or the file cannot be written."""
    from flows.judge.depth_chart import draw_depth

    if not found:
        raise UserError(NONE_YET)
    if len(found) > 1:
        setups = ", ".join(f"{each.judge} ({each.judge_sha256[:8]})" for each in found)
        raise UserError(f"a plot is of one judge, and there are {setups}: choose one by --judge")
    try:
        plot.write_bytes(draw_depth(found[0], kind))
    except OSError as error:
        raise UserError(f"{plot} cannot be written: {error.strerror or error}") from error


def _tell(found: "list[Depth]") -> None:
    from flows.judge.depth import depth_table

    for each in found:
        rows = list(depth_table(each))
        click.echo(plain(f"judge {each.judge} ({each.judge_sha256[:8]})"))
        names = [name for name in rows[0] if name not in ("judge", "setup")]
        print_table(names, [[row[name] for name in names] for row in rows])
        for sentence in each.sentences():
            click.echo(plain(sentence))
    click.echo(CAREFUL)
