"""Paints the place behind a scene: sky, ground, and a few shapes that say which place it is."""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.scene import Backdrop

Rgb: TypeAlias = tuple[float, float, float]

# Where the ground begins, as a fraction of the height.
HORIZONS = {
    "field": 0.56, "sea": 0.5, "beach": 0.58, "desert": 0.58, "snow": 0.56, "room": 0.62, "forest": 0.6, "city": 0.64,
    "table": 0.52, "underwater": 0.84, "space": 1.0,
}  # fmt: skip
PLAIN_HORIZON = 0.66

_SKIES: dict[str, tuple[Rgb, ...]] = {
    "day": ((122, 190, 236), (178, 220, 245), (230, 244, 251)),
    "night": ((13, 20, 50), (32, 44, 92), (70, 82, 135)),
    "sunset": ((88, 84, 150), (232, 128, 104), (255, 212, 150)),
    "space": ((8, 8, 24), (20, 16, 52), (42, 26, 78)),
}
_GROUNDS: dict[str, tuple[Rgb, Rgb]] = {
    "field": ((170, 208, 124), (104, 164, 84)),
    "sea": ((104, 178, 214), (38, 104, 160)),
    "beach": ((242, 222, 170), (226, 194, 128)),
    "desert": ((240, 208, 142), (220, 170, 98)),
    "snow": ((238, 244, 250), (206, 220, 236)),
    "room": ((196, 156, 112), (164, 122, 82)),
    "forest": ((126, 160, 90), (78, 118, 64)),
    "city": ((150, 152, 158), (112, 114, 122)),
    "table": ((196, 142, 92), (158, 106, 62)),
    "underwater": ((224, 206, 156), (196, 172, 120)),
}
_WALLS: tuple[Rgb, ...] = ((238, 226, 204), (214, 228, 222), (222, 220, 236), (244, 220, 208), (214, 226, 240))
_PLAIN: dict[str, Rgb] = {
    "red": (222, 110, 100), "orange": (240, 170, 100), "yellow": (248, 224, 130), "green": (160, 204, 140),
    "blue": (140, 190, 228), "purple": (178, 156, 206), "pink": (244, 186, 202), "brown": (178, 142, 108),
    "white": (244, 244, 242), "grey": (190, 192, 196), "black": (58, 58, 64),
}  # fmt: skip


