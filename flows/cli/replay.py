"""`interlake replay`: what was made, made again from what was recorded, and compared."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.options import json_option, lake_option, plain, print_json

if TYPE_CHECKING:
    from flows.replay.differences import Difference

DIFFERENT = 1
MOST_SHOWN = 20


@click.command()
@lake_option
@click.option("--version", type=click.IntRange(min=1), help="Up to this version.  [default: the newest]")
@click.option("--since", type=click.IntRange(min=0), default=0, help="Only what came after this version.")
@click.option("--run", help="Only what this run made: the first digits of its id.")
@click.option("--sample", help="Only this sample: the first digits of its id.")
@click.option("--all", "show_all", is_flag=True, help=f"Show all differences, not only the first {MOST_SHOWN}.")
@json_option
@click.pass_context
def replay(
    context: click.Context,
    *,
    lake_path: Path,
    version: int | None,
    since: int,
    run: str | None,
    sample: str | None,
    show_all: bool,
    as_json: bool,
) -> None:
    """Make samples, rounds, decisions and vectors again, every call answered from the record, and compare.

    Needs no network, no GPU and no model files, and writes nothing. The lines end with the hash that the replay gives a
    version. Exit code 1 when anything is not as it was recorded; each difference says where it first shows.
    """
    from flows.replay.replaying import Replaying, ReplayOptions
    from flows.replay.report import GIVEN

    replaying = Replaying(lake_path, ReplayOptions(version=version, since=since, run=run, sample=sample))
    done = []
    for number in replaying.numbers:
        done.append(replaying.replay(number))
        if not as_json and (done[-1].what != GIVEN or done[-1].differences):
            click.echo(plain(done[-1].line()))
    report = replaying.report(done)
    if as_json:
        print_json(report.json())
    else:
        shown = report.differences if show_all else report.differences[:MOST_SHOWN]
        for difference in shown:
            _print_difference(difference)
        if len(shown) < len(report.differences):
            click.echo(f"… and {len(report.differences) - len(shown)} more, with --all")
        click.echo(report.line())
    context.exit(0 if report.is_identical else DIFFERENT)


def _print_difference(difference: "Difference") -> None:
    click.echo(plain(f"DIFFERS {difference.line()}"))
    for line in difference.detail:
        click.echo(plain(f"    {line}"))
