"""OpenMoji drawings as trimmed, recoloured RGBA images; knows nothing of captions or of where they stand."""

import io
import re
from collections import OrderedDict
from threading import Lock

import numpy as np
import resvg_py
from PIL import Image

from models.scene_drawings import drawing_codes, drawing_folder

BUCKETS = (128, 256, 512, 1024, 2048)  # raster widths in pixels; a sprite is made at the next one and scaled down
CACHE_BYTES = 48 * 1024 * 1024

# OpenMoji's palette by family, light before dark.
_FAMILIES = {
    "yellow": ("fcea2b", "f1b31c"), "orange": ("f4aa41", "e27022"), "red": ("ea5a47", "d22f27"),
    "brown": ("a57939", "6a462f"), "green": ("b1cc33", "5c9e31"), "blue": ("92d3f5", "61b2e4", "1e50a0"),
    "purple": ("b399c8", "8967aa"), "pink": ("ffa7c0", "e67a94"), "white": ("ffffff",), "grey": ("d0cfce", "9b9b9a"),
    "black": ("3f3f3f",),
}  # fmt: skip
_RAMPS = {
    "yellow": ("fcea2b", "f1b31c"), "orange": ("f59a3c", "e27022"), "red": ("ea5a47", "d22f27"),
    "brown": ("a57939", "6a462f"), "green": ("8cc152", "5c9e31"), "blue": ("5fa8e6", "2a62b8"),
    "purple": ("a983c6", "7f5aa6"), "pink": ("ffa7c0", "e67a94"), "white": ("ffffff", "e4e4e2"),
    "grey": ("b9b9b8", "9b9b9a"), "black": ("4a4a4a", "2c2c2c"),
}  # fmt: skip
_HEX = re.compile(r"#([0-9a-fA-F]{6}|[0-9a-fA-F]{3})\b")
_OUTLINE = "000000"
# Drawings that bring a strip of water of their own, in this blue.
_ON_WATER = frozenset({"26F5", "1F6A4", "1F6A2", "1F6F3", "1F6E5", "26F4", "E212"})
_WATER_FILL = re.compile('fill="#92[dD]3[fF]5"')


class SpriteBox:
    """Reads, recolours and rasterises the installed drawings; may be used by several threads at once."""

    def __init__(self) -> None:
        self._folder = drawing_folder()
        self._cache: OrderedDict[tuple[str, tuple[str, ...], int], Image.Image] = OrderedDict()
        self._held = 0
        self._lock = Lock()

    def codes(self) -> frozenset[str]:
        """The codes of all drawings that are installed."""
        return drawing_codes(self._folder)

    def aspect(self, codepoint: str) -> float:
        """Width over height of a drawing, its empty margin off."""
        image = self.sprite(codepoint, (), BUCKETS[0])
        return image.width / image.height

    def sprite(self, codepoint: str, colours: tuple[str, ...], pixels: int) -> Image.Image:
        """The drawing in `colours`, RGBA, trimmed; its longest side has about `pixels` or more."""
        bucket = next((width for width in BUCKETS if width >= pixels * 1.15), BUCKETS[-1])
        key = (codepoint, colours, bucket)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        image = self._render(codepoint, colours, bucket)
        self._keep(key, image)
        return image

    def can_colour(self, codepoint: str) -> bool:
        """Whether the drawing has fills that a colour can replace."""
        return bool(self._fills(codepoint))

    def _keep(self, key: tuple[str, tuple[str, ...], int], image: Image.Image) -> None:
        with self._lock:
            if key in self._cache:
                return
            self._cache[key] = image
            self._held += image.width * image.height * 4
            while self._held > CACHE_BYTES and len(self._cache) > 1:
                _, old = self._cache.popitem(last=False)
                self._held -= old.width * old.height * 4

    def _render(self, codepoint: str, colours: tuple[str, ...], width: int) -> Image.Image:
        svg = self._read(codepoint)
        if colours:
            svg = _recolour(svg, self._fills(codepoint), colours)
        data = resvg_py.svg_to_bytes(svg_string=svg, width=width, skip_system_fonts=True)
        with Image.open(io.BytesIO(data)) as image:
            whole = image.convert("RGBA")
        box = whole.getchannel("A").point(lambda alpha: 255 if alpha > 8 else 0).getbbox()
        return whole.crop(box) if box else whole

    def _read(self, codepoint: str) -> str:
        svg = (self._folder / f"{codepoint}.svg").read_text(encoding="utf-8")
        return _WATER_FILL.sub('fill="none"', svg) if codepoint in _ON_WATER else svg

    def _fills(self, codepoint: str) -> list[tuple[str, ...]]:
        """The families of fills that are on the drawing, those with the largest area first."""
        shades = sorted({_six(shade) for shade in _HEX.findall(self._read(codepoint))} - {_OUTLINE})
        if not shades:
            return []
        pixels = np.asarray(self.sprite(codepoint, (), BUCKETS[0])).reshape(-1, 4)
        solid = pixels[pixels[:, 3] == 255][:, :3].astype(np.int32)
        packed = (solid[:, 0] << 16) | (solid[:, 1] << 8) | solid[:, 2]
        areas: dict[str, int] = {}
        members: dict[str, list[str]] = {}
        for shade in shades:
            family = _family_of(shade)
            areas[family] = areas.get(family, 0) + int(np.count_nonzero(packed == int(shade, 16)))
            members.setdefault(family, []).append(shade)
        ranked = sorted((family for family in areas if areas[family]), key=lambda family: (-areas[family], family))
        if codepoint.startswith(_PEOPLE) and "yellow" in ranked and len(ranked) > 1:
            ranked.remove("yellow")  # the skin
        return [tuple(members[family]) for family in ranked]


_PEOPLE = (
    "1F466",
    "1F467",
    "1F468",
    "1F469",
    "1F474",
    "1F475",
    "1F476",
    "1F47",
    "1F48",
    "1F9D",
    "1F9B",
    "1F93",
    "1F6B",
    "E30",
)


def _recolour(svg: str, fills: list[tuple[str, ...]], colours: tuple[str, ...]) -> str:
    """Give the largest families of fills the ramps of `colours`, light to light and dark to dark."""
    changed: dict[str, str] = {}
    for family, colour in zip(fills, colours, strict=False):
        ramp = _RAMPS[colour]
        ordered = sorted(family, key=_brightness, reverse=True)
        for rank, shade in enumerate(ordered):
            same = _family_of(shade) == colour and colour != "blue"
            changed[shade] = shade if same else ramp[min(rank, len(ramp) - 1)]
    return _HEX.sub(lambda match: "#" + changed.get(_six(match.group(1)), match.group(1)), svg)


def _six(shade: str) -> str:
    """Six lower-case hex digits of a three or six digit colour."""
    short = shade.lower()
    return short if len(short) == 6 else "".join(digit * 2 for digit in short)


def _brightness(shade: str) -> int:
    red, green, blue = _rgb(shade)
    return 3 * red + 6 * green + blue


def _rgb(shade: str) -> tuple[int, int, int]:
    return int(shade[:2], 16), int(shade[2:4], 16), int(shade[4:], 16)


def _family_of(shade: str) -> str:
    def distance(other: str) -> int:
        return sum((a - b) ** 2 for a, b in zip(_rgb(shade), _rgb(other), strict=True))

    return min(_FAMILIES, key=lambda family: min(distance(member) for member in _FAMILIES[family]))
