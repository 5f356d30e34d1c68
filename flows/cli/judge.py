"""`interlake judge`: scores for kept samples, and what they come to."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.cli.judge_depth import depth
from flows.cli.judge_trials import calibrate, controls
from flows.cli.options import (
    LOCK_HELP,
    LOCK_SECONDS,
    counted,
    json_option,
    lake_option,
    plain,
    print_json,
    print_table,
    quiet_prefect,
)

if TYPE_CHECKING:
    from flows.judge.findings import JudgeFindings


@click.group()
def judge() -> None:
    """Four scores from 0 to 5 for kept turns, by the judges of the settings; unknown where a judge does not know."""


@judge.command("run")
@lake_option
@click.option("--version", "version", type=click.IntRange(min=1), help="Judge what was kept at this version.")
@click.option("--judge", "name", metavar="NAME", help="Only this judge; without it, all that the settings name.")
@click.option("--repeats", type=click.IntRange(1, 20), show_default="as the settings say", help="Verdicts on a turn.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many samples.")
@click.option(
    "--rounds", is_flag=True, help="Each recorded draft of answers and pictures as well; 'judge depth' tells of them."
)
@click.option("--lock-timeout", type=LOCK_SECONDS, show_default="as the settings say", help=LOCK_HELP)
@json_option
def run(
    *,
    lake_path: Path,
    version: int | None,
    name: str | None,
    repeats: int | None,
    limit: int | None,
    rounds: bool,
    lock_timeout: float | None,
    as_json: bool,
) -> None:
    """Have kept samples judged that were not, as new versions; samples stay as they are.

    An interrupted run goes on where it ended when the same command is given again.
    """
    from storage.lake import Lake

    Lake.open(lake_path)
    quiet_prefect()
    from flows.judge_lake import judge_lake

    judged = judge_lake(
        lake=str(lake_path),
        version=version,
        judge=name,
        repeats=repeats,
        limit=limit,
        rounds=rounds,
        lock_timeout=lock_timeout,
    )
    if as_json:
        print_json(judged)
    else:
        _tell_judged(judged)


def _tell_judged(judged: dict[str, Any]) -> None:
    for warning in judged["warnings"]:
        click.echo(plain(f"careful: {warning}"), err=True)
    if judged["version"] is None:
        click.echo(f"nothing to do: {counted(judged['samples'], 'kept sample')}, all of them judged")
    else:
        click.echo(
            f"{counted(judged['judged'], 'sample')} judged of {judged['samples']} kept: "
            f"{counted(judged['verdicts'], 'verdict')}, {counted(judged['unknown'], 'score')} unknown; "
            f"version {judged['version']}"
        )


@judge.command("report")
@lake_option
@click.option("--version", "version", type=click.IntRange(min=1), help="As it stood at this version.")
@json_option
def report(*, lake_path: Path, version: int | None, as_json: bool) -> None:
    """What the verdicts come to, judge by judge: mean, spread over repeats, how many, and what is unknown and why."""
    from flows.judge.findings import read_findings
    from storage.lake import Lake

    lake = Lake.open(lake_path)
    found = read_findings(lake, lake.version(version))
    if as_json:
        print_json([judge.json() for judge in found])
    elif not found:
        click.echo("no verdicts yet; 'interlake judge run' gives them")
    else:
        _print_findings(found)


def _print_findings(found: "list[JudgeFindings]") -> None:
    from flows.judge.findings import findings_table

    rows = list(findings_table(found))
    print_table(list(rows[0]), [tuple(row.values()) for row in rows])


judge.add_command(calibrate)
judge.add_command(controls)
judge.add_command(depth)
