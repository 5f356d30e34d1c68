"""Random scenes as data: things with counts and colours, a place, a light; and the small edits that make another scene.

Knows nothing of sentences or pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from numpy.random import Generator

from models.scene_clip_training.drawings import Subject
from models.scene_clip_training.wording import COLOUR_NAMES, LIGHTS, PLACES, RELATION_NAMES

Option = TypeVar("Option")

OTHER_WORDS = 12  # how many free words a scene's captions draw on
_SHARE_COMMON = 0.5  # of things are drawn from those with an everyday name
_THINGS = (0.05, 0.3, 0.33, 0.2, 0.12)  # how often there are 0, 1, … 4 kinds of things
_COUNTS = (0.66, 0.15, 0.1, 0.04, 0.03, 0.01, 0.005, 0.005)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    subject: Subject
    count: int
    colour: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSpec:
    """What a scene shows; `relation` holds between the first two things; `words` mean nothing to the painter."""

    things: tuple[Thing, ...]
    place: str | None
    light: str | None
    relation: str | None
    words: tuple[str, ...]


class SpecMaker:
    """Draws scenes and edits of scenes from given subjects and words; all chance comes from the generator handed in."""

    def __init__(self, subjects: Sequence[Subject], words: Sequence[str]) -> None:
        self._subjects = subjects
        self._common = [each for each in subjects if each.common] or list(subjects)
        self._words = words

    def draw(self, rng: Generator) -> SceneSpec:
        """A new scene."""
        count = int(rng.choice(len(_THINGS), p=_THINGS))
        things = tuple(self._thing(rng) for _ in range(count))
        related = len(things) > 1 and rng.random() < 0.4
        return SceneSpec(
            things=things,
            place=_pick(rng, tuple(PLACES)) if rng.random() < 0.7 else None,
            light=_pick(rng, tuple(LIGHTS)) if rng.random() < 0.4 else None,
            relation=_pick(rng, tuple(RELATION_NAMES)) if related else None,
            words=self.other_words(rng),
        )

    def edit(self, spec: SceneSpec, kind: str, rng: Generator) -> SceneSpec | None:
        """The scene with one change of that `kind` (a key of `EDITS`), or None where it has nothing to change."""
        return _EDITS[kind](self, spec, rng)

    def other_words(self, rng: Generator) -> tuple[str, ...]:
        return tuple(_pick(rng, self._words) for _ in range(OTHER_WORDS))

    def _thing(self, rng: Generator) -> Thing:
        subjects = self._common if rng.random() < _SHARE_COMMON else self._subjects
        return Thing(
            subject=_pick(rng, subjects),
            count=1 + int(rng.choice(len(_COUNTS), p=_COUNTS)),
            colour=_pick(rng, tuple(COLOUR_NAMES)) if rng.random() < 0.35 else None,
        )

    def _add_thing(self, spec: SceneSpec, rng: Generator) -> SceneSpec | None:
        return replace(spec, things=(*spec.things, self._thing(rng)))

    def _swap_thing(self, spec: SceneSpec, rng: Generator) -> SceneSpec | None:
        if not spec.things:
            return None
        place = int(rng.integers(len(spec.things)))
        other = replace(spec.things[place], subject=self._thing(rng).subject)
        return _with_thing(spec, place, other)

    def _change_count(self, spec: SceneSpec, rng: Generator) -> SceneSpec | None:
        if not spec.things:
            return None
        place = int(rng.integers(len(spec.things)))
        old = spec.things[place]
        step = 1 if old.count == 1 or rng.random() < 0.5 else -1
        return _with_thing(spec, place, replace(old, count=min(8, old.count + step) if old.count < 8 else 6))

    def _change_colour(self, spec: SceneSpec, rng: Generator) -> SceneSpec | None:
        if not spec.things:
            return None
        place = int(rng.integers(len(spec.things)))
        old = spec.things[place]
        return _with_thing(spec, place, replace(old, colour=_other(rng, tuple(COLOUR_NAMES), old.colour)))

    def _change_place(self, spec: SceneSpec, rng: Generator) -> SceneSpec | None:
        return replace(spec, place=_other(rng, tuple(PLACES), spec.place))

    def _change_light(self, spec: SceneSpec, rng: Generator) -> SceneSpec | None:
        return replace(spec, light=_other(rng, tuple(LIGHTS), spec.light))

    def _change_side(self, spec: SceneSpec, rng: Generator) -> SceneSpec | None:
        sides = {"left": "right", "right": "left", "behind": "front", "front": "behind"}
        return replace(spec, relation=sides[spec.relation]) if spec.relation in sides and rng else None

    def _change_words(self, spec: SceneSpec, rng: Generator) -> SceneSpec | None:
        return replace(spec, words=self.other_words(rng))


_EDITS: dict[str, Callable[[SpecMaker, SceneSpec, Generator], SceneSpec | None]] = {
    "one thing more": SpecMaker._add_thing,
    "another thing": SpecMaker._swap_thing,
    "another count": SpecMaker._change_count,
    "another colour": SpecMaker._change_colour,
    "another place": SpecMaker._change_place,
    "another light": SpecMaker._change_light,
    "sides changed": SpecMaker._change_side,
    "other words around": SpecMaker._change_words,
}
EDITS = tuple(_EDITS)


def _with_thing(spec: SceneSpec, place: int, thing: Thing) -> SceneSpec:
    return replace(spec, things=(*spec.things[:place], thing, *spec.things[place + 1 :]))


def _other(rng: Generator, options: Sequence[str], old: str | None) -> str:
    return _pick(rng, [each for each in options if each != old])


def _pick(rng: Generator, options: Sequence[Option]) -> Option:
    return options[int(rng.integers(len(options)))]
