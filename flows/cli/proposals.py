"""`interlake topics propose`, `proposals`, `accept` and `refuse`: topics that the chat model proposes."""

from pathlib import Path
from typing import Any

import click

from flows.cli.options import (
    LOCK_HELP,
    LOCK_SECONDS,
    NumberRange,
    json_option,
    lake_option,
    plain,
    print_json,
    print_table,
    quiet_prefect,
)

SHARE = NumberRange(min=0, max=1)
ID_SHOWN = 8


@click.command()
@lake_option
@click.option("--under", required=True, metavar="DOMAIN/CATEGORY", help="The category that topics are wanted for.")
@click.option(
    "-n", "--number", "wanted", type=click.IntRange(1, 1_000), default=50, show_default=True, help="How many."
)
@click.option(
    "--alike", type=SHARE, show_default="as the settings say", help="Similarity from which a name is not new."
)
@click.option("--lock-timeout", type=LOCK_SECONDS, show_default="as the settings say", help=LOCK_HELP)
@json_option
def propose(
    *, lake_path: Path, under: str, wanted: int, alike: float | None, lock_timeout: float | None, as_json: bool
) -> None:
    """Have the writer propose topics for a category; they are proposals until you accept them.

    Names that are there already, were refused before or are too similar are left out, and counted. An interrupted run
    goes on where it ended when the same command is given again.
    """
    from storage.lake import Lake

    Lake.open(lake_path)
    quiet_prefect()
    from flows.propose import propose_topics

    done = propose_topics(lake=str(lake_path), under=under, wanted=wanted, alike=alike, lock_timeout=lock_timeout)
    if as_json:
        print_json(done)
        return
    from flows.proposing import Proposed

    click.echo(plain(Proposed(**done).line()))
    for name in done["names"]:
        click.echo(plain(f"  {name}"))
    if done["names"]:
        click.echo("see them by 'interlake topics proposals', take them by 'interlake topics accept'")


@click.command()
@lake_option
@click.option("--all", "everything", is_flag=True, help="Those that were accepted or refused as well.")
@json_option
def proposals(*, lake_path: Path, everything: bool, as_json: bool) -> None:
    """List open proposals, each with the known topic that is most like it, and how similar that is."""
    from dataclasses import asdict

    from flows.proposals import read_proposals

    found = read_proposals(lake_path, everything=everything)
    if as_json:
        print_json([asdict(each) for each in found])
        return
    if not found:
        click.echo("no proposal is open; 'interlake topics propose' asks for some")
        return
    rows = [
        (
            each.proposal_id[:ID_SHOWN],
            each.name,
            "/".join(filter(None, (each.domain, each.category))),
            each.nearest or "",
            "" if each.similarity is None else f"{each.similarity:.2f}",
            each.state,
        )
        for each in found
    ]
    print_table(("proposal", "name", "under", "nearest known", "similarity", "state"), rows)


def _choosing(command: Any) -> Any:
    """Which proposals are meant."""
    for option in reversed(
        (
            lake_option,
            click.argument("ids", nargs=-1, metavar="[ID]..."),
            click.option("--all", "all_open", is_flag=True, help="All that are open."),
            click.option(
                "--below", type=SHARE, metavar="SIMILARITY", help="Open ones that are less similar than this."
            ),
            click.option("--lock-timeout", type=LOCK_SECONDS, default=60.0, show_default=True, help=LOCK_HELP),
        )
    ):
        command = option(command)
    return command


@click.command()
@_choosing
def accept(*, lake_path: Path, **options: Any) -> None:
    """Make topics of proposals, named by the first digits of their ids, or all, or those least like known ones."""
    _decide(lake_path, accept=True, **options)


@click.command()
@_choosing
def refuse(*, lake_path: Path, **options: Any) -> None:
    """Refuse proposals: they are not proposed again."""
    _decide(lake_path, accept=False, **options)


def _decide(
    lake_path: Path, *, accept: bool, ids: tuple[str, ...], all_open: bool, below: float | None, lock_timeout: float
) -> None:
    from flows.proposals import Choice, decide

    choice = Choice(ids=ids, all_open=all_open, below=below)
    decided = decide(lake_path, choice, accept=accept, lock_timeout=lock_timeout)
    what = f"{len(decided.topics)} topics added" if accept else f"{len(decided.names)} proposals refused"
    there = f", {len(decided.there)} were there already" if decided.there else ""
    version = f", as version {decided.version}" if decided.version else ""
    click.echo(plain(f"{what}{there}{version}; {decided.left_open} proposals are open"))
