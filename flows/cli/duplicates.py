"""`interlake duplicates`: the turns that repeat another sample's, and how near they are."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.options import SHOWN, NumberRange, counted, json_option, lake_option, print_json, print_table
from flows.evidence import short

if TYPE_CHECKING:
    from flows.repeats import FlaggedTurn

COLUMNS = ("version", "turn", "repeats", "picture", "caption", "hash", "policy", "what became of it")
_BECAME = {"duplicate": "sample dropped", "kept": "turn flagged"}


@click.command()
@lake_option
@json_option
@click.option("--sample", help="Only those of this sample, dropped or kept: the first digits of its id.")
@click.option("--near", type=NumberRange(0, 2), metavar="D", help="Only those at most D beyond the thresholds.")
@click.option("--limit", type=click.IntRange(min=1), default=SHOWN, show_default=True, help="So many, newest first.")
def duplicates(*, lake_path: Path, as_json: bool, sample: str | None, near: float | None, limit: int) -> None:
    """The turns that repeat another sample's, by the latest decisions, newest first.

    A similarity stands before the threshold that held when it was decided, and before all bits in how many of them the
    pictures' perceptual hashes differ: evidence that decides nothing. --near finds what other thresholds would
    change first.
    """
    from dataclasses import asdict

    from flows.repeats import read_flagged
    from storage.lake import Lake

    found = read_flagged(Lake.open(lake_path), sample=sample, near=near, limit=limit)
    if as_json:
        print_json(asdict(found))
        return
    if found.turns:
        print_table(COLUMNS, [_row(turn) for turn in found.turns])
    more = found.count - len(found.turns)
    click.echo(f"{counted(found.count, 'flagged turn')}{f', {more} more with --limit {found.count}' if more else ''}")


def _row(turn: "FlaggedTurn") -> tuple[object, ...]:
    return (
        turn.version,
        f"{turn.turn} of {short(turn.sample_id)}",
        f"{turn.kept_turn} of {short(turn.kept_sample_id)}",
        f"{turn.image_similarity:.4f} of {turn.image_threshold:g}",
        f"{turn.text_similarity:.4f} of {turn.text_threshold:g}",
        f"{turn.hash_bits} of 64",
        turn.policy,
        _BECAME.get(turn.outcome, turn.outcome),
    )
