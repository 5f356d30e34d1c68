"""`interlake reembed`: move a lake to another encoder."""

from pathlib import Path

import click

from flows.asked import ENCODERS
from flows.cli.options import LOCK_HELP, LOCK_SECONDS, json_option, lake_option, print_json, quiet_prefect


@click.command()
@lake_option
@click.option(
    "--encoder",
    type=click.Choice(ENCODERS),
    help="Put this encoder and its thresholds into the settings first; without it, the settings say which.",
)
@click.option("--lock-timeout", type=LOCK_SECONDS, show_default="as the settings say", help=LOCK_HELP)
@json_option
def reembed(*, lake_path: Path, encoder: str | None, lock_timeout: float | None, as_json: bool) -> None:
    """Move the lake to another encoder: new vectors, decisions made anew, a new version.

    An encoder of your own (open_clip) is chosen in the settings, with its thresholds. An interrupted move goes on where
    it ended when the same command is given again.
    """
    from flows.lakes import choose_encoder
    from storage.lake import Lake

    Lake.open(lake_path)
    if encoder:
        choose_encoder(lake_path, encoder)
    quiet_prefect()
    from flows.reembed import reembed_lake

    moved = reembed_lake(lake=str(lake_path), lock_timeout=lock_timeout)
    if as_json:
        print_json(moved)
    elif moved is None:
        click.echo("nothing to do: the lake's vectors are of this encoder already")
    else:
        click.echo(
            f"{moved['turns']} turns embedded by {moved['encoder']}; kept {moved['kept']} samples (before "
            f"{moved['kept_before']}), duplicate {moved['duplicate']} (before {moved['duplicate_before']}); "
            f"version {moved['version']}"
        )
