"""`interlake models`: try the models of the settings out, and pin them."""

import sys
from pathlib import Path

import click

from flows.cli.options import json_option, lake_option, plain, print_json


@click.group()
def models() -> None:
    """See whether the models of the settings work, and pin them to a commit."""


@models.command()
@lake_option
@json_option
def check(*, lake_path: Path, as_json: bool) -> None:
    """Load each model that the settings name, ask it one small thing, and print what would be recorded.

    Exit code 1 when one of them cannot be used.
    """
    from flows.checking import check_models
    from storage.lake import Lake

    Lake.open(lake_path)
    found = check_models(lake_path)
    if as_json:
        print_json([checked.json() for checked in found])
    for checked in found if not as_json else ():
        who = checked.identity
        click.echo(plain(f"{checked.role}: {who.name} {who.revision}" if who else f"{checked.role}:"))
        if who:
            click.echo(plain(f"  licence {who.licence}, weights {who.weights_sha256 or 'not known here'}"))
            for name, value in sorted(who.fingerprint.items()):
                click.echo(plain(f"  {name}: {value}"))
        if checked.problem:
            click.echo(plain(f"  PROBLEM {checked.problem}"))
        else:
            click.echo(plain(f"  answered in {checked.seconds:.2f} s: {checked.answer}"))
    if any(checked.problem for checked in found):
        sys.exit(1)


@models.command()
@lake_option
@click.option("--again", is_flag=True, help="Also those that are pinned already: move them to today's commit.")
def pin(*, lake_path: Path, again: bool) -> None:
    """Look up the newest commit and licence of each model on its hub, and write them into the settings."""
    from flows.pinning import pin_models

    pins = pin_models(lake_path, again=again)
    for found in pins:
        licence = found.licence or "no licence named"
        click.echo(plain(f"[{found.table}] {found.repository} {found.revision} ({licence})"))
    if not pins:
        click.echo("nothing to pin: no model of a hub is without a commit")
