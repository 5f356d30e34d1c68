"""`interlake review`: questions that runs left to a person, and the person's answers."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from flows.cli.options import (
    LOCK_HELP,
    LOCK_SECONDS,
    counted,
    json_option,
    lake_option,
    plain,
    print_json,
    refuse_inside_lake,
    say_lines,
)
from flows.evidence import short

if TYPE_CHECKING:
    from flows.review.answering import Answered, Said
    from flows.review.shown import ShownQuestion

KEEP, DUPLICATE, PASS, END = ("k", "keep"), ("d", "duplicate"), ("s", "skip"), ("q", "quit", None)


@click.command()
@lake_option
@click.option("--list", "is_list", is_flag=True, help="Only show them.")
@click.option("--all", "everything", is_flag=True, help="Those that were answered as well.")
@click.option(
    "--pictures", type=click.Path(path_type=Path, file_okay=False), help="Write the pictures into this folder."
)
@click.option(
    "--keep", "keeps", multiple=True, metavar="ID[:TURN]", help="Keep this turn; of a sample all that is open."
)
@click.option("--duplicate", "duplicates", multiple=True, metavar="ID[:TURN]", help="Call this turn a duplicate.")
@click.option("--reason", metavar="TEXT", help="Why; it stands in the lake with each decision.")
@click.option("--by", metavar="NAME", help="Who decides; it stands in the lake with each decision.")
@click.option("--lock-timeout", type=LOCK_SECONDS, show_default="as the settings say", help=LOCK_HELP)
@json_option
def review(
    *,
    lake_path: Path,
    is_list: bool,
    everything: bool,
    pictures: Path | None,
    keeps: tuple[str, ...],
    duplicates: tuple[str, ...],
    reason: str | None,
    by: str | None,
    lock_timeout: float | None,
    as_json: bool,
) -> None:
    """Show the questions that builds with --review left open, and take a person's answers, as one new version.

    Without --keep and --duplicate they are asked one by one, here; nothing is written before the end, and nobody waits
    for it. ID is the first digits of a sample's or decision's id, TURN the number of its turn. A person's word stands
    until a person says otherwise, whatever thresholds or encoder come later.
    """
    from flows.review.answering import Said

    answers = [Said(name=name, outcome="kept", why=reason or "") for name in keeps]
    answers += [Said(name=name, outcome="duplicate", why=reason or "") for name in duplicates]
    if answers:
        _refuse_listing(is_list=is_list)
        _write(lake_path, answers, by or "", lock_timeout, as_json=as_json)
        return
    if is_list or as_json:
        shown = _questions(lake_path, pictures, everything=everything)
        _print_list(shown, as_json=as_json)
        return
    folder = pictures or Path(tempfile.mkdtemp(prefix="interlake-review-"))
    given = _ask(_questions(lake_path, folder, everything=everything), reason)
    if given:
        _write(lake_path, given, by or _need("your name, to stand by these decisions: "), lock_timeout, as_json=False)


def _refuse_listing(*, is_list: bool) -> None:
    if is_list:
        raise click.UsageError(
            "--list only shows questions, --keep and --duplicate answer them: give the one or the other"
        )


def _questions(path: Path, pictures: Path | None, *, everything: bool) -> list["ShownQuestion"]:
    from flows.review.questions import read_questions
    from flows.review.shown import show_questions
    from storage.lake import Lake

    if pictures:
        refuse_inside_lake(path, pictures)
    lake = Lake.open(path)
    head = lake.version()
    found = [each for each in read_questions(lake, head) if everything or each.word is None]
    return list(show_questions(lake, head, found, pictures))


def _print_list(shown: Sequence["ShownQuestion"], *, as_json: bool) -> None:
    still_open = sum(each.asked.word is None for each in shown)
    if as_json:
        print_json({"open": still_open, "questions": [each.json() for each in shown]})
        return
    say_lines(line for each in shown for line in each.lines())
    click.echo(f"{counted(still_open, 'open question')}")


def _ask(shown: Sequence["ShownQuestion"], reason: str | None) -> list["Said"]:
    """Ask one after another until all are asked or the person quits."""
    from flows.review.answering import Said

    if not shown:
        click.echo("no question is open")
    answers: list[Said] = []
    for number, each in enumerate(shown, start=1):
        say_lines(each.lines())
        outcome = _choice(f"{number} of {len(shown)}: [k]eep, [d]uplicate, [s]kip, [q]uit: ")
        if outcome is None:
            break
        if outcome != "skip":
            why = reason or _need("why: ")
            answers.append(Said(name=each.asked.full_name, outcome=outcome, why=why))
    return answers


def _choice(prompt: str) -> Literal["kept", "duplicate", "skip"] | None:
    """What a person chooses; None at the end, also where nobody answers."""
    while True:
        said = _read(prompt)
        if said in END:
            return None
        if said in PASS:
            return "skip"
        if said in KEEP:
            return "kept"
        if said in DUPLICATE:
            return "duplicate"
        click.echo(f"{said!r} is none of these")


def _read(prompt: str) -> str | None:
    """A line of what a person types, None when there is no more."""
    click.echo(prompt, nl=False)
    line = sys.stdin.readline()
    return line.strip() if line else None


def _need(prompt: str) -> str:
    """A line with something on it; where there is none to come, all is left as it was."""
    while (said := _read(prompt)) is not None:
        if said:
            return said
    raise click.Abort


def _write(path: Path, answers: Sequence["Said"], by: str, lock_timeout: float | None, *, as_json: bool) -> None:
    from dataclasses import asdict

    from flows.review.answering import answer

    done = answer(path, answers, by=by, lock_timeout=lock_timeout)
    if as_json:
        print_json(asdict(done))
        return
    for line in _done(done):
        click.echo(plain(line))


def _done(done: "Answered") -> Iterator[str]:
    yield f"version {done.version}: {counted(done.kept, 'turn')} kept, {done.duplicate} called duplicate"
    for names, what in ((done.back, "came back"), (done.gone, "went")):
        if names:
            yield f"{counted(len(names), 'sample')} {what}: {', '.join(map(short, names))}"
    yield counted(done.still_open, "open question")
