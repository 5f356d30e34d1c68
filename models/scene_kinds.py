"""What sort of thing a drawing shows: where it belongs, how large it is; knows nothing of captions or pixels."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from models.scene_words import names_of

Zone: TypeAlias = Literal["ground", "sky", "water"]
Domain: TypeAlias = Literal["person", "animal", "plant", "food", "place", "vehicle", "sky", "thing"]

_SKY = names_of(
    "sun|sun with face|full moon|new moon|crescent moon|first quarter moon|last quarter moon|"
    "waxing crescent moon|waning crescent moon|waxing gibbous moon|waning gibbous moon|full moon face|"
    "new moon face|cloud|cloud with rain|cloud with snow|cloud with lightning|cloud with lightning and rain|"
    "sun behind cloud|sun behind large cloud|sun behind small cloud|sun behind rain cloud|star|glowing star|"
    "shooting star|comet|rainbow|airplane|airplane departure|airplane arrival|small airplane|helicopter|dove|"
    "eagle|bat|butterfly|honeybee|kite|balloon|flying saucer|rocket|satellite|parachute|ringed planet|"
    "fireworks|snowflake|high voltage|tornado|drone|dragon|space shuttle|globe showing Europe-Africa|sparkles|"
    "droplet|mosquito|phoenix"
)
_WATER = names_of(
    "fish|tropical fish|dolphin|whale|spouting whale|shark|octopus|squid|jellyfish|sailboat|canoe|speedboat|"
    "motor boat|ferry|ship|passenger ship|duck|swan|orca|blowfish|person surfing|person swimming|"
    "person rowing boat|iceberg|ring buoy|turtle"
)
_HUGE = names_of("lighthouse|pyramids|wind turbine|tower|eiffel tower|greek temple|iceberg|ferris wheel")
_LARGE = names_of(
    "deciduous tree|evergreen tree|palm tree|leafless tree|elephant|giraffe|mammoth|sauropod|T-Rex|whale|"
    "spouting whale|hippopotamus|rhinoceros|horse|cow|camel|two-hump camel|bison|dragon|table|tent|fountain|"
    "sun|full moon|rainbow|couch and lamp|bed|bathtub|piano|sun with face|cloud|orca|shark"
)
_TINY = names_of(
    "ant|honeybee|lady beetle|bug|beetle|cricket|cockroach|spider|mosquito|snail|worm|star|glowing star|ring|"
    "key|old key|coin|cherries|blueberries|strawberry|grapes|chestnut|olive|egg|candle|peanuts|coffee bean|"
    "droplet|snowflake|pill|butterfly|microbe|feather|baby chick|mouse|seedling|leaf fluttering in wind|"
    "fallen leaf|shamrock|bone"
)
_MEDIUM_PLANT = frozenset({"cactus", "sunflower", "potted plant", "sheaf of rice"})
SEATS = names_of(
    "chair|armchair|bed|bench|horse|camel|elephant|bicycle|motorcycle|sailboat|canoe|sled|skateboard|"
    "couch and lamp|two-hump camel|wheelbarrow|bathtub|donkey|rock"
)
CONTAINERS = names_of(
    "basket|bucket|bowl with spoon|pot of food|amphora|package|hot beverage|jar|nest with eggs|empty nest|"
    "handbag|shopping cart|wheelbarrow|wastebasket|bathtub|treasure chest|steaming bowl|backpack|"
    "shopping bags"
)
_BLOCKS: tuple[tuple[Domain, float, tuple[tuple[int, int], ...]], ...] = (
    ("animal", 1.0, (
        (0x1F400, 0x1F43F), (0x1F980, 0x1F9AE), (0x1FAB0, 0x1FABF), (0x1FACD, 0x1FACF), (0xE000, 0xE010),
    )),
    ("food", 0.5, (
        (0x1F32D, 0x1F32F), (0x1F345, 0x1F37F), (0x1F950, 0x1F96F), (0x1F9C0, 0x1F9CB), (0x1FAD0, 0x1FADF),
    )),
    ("plant", 0.75, ((0x1F331, 0x1F344), (0x1FAB4, 0x1FAB7))),
    ("person", 1.05, (
        (0x1F466, 0x1F487), (0x1F930, 0x1F93E), (0x1F9B8, 0x1F9DF), (0xE300, 0xE303), (0xE340, 0xE341),
        (0x1F3C2, 0x1F3C4), (0x1F3CA, 0x1F3CC), (0x1F574, 0x1F575), (0x1F6B4, 0x1F6B6),
    )),
    ("place", 2.1, ((0x1F3D4, 0x1F3DF), (0x1F3E0, 0x1F3F0), (0x1F5FB, 0x1F5FF), (0x1F30B, 0x1F30B), (0x26EA, 0x26F0))),
    ("vehicle", 1.5, ((0x1F680, 0x1F6A4), (0x1F6B2, 0x1F6B2), (0x1F6E5, 0x1F6FC), (0x26F4, 0x26F5))),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawingKind:
    """What a drawing shows: where it belongs, how large it is beside a cat (1.0), and of what domain."""

    zone: Zone
    size: float
    domain: Domain


def kind_of(name: str, code: str) -> DrawingKind:
    """Zone, size and domain by name where a name is known, else by Unicode block."""
    first = int(code.partition("-")[0], 16)
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


def _block(first: int) -> tuple[Domain, float]:
    """Domain and size by the Unicode block of the first character."""
    for domain, size, ranges in _BLOCKS:
        if within(first, *ranges):
            return domain, size
    return "thing", 0.7


def within(value: int, *ranges: tuple[int, int]) -> bool:
    """Whether a value lies in one of the ranges, both ends included."""
    return any(low <= value <= high for low, high in ranges)
