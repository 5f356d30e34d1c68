"""`interlake sql`: read-only SQL over the history."""

from pathlib import Path

import click

from flows.cli.options import lake_option, print_csv, print_json, print_table


@click.command()
@lake_option
@click.argument("query")
@click.option("--at", type=click.IntRange(min=1), help="Ask the lake as it was at this version.")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def sql(*, lake_path: Path, query: str, at: int | None, form: str, as_json: bool) -> None:
    """Run one SELECT over the history, brought up to date first.

    \b
    Tables: versions runs recipes models topics samples turns iterations calls decisions duplicates verdicts images
    Also: call_bodies (request and response of each call), and samples_at(V), … for a version V.
    """
    from storage.lake import Lake
    from storage.query import query as ask

    frame = ask(Lake.open(lake_path), query, at=at)
    if as_json or form == "json":
        print_json(frame.to_dicts())
    elif form == "csv":
        print_csv(frame)
    else:
        print_table(frame.columns, frame.rows())
        click.echo(f"{frame.height} row{'s' * (frame.height != 1)}")
