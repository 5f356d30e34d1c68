"""`interlake maintain`: compaction, and retirement where the user asks for it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from flows.cli.options import (
    LOCK_HELP,
    LOCK_SECONDS,
    NumberRange,
    json_option,
    lake_option,
    print_json,
    print_table,
    quiet_prefect,
)


@click.command()
@lake_option
@click.option(
    "--least",
    type=click.IntRange(1, 100_000),
    default=64,
    show_default=True,
    help="Packages that must have come together to be compacted.",
)
@click.option(
    "--retire-after",
    "retire_after_days",
    type=NumberRange(0, 36_500),
    metavar="DAYS",
    help="Remove packages compacted, and LanceDB tags of versions committed, so many days ago; without it all stay.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@click.option("--lock-timeout", type=LOCK_SECONDS, show_default="as the settings say", help=LOCK_HELP)
@json_option
def maintain(
    *,
    lake_path: Path,
    least: int,
    retire_after_days: float | None,
    dry_run: bool,
    lock_timeout: float | None,
    as_json: bool,
) -> None:
    """Make the lake quick to read: run the Prefect flow maintain_lake here and wait for it.

    Small packages are put together in compact folders, the table of turns in fewer files, with an index for 'similar'
    once it is large. Builds and readers go on meanwhile; versions, hashes and replay stay as they are. What each part
    of the lake weighs is shown at the end.
    """
    if dry_run:
        _preview(lake_path, least, retire_after_days, as_json=as_json)
        return
    from flows.maintaining import preview_maintenance

    preview_maintenance(lake_path, least=least, retire_after_days=retire_after_days)
    quiet_prefect()
    from flows.maintain import maintain_lake

    done = maintain_lake(
        lake=str(lake_path), least=least, retire_after_days=retire_after_days, lock_timeout=lock_timeout
    )
    if as_json:
        print_json(done)
    else:
        _print_done(done)


def _preview(lake_path: Path, least: int, retire_after_days: float | None, *, as_json: bool) -> None:
    from dataclasses import asdict

    from flows.maintaining import preview_maintenance

    outlook = preview_maintenance(lake_path, least=least, retire_after_days=retire_after_days)
    if as_json:
        print_json(asdict(outlook))
        return
    for group in outlook.groups:
        click.echo(f"would compact {group}")
    if not outlook.groups:
        click.echo(f"nothing to compact: fewer than {least} packages have come together")
    if retire_after_days is not None:
        click.echo(f"would retire {outlook.packages_to_retire} packages and {outlook.tags_to_retire} LanceDB tags")
    _print_sizes(outlook.sizes.table())


def _print_done(done: Mapping[str, Any]) -> None:
    from storage.sizes import Sizes

    click.echo(f"{done['compacted']} packages compacted into {done['folders']} folders")
    click.echo(f"the table of turns: {done['table_files_before']} files before, {done['table_files']} now")
    if done["rows_indexed"]:
        click.echo(f"the vectors of {done['rows_indexed']} turns have an index")
    if not done["table_rewritten"]:
        click.echo("the table of turns changed meanwhile; the next maintenance rewrites it")
    click.echo(f"retired: {done['packages_retired']} packages, {done['tags_retired']} LanceDB tags")
    _print_sizes(Sizes(**done["after"]).table())


def _print_sizes(rows: Sequence[Mapping[str, object]]) -> None:
    print_table(("part", "bytes", "bytes a sample"), [tuple(row.values()) for row in rows])
