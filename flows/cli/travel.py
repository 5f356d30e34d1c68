"""`interlake diff`: what came, went and changed between two versions, and why."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.options import SHOWN, Line, counted, cut, json_option, lake_option, print_json, say_lines
from flows.evidence import short
from flows.progress import OUTCOMES
from storage.canonical import canonical_text

if TYPE_CHECKING:
    from flows.changes import Changes
    from flows.recipe_changes import KeyChange, RecipeChange
    from flows.sample_changes import Cause, SampleChange, SampleGroup, TurnGroup
    from flows.version_steps import Step

_HASH = re.compile(r"[0-9a-f]{40,}")


@click.command()
@lake_option
@json_option
@click.argument("a", type=click.IntRange(min=1))
@click.argument("b", type=click.IntRange(min=1))
@click.option("--all", "everything", is_flag=True, help=f"Every line, not the first {SHOWN} of a kind.")
def diff(*, lake_path: Path, as_json: bool, a: int, b: int, everything: bool) -> None:
    """What came, went or changed from version A to version B, and which decision did it."""
    from dataclasses import asdict

    from flows.changes import read_changes
    from storage.lake import Lake

    changes = read_changes(Lake.open(lake_path), a, b, limit=None if everything or as_json else SHOWN)
    if as_json:
        print_json(asdict(changes))
        return
    say_lines(changes_lines(changes, limit=None if everything else SHOWN))


def changes_lines(changes: "Changes", *, limit: int | None) -> Iterator[Line]:
    """All that differs as lines, of each list at most `limit`."""
    went = "went" if changes.start > changes.end else "came"
    if changes.start == changes.end:
        yield 0, f"version {changes.end} against itself: nothing differs"
        return
    yield 0, f"from version {changes.start} to version {changes.end}: {counted(len(changes.steps), 'version')} {went}"
    if changes.start > changes.end:
        yield 2, f"told backwards: what is named here had not come yet in version {changes.end}"
    yield from cut(2, _step_lines(changes.steps, limit), limit)
    yield from _topic_lines(changes, went, limit)
    for recipe in changes.recipes:
        yield 0, _recipe_words(recipe, went)
        yield from cut(2, map(_key_words, recipe.changes), limit)
    if changes.samples:
        yield 0, "samples"
    for group in changes.samples:
        yield 2, f"{_group_words(group)}: {group.count}"
        yield from cut(4, (_sample_words(each, group) for each in group.samples), limit, group.count)
    yield from _turn_lines(changes.turns, limit)
    yield from _decision_lines(changes, went)


def _step_lines(steps: Sequence["Step"], limit: int | None) -> list[str]:
    """A line a version, or where these are too many, a line for each run's versions that follow each other."""
    if limit is None or len(steps) <= limit:
        return [_step_words([step]) for step in steps]
    return [_step_words(list(group)) for _, group in groupby(steps, key=lambda step: (step.run_id, step.kind))]


def _step_words(steps: Sequence["Step"]) -> str:
    first, last = min(step.version for step in steps), max(step.version for step in steps)
    numbers = f"version {first}" if first == last else f"versions {first} to {last}"
    when = min(step.created_at for step in steps)
    run_id = steps[0].run_id
    who = f"{steps[0].kind} {short(run_id)}" if run_id else steps[0].kind
    what = "; ".join(_brought(steps))
    return f"{numbers}, {when:%Y-%m-%d %H:%M:%S}, {who}{': ' if what else ''}{what}"


def _brought(steps: Sequence["Step"]) -> Iterator[str]:
    counts: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for step in steps:
        counts.update(step.counts)
        outcomes.update(step.outcomes)
    begun = [step.recipe_id for step in steps if step.recipe_id]
    yield from (f"begins, recipe {short(recipe_id)}" for recipe_id in begun)
    if counts["topics"]:
        yield counted(counts["topics"], "topic")
    if counts["slots"]:
        yield f"{counted(counts['slots'], 'slot')} claimed"
    if counts["turns"] and not counts["samples"]:
        yield f"{counted(counts['turns'], 'turn')} embedded"
    if outcomes:
        each = ", ".join(f"{outcomes[name]} {name}" for name in OUTCOMES if outcomes[name])
        yield f"{_decided(outcomes.total(), counts['samples'])}: {each}"
    for run_id, state in [pair for step in steps for pair in step.ended.items()]:
        yield state if run_id == steps[0].run_id else f"run {short(run_id)} had {state}"


