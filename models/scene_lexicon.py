"""Which words name which OpenMoji drawing, and what sort of thing it shows; knows nothing of captions or pixels."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import emoji

from models.scene_words import EXTRA_DRAWINGS, IRREGULAR_PLURALS, SYNONYMS

Zone: TypeAlias = Literal["ground", "sky", "water"]
Words: TypeAlias = tuple[str, ...]

MAX_WORDS = 5

# Of the older blocks only these show things; the rest are signs, arrows, letters and shapes.
_BMP_DRAWINGS = frozenset("⌚⌛⌨☀☁☂☃☄☎☕☘☠⚓⚔⚖⚗⚙⚡⚰⚱⚽⚾⛄⛅⛈⛏⛑⛓⛩⛪⛰⛱⛲⛴⛵⛷⛸⛺✂✈✉✏❄❤⭐")
_SIGN_RANGES = (
    (0x1F000, 0x1F2FF), (0x1F3FB, 0x1F3FF), (0x1F440, 0x1F450), (0x1F48B, 0x1F48B), (0x1F491, 0x1F491),
    (0x1F493, 0x1F4A2), (0x1F4A4, 0x1F4A6), (0x1F4A8, 0x1F4AF), (0x1F4B1, 0x1F4B2), (0x1F4F3, 0x1F4F6),
    (0x1F500, 0x1F506), (0x1F518, 0x1F524), (0x1F52F, 0x1F53D), (0x1F549, 0x1F549), (0x1F54E, 0x1F567),
    (0x1F590, 0x1F596), (0x1F5EF, 0x1F5F3), (0x1F600, 0x1F644), (0x1F645, 0x1F64F), (0x1F6AB, 0x1F6B1),
    (0x1F6B3, 0x1F6B3), (0x1F6B7, 0x1F6BC), (0x1F6BE, 0x1F6C5), (0x1F6D0, 0x1F6D1), (0x1F6DC, 0x1F6DC),
    (0x1F7E0, 0x1F7EB), (0x1F7F0, 0x1F7F0), (0x1F90C, 0x1F92F), (0x1F9B0, 0x1F9B3), (0x1F9B5, 0x1F9B7),
    (0x1F9BB, 0x1F9BB), (0x1F9E1, 0x1F9E1), (0x1FA75, 0x1FA77), (0x1FAC0, 0x1FAC2), (0x1FAE0, 0x1FAFF),
)  # fmt: skip
# Pictures with a frame or a scene of their own, and words that are more often verbs than things.
_NOT_DRAWN = frozenset(
    "bridge at night|sunrise|sunrise over mountains|sunset|cityscape at dusk|night with stars|milky way|foggy|fog|"
    "motorway|metro|moon viewing ceremony|watch|fly|cook|kiss|mate|hole|seat|label|link|wedding|stop sign|collision|"
    "family|biting lip|mouth|bald|locked|unlocked|footprints|cinema|construction|cityscape|beach with umbrella|camping|"
    "national park|desert|place of worship|children crossing|station|splatter|snowman without snow".split("|")
)
_SKY = frozenset(
    "sun|sun with face|full moon|new moon|crescent moon|first quarter moon|last quarter moon|waxing crescent moon|"
    "waning crescent moon|waxing gibbous moon|waning gibbous moon|full moon face|new moon face|cloud|cloud with rain|"
    "cloud with snow|cloud with lightning|cloud with lightning and rain|sun behind cloud|sun behind large cloud|"
    "sun behind small cloud|sun behind rain cloud|star|glowing star|shooting star|comet|rainbow|airplane|"
    "airplane departure|airplane arrival|small airplane|helicopter|dove|eagle|bat|butterfly|honeybee|kite|balloon|"
    "flying saucer|rocket|satellite|parachute|ringed planet|fireworks|snowflake|high voltage|tornado|drone|dragon|"
    "space shuttle|globe showing Europe-Africa|sparkles|droplet|mosquito|phoenix".split("|")
)
_WATER = frozenset(
    "fish|tropical fish|dolphin|whale|spouting whale|shark|octopus|squid|jellyfish|sailboat|canoe|speedboat|motor boat|"
    "ferry|ship|passenger ship|duck|swan|orca|blowfish|person surfing|person swimming|person rowing boat|iceberg|"
    "ring buoy|turtle".split("|")
)
_HUGE = frozenset("lighthouse|pyramids|wind turbine|tower|eiffel tower|greek temple|iceberg|ferris wheel".split("|"))
_LARGE = frozenset(
    "deciduous tree|evergreen tree|palm tree|leafless tree|elephant|giraffe|mammoth|sauropod|T-Rex|whale|spouting whale|"
    "hippopotamus|rhinoceros|horse|cow|camel|two-hump camel|bison|dragon|table|tent|fountain|sun|full moon|rainbow|"
    "couch and lamp|bed|bathtub|piano|sun with face|cloud|orca|shark".split("|")
)
_TINY = frozenset(
    "ant|honeybee|lady beetle|bug|beetle|cricket|cockroach|spider|mosquito|snail|worm|star|glowing star|ring|key|old key|coin|"
    "cherries|blueberries|strawberry|grapes|chestnut|olive|egg|candle|peanuts|coffee bean|droplet|snowflake|pill|"
    "butterfly|microbe|feather|baby chick|mouse|seedling|leaf fluttering in wind|fallen leaf|shamrock|bone".split("|")
)
_MEDIUM_PLANT = frozenset({"cactus", "sunflower", "potted plant", "sheaf of rice"})
SEATS = frozenset(
    "chair armchair bed bench horse camel elephant bicycle motorcycle sailboat canoe sled skateboard "
    "couch_and_lamp two-hump_camel wheelbarrow bathtub donkey rock surfboard".replace(" ", "|").replace("_", " ").split("|")
)
CONTAINERS = frozenset(
    "basket|bucket|bowl with spoon|pot of food|amphora|package|hot beverage|jar|nest with eggs|empty nest|handbag|"
    "shopping cart|wheelbarrow|wastebasket|bathtub|treasure chest|steaming bowl|backpack|shopping bags".split("|")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawingKind:
    """What a drawing shows: where it belongs, how large it is beside a cat (1.0), and of what domain."""

    zone: Zone
    size: float
    domain: Literal["person", "animal", "plant", "food", "place", "vehicle", "sky", "thing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedDrawing:
    """A drawing by its English name and its OpenMoji code (hex code points joined by hyphens)."""

    name: str
    codepoint: str
    kind: DrawingKind


def split_words(text: str) -> list[str]:
    """Lower-case words and punctuation marks, in order; hyphens split, possessive endings go."""
    plain = text.lower().replace("’", "'")
    words = re.findall(r"[a-z0-9à-ÿ]+(?:'[a-z]+)?|[,.;:!?]", plain)
    return [re.sub(r"'s$", "", word) for word in words]


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


def kind_of(name: str, code: str) -> DrawingKind:
    """Zone, size and domain by name where a name is known, else by Unicode block."""
    first = int(code.split("-")[0], 16)
    domain, size = _block(first)
    if name in _SKY:
        domain = "sky" if domain in ("thing", "place") else domain
    if name in _HUGE:
        size = 2.1
    elif name in _LARGE:
        size = 1.5
    elif name in _TINY:
        size = 0.5
    elif name in _MEDIUM_PLANT:
        size = 1.0
    zone: Zone = "sky" if name in _SKY else "water" if name in _WATER else "ground"
    return DrawingKind(zone=zone, size=size, domain=domain)


def _block(first: int) -> tuple[Literal["person", "animal", "plant", "food", "place", "vehicle", "sky", "thing"], float]:
    if _within(first, (0x1F400, 0x1F43F), (0x1F980, 0x1F9AE), (0x1FAB0, 0x1FABF), (0x1FACD, 0x1FACF), (0xE000, 0xE010)):
        return "animal", 1.0
    if _within(first, (0x1F32D, 0x1F32F), (0x1F345, 0x1F37F), (0x1F950, 0x1F96F), (0x1F9C0, 0x1F9CB), (0x1FAD0, 0x1FADF)):
        return "food", 0.65
    if _within(first, (0x1F331, 0x1F344), (0x1FAB4, 0x1FAB7)):
        return "plant", 0.75
    if _within(first, (0x1F466, 0x1F487), (0x1F9B8, 0x1F9DF), (0x1F934, 0x1F936), (0x1F930, 0x1F93E), (0xE300, 0xE303)):
        return "person", 1.15
    if _within(first, (0x1F3C2, 0x1F3C4), (0x1F3CA, 0x1F3CC), (0x1F574, 0x1F575), (0x1F6B4, 0x1F6B6), (0xE340, 0xE341)):
        return "person", 1.15
    if _within(first, (0x1F3D4, 0x1F3DF), (0x1F3E0, 0x1F3F0), (0x1F5FB, 0x1F5FF), (0x1F30B, 0x1F30B), (0x26EA, 0x26EA)):
        return "place", 2.1
    if _within(first, (0x1F680, 0x1F6A4), (0x1F6E5, 0x1F6FC), (0x26F4, 0x26F5)):
        return "vehicle", 1.5
    return "thing", 0.8


def _within(value: int, *ranges: tuple[int, int]) -> bool:
    return any(low <= value <= high for low, high in ranges)


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
    if name in _NOT_DRAWN or " face" in name or "button" in name or "arrow" in name.replace("bow and arrow", ""):
        return False
    if any(_within(ord(character), (0x1F3FB, 0x1F3FF), (0x20E3, 0x20E3), (0xE0000, 0xE007F)) for character in characters):
        return False
    if first < 0x1F000:
        return characters[0] in _BMP_DRAWINGS
    flag = first == 0x1F3F3 or (first == 0x1F3F4 and "pirate" not in name)
    return not flag and not _within(first, *_SIGN_RANGES) and not name.startswith(("family", "couple with"))


def _key(name: str) -> Words:
    return tuple(split_words(name))


def _is_plural_name(drawing: NamedDrawing, span: Words) -> bool:
    """Whether an exact match is of a word that a caption uses for several (never for `books` or `grapes`)."""
    return singular(span[-1]) != span[-1] and span != _key(drawing.name)
