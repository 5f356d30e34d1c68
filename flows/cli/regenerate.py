"""`interlake regenerate`: the models asked again what they were asked, and their answers compared."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.options import json_option, lake_option, plain, print_json

if TYPE_CHECKING:
    from flows.regenerate.report import Regeneration

DIFFERENT = 1
MOST_SHOWN = 20
SOME = click.IntRange(min=1)


@click.command()
@lake_option
@click.option("--version", type=SOME, help="Up to this version.  [default: the newest]")
@click.option("--since", type=click.IntRange(min=0), default=0, help="Only what came after this version.")
@click.option("--run", help="Only what this run asked: the first digits of its id.")
@click.option("--sample", help="Only this sample: the first digits of its id.")
@click.option("--call", help="Only this call: the first digits of its id.")
@click.option("--limit", type=SOME, help="So many calls at most, evenly chosen, and always the same ones.")
@click.option("--at-once", type=SOME, help="Calls that a model is asked at a time.  [default: as many as it bears]")
@click.option("--all", "show_all", is_flag=True, help=f"Show all that differs, not only the first {MOST_SHOWN}.")
@json_option
@click.pass_context
def regenerate(
    context: click.Context,
    *,
    lake_path: Path,
    version: int | None,
    since: int,
    run: str | None,
    sample: str | None,
    call: str | None,
    limit: int | None,
    at_once: int | None,
    show_all: bool,
    as_json: bool,
) -> None:
    """Ask the models again with the recorded requests, and compare the answers with the recorded ones.

    Needs the models that were asked; their addresses, folders and devices are those of interlake.toml. What was
    computed in a batch is asked in that batch again. A call is identical, drifted (and how), or impossible (and why).
    Writes nothing into the lake. Exit code 1 unless all are identical.
    """
    from flows.regenerate.choosing import RegenerateOptions
    from flows.regenerate.regenerating import Regenerating

    options = RegenerateOptions(version=version, since=since, run=run, sample=sample, call=call, limit=limit)
    regenerating = Regenerating(lake_path, options, at_once=at_once)
    done = []
    for model in regenerating.models:
        done.append(regenerating.regenerate(model))
        if not as_json:
            _print(list(done[-1].lines()))
    report = regenerating.report(done)
    if as_json:
        print_json(report.json())
    else:
        _print_rest(report, most=None if show_all else MOST_SHOWN)
    context.exit(0 if report.is_identical else DIFFERENT)


def _print_rest(report: "Regeneration", most: int | None) -> None:
    outcomes = report.outcomes()
    for outcome in outcomes[:most]:
        _print(list(outcome.lines()))
    if most is not None and len(outcomes) > most:
        click.echo(f"… and {len(outcomes) - most} more, with --all")
    for environment in report.environments:
        _print(environment.lines(most))
    click.echo(plain(report.line()))


def _print(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(plain(line))
