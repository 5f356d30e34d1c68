"""`interlake similar`: the kept turns that are nearest to a sample's, to a text or to a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from flows.cli.options import console, json_option, lake_option, print_json, print_table, say
from flows.evidence import short

if TYPE_CHECKING:
    from flows.similar import Neighbour, Similar

QUESTION = 72
"""Characters of a question that are printed."""


@click.command()
@lake_option
@json_option
@click.argument("sample", required=False)
@click.option("--text", "words", help="Compare this text instead of a sample.")
@click.option("--image", "file", type=click.Path(path_type=Path), help="Compare the picture in this file instead.")
@click.option("--turn", type=click.IntRange(min=1), help="Of SAMPLE, this turn alone.")
@click.option(
    "--by",
    type=click.Choice(["image", "text"]),
    default="image",
    show_default=True,
    help="Compare with pictures or with captions; SAMPLE by its own of the same kind.",
)
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=10, show_default=True, help="Neighbours of each.")
@click.option("--version", "number", type=click.IntRange(min=1), help="Among the turns of this version.")
def similar(
    *,
    lake_path: Path,
    as_json: bool,
    sample: str | None,
    words: str | None,
    file: Path | None,
    turn: int | None,
    by: Literal["image", "text"],
    limit: int,
    number: int | None,
) -> None:
    """The kept turns nearest to SAMPLE (an id or its first digits), to a text, or to a picture.

    SAMPLE may be one that was dropped, and is not among its own neighbours. Similarities are exact cosines. Nothing is
    recorded, and nothing here decides what is a duplicate.
    """
    from dataclasses import asdict

    from flows.errors import UserError
    from flows.similar import similar_to_picture, similar_to_sample, similar_to_text
    from storage.lake import Lake

    if [sample, words, file].count(None) != 2:
        raise UserError("give one thing to compare: SAMPLE, or --text WORDS, or --image FILE")
    if turn is not None and sample is None:
        raise UserError("--turn chooses a turn of SAMPLE, and there is none")
    lake = Lake.open(lake_path)
    if sample is not None:
        found = similar_to_sample(lake, sample, turn=turn, number=number, by=by, limit=limit)
    elif words is not None:
        found = similar_to_text(lake, words, number=number, by=by, limit=limit)
    else:
        assert file is not None, "one of the three is given"
        found = similar_to_picture(lake, file, number=number, by=by, limit=limit)
    if as_json:
        print_json(asdict(found))
    else:
        _print(found)


def _print(found: "Similar") -> None:
    what = {"image": "pictures", "text": "captions"}[found.by]
    for asked in found.asked:
        say(console(), f"nearest {what} in version {found.version} to {asked.subject}", style="bold")
        if asked.neighbours:
            print_table(
                ("similarity", "sample", "turn", "topic", "question"), [_row(each) for each in asked.neighbours]
            )
        else:
            say(console(), "none: no other turn is kept", indent=2)


def _row(near: "Neighbour") -> tuple[str, ...]:
    question = near.question if len(near.question) <= QUESTION else f"{near.question[: QUESTION - 1]}…"
    return f"{near.similarity:.4f}", short(near.sample_id), str(near.turn), near.topic, question
