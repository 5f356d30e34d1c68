"""A box divided by sizes into boxes near to squares, as treemaps are laid out. Numbers in, boxes out."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle; the corner is the upper left one, y grows downwards."""

    x: float
    y: float
    width: float
    height: float

    def inside(self, *, top: float, rim: float) -> "Box":
        """What is left of it within a rim, and below a heading."""
        width, height = max(0.0, self.width - 2 * rim), max(0.0, self.height - top - rim)
        return Box(x=self.x + rim, y=self.y + top, width=width, height=height)


def squarify(sizes: Sequence[float], box: Box) -> list[Box]:
    """Divide a box by sizes, all above 0 and in descending order, into boxes near to squares.

    Bruls, Huizing, van Wijk, Squarified Treemaps, 2000: a row is filled along the shorter side for as long as its worst
    ratio of sides gets better; the next one goes into what is left.
    """
    boxes: list[Box] = []
    left, start = box, 0
    scale = box.width * box.height / sum(sizes) if sizes else 0.0
    areas = [size * scale for size in sizes]
    while start < len(areas):
        short = min(left.width, left.height)
        end = start + 1
        while end < len(areas) and _worst(areas[start : end + 1], short) <= _worst(areas[start:end], short):
            end += 1
        row, left = _lay_row(areas[start:end], left)
        boxes += row
        start = end
    return boxes


def _worst(areas: Sequence[float], short: float) -> float:
    """The largest ratio of sides in a row of areas along a side."""
    whole = sum(areas) ** 2
    if not whole or not short:
        return float("inf")
    return max(short**2 * max(areas) / whole, whole / (short**2 * min(areas)))


def _lay_row(areas: Sequence[float], box: Box) -> tuple[list[Box], Box]:
    """Boxes along the shorter side of a box, and what that leaves of it."""
    is_wide = box.width >= box.height
    short = box.height if is_wide else box.width
    depth, at = (sum(areas) / short if short else 0.0), 0.0
    row: list[Box] = []
    for area in areas:
        length = area / depth if depth else 0.0
        row.append(
            Box(x=box.x, y=box.y + at, width=depth, height=length)
            if is_wide
            else Box(x=box.x + at, y=box.y, width=length, height=depth)
        )
        at += length
    if is_wide:
        return row, Box(x=box.x + depth, y=box.y, width=box.width - depth, height=box.height)
    return row, Box(x=box.x, y=box.y + depth, width=box.width, height=box.height - depth)
