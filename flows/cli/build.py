"""`interlake plan` and `interlake build`: what a build would do, and the Prefect flow that does it, run here."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click

from flows.asked import PROFILES, BuildOptions
from flows.budget import USED, describe_used
from flows.cli.newcomers import report_option, tell_report
from flows.cli.options import (
    LOCK_HELP,
    LOCK_SECONDS,
    NumberRange,
    counted,
    json_option,
    lake_option,
    plain,
    print_json,
    print_table,
    quiet_prefect,
)
from flows.cli.policies import policy_options
from flows.progress import LISTENER, Progress

F = TypeVar("F", bound=Callable[..., object])


def build_options(command: F) -> F:
    """The options that `plan` and `build` have in common."""
    for option in reversed(
        (
            click.option(
                "--new-topics",
                type=click.IntRange(0, 100_000),
                default=5,
                show_default=True,
                help="Topics without samples to take on.",
            ),
            click.option(
                "--samples-per-topic",
                type=click.IntRange(1, 10_000),
                default=2,
                show_default=True,
                help="Samples for each of them.",
            ),
            click.option(
                "--turns", type=click.IntRange(1, 10), show_default="as the settings say", help="Turns in a dialogue."
            ),
            click.option("--retry-failed", is_flag=True, help="Give slots that failed as many attempts again."),
            click.option(
                "--when-exhausted",
                type=click.Choice(["stop", "deepen", "propose"]),
                show_default="as the settings say",
                help="What to do when every topic has samples.",
            ),
        )
    ):
        command = option(command)
    return policy_options(command)


@click.command()
@lake_option
@build_options
@json_option
def plan(*, lake_path: Path, as_json: bool, **options: Any) -> None:
    """Say what a build would do, topic by topic, and what it would take; writes nothing.

    Calls, tokens, pictures, time and disk are estimated from past samples of the same recipe, with a range that holds
    in 95 of 100 such builds. While there are too few, calls and pictures have the bounds of the settings.
    """
    from flows.preview import preview_build

    preview = preview_build(lake_path, BuildOptions(**options))
    if as_json:
        print_json(preview.json())
        return
    for line in preview.lines():
        click.echo(line)
    if preview.plan.slots:
        print_table(("it takes", "at least", "expected", "at most", "from"), preview.ranges())
    if preview.plan.picks:
        print_table(("topic", "in", "samples", "why"), preview.picks())
    print_table(("topic", "slot", "sample", "templates"), preview.rows())


@click.command()
@lake_option
@build_options
@click.option(
    "--review/--no-review",
    default=None,
    show_default="as the settings say",
    help="Leave turns near the thresholds to a person as questions, see 'interlake review'.",
)
@click.option(
    "--review-near",
    type=NumberRange(0, 1),
    metavar="D",
    show_default="as the settings say",
    help="How near that is, on either side; given alone it stands for --review too.",
)
@click.option(
    "--lock-timeout",
    type=LOCK_SECONDS,
    show_default="as the settings say",
    help=LOCK_HELP,
)
@click.option(
    "--budget-calls", type=click.IntRange(0, 2**53 - 1), help="Requests sent to models at most, repeats included."
)
@click.option(
    "--budget-tokens",
    type=click.IntRange(0, 2**53 - 1),
    help="Ask nothing more once prompts and answers had so many tokens.",
)
@click.option(
    "--budget-seconds",
    type=NumberRange(0, 31_536_000),
    help="Ask nothing more so many seconds after the slots were claimed, less what proposing topics took.",
)
@click.option(
    "--topics",
    type=click.Path(path_type=Path),
    help="Bring in this file's topics first, and take on no others; where there is no lake, make one of them.",
)
@click.option(
    "--profile", type=click.Choice(PROFILES), default="embedded", show_default=True, help="Of a lake made for --topics."
)
@report_option
def build(*, lake_path: Path, topics: Path | None, profile: str, report: Path | None, **options: Any) -> None:
    """Grow the lake: run the Prefect flow build_lake here and wait for it.

    Slots that an interrupted build left open are finished first; its topics count among --new-topics, so that the
    same command again completes it and adds nothing to it.

    When a budget is used up nothing more is asked; answers from the record are free, and what is under way is heard and
    recorded. Whole batches are committed, the others stay open for the next build. That is no error: exit code 0.
    """
    from flows.opening import open_lake

    if report and not topics:
        raise click.UsageError("--report tells what became of a file of topics: name one by --topics.")
    asked = BuildOptions(**options, topics=str(topics) if topics else None)
    if topics:
        _bring_in(lake_path, topics, profile=profile, report=report)
    open_lake(lake_path)
    quiet_prefect()
    from flows.build import build_lake

    with shown_progress():
        counts = build_lake(lake=str(lake_path), **asdict(asked))
    click.echo(", ".join(f"{count} {name}" for name, count in counts.items() if name not in USED))
    if USED[0] in counts:
        click.echo(describe_used(counts))
    if asked.review or asked.review_near is not None:
        _tell_questions(lake_path)


def _bring_in(lake_path: Path, file: Path, *, profile: str, report: Path | None) -> None:
    """A file's topics into the lake, or into a new one when there is none."""
    from flows.lakes import add_topics, is_lake, make_lake_of
    from flows.topics.report import check_report_path

    if report:
        check_report_path(report)
    if is_lake(lake_path):
        tell_report(add_topics(lake_path, file), report)
        return
    lake, found = make_lake_of(lake_path, file, profile=profile, seed=0)
    click.echo(plain(f"made {lake.path} (profile {profile}, seed 0), of {file.name} alone"))
    tell_report(found, report)


def _tell_questions(path: Path) -> None:
    from flows.review.questions import count_questions
    from storage.lake import Lake

    lake = Lake.open(path)
    count = count_questions(lake, lake.version())
    click.echo(f"{counted(count, 'question')} open to a person{f': interlake review --lake {path}' if count else ''}")


def describe(now: Progress) -> str:
    """The outcomes so far, those that have not occurred left out."""
    counts = [(getattr(now, name), name) for name in ("kept", "rejected", "duplicate", "failed")]
    return ", ".join(f"{count} {name}" for count, name in counts if count or name == "kept")


@contextmanager
def shown_progress() -> Iterator[None]:
    """The plan in one line, then a bar on a terminal, elsewhere a line a batch."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    with Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        transient=True,
        disable=not sys.stdout.isatty(),
    ) as bar:
        task = bar.add_task("starting Prefect and the models", total=None)
        committed = -1

        def show(now: Progress) -> None:
            nonlocal committed
            bar.update(task, description=describe(now), completed=now.made, total=now.planned)
            if committed < 0:
                bar.console.print(plain(now.note), markup=False, highlight=False)
            elif bar.disable and now.committed_batches > committed:
                click.echo(now.line())
            committed = now.committed_batches

        token = LISTENER.set(show)
        try:
            yield
        finally:
            LISTENER.reset(token)
