"""`interlake topics add`, and the options by which other commands bring in a file of topics."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from flows.cli.options import LOCK_HELP, LOCK_SECONDS, json_option, lake_option, plain, print_json

if TYPE_CHECKING:
    from flows.newcomers import Choices
    from flows.topics.report import TopicReport

F = TypeVar("F", bound=Callable[..., object])

CHOICES = ("category", "domain", "strict", "keep_alike", "ignore_columns", "place")


def reading_options(command: F) -> F:
    """How a file of topics is read and merged: those of `Choices`."""
    for option in reversed(
        (
            click.option("--category", default="", help="Category of topics that name none."),
            click.option("--domain", default="", help="Domain of topics that name none."),
            click.option("--strict", is_flag=True, help="Take nothing when any row cannot be used."),
            click.option(
                "--keep-alike", is_flag=True, help="Keep names apart that differ by article, plural or order."
            ),
            click.option(
                "--ignore-columns", is_flag=True, help="Leave columns and keys unread that topics do not have."
            ),
            click.option(
                "--place",
                type=click.Choice(["nearest", "never"]),
                default="nearest",
                show_default=True,
                help="Topics without a category: into the nearest one, where one is near enough; or never.",
            ),
        )
    ):
        command = option(command)
    return command


def report_option(command: F) -> F:
    """`--report FILE`: what became of each row."""
    return click.option(
        "--report", type=click.Path(path_type=Path), help="Write what became of every row to FILE.csv or FILE.json."
    )(command)


@click.command()
@lake_option
@click.argument("file", type=click.Path(path_type=Path))
@reading_options
@report_option
@json_option
@click.option("--lock-timeout", type=LOCK_SECONDS, default=60.0, show_default=True, help=LOCK_HELP)
def add(
    *, lake_path: Path, file: Path, report: Path | None, as_json: bool, lock_timeout: float, **choices: Any
) -> None:
    """Bring in topics from FILE: one a line, CSV, JSON (flat or nested) or JSON lines.

    Rows that cannot be used are refused, names that are alike are merged, and both are reported. A topic without a
    category is put into the nearest one, and flagged, where one is near enough.
    """
    from flows.lakes import add_topics
    from flows.topics.report import check_report_path

    if report:
        check_report_path(report)
    found = add_topics(lake_path, file, read_choices(choices), lock_timeout=lock_timeout)
    tell_report(found, report, as_json=as_json)


def read_choices(options: dict[str, Any]) -> "Choices":
    """The options of `reading_options` as one value."""
    from flows.newcomers import Choices

    return Choices(**{name: options[name] for name in CHOICES if name in options})


def tell_report(found: "TopicReport", file: Path | None, *, as_json: bool = False) -> None:
    """Say what became of a file of topics; all of it in a file, where one is named."""
    from flows.topics.report import write_report

    if file:
        write_report(found, file)
    if as_json:
        print_json(found.json())
        return
    for line in found.lines():
        click.echo(plain(line))
    if file:
        click.echo(plain(f"what became of every row: {file}"))
