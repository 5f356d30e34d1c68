"""`interlake dedup rethreshold`: what other thresholds would change, and deciding the lake by them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from flows.cli.options import (
    LOCK_HELP,
    LOCK_SECONDS,
    Line,
    counted,
    json_option,
    lake_option,
    print_json,
    quiet_prefect,
    say_lines,
)
from flows.evidence import short

POLICIES = ("both", "image", "text", "either")
_SHIFTS = (
    ("back", "sample", "repeated"),
    ("gone", "sample", "repeats"),
    ("flagged", "turn", "repeats"),
    ("freed", "turn", "repeated"),
)

Record = Mapping[str, Any]


@click.command()
@lake_option
@click.option("--image", type=float, help="From which similarity of pictures turns are the same, 0 to 1.")
@click.option("--text", type=float, help="From which similarity of captions turns are the same, 0 to 1.")
@click.option("--policy", type=click.Choice(POLICIES), help="Which of the two thresholds must be reached.")
@click.option("--apply", "is_meant", is_flag=True, help="Decide by them, and put them into interlake.toml.")
@click.option("--examples", type=click.IntRange(0, 10_000), default=5, show_default=True, help="So many are shown.")
@click.option("--lock-timeout", type=LOCK_SECONDS, show_default="as the settings say", help=LOCK_HELP)
@json_option
def rethreshold(
    *,
    lake_path: Path,
    image: float | None,
    text: float | None,
    policy: str | None,
    is_meant: bool,
    examples: int,
    lock_timeout: float | None,
    as_json: bool,
) -> None:
    """Say what other thresholds would change; with --apply decide by them, as one new version.

    What is left out is as interlake.toml says. No model is asked: all samples are decided anew, in the order in which
    they came, by the vectors that are there, and what was dropped comes back where the thresholds let it.
    """
    from flows.rethresholding import AskedThresholds, check_thresholds, preview_rethreshold

    asked = AskedThresholds(image=image, text=text, policy=policy)  # type: ignore[arg-type]
    check_thresholds(lake_path, asked)
    if not is_meant:
        found = preview_rethreshold(lake_path, asked, shown=examples).json()
        if as_json:
            print_json(found)
        else:
            say_lines((0, line) if isinstance(line, str) else line for line in _outlook(found))
        return
    quiet_prefect()
    from flows.rethreshold import rethreshold_lake

    done = rethreshold_lake(
        lake=str(lake_path),
        image=image,
        text=text,
        policy=policy,  # type: ignore[arg-type]
        lock_timeout=lock_timeout,
    )
    if as_json:
        print_json(done)
    else:
        say_lines((0, line) if isinstance(line, str) else line for line in _done(done))


def _outlook(found: Record) -> Iterator[str | Line]:
    """What would change, and how to have it so."""
    yield from _thresholds(found)
    if found["is_due"]:
        yield from _shifts(found, "would ")
        yield "nothing was written; with --apply this becomes one new version, and interlake.toml names the thresholds"
    elif found["settings_are_written"]:
        yield "nothing to do"
    else:
        yield "no sample changes, nothing was written; with --apply interlake.toml names these thresholds"


def _done(done: Record) -> Iterator[str | Line]:
    """What was changed."""
    yield from _thresholds(done)
    if done["version"]:
        yield from _shifts(done, "")
        yield f"version {done['version']}; interlake.toml names these thresholds, and the next build decides by them"
    elif done["settings"] != done["thresholds"]:
        yield "no sample changes; interlake.toml names these thresholds now"
    else:
        yield "nothing to do"


def _thresholds(found: Record) -> Iterator[str]:
    """Before and after, and where lake and settings do not agree."""
    wanted, settings, decided_by = found["thresholds"], found["settings"], found["decided_by"]
    before = "; ".join(map(_words, decided_by)) or "nothing was decided yet"
    yield f"decided by: {before}"
    yield f"asked for:  {_words(wanted)}"
    if len(decided_by) > 1:
        yield "the samples of this lake were decided by several thresholds, the newest stand first"
    if decided_by and settings != decided_by[0]:
        yield f"interlake.toml names others than the lake was last decided by: {_words(settings)}"


def _words(thresholds: Record) -> str:
    return f"pictures {thresholds['image']:g}, captions {thresholds['text']:g}, policy {thresholds['policy']}"


def _shifts(found: Record, would: str) -> Iterator[str | Line]:
    """Samples and turns that stand otherwise, with examples, and what that comes to."""
    verbs = ("come back", "go", "be flagged", "be freed") if would else ("came back", "went", "flagged", "freed")
    shifts = found["shifts"]
    for (name, noun, word), verb in zip(_SHIFTS, verbs, strict=True):
        yield f"{counted(shifts[name]['count'], noun)} {would}{verb}"
        yield from ((2, _example(each, word)) for each in shifts[name]["examples"])
    before = "now" if would else "before"
    yield (
        f"kept {found['kept']} samples ({before} {found['kept_before']}), "
        f"duplicate {found['duplicate']} ({before} {found['duplicate_before']})"
    )


def _example(repeat: Record, word: str) -> str:
    cosines = f"picture {repeat['image_similarity']:.4f}, caption {repeat['text_similarity']:.4f}"
    keeper = f"turn {repeat['kept_turn']} of {short(repeat['kept_sample_id'])}"
    return f"{short(repeat['sample_id'])}: turn {repeat['turn']} {word} {keeper} ({cosines})"
