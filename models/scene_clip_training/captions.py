"""Says a scene in words, in many ways; knows nothing of pixels.

A caption counts only when the painter's own reader finds in it the things, counts, colours, place and light that were
meant: `say` keeps trying until it has one.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

from numpy.random import Generator

from models.scene_caption import CaptionReading, read_caption
from models.scene_clip_training import wording
from models.scene_clip_training.specs import SceneSpec, Thing
from models.scene_lexicon import Lexicon
from models.scene_place import choose_backdrop
from models.scene_words import IRREGULAR_PLURALS

Option = TypeVar("Option")

TRIES = 12
_PLURALS = {one: many for many, one in IRREGULAR_PLURALS.items()}


def say(spec: SceneSpec, lexicon: Lexicon, rng: Generator) -> tuple[str, CaptionReading] | None:
    """A caption and how the painter reads it; None when no way of saying it was understood."""
    for _ in range(TRIES):
        caption = _Speaker(spec, rng).caption()
        reading = read_caption(caption, lexicon)
        if _is_understood(spec, reading):
            return caption, reading
    return None


def say_again(spec: SceneSpec, known: CaptionReading, lexicon: Lexicon, rng: Generator) -> str | None:
    """Another caption that makes the painter draw what `known` makes it draw; None when none was found."""
    for _ in range(TRIES):
        caption = _Speaker(spec, rng).caption()
        if asks_for(read_caption(caption, lexicon)) == asks_for(known):
            return caption
    return None


def _is_understood(spec: SceneSpec, reading: CaptionReading) -> bool:
    meant = Counter((each.subject.drawing.codepoint, each.count, each.colour) for each in spec.things)
    read = Counter(
        (each.drawing.codepoint, each.count, each.colours[0] if each.colours else None) for each in reading.wanted
    )
    kinds = {each.kind for each in reading.relations}
    related = spec.relation in (None, "near") or spec.relation in kinds
    return meant == read and reading.ground == spec.place and reading.light == spec.light and related


def asks_for(reading: CaptionReading) -> tuple[object, ...]:
    """What decides the picture, but for the arrangement."""
    things = Counter((each.drawing.codepoint, each.count, frozenset(each.colours)) for each in reading.wanted)
    name = [each.drawing.codepoint for each in reading.wanted]
    relations = {(each.kind, name[each.subject], name[each.target]) for each in reading.relations}
    return things, choose_backdrop(reading), {each for each in relations if each[0] != "near"}


class _Speaker:
    """One way of saying one scene."""

    def __init__(self, spec: SceneSpec, rng: Generator) -> None:
        self._spec = spec
        self._rng = rng
        self._free = list(spec.words)

    def caption(self) -> str:
        ways = (self._sentence, self._place_first, self._opened, self._two_sentences, self._terse, self._around)
        shares = (0.3, 0.12, 0.2, 0.14, 0.08, 0.16)
        way = ways[int(self._rng.choice(len(ways), p=shares))] if self._spec.things else self._empty
        text = way()
        if self._rng.random() < 0.25:
            text = f"{self._filled(wording.BEFORE)} {text}"
        if self._rng.random() < 0.3:
            text = f"{text} {self._filled(wording.AFTER)}"
        return text[0].upper() + text[1:]

    def _sentence(self) -> str:
        verb = f" {self._pick(wording.VERBS)}" if self._rng.random() < 0.35 else ""
        return f"{self._things()}{verb}{self._setting()}."

    def _place_first(self) -> str:
        setting = self._setting().lstrip(", ")
        return f"{setting}, {self._pick(wording.THERE)} {self._things()}." if setting else self._sentence()

    def _opened(self) -> str:
        return f"{self._pick(wording.OPENINGS)} {self._things()}{self._setting()}."

    def _two_sentences(self) -> str:
        things = self._spec.things
        if len(things) < (3 if self._spec.relation else 2):
            return self._opened()
        first = things[:2] if self._spec.relation else things[:1]
        rest = things[len(first) :]
        return (
            f"{self._joined(first)}{self._setting()}. {self._pick(wording.NEARBY)} "
            f"{self._listed([self._phrase(each) for each in rest])}."
        )

    def _terse(self) -> str:
        if self._spec.relation:
            return self._sentence()
        parts = [self._phrase(each) for each in self._spec.things]
        parts += [self._pick(wording.PLACE_NAMES[self._spec.place])] if self._spec.place else []
        parts += [self._pick(wording.LIGHT_NAMES[self._spec.light])] if self._spec.light else []
        return ", ".join(parts)

    def _around(self) -> str:
        return f"{self._filled(wording.AROUND).replace('{things}', self._things())}{self._setting()}."

    def _empty(self) -> str:
        setting = self._setting().strip(", ")
        if not setting:
            return self._filled(wording.EMPTY)
        return f"{self._pick(wording.OPENINGS)} a {self._word()} {setting}."

    def _setting(self) -> str:
        parts = [self._pick(wording.PLACES[self._spec.place])] if self._spec.place else []
        parts += [self._pick(wording.LIGHTS[self._spec.light])] if self._spec.light else []
        if self._rng.random() < 0.3:
            parts.reverse()
        return "".join(f"{self._pick((' ', ', ', ' '))}{part}" for part in parts)

    def _things(self) -> str:
        return self._joined(self._spec.things)

    def _joined(self, things: Sequence[Thing]) -> str:
        phrases = [self._phrase(each) for each in things]
        if self._spec.relation and len(phrases) > 1:
            between = self._pick(wording.RELATION_NAMES[self._spec.relation])
            phrases = [f"{phrases[0]} {between} {phrases[1]}", *phrases[2:]]
        elif self._rng.random() < 0.4:
            phrases = [phrases[place] for place in self._rng.permutation(len(phrases))]
        return self._listed(phrases)

    def _listed(self, phrases: Sequence[str]) -> str:
        if len(phrases) < 2:
            return "".join(phrases)
        last = self._pick((" and ", ", and ", " with ", " and also "))
        return ", ".join(phrases[:-1]) + last + phrases[-1]

    def _phrase(self, thing: Thing) -> str:
        name = self._pick(thing.subject.names)
        before = [self._pick(wording.SIZE_NAMES)] if self._rng.random() < 0.12 else []
        before += [self._pick(wording.ADJECTIVES)] if self._rng.random() < 0.2 else []
        before += [self._word()] if self._rng.random() < 0.1 else []
        before += [self._pick(wording.COLOUR_NAMES[thing.colour])] if thing.colour else []
        described = " ".join([*before, name if thing.count == 1 else _plural(name)])
        count = self._pick(wording.COUNT_NAMES[thing.count])
        if count == "a":
            count = self._pick(("a", "a", "the", "an" if described[0] in "aeiou" else "a"))
        return f"{count} {described}"

    def _filled(self, templates: Sequence[str]) -> str:
        text = self._pick(templates)
        while "{word}" in text:
            text = text.replace("{word}", self._word(), 1)
        return text

    def _word(self) -> str:
        """The scene's own words come in turn, so that its captions share many of them."""
        word = self._free.pop(0)
        self._free.append(word)
        return word

    def _pick(self, options: Sequence[Option]) -> Option:
        return options[int(self._rng.integers(len(options)))]


def _plural(name: str) -> str:
    head, _, last = name.rpartition(" ")
    if last in _PLURALS:
        many = _PLURALS[last]
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        many = f"{last[:-1]}ies"
    elif last.endswith(("s", "x", "ch", "sh")):
        many = f"{last}es"
    else:
        many = f"{last}s"
    return f"{head} {many}".strip()
