"""`interlake call` and `why`: one call as asked and answered, and why a sample is as it is."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.options import SHOWN, Line, counted, cut, json_option, lake_option, print_json, say_lines
from flows.evidence import short
from storage.canonical import Json

if TYPE_CHECKING:
    from flows.ancestry import Ancestry, Record, Repeat, Verdict
    from flows.compared import ComparedTurn, Comparison


@click.command()
@lake_option
@json_option
@click.argument("call_id", metavar="ID")
@click.option("--picture", type=click.Path(path_type=Path), help="Write the picture that came back into this file.")
def call(*, lake_path: Path, as_json: bool, call_id: str, picture: Path | None) -> None:
    """The request and the response of call ID (an id or its first digits), as sent and as received."""
    from flows.errors import UserError
    from flows.shown_call import about_lines, answer_lines, read_call, request_lines
    from storage.lake import Lake

    found = read_call(Lake.open(lake_path), call_id)
    if picture:
        if found.picture is None:
            raise UserError(f"call {found.row['call_id']} brought no picture; those with the purpose 'draw' do")
        picture.write_bytes(found.picture)
    if as_json:
        print_json(found.json())
        return
    parts = {
        f"call {found.row['call_id']}": about_lines(found),
        "asked": request_lines(found.request),
        "answered": [*answer_lines(found), *([f"written to {picture}"] if picture else [])],
    }
    for heading, lines in parts.items():
        say_lines([(0, heading), *((2, line) for line in lines)])


@click.command()
@lake_option
@json_option
@click.argument("sample")
@click.option("--all", "everything", is_flag=True, help=f"All samples that repeat it, not the first {SHOWN}.")
def why(*, lake_path: Path, as_json: bool, sample: str, everything: bool) -> None:
    """Why SAMPLE (an id or its first digits) is as it is: what it came from, was compared with, and what came of it."""
    from dataclasses import asdict

    from flows.ancestry import read_ancestry
    from storage.lake import Lake

    found = read_ancestry(Lake.open(lake_path), sample)
    if as_json:
        print_json(asdict(found))
    else:
        say_lines(ancestry_lines(found, limit=None if everything else SHOWN))


def ancestry_lines(found: "Ancestry", *, limit: int | None) -> Iterator[Line]:
    """All of it as lines."""
    yield 0, f"sample {found.sample['sample_id']}: {found.sample['outcome']}"
    yield 0, "where it comes from"
    yield from ((2, line) for line in _origin(found))
    yield from _recipe(found)
    yield from _run(found)
    yield from _calls(found)
    yield 0, "what it was compared with"
    if not found.comparisons:
        yield 2, "nothing: no decision about it rests on vectors"
    for comparison in found.comparisons:
        yield 2, _compared_words(comparison)
        yield from ((4, _nearest_words(turn)) for turn in comparison.turns)
    yield 0, "what came of it"
    yield from ((2, line) for line in _outcome(found))
    yield from _kin(found, limit)


def _origin(found: "Ancestry") -> Iterator[str]:
    topic = found.topic
    path = " > ".join(filter(None, (topic["domain"], topic["category"])))
    yield f"topic: {topic['name']}{f' ({path})' if path else ''}, from {topic['source']} in version {topic['version']}"
    claims = [
        f"claimed in version {claim['version']} by run {short(claim['run_id'])}"
        + (f" (retry {claim['retry']})" if claim["retry"] else "")
        for claim in found.claims
    ]
    number = f"slot {found.slot_number} of the topic" if found.slot_number is not None else "a slot"
    yield ", ".join([number, *claims])
    for asked in found.templates:
        yield f"turn {asked.turn}: template {asked.template_id}: {asked.text or '(no longer among the templates)'}"


def _recipe(found: "Ancestry") -> Iterator[Line]:
    settings = _member(found.generation, "settings")
    rounds = _member(settings, "rounds")
    limits = ", ".join(f"{rounds[stage]} {stage}" for stage in ("question", "answer", "image") if stage in rounds)
    yield 2, f"recipe {short(found.sample['recipe_id'])}: {settings.get('turns')} turns, rewrites at most: {limits}"
    for model in found.models:
        revision = f", revision {model.revision[:12]}" if model.revision else ""
        yield 4, f"{model.role}: {model.name}{revision}, licence {model.licence or 'not recorded'}"


def _run(found: "Ancestry") -> Iterator[Line]:
    run = found.run
    reason = f" ({run['reason']})" if run["reason"] else ""
    yield 2, f"{run['kind']} {short(run['run_id'])}, {_times(run)}, {run['state']}{reason}"
    yield 4, ", ".join(_environment(found.environment))


def _times(run: "Record") -> str:
    """From when to when, as far as that is known; the day once where it is the same."""
    began, ended = run["started_at"], run["finished_at"]
    if ended is None:
        return f"since {began:%Y-%m-%d %H:%M:%S} UTC"
    end = f"{ended:%H:%M:%S}" if began.date() == ended.date() else f"{ended:%Y-%m-%d %H:%M:%S}"
    return f"{began:%Y-%m-%d %H:%M:%S} to {end} UTC"


def _environment(environment: Json) -> Iterator[str]:
    """The environment of a run in short, as far as the interlake of its day recorded it."""
    machine, ours = _member(environment, "machine"), _member(environment, "interlake")
    known = environment if isinstance(environment, Mapping) else {}
    if ours:
        yield f"interlake {ours.get('version')} (sources {str(ours.get('source_sha256'))[:12]})"
    yield f"Python {known.get('python')}"
    yield str(known.get("platform"))
    yield f"{machine.get('processor') or 'processor'} x {machine.get('cpus') or known.get('cpus')}"


def _calls(found: "Ancestry") -> Iterator[Line]:
    if not found.calls:
        yield 2, "no call is committed"
        return
    seconds = sum(row["seconds"] for row in found.calls)
    yield 2, f"{counted(len(found.calls), 'call')}, {seconds:.1f} s in models; 'interlake call ID' shows one"
    yield from ((4, _call_words(row)) for row in found.calls)


def _call_words(row: "Record") -> str:
    attempt = f", attempt {row['attempt']}" if row["attempt"] else ""
    error = f", {row['error']}" if row["error"] else ""
    where = f"turn {row['turn']} {row['stage']} round {row['round']} {row['purpose']}{attempt}"
    return f"{short(row['call_id'])}  {where}: {row['model']}, {row['seconds']:.3f} s{error}"


def _compared_words(comparison: "Comparison") -> str:
    limits = comparison.thresholds
    needed = {
        "both": f"picture {limits.image} and caption {limits.text}",
        "either": f"picture {limits.image} or caption {limits.text}",
        "image": f"picture {limits.image}",
        "text": f"caption {limits.text}",
    }[limits.policy]
    turns = counted(comparison.kept_turns, "kept turn")
    return f"version {comparison.version}, {comparison.kind}: with {turns}; a repeat from {needed} on"


def _nearest_words(turn: "ComparedTurn") -> str:
    if turn.nearest is None:
        return f"turn {turn.turn}: there was none yet"
    near = f"turn {turn.nearest.turn} of {short(turn.nearest.sample_id)}"
    cosines = f"picture {turn.nearest.image:.4f}, caption {turn.nearest.text:.4f}"
    return f"turn {turn.turn}: nearest is {near}: {cosines}: {'a repeat' if turn.is_reached else 'no repeat'}"


def _outcome(found: "Ancestry") -> Iterator[str]:
    spans = [str(first) if first == last else f"{first} to {last}" for first, last in found.kept_in]
    is_newest = bool(found.kept_in) and found.kept_in[-1][1] == found.newest
    where = f"kept in versions {', '.join(spans)}" if spans else "kept in no version"
    yield f"{where}{' (the newest)' if is_newest else ''}"
    told = {verdict.version for verdict in found.decisions if verdict.turn is None and verdict.outcome == "duplicate"}
    for verdict in found.decisions:
        if verdict.turn is None or verdict.version not in told:  # there the sample's own line names its turns
            yield _verdict_words(verdict)


def _verdict_words(verdict: "Verdict") -> str:
    what = f"turn {verdict.turn}: " if verdict.turn is not None else ""
    why = ", ".join(filter(None, (verdict.stage, verdict.reason and verdict.reason.replace("_", " "))))
    run = f" (run {short(verdict.run_id)})" if verdict.run_id else ""
    head = f"version {verdict.version}, {verdict.kind}{run}: {what}{verdict.outcome}{f': {why}' if why else ''}"
    return "\n  ".join((head, *verdict.words))


def _kin(found: "Ancestry", limit: int | None) -> Iterator[Line]:
    """Those that repeat it, and the others of its slot."""
    if found.repeated_by:
        yield 2, f"repeated by {counted(len(found.repeated_by), 'turn')} of other samples"
        yield from cut(4, map(_repeat_words, found.repeated_by), limit)
    if found.others:
        yield 2, "other samples of its slot, by other recipes"
    for row in found.others:
        why = ", ".join(filter(None, (row["stage"], row["reason"] and row["reason"].replace("_", " "))))
        when = "later" if row["version"] > found.sample["version"] else "earlier"
        where = f"{when}, version {row['version']}, recipe {short(row['recipe_id'])}"
        yield 4, f"{short(row['sample_id'])}  {where}: {row['outcome']}{f' ({why})' if why else ''}"


def _repeat_words(repeat: "Repeat") -> str:
    cosines = f"picture {repeat.image_similarity:.4f}, caption {repeat.text_similarity:.4f}"
    since = "" if repeat.holds else "; decided anew since"
    return (
        f"{short(repeat.sample_id)} turn {repeat.turn}  {repeat.topic}: repeats turn {repeat.kept_turn} ({cosines}),"
        f" version {repeat.version}{since}"
    )


def _member(value: Json, name: str) -> Mapping[str, Json]:
    """A JSON object inside another; empty where there is none."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}
