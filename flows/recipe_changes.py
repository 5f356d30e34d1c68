"""What a new recipe does otherwise than the one that was used before it: which key of its JSON, from what to what."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flows.between import Record, Span
from storage.canonical import Json

_RECIPES = "SELECT recipe_id, version, generation, selection FROM recipes WHERE version <= {high} ORDER BY version"
_USES = "SELECT version, kind, recipe_id FROM stored.run_starts WHERE version <= {high} ORDER BY version"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """A key that differs, dotted; those of the selection begin with `selection.`.

    `is_new` and `is_gone` tell a key that only one of the two has from one whose value is null.
    """

    key: str
    before: Json
    after: Json
    is_new: bool
    is_gone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeChange:
    """A recipe that came, the kind of run that brought it, and what differs.

    Each part is compared with that of the last run before it that had one (a run that only chooses anew has no
    generation part); None where there was none.
    """

    recipe_id: str
    version: int
    kind: str
    generation_before: str | None
    selection_before: str | None
    changes: tuple[KeyChange, ...]


def read_recipe_changes(span: Span) -> Iterator[RecipeChange]:
    """The recipes that came within a span, oldest first."""
    recipes = {row["recipe_id"]: row for row in span.rows(_RECIPES)}
    uses = span.rows(_USES)
    kinds = {use["version"]: use["kind"] for use in uses}
    for recipe in recipes.values():
        if recipe["version"] > span.low:
            earlier = [recipes[use["recipe_id"]] for use in uses if use["version"] < recipe["version"]]
            yield _change(recipe, earlier, kinds.get(recipe["version"], "other"))


def _change(recipe: Record, earlier: Sequence[Record], kind: str) -> RecipeChange:
    parts: dict[str, str | None] = {}
    changes: list[KeyChange] = []
    for part, prefix in (("generation", ""), ("selection", "selection.")):
        theirs = _part(recipe, part)
        before = next((each for each in reversed(earlier) if theirs and _part(each, part)), None)
        parts[part] = before["recipe_id"] if before else None
        changes += compare(_part(before, part), theirs, prefix) if before else ()
    return RecipeChange(
        recipe_id=recipe["recipe_id"],
        version=recipe["version"],
        kind=kind,
        generation_before=parts["generation"],
        selection_before=parts["selection"],
        changes=tuple(changes),
    )


def _part(recipe: Record, part: str) -> Mapping[str, Json]:
    """One part of a recipe by dotted keys; empty for a part that it does not have."""
    return dict(leaves("", json.loads(recipe[part])))


def leaves(key: str, value: Json) -> Iterator[tuple[str, Json]]:
    """The plain values within a JSON value, by dotted keys."""
    if isinstance(value, Mapping):
        for name in sorted(value):
            yield from leaves(f"{key}.{name}" if key else name, value[name])
    elif key:
        yield key, value


def compare(before: Mapping[str, Json], after: Mapping[str, Json], prefix: str = "") -> Iterator[KeyChange]:
    """The keys whose values differ, in their order."""
    for key in sorted(before.keys() | after.keys()):
        change = KeyChange(
            key=f"{prefix}{key}",
            before=before.get(key),
            after=after.get(key),
            is_new=key not in before,
            is_gone=key not in after,
        )
        if change.is_new or change.is_gone or change.before != change.after:
            yield change


def undone(change: KeyChange) -> KeyChange:
    """The same change the other way round."""
    return KeyChange(
        key=change.key, before=change.after, after=change.before, is_new=change.is_gone, is_gone=change.is_new
    )