def _decided(decided: int, made: int) -> str:
    if made == decided:
        return f"{counted(made, 'sample')} made"
    return f"{counted(decided, 'sample')} decided" + (f", {made} of them new" if made else " again")


def _topic_lines(changes: "Changes", went: str, limit: int | None) -> Iterator[Line]:
    for group in changes.topics:
        yield 0, f"{counted(group.count, 'topic')} {went}, from {group.source} (version {group.version})"
        paths = (" > ".join(filter(None, (row["domain"], row["category"], row["name"]))) for row in group.topics)
        yield from cut(2, paths, limit, group.count)


def _recipe_words(recipe: "RecipeChange", went: str) -> str:
    before = [name for name in (recipe.generation_before, recipe.selection_before) if name]
    against = ", the first"
    if before:
        names = short(before[0]) if len(set(before)) == 1 else f"{short(before[0])}, selection {short(before[1])}"
        against = f", against what was used before it ({names})"
    return f"recipe {short(recipe.recipe_id)} {went} (version {recipe.version}, {recipe.kind}){against}"


def _key_words(change: "KeyChange") -> str:
    before = "not there" if change.is_new else _value_words(canonical_text(change.before))
    after = "not there" if change.is_gone else _value_words(canonical_text(change.after))
    return f"{change.key}: {before} -> {after}"


def _value_words(text: str) -> str:
    """A value as JSON, hashes cut short."""
    return _HASH.sub(lambda found: f"{found[0][:12]}…", text)


def _group_words(group: "SampleGroup") -> str:
    if group.before is None:
        return f"came, {group.after}"
    if group.after is None:
        return f"went, {group.before} before"
    return f"{group.before} -> {group.after}" + (", for another reason" if group.before == group.after else "")


def _sample_words(sample: "SampleChange", group: "SampleGroup") -> str:
    number = f", slot {sample.slot_number}" if sample.slot_number is not None else ""
    what = f"{short(sample.sample_id)}  {sample.topic}{number}"
    if sample.cause is None:
        return what
    if {group.before, group.after} == {None, "kept"}:
        return f"{what}; version {sample.version}"
    return f"{what}; {_cause_words(sample.cause)}"


def _cause_words(cause: "Cause") -> str:
    if cause.kind == "claim":
        return f"slot claimed in {_decider_words(cause)}"
    why = ", ".join(filter(None, (cause.stage, cause.reason and cause.reason.replace("_", " "))))
    return "\n  ".join((f"{_decider_words(cause)}{': ' if why else ''}{why}", *cause.words))


def _decider_words(cause: "Cause") -> str:
    """The version, its run, and the kind of the decision where that is not the run's own."""
    who = f"{cause.run_kind} {short(cause.run_id)}" if cause.run_id else str(cause.run_kind)
    kind = "" if cause.kind in ("claim", "duplicate", cause.run_kind) else f", {cause.kind}"
    return f"version {cause.version}, {who}{kind}"


def _turn_lines(groups: Sequence["TurnGroup"], limit: int | None) -> Iterator[Line]:
    if groups:
        yield 0, "turns that repeat those of other samples"
    for group in groups:
        became = "became flagged" if group.is_flagged else "ceased to be flagged"
        yield 2, f"{became}{', their samples with them' if group.with_sample else ''}: {group.count}"
        if group.with_sample and limit is not None:
            continue  # told above, with their samples
        texts = (
            f"{short(each.sample_id)} turn {each.turn}  {each.topic}"
            + (f"; {'; '.join((_decider_words(each.cause), *each.cause.words))}" if each.cause else "")
            for each in group.turns
        )
        yield from cut(4, texts, limit, group.count)


def _decision_lines(changes: "Changes", went: str) -> Iterator[Line]:
    if changes.decision_counts:
        yield 0, f"{counted(sum(group.count for group in changes.decision_counts), 'decision')} {went}"
    for group in changes.decision_counts:
        why = ", ".join(filter(None, (group.stage, group.reason and group.reason.replace("_", " "))))
        what = counted(group.count, "turn" if group.is_of_turn else "sample")
        yield 2, f"{group.kind}: {what} {group.outcome}{f' ({why})' if why else ''}"
    for row in changes.decisions:
        turn = f" turn {row['turn']}" if row["turn"] is not None else ""
        why = f", {row['reason'].replace('_', ' ')}" if row["reason"] else ""
        yield 4, f"version {row['version']}  {short(row['sample_id'])}{turn}: {row['kind']}, {row['outcome']}{why}"
