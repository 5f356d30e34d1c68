"""`interlake topics coverage`: the tree of topics with bars, as JSON, or as a picture."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.options import json_option, lake_option, print_json, refuse_inside_lake
from flows.errors import UserError

if TYPE_CHECKING:
    import polars as pl

WIDTH = 120
"""Columns, where no terminal says how many it has."""
PICTURES = (".svg", ".png")


@click.command()
@lake_option
@click.option("--under", default="", metavar="BRANCH", help="Only this domain, or 'Domain/Category'.")
@click.option(
    "--depth",
    type=click.IntRange(0, 3),
    default=2,
    show_default=True,
    help="0: the lake, 1: domains, 2: categories, 3: topics.",
)
@click.option(
    "--picture", type=click.Path(path_type=Path, dir_okay=False), help="Draw it into this file too: .svg or .png."
)
@json_option
def coverage(*, lake_path: Path, under: str, depth: int, picture: Path | None, as_json: bool) -> None:
    """How far the topics are covered, branch by branch.

    Topics with samples, slots by outcome, and how evenly templates are used in the turns of kept samples: their
    entropy, and that as a share of the most that so many turns can have. --json has a row for each branch of the depth.
    """
    import polars as pl

    from flows.standing import read_coverage

    if picture is not None:
        _check_picture(lake_path, picture)
    table = read_coverage(lake_path, depth=depth, under=under)
    if as_json:
        print_json(table.filter(pl.col("depth") == depth).drop("depth").to_dicts())
    else:
        _print_tree(table)
    if picture is not None:
        _draw(read_coverage(lake_path, depth=2, under=under), picture)
        click.echo(f"drawn into {picture}", err=as_json)


def _check_picture(lake_path: Path, picture: Path) -> None:
    if picture.suffix.lower() not in PICTURES:
        raise UserError(f"{picture} is neither .svg nor .png: name a file that ends like one of them")
    refuse_inside_lake(lake_path, picture)


def _print_tree(table: "pl.DataFrame") -> None:
    from rich.text import Text

    from flows.cli.options import console
    from flows.topics.bars import draw_tree

    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    out = console()
    for line in draw_tree(table, width=shutil.get_terminal_size((WIDTH, 24)).columns, is_unicode=is_unicode):
        if out.is_terminal:
            out.print(Text.assemble(*line), soft_wrap=True)
        else:
            click.echo("".join(text for text, _ in line).rstrip())


def _draw(table: "pl.DataFrame", picture: Path) -> None:
    from flows.topics.treemap import draw_treemap

    picture.write_bytes(draw_treemap(table, kind=picture.suffix.lower().removeprefix(".")))
