"""Which words name which OpenMoji drawing; knows nothing of captions or pixels."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import emoji

from models.scene_kinds import DrawingKind, kind_of, within
from models.scene_words import EXTRA_DRAWINGS, IRREGULAR_PLURALS, SYNONYMS, names_of

Words: TypeAlias = tuple[str, ...]

MAX_WORDS = 5

# Of the older blocks only these show things; the rest are signs, arrows, letters and shapes.
_BMP_DRAWINGS = frozenset("⌚⌛⌨☀☁☂☃☄☎☕☘☠⚓⚔⚖⚗⚙⚡⚰⚱⚽⚾⛄⛅⛈⛏⛑⛓⛩⛪⛰⛱⛲⛴⛵⛷⛸⛺✂✈✉✏❄❤⭐")
_SIGN_RANGES = (
    (0x1F000, 0x1F2FF), (0x1F3FB, 0x1F3FF), (0x1F440, 0x1F450), (0x1F48B, 0x1F48B), (0x1F491, 0x1F491),
    (0x1F493, 0x1F4A0), (0x1F4A2, 0x1F4A2), (0x1F4A4, 0x1F4A6), (0x1F4A8, 0x1F4AF), (0x1F4B1, 0x1F4B2),
    (0x1F4F3, 0x1F4F6), (0x1F500, 0x1F506), (0x1F518, 0x1F524), (0x1F52F, 0x1F53D), (0x1F549, 0x1F549),
    (0x1F54E, 0x1F567), (0x1F590, 0x1F596), (0x1F5EF, 0x1F5F3), (0x1F600, 0x1F644), (0x1F645, 0x1F64F),
    (0x1F6AB, 0x1F6B1), (0x1F6B3, 0x1F6B3), (0x1F6B7, 0x1F6BC), (0x1F6BE, 0x1F6BE), (0x1F6C2, 0x1F6C5),
    (0x1F6D0, 0x1F6D1), (0x1F6DC, 0x1F6DC), (0x1F7E0, 0x1F7EB), (0x1F7F0, 0x1F7F0), (0x1F90C, 0x1F92F),
    (0x1F932, 0x1F932), (0x1F9B0, 0x1F9B3), (0x1F9B5, 0x1F9B7), (0x1F9BB, 0x1F9BB), (0x1F9E1, 0x1F9E1),
    (0x1FA75, 0x1FA77), (0x1FAC0, 0x1FAC2), (0x1FAE0, 0x1FAFF),
)  # fmt: skip
# Pictures with a frame or a scene of their own.
_FRAMED = names_of(
    "bridge at night|sunrise|sunrise over mountains|sunset|cityscape at dusk|night with stars|milky way|foggy|"
    "fog|motorway|moon viewing ceremony|hole|stop sign|family|biting lip|mouth|bald|footprints|cinema|"
    "cityscape|beach with umbrella|camping|national park|desert|place of worship|children crossing|station|"
    "splatter|snowman without snow"
)
# Words that are more often verbs than things: drawn only where a synonym leads to them.
_AMBIGUOUS = names_of("watch|fly|cook|kiss|mate|seat|label|link|wedding|collision|locked|construction|metro")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedDrawing:
    """A drawing by its English name and its OpenMoji code (hex code points joined by hyphens)."""

    name: str
    codepoint: str
    kind: DrawingKind


def split_words(text: str) -> list[str]:
    """Lower-case words and punctuation marks, in order; hyphens split, possessive endings go."""
    plain = text.lower().replace("\u2019", "'")
    words = re.findall(r"[a-z0-9à-ÿ]+(?:'[a-z]+)?|[,.;:!?]", plain)
    return [word.removesuffix("'s") for word in words]


def singular(word: str) -> str:
    """The singular of a plural English noun, or the word itself."""
    if word in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses", "oes")) and len(word) > 4:
        return word[:-2]
    if word.endswith("s") and len(word) > 3 and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


class Lexicon:
    """All names of drawable things. Built from the installed `emoji` names and the drawings that are there."""

    def __init__(self, codes: frozenset[str]) -> None:
        self._drawings: dict[Words, NamedDrawing] = {}
        for name, code in [*_emoji_names(codes), *EXTRA_DRAWINGS.items()]:
            if code in codes:
                self._drawings[_key(name)] = NamedDrawing(name=name, codepoint=code, kind=kind_of(name, code))
        for alias, name in synonyms():
            drawing = self._drawings.get(_key(name))
            if drawing is not None:
                self._drawings[_key(alias)] = drawing
        for word in _AMBIGUOUS:
            self._drawings.pop((word,), None)

    def __len__(self) -> int:
        return len(self._drawings)

    def find(self, words: Words) -> NamedDrawing | None:
        """The drawing of exactly this name, or None."""
        return self._drawings.get(words)

    def match(self, words: list[str], start: int) -> tuple[NamedDrawing, int, bool] | None:
        """The longest name that begins at `start`: the drawing, the number of its words, whether it is a plural."""
        for length in range(min(MAX_WORDS, len(words) - start), 0, -1):
            span = tuple(words[start : start + length])
            one = (*span[:-1], singular(span[-1]))
            for candidate in (span, one):
                drawing = self._drawings.get(candidate)
                if drawing is not None:
                    return drawing, length, candidate != span or _is_plural_name(drawing, span)
        return None


def synonyms() -> Iterator[tuple[str, str]]:
    """Pairs (further name, name of the drawing)."""
    for entry in re.split(r"[;\n]", SYNONYMS):
        others, separator, name = entry.partition("=")
        if separator:
            yield from ((other.strip(), name.strip()) for other in others.split(","))


def _emoji_names(codes: frozenset[str]) -> Iterator[tuple[str, str]]:
    for characters, entry in emoji.EMOJI_DATA.items():
        name = str(entry["en"]).strip(":").replace("_", " ")
        if entry["status"] > emoji.STATUS["fully_qualified"] or not _shows_a_thing(characters, name):
            continue
        full = "-".join(f"{ord(character):04X}" for character in characters)
        code = full if full in codes else full.replace("-FE0F", "")
        if code in codes:
            yield name, code


def _shows_a_thing(characters: str, name: str) -> bool:
    first = ord(characters[0])
    if name in _FRAMED or "face" in name.split() or "button" in name or "arrow" in name.replace("bow and arrow", ""):
        return False
    if any(
        within(ord(character), (0x1F3FB, 0x1F3FF), (0x20E3, 0x20E3), (0xE0000, 0xE007F)) for character in characters
    ):
        return False
    if first < 0x1F000:
        return characters[0] in _BMP_DRAWINGS
    flag = first == 0x1F3F3 or (first == 0x1F3F4 and "pirate" not in name)
    return not flag and not within(first, *_SIGN_RANGES) and not name.startswith(("family", "couple with"))


def _key(name: str) -> Words:
    return tuple(split_words(name))


def _is_plural_name(drawing: NamedDrawing, span: Words) -> bool:
    """Whether an exact match is of a word that a caption uses for several (never for `books` or `grapes`)."""
    return singular(span[-1]) != span[-1] and span != _key(drawing.name)
