"""`interlake benchmark`: 500 questions for any system, answers judged alike, and systems side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.asked import PROFILES
from flows.cli.options import counted, json_option, plain, print_json, print_table
from flows.errors import UserError

if TYPE_CHECKING:
    from flows.benchmark.comparing import Comparison
    from flows.settings import Settings

LIMIT = click.IntRange(min=1, max=500)


@click.group()
def benchmark() -> None:
    """Questions that are no training topics: who answers them how well, by the judge of your settings."""


@benchmark.command()
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="A file that ends in .csv or .jsonl."
)
@click.option("--limit", type=LIMIT, help="The first so many questions; they go round the domains.")
def export(*, out: Path, limit: int | None) -> None:
    """Write the questions into a file, for systems of others."""
    from flows.benchmark.questions import questions_csv, questions_jsonl, questions_sha256, read_questions

    writers = {".csv": questions_csv, ".jsonl": questions_jsonl}
    if out.suffix.lower() not in writers:
        raise UserError(f"{out} is neither .csv nor .jsonl: name a file that ends like one of them")
    questions = read_questions()[:limit]
    out.write_text(writers[out.suffix.lower()](questions), encoding="utf-8", newline="")
    click.echo(f"{counted(len(questions), 'question')} in {plain(str(out))}; the set is {questions_sha256()[:12]}")


@benchmark.command("run")
@click.option("--name", required=True, metavar="NAME", help="What the system is called in tables.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder of the run: a new one, or the same one again."
)
@click.option(
    "--lake",
    "lake_path",
    type=click.Path(path_type=Path),
    envvar="INTERLAKE_LAKE",
    help="Lake whose settings name the judge, and the models that answer. It is not written to.",
)
@click.option("--profile", type=click.Choice(PROFILES), help="Settings of a profile in place of those of a lake.")
@click.option(
    "--answers",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with answers.jsonl and pictures, in place of models that answer.",
)
@click.option("--judge", metavar="NAME", help="Which judge of the settings; without it, the first.")
@click.option(
    "--repeats", type=click.IntRange(1, 20), show_default="as the settings say", help="Verdicts on an answer."
)
@click.option("--limit", type=LIMIT, help="Only the first so many questions.")
@json_option
def run(
    *,
    name: str,
    out: Path,
    lake_path: Path | None,
    profile: str | None,
    answers: Path | None,
    judge: str | None,
    repeats: int | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Have a system's answers judged: those that a lake's models give now, or those in a folder.

    A line of answers.jsonl is {"question_id": …, "answer": …, "image": a path in the folder, or null}. Interrupted,
    it goes on by the same command.
    """
    from flows.benchmark.comparing import compare_runs
    from flows.benchmark.reports import write_reports
    from flows.benchmark.running import BenchmarkOptions, run_benchmark

    _refuse_odd_name(name)
    options = BenchmarkOptions(name=name, out=out, answers=answers, judge=judge, repeats=repeats, limit=limit)
    settings = _settings(lake_path, profile, out)
    results = run_benchmark(settings, options, tell=lambda text: click.echo(plain(text), err=True))
    compared = compare_runs([results])
    write_reports(out, compared)
    if as_json:
        print_json(results.told)
    else:
        _tell_run(results.told)
        _print_scores(compared)


@benchmark.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write a page into this file too.")
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page of HTML into this file too."
)
@click.option(
    "--picture", type=click.Path(path_type=Path, dir_okay=False), help="Draw it into this file too: .svg or .png."
)
@json_option
def compare(
    *, runs: tuple[Path, ...], markdown: Path | None, html: Path | None, picture: Path | None, as_json: bool
) -> None:
    """Systems side by side: the four scores, and paired differences on the questions that both answered.

    Differences have intervals of 95 % and p values, corrected for how many there are. RUNS are folders of `benchmark
    run`, by one judge.
    """
    from flows.benchmark.comparing import compare_runs
    from flows.benchmark.results import read_results

    if picture is not None and picture.suffix.lower() not in {".svg", ".png"}:
        raise UserError(f"{picture} is neither .svg nor .png: name a file that ends like one of them")
    compared = compare_runs([read_results(out) for out in runs])
    if as_json:
        print_json(compared.json())
    else:
        _print_comparison(compared)
    if markdown is not None:
        from flows.benchmark.page import write_page

        markdown.write_text(write_page(compared), encoding="utf-8")
        click.echo(f"written into {plain(str(markdown))}", err=True)
    if html is not None:
        from flows.benchmark.reports import render_page

        html.write_text(render_page(compared), encoding="utf-8")
        click.echo(f"written into {plain(str(html))}", err=True)
    if picture is not None:
        from flows.benchmark.chart import draw_scores

        picture.write_bytes(draw_scores(compared, kind="svg" if picture.suffix.lower() == ".svg" else "png"))
        click.echo(f"drawn into {plain(str(picture))}", err=True)


def _refuse_odd_name(name: str) -> None:
    if not (name.strip() == name and 0 < len(name) <= 80 and name.isprintable()):
        raise UserError(f"{name!r} is no name for a table: give 1 to 80 characters that can be printed")


def _settings(lake_path: Path | None, profile: str | None, out: Path) -> "Settings":
    """The settings of the profile, or of the lake, or of ./lake; UserError where both are given."""
    from flows.cli.options import refuse_inside_lake
    from flows.opening import open_lake
    from flows.settings import default_settings, parse_settings

    given = click.get_current_context().get_parameter_source("lake_path")
    if profile is not None and given == click.core.ParameterSource.COMMANDLINE:
        raise UserError("a lake and a profile are given: settings come from one of the two")
    if profile is not None:
        return parse_settings(default_settings(profile), Path(f"{profile}.toml"))
    path = lake_path or Path("lake")
    refuse_inside_lake(path, out)
    return open_lake(path)[1]


def _tell_run(told: dict[str, Any] | Any) -> None:
    for warning in told["warnings"]:
        click.echo(plain(f"careful: {warning}"), err=True)
    for row in told["refused"]:
        click.echo(plain(f"refused: {row['place']}: {row['message']}"), err=True)
    left = told["questions"] - told["answered"]
    click.echo(
        f"{told['answered']} of {counted(told['questions'], 'question')} answered"
        + (f"; {left} not, and worth 0: {_listed(told['problems'])}" if left else "")
    )


def _listed(problems: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in problems.items())


def _print_scores(compared: "Comparison") -> None:
    from flows.benchmark.page import score_table

    print_table(*score_table(compared.systems))


def _print_comparison(compared: "Comparison") -> None:
    from flows.benchmark.comparing import GROUPS
    from flows.benchmark.page import difference_table, group_table

    first = compared.told[0]
    click.echo(
        plain(
            f"judge {first['judge']['name']} ({first['judge']['sha256'][:12]}), rubric {first['rubric_sha256'][:12]}, "
            f"questions {first['questions_sha256'][:12]}"
        )
    )
    for warning in compared.careful():
        click.echo(plain(f"careful: {warning}"))
    _print_scores(compared)
    if compared.differences:
        print_table(*difference_table(compared.differences))
    for by in GROUPS:
        print_table(*group_table(compared, by))
