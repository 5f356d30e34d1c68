"""`interlake rerun`: old slots again by the present settings, with the recorded answers where requests are the same."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.build import shown_progress
from flows.cli.options import (
    LOCK_HELP,
    LOCK_SECONDS,
    json_option,
    lake_option,
    print_json,
    print_table,
    quiet_prefect,
)
from flows.progress import OUTCOMES

if TYPE_CHECKING:
    from flows.rerunning.opening import RerunPreview


@click.command()
@lake_option
@click.option("--sample", "samples", multiple=True, help="The slot of this sample: the first digits of its id.")
@click.option("--topic", "topics", multiple=True, help="Slots of this topic, by its name.")
@click.option("--run", "runs", multiple=True, help="Slots that this run claimed: the first digits of its id.")
@click.option("--outcome", "outcomes", multiple=True, type=click.Choice(OUTCOMES), help="Slots with this outcome.")
@click.option("--all", "everything", is_flag=True, help="All slots of the lake.")
@click.option("--retire", is_flag=True, help="At the end, reject old samples whose slot has a kept new one.")
@click.option("--dry-run", is_flag=True, help="Say what would be made, reused and asked, and write nothing.")
@click.option("--lock-timeout", type=LOCK_SECONDS, show_default="as the settings say", help=LOCK_HELP)
@json_option
def rerun(
    *,
    lake_path: Path,
    samples: tuple[str, ...],
    topics: tuple[str, ...],
    runs: tuple[str, ...],
    outcomes: tuple[str, ...],
    everything: bool,
    retire: bool,
    dry_run: bool,
    lock_timeout: float | None,
    as_json: bool,
) -> None:
    """Make old slots again by the present settings: run the Prefect flow rerun_lake here and wait for it.

    Slots that fit every option are taken (options given several times: any of them). What was asked for the same slot
    before is answered from the record; before anything is asked, a line says how much that is. The old samples stay as
    they are, beside the new ones, until --retire. An interrupted rerun goes on when the same command is given again.
    """
    from flows.rerunning.choosing import Choice
    from flows.rerunning.opening import preview_rerun

    choice = Choice(samples=samples, topics=topics, runs=runs, outcomes=outcomes, everything=everything)
    preview = preview_rerun(lake_path, choice)
    if dry_run:
        _print_preview(preview, as_json=as_json)
        return
    if not as_json and preview.plan.slots:
        click.echo(preview.forecast.line())
    quiet_prefect()
    from flows.rerun import rerun_lake

    with shown_progress():
        counts = rerun_lake(
            lake=str(lake_path),
            samples=samples,
            topics=topics,
            runs=runs,
            outcomes=outcomes,  # type: ignore[arg-type]
            everything=everything,
            retire=retire,
            lock_timeout=lock_timeout,
        )
    if as_json:
        print_json(counts)
    else:
        click.echo(", ".join(f"{count} {name}" for name, count in counts.items()))


def _print_preview(preview: "RerunPreview", *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print_json(asdict(preview) | {"note": preview.plan.note()})
        return
    click.echo(preview.plan.note())
    if preview.plan.slots:
        click.echo(preview.forecast.line())
        rows = [
            (slot.topic, ", ".join(name[:12] for name in slot.siblings), slot.sample_id[:12])
            for slot in preview.plan.slots
        ]
        print_table(("topic", "samples so far", "new sample"), rows)
