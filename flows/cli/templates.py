"""`interlake templates`: the question templates of a lake, and new ones from questions that people wrote."""

from pathlib import Path

import click

from flows.cli.options import (
    LOCK_HELP,
    LOCK_SECONDS,
    json_option,
    lake_option,
    plain,
    print_json,
    print_table,
    quiet_prefect,
)


@click.group()
def templates() -> None:
    """List question templates, derive others from questions that people wrote."""


@templates.command("list")
@lake_option
@json_option
def list_all(*, lake_path: Path, as_json: bool) -> None:
    """The templates that builds draw from: those that are shipped, and the lake's own."""
    from dataclasses import asdict

    from flows.derivation_run import list_templates

    found = list_templates(lake_path)
    if as_json:
        print_json([asdict(each) for each in found])
        return
    rows = [(each.template_id, each.type, each.weight, each.text) for each in found]
    print_table(("template", "type", "weight", "text"), rows)


@templates.command()
@lake_option
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only say what the filter leaves out; no model is asked.")
@click.option("--report", type=click.Path(path_type=Path), help="Write what became of every question to a CSV or JSON.")
@click.option("--lock-timeout", type=LOCK_SECONDS, show_default="as the settings say", help=LOCK_HELP)
@json_option
def derive(
    *, lake_path: Path, file: Path, dry_run: bool, report: Path | None, lock_timeout: float | None, as_json: bool
) -> None:
    """Make templates of the questions in FILE, a CSV with a column `question` (author, source, licence are kept).

    Duplicates, other languages and what is ambiguous are left out, the rest is generalised by the writer, checked, and
    added to the lake.
    """
    from flows.derivation_run import Derived, check_report_path, preview_derivation
    from storage.lake import Lake

    Lake.open(lake_path)
    if report:
        check_report_path(report)
    if dry_run:
        derived = preview_derivation(file)
    else:
        quiet_prefect()
        from flows.derive_templates import derive_templates

        done = derive_templates(file=str(file), lake=str(lake_path), lock_timeout=lock_timeout)
        derived = Derived(questions=tuple(done["questions"]), version=done["version"])
    if report:
        derived.write(report)
    if as_json:
        print_json({"version": derived.version, "questions": derived.questions})
        return
    for line in derived.lines():
        click.echo(plain(line))
