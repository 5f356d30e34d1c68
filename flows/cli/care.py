"""`interlake fsck` and `interlake rebuild`: whether the lake is sound, mending it, and its projections made anew."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.options import LOCK_HELP, LOCK_SECONDS, json_option, lake_option, plain, print_json

if TYPE_CHECKING:
    from storage.fsck.findings import Finding, Line, Report

DAMAGED = 1


@click.command()
@lake_option
@click.option("--repair", is_flag=True, help="Mend what the packages prove; what is replaced lies in aside/.")
@click.option("--lock-timeout", type=LOCK_SECONDS, default=60.0, show_default=True, help=LOCK_HELP)
@json_option
@click.pass_context
def fsck(context: click.Context, *, lake_path: Path, repair: bool, lock_timeout: float, as_json: bool) -> None:
    """Look the whole lake over: a line for each invariant, with ok or what is wrong, where, and what to do.

    Every file is read. Builds may go on meanwhile; only a repair takes the lake's lock. Nothing is ever deleted.
    Exit code 1 when damage was found and not mended.
    """
    from flows.soundness import check_soundness, mend_lake

    report = mend_lake(lake_path, lock_timeout=lock_timeout) if repair else check_soundness(lake_path)
    if as_json:
        print_json(_jsonable(report))
    else:
        _print_report(report, repaired=repair)
    context.exit(0 if report.is_sound else DAMAGED)


@click.command()
@lake_option
@click.option("--lock-timeout", type=LOCK_SECONDS, default=60.0, show_default=True, help=LOCK_HELP)
@json_option
def rebuild(*, lake_path: Path, lock_timeout: float, as_json: bool) -> None:
    """Make the LanceDB table and the history anew from the packages; what was there lies in aside/ then."""
    from dataclasses import asdict

    from flows.soundness import rebuild_lake

    done = rebuild_lake(lake_path, lock_timeout=lock_timeout)
    if as_json:
        print_json(asdict(done))
        return
    for step in done.done:
        click.echo(plain(f"{step.where}: {step.what}"))
    click.echo(f"{done.turns} turns, {done.version} versions, {done.seconds:.1f} s")


def _jsonable(report: "Report") -> dict[str, object]:
    from dataclasses import asdict

    lines = [
        asdict(line) | {"ok": line.is_ok, "meaning": line.meaning, "findings": [_told(f) for f in line.findings]}
        for line in report.lines
    ]
    return asdict(report) | {"path": str(report.path), "lines": lines, "sound": report.is_sound}


def _told(finding: "Finding") -> dict[str, object]:
    return {"where": finding.where, "what": finding.what, "mendable": bool(finding.mending), "do": finding.way_out}


def _print_report(report: "Report", *, repaired: bool) -> None:
    for step in report.mended:
        click.echo(plain(f"mended: {step.where}: {step.what}"))
    for line in report.lines:
        _print_line(line)
    wrong = sum(len(line.findings) for line in report.lines)
    unchecked = sum(line.unchecked is not None for line in report.lines)
    if report.is_sound:
        click.echo(f"version {report.version} is sound: {len(report.lines)} invariants hold")
    else:
        left = "left after the repair" if repaired else "found"
        click.echo(f"version {report.version}: {wrong} findings {left}, {unchecked} invariants not looked at")


def _print_line(line: "Line") -> None:
    told = f"not checked: {line.unchecked}" if line.unchecked else line.looked_at or line.meaning
    notes = "".join(f"; {note}" for note in line.notes)
    click.echo(plain(f"{'ok ' if line.is_ok else 'BAD'} {line.invariant:<10} {told}{notes}"))
    if not line.is_ok and not line.unchecked:
        click.echo(plain(f"    is not so: {line.meaning}"))
    for finding in line.findings:
        click.echo(plain(f"    {finding.where}: {finding.what}"))
        click.echo(plain(f"        {finding.way_out}"))
