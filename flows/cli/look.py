"""`interlake status`, `versions` and `show`: what is in the lake, and one sample's whole story."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.cli.options import (
    console,
    counted,
    json_option,
    lake_option,
    plain,
    print_json,
    print_table,
    refuse_inside_lake,
    say,
)
from flows.progress import OUTCOMES

if TYPE_CHECKING:
    from flows.standing import PresentStatus
    from flows.story import Record, Story
    from storage.lake import Lake


@click.command()
@lake_option
@json_option
@click.option("--version", "number", type=click.IntRange(min=1), help="How it stood at this version.")
def status(*, lake_path: Path, as_json: bool, number: int | None) -> None:
    """How the lake stands: version, topics, slots by outcome, and runs that are at work."""
    from flows.standing import PresentStatus, read_status, read_status_at

    now = read_status(lake_path) if number is None else read_status_at(lake_path, number)
    if as_json:
        print_json(now.json())
        return
    since = f"version {now.version} of {now.created_at:%Y-%m-%d %H:%M} UTC"
    click.echo(plain(f"lake {now.path}, {since}, models: {', '.join(now.models) or 'none used yet'}"))
    click.echo(f"topics: {now.topics_covered} of {now.topics} have samples")
    click.echo(f"slots: {now.planned} planned = " + " + ".join(f"{now.outcomes[state]} {state}" for state in OUTCOMES))
    if now.questions:
        click.echo(f"{counted(now.questions, 'question')} open to a person; 'interlake review' shows them")
    if isinstance(now, PresentStatus):
        _print_work(now)


def _print_work(now: "PresentStatus") -> None:
    for line in now.running:
        click.echo(f"at work: {line}")
    if now.interrupted:
        click.echo(f"{now.interrupted} open slots belong to no living run; 'interlake build' finishes them")


@click.command()
@lake_option
@json_option
def versions(*, lake_path: Path, as_json: bool) -> None:
    """Every version of the lake: when it came, what it brought, and its hash."""
    from storage.lake import Lake
    from storage.query import query

    frame = query(Lake.open(lake_path), "SELECT * FROM versions ORDER BY version")
    if as_json:
        print_json(frame.to_dicts())
    else:
        shown = frame.select("version", "created_at", "packages", "samples", "run_id", "sha256")
        print_table(shown.columns, shown.rows())


@click.command()
@lake_option
@json_option
@click.argument("sample")
@click.option("--pictures", type=click.Path(path_type=Path), help="Write the pictures of all rounds into this folder.")
def show(*, lake_path: Path, sample: str, as_json: bool, pictures: Path | None) -> None:
    """The whole story of SAMPLE (an id or its first digits): dialogue, rounds, critiques, decisions."""
    from dataclasses import asdict

    from flows.story import read_story
    from storage.lake import Lake

    lake = Lake.open(lake_path)
    story = read_story(lake, sample)
    if pictures:
        refuse_inside_lake(lake_path, pictures)
        _write_pictures(lake, story, pictures)
    if as_json:
        print_json(asdict(story))
    else:
        _print_story(story, pictures)


def _write_pictures(lake: "Lake", story: "Story", folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for row in story.iterations:
        if row["image_sha256"]:
            (folder / _picture_name(row)).write_bytes(lake.picture(row["image_sha256"], lake.version()))


def _picture_name(row: "Record") -> str:
    return f"{row['sample_id'][:8]}-turn{row['turn']}-round{row['round']}.png"


def _print_story(story: "Story", pictures: Path | None) -> None:
    sample, topic, out = story.sample, story.topic, console()
    path = " > ".join(part for part in (topic["domain"], topic["category"], topic["name"]) if part)
    say(out, f"sample {sample['sample_id']}: {sample['outcome']}", style="bold")
    say(out, f"{path}; run {sample['run_id'][:8]}, recipe {sample['recipe_id'][:8]}")
    finished = {row["turn"]: row for row in story.turns}
    repeating = {row["turn"]: row for row in story.redundancy}
    for number in range(1, 1 + max((row["turn"] for row in story.iterations), default=0)):
        if number in finished:
            _print_turn(out, finished[number])
        if number in repeating:
            _print_redundancy(out, repeating[number])
        _print_rounds(out, story, number, pictures)
    _print_verdicts(out, story)
    _print_decisions(out, story)
    tokens = sum(row["completion_tokens"] or 0 for row in story.calls)
    seconds = sum(row["seconds"] for row in story.calls)
    say(out, f"\n{len(story.calls)} calls, {tokens} tokens written, {seconds:.1f} s in models")


def _print_turn(out: Any, turn: "Record") -> None:
    say(out, f"\nTurn {turn['turn']} (template {turn['template_id']})", style="bold")
    say(out, turn["question"], style="cyan", indent=2)
    say(out, turn["answer"], indent=2)
    size = f"{turn['width']}x{turn['height']}"
    say(
        out,
        f"[picture {turn['image_sha256'][:12]}, {size}, {turn['licence']}] {turn['caption']}",
        style="green",
        indent=2,
    )


def _print_redundancy(out: Any, row: "Record") -> None:
    """How much a turn repeats the earlier ones, by the latest encoder that saw them."""
    named = (("picture", "image"), ("caption", "caption"), ("question", "question"), ("answer", "answer"))
    likest = [
        f"{name} {row[f'{key}_similarity']:.4f} of turn {row[f'{key}_turn']}"
        for name, key in named
        if row[f"{key}_similarity"] is not None
    ]
    say(out, f"most alike of the earlier turns: {', '.join(likest)}", style="dim", indent=2)


def _print_rounds(out: Any, story: "Story", turn: int, pictures: Path | None) -> None:
    for row in story.iterations:
        if row["turn"] != turn:
            continue
        draft = " / ".join(str(row[name]) for name in ("question", "answer", "caption") if row[name])
        used = ", used" if row["chosen"] else ""
        say(out, f"{row['stage']} round {row['round']}, {row['seconds']:.1f} s{used}", style="dim", indent=4)
        say(out, draft, indent=6)
        if row["image_sha256"]:
            where = pictures / _picture_name(row) if pictures else row["image_sha256"][:12]
            say(out, f"picture {where}", indent=6)
        if row["critique"]:
            say(
                out,
                f"critique by {story.models.get(row['critic'], row['critic'])}: {row['critique']}",
                style="yellow",
                indent=6,
            )
        elif row["stopped"]:
            say(out, row["stopped"].replace("_", " "), style="green", indent=6)


def _print_verdicts(out: Any, story: "Story") -> None:
    if story.verdicts:
        say(out, "\nVerdicts (text, picture, quality, synergy; 0 to 5)", style="bold")
    for row in story.verdicts:
        draft = f", {row['stage']} round {row['round']}" if row["stage"] else ""
        scores = " ".join(
            f"{name} {'unknown' if row[name] is None else format(row[name], 'g')}"
            for name in ("tcc", "icc", "iq", "its")
        )
        why = f" {row['unknown']}" if row["unknown"] != "{}" else ""
        say(out, f"turn {row['turn']}{draft}, {row['judge']}, repeat {row['repeat']}: {scores}{why}", indent=2)


def _print_decisions(out: Any, story: "Story") -> None:
    say(out, "\nDecisions", style="bold")
    for row in story.decisions:
        what = f"turn {row['turn']}" if row["turn"] is not None else "sample"
        why = ": " + ", ".join(filter(None, (row["stage"], row["reason"]))) if row["reason"] else ""
        say(out, f"version {row['version']}, {what}: {row['outcome']}{why}", indent=2)
        if row["evidence"] != "{}":
            say(out, row["evidence"], style="dim", indent=4)
    for row in story.duplicates:
        kept = f"turn {row['kept_turn']} of {row['kept_sample_id']}"
        image = f"image {row['image_similarity']:.4f} (threshold {row['image_threshold']})"
        text = f"text {row['text_similarity']:.4f} (threshold {row['text_threshold']})"
        say(out, f"turn {row['turn']} repeats {kept}: {image}, {text}", indent=2)
