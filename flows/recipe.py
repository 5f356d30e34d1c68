"""The recipe: what makes and chooses samples, hashed into their ids."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from flows.judge.seating import bench_of, judge_of
from flows.recorder import model_id
from flows.seir.checks import CHECKS_VERSION
from flows.seir.prompts import PROMPTS_VERSION, prompts_sha256
from flows.settings import Settings
from models.identity import ModelIdentity
from storage.canonical import Json, canonical_text, derive_id
from storage.records import ModelRow, RecipeRow

# Who a model is stands under `models`, as it says itself; under what licence is no part of how a sample is made.
_WHO = {"model", "revision", "licence"}
_NAMED_ELSEWHERE: Any = {"writer": _WHO, "critic": _WHO, "painter": _WHO, "viewer": _WHO}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """`generation` and `selection` are canonical JSON; only the generation part enters a sample's id."""

    recipe_id: str
    generation_id: str
    generation: str
    selection: str

    def row(self) -> RecipeRow:
        return RecipeRow(
            recipe_id=self.recipe_id,
            generation_id=self.generation_id,
            generation=self.generation,
            selection=self.selection,
        )

    def sample_id(self, slot_id: str) -> str:
        return derive_id("sample", slot_id, self.generation_id)


def write_recipe(
    settings: Settings, roles: Mapping[str, ModelIdentity], judged_by: Collection[str] = frozenset()
) -> Recipe:
    """The recipe of these settings with these models: names and revisions, prompts, sampling, turns and rounds.

    `judged_by` are the hashes of judges of a run that is over, so that its recipe is what it was.
    """
    generation: dict[str, Json] = {
        "settings": _generation(settings),
        "models": {role: _who(roles[role]) for role in sorted(roles) if makes_content(role)},
        "prompts": {"version": PROMPTS_VERSION, "sha256": prompts_sha256()},
        "checks": CHECKS_VERSION,
    }
    selection = _selection(settings, roles["encoder"])
    judge = settings.judge
    if judge.is_asked_by_builds:
        judges = bench_of(judge, roles, judged_by).recipe()
        generation |= {"judge": judges} if judge.choose == "best" else {}
        selection |= {"judge": {"floors": judge.floors.given(), "by": judges}} if judge.floors.given() else {}
    return _recipe(canonical_text(generation), canonical_text(selection))


def _generation(settings: Settings) -> Json:
    """What was not there from the first counts only where it is used: all other recipes are what they were before."""
    unsaid = {"repeated_question": True} if settings.generation.repeated_question is None else {}
    told: Json = settings.generation.model_dump(mode="json", exclude=_NAMED_ELSEWHERE | unsaid)
    return told


def _selection(settings: Settings, encoder: ModelIdentity) -> dict[str, Json]:
    """Whether a person is asked counts only where one is: all other recipes are what they were before one could be."""
    unsaid: Any = {"encoder": _WHO} if settings.selection.review.ask else {"encoder": _WHO, "review": True}
    return {
        "settings": settings.selection.model_dump(mode="json", exclude=unsaid),
        "models": {"encoder": _who(encoder)},
    }


def _recipe(generation: str, selection: str) -> Recipe:
    return Recipe(
        recipe_id=derive_id("recipe", generation, selection),
        generation_id=derive_id("generation", generation),
        generation=generation,
        selection=selection,
    )


def write_selection(settings: Settings, encoder: ModelIdentity) -> Recipe:
    """The recipe of a run that chooses anew and makes nothing."""
    selection = _selection(settings, encoder)
    return _recipe(canonical_text(None), canonical_text(selection))


def write_judging(judges: Json) -> Recipe:
    """The recipe of a run that judges, and neither makes nor chooses anything."""
    return _recipe(canonical_text(None), canonical_text({"judges": judges}))


def judges_named_in(recipe: RecipeRow) -> frozenset[str]:
    """The hashes of the judges that a recorded recipe names, wherever it does."""
    generation, selection = json.loads(recipe.generation) or {}, json.loads(recipe.selection) or {}
    judging, chosen, floors = selection.get("judges", {}), generation.get("judge", {}), selection.get("judge", {})
    named = (judging, chosen, floors.get("by", {}))
    return frozenset(each["sha256"] for judges in named for each in judges.get("judges", ()))


def write_inquiring(kind: str, told: Json) -> Recipe:
    """The recipe of a run that asks for topics or templates; `told` is what its requests rest on."""
    return _recipe(canonical_text(None), canonical_text({kind: told}))


def licences_of(roles: Mapping[str, ModelIdentity]) -> str:
    """Canonical JSON: the licence of each model that has a part in what a sample says and shows, by role."""
    return canonical_text({role: identity.licence for role, identity in roles.items() if makes_content(role)})


def makes_content(role: str) -> bool:
    """Whether a role has a part in what a sample says and shows; who compares or judges has none."""
    return role != "encoder" and judge_of(role) is None


def _who(identity: ModelIdentity) -> Json:
    return {"name": identity.name, "revision": identity.revision}


def model_rows(roles: Mapping[str, ModelIdentity]) -> list[ModelRow]:
    """One row a role, with what each model says of itself."""
    return [
        ModelRow(
            model_id=model_id(identity),
            role=role,
            name=identity.name,
            revision=identity.revision,
            licence=identity.licence,
            weights_sha256=identity.weights_sha256,
            fingerprint=canonical_text(dict(identity.fingerprint)),
        )
        for role, identity in sorted(roles.items())
    ]
