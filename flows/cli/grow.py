"""`interlake init` and `interlake topics`: a lake, and the topics that it can grow by."""

from pathlib import Path
from typing import Any

import click

from flows.asked import PROFILES
from flows.cli.coverage import coverage
from flows.cli.newcomers import add, read_choices, reading_options, report_option, tell_report
from flows.cli.options import json_option, lake_option, plain, print_json
from flows.cli.proposals import accept, proposals, propose, refuse

NONE = "none"
"""Said in place of a file: a lake without topics."""


@click.command()
@lake_option
@click.option("--profile", type=click.Choice(PROFILES), default="embedded", show_default=True, help="Which models.")
@click.option("--seed", type=click.IntRange(0, 2**53 - 1), default=0, show_default=True, help="Root of all slot ids.")
@click.option(
    "--topics", type=click.Path(path_type=Path), help="A file of topics in place of the shipped ones, or none."
)
@reading_options
@report_option
def init(*, lake_path: Path, profile: str, seed: int, topics: Path | None, report: Path | None, **choices: Any) -> None:
    """Make an empty lake with its interlake.toml and the shipped topics, or those of a file, or none."""
    from flows.lakes import make_lake, make_lake_of
    from flows.topics.report import check_report_path

    if report and (topics is None or str(topics) == NONE):
        raise click.UsageError("--report tells what became of a file of topics: name one by --topics.")
    if report:
        check_report_path(report)
    found = None
    if topics is None or str(topics) == NONE:
        lake = make_lake(lake_path, profile=profile, seed=seed, topics=None if topics is None else ())
    else:
        lake, found = make_lake_of(lake_path, topics, profile=profile, seed=seed, choices=read_choices(choices))
    click.echo(plain(f"made {lake.path} (profile {profile}, seed {seed}); settings: {lake.path / 'interlake.toml'}"))
    if found:
        tell_report(found, report)


@click.group()
def topics() -> None:
    """Bring in topics, have some proposed, list them, see what is covered."""


@topics.command(name="list")
@lake_option
@json_option
def list_topics(lake_path: Path, *, as_json: bool) -> None:
    """The topics as a tree: domain, category, topic, with how many slots each has."""
    from flows.standing import read_topics

    states = sorted(read_topics(lake_path), key=lambda topic: (topic.domain, topic.category, topic.name))
    if as_json:
        print_json([{name: getattr(topic, name) for name in topic.__slots__} for topic in states])
        return
    shown: tuple[str, ...] = ()
    for topic in states:
        path = (topic.domain or "(no domain)", topic.category or "(no category)")
        for depth, name in enumerate(path):
            if shown[: depth + 1] != path[: depth + 1]:
                click.echo(plain(f"{'  ' * depth}{name}"))
        shown = path
        flag = "  (nearest)" if topic.placed == "nearest" else ""
        click.echo(plain(f"    {topic.name}" + (f"  [{topic.slots}]" if topic.slots else "") + flag))


for command in (add, coverage, propose, proposals, accept, refuse):
    topics.add_command(command)
