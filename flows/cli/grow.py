"""`interlake init` and `interlake topics`: a lake, and the topics that it can grow by."""

from pathlib import Path

import click

from flows.asked import PROFILES
from flows.cli.options import LOCK_HELP, LOCK_SECONDS, json_option, lake_option, plain, print_json, print_table


@click.command()
@lake_option
@click.option("--profile", type=click.Choice(PROFILES), default="embedded", show_default=True, help="Which models.")
@click.option("--seed", type=click.IntRange(0, 2**53 - 1), default=0, show_default=True, help="Root of all slot ids.")
def init(lake_path: Path, profile: str, seed: int) -> None:
    """Make an empty lake with its interlake.toml and the shipped topics."""
    from flows.lakes import make_lake

    lake = make_lake(lake_path, profile=profile, seed=seed)
    click.echo(plain(f"made {lake.path} (profile {profile}, seed {seed}); settings: {lake.path / 'interlake.toml'}"))


@click.group()
def topics() -> None:
    """Bring in topics, list them, see what is covered."""


@topics.command()
@lake_option
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--category", default="", help="Category of topics that name none.")
@click.option("--domain", default="", help="Domain of topics that name none.")
@click.option("--lock-timeout", type=LOCK_SECONDS, default=60.0, show_default=True, help=LOCK_HELP)
def add(*, lake_path: Path, file: Path, category: str, domain: str, lock_timeout: float) -> None:
    """Bring in topics from FILE: one a line, CSV, JSON or JSON lines, with optional category and domain."""
    from flows.lakes import add_topics

    added = add_topics(lake_path, file, category=category, domain=domain, lock_timeout=lock_timeout)
    click.echo(f"{len(added.new)} topics added, {len(added.known)} were there already")
    if added.repeated:
        click.echo(plain(f"repeated in {file.name} and taken once: {', '.join(added.repeated)}"))
    for group in added.alike:
        click.echo(plain(f"alike, both kept: {' / '.join(group)}"))


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
        click.echo(plain(f"    {topic.name}" + (f"  [{topic.slots}]" if topic.slots else "")))


@topics.command()
@lake_option
@json_option
def coverage(lake_path: Path, *, as_json: bool) -> None:
    """How many topics of each category have samples."""
    from flows.standing import read_topics
    from flows.topics.coverage import coverage as cover

    frame = cover(read_topics(lake_path))
    if as_json:
        print_json(frame.to_dicts())
    else:
        print_table(frame.columns, frame.rows())
