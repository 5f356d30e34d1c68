"""Reads a caption into what it asks for: things with counts and colours, where they are, the place, the light.

Knows nothing of pixels. The reader is a single pass over the words; whatever it cannot use it reports as undrawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, cast

from models.scene_kinds import Zone
from models.scene_lexicon import Lexicon, NamedDrawing, singular, split_words
from models.scene_words import (
    COLOURS,
    COUNTS,
    GROUNDS,
    LIGHTS,
    NATURAL_TINTS,
    RELATIONS,
    SIDES,
    SIZES,
    STOP_WORDS,
    TABLES,
    VAGUE_COUNTS,
    ZONE_WORDS,
)

RelationKind: TypeAlias = Literal["on", "in", "above", "below", "behind", "front", "left", "right", "near"]

INDEFINITE_PLURAL = 3
_PAUSES = frozenset(",.;:!?")
_COPULAS = frozenset({"is", "are", "was", "were"})
_JOINERS = frozenset({"and", ","})
_GROUND_WORDS = {word: name for name, words in GROUNDS.items() for word in words.split()}
_LIGHT_WORDS = {word: name for name, words in LIGHTS.items() for word in words.split()}
_NATURAL = {name: frozenset(colours.split()) for name, colours in NATURAL_TINTS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A thing that the caption names: how many (or about so many), in which colours, how large, on which side."""

    drawing: NamedDrawing
    count: int
    exact: bool
    colours: tuple[str, ...]
    scale: float
    zone: Zone
    side: Literal["left", "right"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """`subject` is `kind` `target`; both are indices into the wanted things."""

    subject: int
    kind: RelationKind
    target: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionReading:
    """All that a caption asks for. `ground` and `light` are None where it names none."""

    wanted: tuple[Wanted, ...]
    relations: tuple[Relation, ...]
    ground: str | None
    light: str | None
    drawn_words: tuple[str, ...]
    undrawn_words: tuple[str, ...]


@dataclass(slots=True)
class _Phrase:
    """The modifiers that stand before a thing, until the thing comes."""

    count: int | None = None
    exact: bool = False
    colours: list[tuple[str, str]] = field(default_factory=list)
    scale: float = 1.0
    size_words: list[str] = field(default_factory=list)
    zone: Zone | None = None
    zone_words: list[str] = field(default_factory=list)


def read_caption(caption: str, lexicon: Lexicon) -> CaptionReading:
    """What `caption` asks for, in the order of its words."""
    return _Reader(split_words(caption), lexicon).read()


class _Reader:
    def __init__(self, words: list[str], lexicon: Lexicon) -> None:
        self._words = words
        self._lexicon = lexicon
        self._at = 0
        self._phrase = _Phrase()
        self._wanted: list[Wanted] = []
        self._relations: list[Relation] = []
        self._targets: set[int] = set()
        self._relation: tuple[RelationKind, tuple[int, ...]] | None = None
        self._joined = False  # the next thing continues the group of the last one
        self._group: list[int] = []
        self._copula = False
        self._place: str | None = None  # the ground or light that was named last, after the last thing
        self._ground: str | None = None
        self._light: str | None = None
        self._fate: dict[str, bool] = {}  # content word -> drawn

    def read(self) -> CaptionReading:
        while self._at < len(self._words):
            self._at += self._step()
        self._end_phrase()
        return CaptionReading(
            wanted=tuple(self._wanted),
            relations=tuple(self._relations),
            ground=self._ground,
            light=self._light,
            drawn_words=tuple(word for word, drawn in self._fate.items() if drawn),
            undrawn_words=tuple(word for word, drawn in self._fate.items() if not drawn),
        )

    def _step(self) -> int:
        """Use up the words at the current place; returns how many."""
        word = self._words[self._at]
        if word in _PAUSES:
            self._end_phrase()
            self._joined = word == ","
            return 1
        match = self._lexicon.match(self._words, self._at)
        used = self._take_side()
        if not used and match and match[1] > 1:
            used = self._take_thing(match)
        used = used or self._take_place(word) or self._take_modifier(word)
        if not used and match:
            used = self._take_thing(match)
        return used or self._take_relation() or self._take_other(word)

    def _take_side(self) -> int:
        side = self._longest(SIDES)
        if side is None or not self._wanted or self._follows(side[1], "of"):
            return 0
        self._wanted[-1] = replace(self._wanted[-1], side=cast(Literal["left", "right"], side[0]))
        return side[1]

    def _take_modifier(self, word: str) -> int:
        phrase = self._phrase
        if word.isdigit() or word in COUNTS or word in VAGUE_COUNTS:
            phrase.count = int(word[:3]) if word.isdigit() else COUNTS.get(word) or VAGUE_COUNTS[word]
            phrase.exact = word not in VAGUE_COUNTS
            return 1
        if word in COLOURS and not self._is_orange_fruit():
            phrase.colours.append((word, COLOURS[word]))
        elif word in SIZES:
            phrase.scale = SIZES[word]
            phrase.size_words.append(word)
        elif word in ZONE_WORDS and word not in _GROUND_WORDS:
            return self._take_zone(word)
        else:
            return 0
        return 1

    def _take_zone(self, word: str) -> int:
        zone = cast(Zone, ZONE_WORDS[word])
        if self._wanted and self._phrase == _Phrase():
            for index in self._group or [len(self._wanted) - 1]:
                self._wanted[index] = replace(self._wanted[index], zone=zone)
            self._mark(word, drawn=True)
        else:
            self._phrase.zone = zone
            self._phrase.zone_words.append(word)
        return 1

    def _is_orange_fruit(self) -> bool:
        word, after = self._words[self._at], self._words[self._at + 1 : self._at + 2]
        if word not in ("orange", "oranges"):
            return False
        ends = not after or after[0] in _PAUSES or after[0] in STOP_WORDS
        return ends and not self._copula

    def _take_place(self, word: str) -> int:
        """A word for the ground or the light; a table only where something is on it. Returns the words used."""
        base = word if word in _GROUND_WORDS or word in _LIGHT_WORDS else singular(word)
        on = self._relation is not None and self._relation[0] == "on"
        compound = self._follows_thing()
        if base in TABLES and on and not compound:
            return self._set_ground("table", word)
        if base in _GROUND_WORDS and not compound:
            return self._set_ground(_GROUND_WORDS[base], word)
        if base in _LIGHT_WORDS:
            return self._set_light(_LIGHT_WORDS[base], word)
        if word in ("background", "backdrop") and self._phrase.colours and self._ground is None:
            self._ground = f"plain {self._phrase.colours[0][1]}"
            self._mark(self._phrase.colours[0][0], drawn=True)
            self._phrase = _Phrase()
            return 1
        return 0

    def _set_ground(self, ground: str, word: str) -> int:
        fits = self._ground in (None, ground) or {self._ground, ground} == {"table", "room"}
        if fits:
            self._ground = "table" if "table" in (self._ground, ground) else ground
        elif {self._ground, ground} == {"sea", "beach"}:
            self._ground, fits = "beach", True
        self._close_place(word, ground, drawn=fits)
        return 1

    def _set_light(self, light: str, word: str) -> int:
        fits = self._light in (None, light) or "day" in (self._light, light)
        if self._light in (None, "day"):
            self._light = light
        self._close_place(word, light, drawn=fits)
        return 1

    def _close_place(self, word: str, name: str, *, drawn: bool) -> None:
        self._mark(word, drawn=drawn)
        for colour_word, colour in self._phrase.colours:
            self._mark(colour_word, drawn=drawn and colour in _NATURAL.get(name, frozenset()))
        self._phrase = replace(self._phrase, colours=[], count=None)
        self._place = name
        if self._words[self._at + 1 : self._at + 2] not in ([table] for table in TABLES):
            self._relation = None  # but `on a kitchen table` is still on the table

    def _take_thing(self, match: tuple[NamedDrawing, int, bool]) -> int:
        drawing, length, plural = match
        words = self._words[self._at : self._at + length]
        if self._modifies_next_thing(length) and not plural:
            self._mark(*words, drawn=False)
            return length
        phrase, index = self._phrase, len(self._wanted)
        count = phrase.count or 1
        if plural and count == 1:
            count = INDEFINITE_PLURAL
        self._wanted.append(
            Wanted(
                drawing=drawing,
                count=count,
                exact=phrase.exact and not (plural and count == INDEFINITE_PLURAL and phrase.count != count),
                colours=tuple(colour for _, colour in phrase.colours[:2]),
                scale=phrase.scale,
                zone=phrase.zone or drawing.kind.zone,
            )
        )
        self._mark(*words, *(word for word, _ in phrase.colours[:2]), drawn=True)
        self._mark(*phrase.size_words, *phrase.zone_words, drawn=True)
        self._mark(*(word for word, _ in phrase.colours[2:]), drawn=False)
        self._relate(index)
        self._phrase, self._copula, self._place = _Phrase(), False, None
        return length

    def _relate(self, index: int) -> None:
        if self._relation:
            kind, subjects = self._relation
            self._relations += [Relation(subject=subject, kind=kind, target=index) for subject in subjects]
            self._targets.add(index)
            self._relation, self._group = None, []
        elif self._joined and self._group:
            self._group.append(index)
        else:
            self._group = [index]
        if index in self._targets:
            self._group = [index]
        self._joined = False

    def _take_relation(self) -> int:
        relation = self._longest(RELATIONS)
        if relation is None:
            return 0
        self._end_phrase()
        if self._wanted:
            subjects = tuple(self._group or [len(self._wanted) - 1])
            self._relation = (cast(RelationKind, relation[0]), subjects)
        return relation[1]

    def _take_other(self, word: str) -> int:
        if word in STOP_WORDS:
            self._copula = self._copula or word in _COPULAS
            if word == "and":
                self._take_and()
            elif word != "of" and word not in ("the", "its", "their", "his", "her"):
                self._joined = self._joined and word in _JOINERS
        else:
            self._mark(word, drawn=False)
        return 1

    def _take_and(self) -> None:
        after = self._words[self._at + 1 : self._at + 2]
        if self._phrase.colours and after and after[0] in COLOURS:
            return  # red and white
        self._end_phrase()
        self._joined, self._relation = True, None
        if self._group and self._group[-1] in self._targets:
            self._group = []

    def _end_phrase(self) -> None:
        """Give colours that nothing followed to the thing before (`the car is red`), else report them undrawn."""
        colours = self._phrase.colours
        if colours and self._copula and self._place:
            for word, colour in colours:
                self._mark(word, drawn=colour in _NATURAL.get(self._place, frozenset()))
        elif colours and self._copula and self._wanted and not self._wanted[-1].colours:
            self._wanted[-1] = replace(self._wanted[-1], colours=tuple(colour for _, colour in colours[:2]))
            self._mark(*(word for word, _ in colours[:2]), drawn=True)
        else:
            self._mark(*(word for word, _ in colours), drawn=False)
        self._mark(*self._phrase.size_words, *self._phrase.zone_words, drawn=False)
        self._phrase, self._copula = _Phrase(), False

    def _modifies_next_thing(self, length: int) -> bool:
        """Whether another thing follows at once: in `brick house` the brick is no thing of its own."""
        after = self._at + length
        if after >= len(self._words):
            return False
        word = self._words[after]
        known = word in STOP_WORDS or word in _PAUSES or word in ZONE_WORDS or word in _LIGHT_WORDS
        return not known and self._lexicon.match(self._words, after) is not None

    def _follows_thing(self) -> bool:
        """Whether a thing follows at once: in `beach ball` or `kitchen table` there is no other place."""
        after = self._at + 1
        if after >= len(self._words) or self._words[after] in STOP_WORDS:
            return False
        return (
            self._words[self._at] in ("sand", "ground", "shelf") and self._lexicon.match(self._words, after) is not None
        )

    def _longest(self, table: Mapping[str, str]) -> tuple[str, int] | None:
        for length in (4, 3, 2, 1):
            value = table.get(" ".join(self._words[self._at : self._at + length]))
            if value is not None and self._at + length <= len(self._words):
                return value, length
        return None

    def _follows(self, length: int, word: str) -> bool:
        return self._words[self._at + length : self._at + length + 1] == [word]

    def _mark(self, *words: str, drawn: bool) -> None:
        for word in words:
            if word not in STOP_WORDS and word not in COUNTS and word not in VAGUE_COUNTS:
                self._fate[word] = self._fate.get(word, False) or drawn