def paint_backdrop(backdrop: Backdrop, width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """The empty place as an RGB image of `width` by `height` pixels; equal generators paint equal pixels."""
    factor = 2 if max(width, height) <= 1024 else 1
    size = (width * factor, height * factor)
    column = _column(backdrop, size[1], rng)
    canvas = Image.fromarray(column[:, None, :]).resize(size, Image.Resampling.NEAREST)
    brush = _Brush(canvas, backdrop, rng)
    if backdrop.light in ("night", "space") and backdrop.ground not in ("room", "table", "underwater"):
        brush.stars()
    decorate = _DECORATIONS.get(backdrop.ground)
    if decorate:
        decorate(brush)
    return canvas.reduce(factor) if factor > 1 else canvas


def horizon_of(ground: str) -> float:
    """Where the ground begins, as a fraction of the height."""
    return HORIZONS.get(ground, PLAIN_HORIZON)


def is_dark(backdrop: Backdrop) -> bool:
    """Whether dark outlines would be lost on this backdrop."""
    return backdrop.light in ("night", "space") or backdrop.ground == "plain black"


def _column(backdrop: Backdrop, height: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The colours from top to bottom, uint8 of shape (height, 3)."""
    jitter = rng.uniform(-9, 9, size=3)
    stops = [np.array(stop) + jitter for stop in _upper_stops(backdrop, rng)]
    horizon = horizon_of(backdrop.ground)
    places = [horizon * index / (len(stops) - 1) for index in range(len(stops))]
    if horizon < 1:
        near, far = _lower_stops(backdrop)
        stops += [np.array(_lit(near, backdrop)) + jitter, np.array(_lit(far, backdrop)) + jitter]
        places += [horizon + 1e-6, 1.0]
    rows = (np.arange(height) + 0.5) / height
    channels = [np.interp(rows, places, [stop[channel] for stop in stops]) for channel in range(3)]
    colours: NDArray[np.uint8] = np.clip(np.rint(np.stack(channels, axis=1)), 0, 255).astype(np.uint8)
    return colours


def _upper_stops(backdrop: Backdrop, rng: np.random.Generator) -> tuple[Rgb, ...]:
    if backdrop.ground.startswith("plain"):
        colour = _plain(backdrop.ground, rng)
        return _mix(colour, (255, 255, 255), 0.25), colour
    if backdrop.ground in ("room", "table"):
        wall = _lit(_WALLS[int(rng.integers(len(_WALLS)))], backdrop)
        return _mix(wall, (255, 255, 255), 0.12), wall
    if backdrop.ground == "underwater":
        return (150, 220, 226), (62, 158, 190), (28, 100, 146)
    return _SKIES[backdrop.light]


def _lower_stops(backdrop: Backdrop) -> tuple[Rgb, Rgb]:
    if backdrop.ground.startswith("plain"):
        colour = _PLAIN.get(backdrop.ground.removeprefix("plain").strip(), (200, 206, 212))
        return _mix(colour, (90, 90, 100), 0.12), _mix(colour, (90, 90, 100), 0.28)
    return _GROUNDS[backdrop.ground]


def _plain(ground: str, rng: np.random.Generator) -> Rgb:
    name = ground.removeprefix("plain").strip()
    return _PLAIN[name] if name else _WALLS[int(rng.integers(len(_WALLS)))]


def _mix(first: Rgb, second: Rgb, share: float) -> Rgb:
    mixed = [a * (1 - share) + b * share for a, b in zip(first, second, strict=True)]
    return mixed[0], mixed[1], mixed[2]


def _lit(colour: Rgb, backdrop: Backdrop) -> Rgb:
    if backdrop.light == "night":
        share = 0.35 if backdrop.ground in ("room", "table") else 0.58
        return _mix(colour, (18, 26, 66), share)
    if backdrop.light == "sunset":
        return _mix(colour, (214, 110, 84), 0.22)
    return _mix(colour, (60, 48, 110), 0.5) if backdrop.light == "space" else colour


class _Brush:
    """Draws the shapes of a place with its light; all lengths are fractions of the canvas."""

    def __init__(self, canvas: Image.Image, backdrop: Backdrop, rng: np.random.Generator) -> None:
        self._draw = ImageDraw.Draw(canvas)
        self._width, self._height = canvas.size
        self._backdrop = backdrop
        self._rng = rng
        self._horizon = horizon_of(backdrop.ground)

    def stars(self) -> None:
        for _ in range(70):
            x, y = self._rng.uniform(0, 1), self._rng.uniform(0, self._horizon)
            radius, shade = self._rng.uniform(0.0012, 0.0034), float(self._rng.uniform(150, 255))
            self._ellipse(x, y, radius, radius * self._width / self._height, (shade, shade, shade * 0.92))

    def field(self) -> None:
        self._hills(((150, 192, 118), (128, 176, 104)))
        self._strokes((88, 146, 70), 46, 0.016)

    def sea(self) -> None:
        self._waves((214, 236, 246), 30, self._horizon)

    def beach(self) -> None:
        self._rect(0, 0.44, 1, self._horizon, (88, 168, 208))
        self._waves((214, 236, 246), 8, 0.44, self._horizon - 0.02)
        for index in range(13):
            self._ellipse(index / 12, self._horizon, 0.06, 0.012, (242, 246, 244))
            self._ellipse(index / 12 + 0.04, self._horizon + 0.012, 0.06, 0.012, (240, 220, 168))

    def desert(self) -> None:
        self._hills(((232, 194, 124), (224, 180, 108)))

    def snow(self) -> None:
        self._hills(((214, 228, 242), (228, 238, 247)))
        for _ in range(60):
            x, y = self._rng.uniform(0, 1), self._rng.uniform(0, 1)
            radius = self._rng.uniform(0.002, 0.005)
            self._ellipse(x, y, radius, radius * self._width / self._height, (252, 253, 255))

    def forest(self) -> None:
        for shade, scale, count in (((124, 158, 112), 0.34, 15), ((88, 130, 82), 0.26, 12)):
            for index in range(count):
                x = (index + self._rng.uniform(0.1, 0.9)) / count
                self._fir(x, self._horizon + 0.015, scale * self._rng.uniform(0.75, 1.15), shade)
        self._strokes((66, 104, 56), 30, 0.016)

    def city(self) -> None:
        x = -0.02
        while x < 1:
            width, height = self._rng.uniform(0.07, 0.15), self._rng.uniform(0.16, 0.44)
            shade = self._rng.uniform(0, 30)
            self._building(x, width, height, (150 + shade, 158 + shade, 176 + shade))
            x += width + self._rng.uniform(0.002, 0.02)
        self._rect(0, self._horizon, 1, self._horizon + 0.05, (186, 184, 180))
        for index in range(7):
            self._rect(index / 6.5 + 0.02, 0.865, index / 6.5 + 0.09, 0.877, (226, 224, 214))

    def room(self) -> None:
        self._rect(0, self._horizon - 0.022, 1, self._horizon, (250, 246, 238))
        self._boards((140, 102, 66), rows=5)
        left = self._rng.choice([0.08, 0.68])
        self._rect(left, 0.1, left + 0.24, 0.4, (252, 250, 246))
        self._rect(left + 0.015, 0.115, left + 0.225, 0.385, self._pane())
        self._rect(left + 0.114, 0.115, left + 0.126, 0.385, (252, 250, 246))

    def table(self) -> None:
        self._rect(0, self._horizon, 1, self._horizon + 0.012, (220, 172, 122))
        self._boards((138, 92, 54), rows=5)

    def plain(self) -> None:
        """A few large discs, so that two plain places differ."""
        for _ in range(5):
            x, y, radius = self._rng.uniform(0, 1), self._rng.uniform(0, self._horizon), self._rng.uniform(0.05, 0.16)
            base = _WALLS[int(self._rng.integers(len(_WALLS)))]
            shade = _mix(base, _plain(self._backdrop.ground, self._rng), 0.6)
            self._ellipse(x, min(y, self._horizon - radius), radius, radius * self._width / self._height, shade)

    def underwater(self) -> None:
        for _ in range(36):
            x, y = self._rng.uniform(0, 1), self._rng.uniform(0, 0.8)
            radius = self._rng.uniform(0.003, 0.011)
            self._ellipse(x, y, radius, radius * self._width / self._height, (168, 222, 232))

    def _pane(self) -> Rgb:
        sky = _SKIES[self._backdrop.light][1]
        return _mix(sky, (255, 255, 255), 0.1)

    def _hills(self, shades: tuple[Rgb, Rgb]) -> None:
        for shade in shades:
            for _ in range(2):
                x, radius = self._rng.uniform(0, 1), self._rng.uniform(0.3, 0.55)
                self._slope(x, radius, self._rng.uniform(0.05, 0.11), _lit(shade, self._backdrop))

    def _slope(self, x: float, radius: float, rise: float, shade: Rgb) -> None:
        points = []
        for step in range(41):
            place = -1 + step / 20
            height = rise * (1 + math.cos(math.pi * place)) / 2
            points.append(((x + place * radius) * self._width, (self._horizon + 0.004 - height) * self._height))
        self._draw.polygon(points, fill=_fill(shade))

    def _strokes(self, shade: Rgb, count: int, length: float) -> None:
        for _ in range(count):
            x, y = self._rng.uniform(0, 1), self._rng.uniform(self._horizon + 0.03, 0.99)
            for lean in (-0.5, 0.0, 0.5):
                end = ((x + lean * length) * self._width, (y - length) * self._height)
                self._draw.line(
                    [(x * self._width, y * self._height), end], fill=self._colour(shade), width=self._line()
                )

    def _waves(self, shade: Rgb, count: int, top: float, bottom: float = 0.99) -> None:
        for _ in range(count):
            x, y = self._rng.uniform(0, 1), self._rng.uniform(top + 0.02, bottom)
            half = (0.02 + 0.05 * (y - top)) * self._rng.uniform(0.6, 1.2)
            for side in (-1, 1):
                box = (x + (side - 1) * half, y - half * 0.16, x + (side + 1) * half, y + half * 0.16)
                self._draw.arc(
                    self._box(*box), 0, 180, fill=self._colour(_mix(shade, (88, 160, 204), 0.45)), width=self._line()
                )

    def _boards(self, shade: Rgb, *, rows: int) -> None:
        for row in range(1, rows):
            y = self._horizon + (1 - self._horizon) * (row / rows) ** 1.35
            self._draw.line(
                [(0, y * self._height), (self._width, y * self._height)], fill=self._colour(shade), width=self._line()
            )

    def _fir(self, x: float, base: float, size: float, shade: Rgb) -> None:
        for level in range(3):
            low = base - size * 0.24 * level
            half, top = size * (0.26 - 0.06 * level), low - size * 0.48
            corners = [(x - half, low), (x + half, low), (x, top)]
            self._draw.polygon([(a * self._width, b * self._height) for a, b in corners], fill=self._colour(shade))

    def _building(self, x: float, width: float, height: float, shade: Rgb) -> None:
        top = self._horizon - height
        self._rect(x, top, x + width, self._horizon, shade)
        pane: Rgb = (250, 224, 140) if self._backdrop.light in ("night", "sunset") else (206, 224, 238)
        for row in range(int(height / 0.05)):
            for column in range(int(width / 0.03)):
                left, upper = x + 0.01 + column * 0.03, top + 0.02 + row * 0.05
                if self._rng.uniform() < 0.7 and left + 0.014 < x + width:
                    self._draw.rectangle(self._box(left, upper, left + 0.014, upper + 0.024), fill=_fill(pane))

    def _rect(self, left: float, top: float, right: float, bottom: float, shade: Rgb) -> None:
        self._draw.rectangle(self._box(left, top, right, bottom), fill=self._colour(shade))

    def _ellipse(self, x: float, y: float, across: float, down: float, shade: Rgb) -> None:
        star = y < self._horizon and self._backdrop.light in ("night", "space")
        fill = _fill(shade) if star else self._colour(shade)
        self._draw.ellipse(self._box(x - across, y - down, x + across, y + down), fill=fill)

    def _box(self, left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        return left * self._width, top * self._height, right * self._width, bottom * self._height

    def _colour(self, shade: Rgb) -> tuple[int, int, int]:
        return _fill(_lit(shade, self._backdrop))

    def _line(self) -> int:
        return max(1, round(min(self._width, self._height) * 0.004))


def _fill(colour: Rgb) -> tuple[int, int, int]:
    red, green, blue = (max(0, min(255, round(channel))) for channel in colour)
    return red, green, blue


_DECORATIONS: dict[str, Callable[[_Brush], None]] = {
    "field": _Brush.field, "sea": _Brush.sea, "beach": _Brush.beach, "desert": _Brush.desert, "snow": _Brush.snow,
    "forest": _Brush.forest, "city": _Brush.city, "room": _Brush.room, "table": _Brush.table,
    "underwater": _Brush.underwater, "plain": _Brush.plain,
}  # fmt: skip
