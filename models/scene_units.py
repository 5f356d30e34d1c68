"""Things that are placed as one, and the geometry of placing them; knows nothing of captions' words or of pixels."""

from dataclasses import dataclass, replace
from typing import TypeAlias

from models.scene_caption import Relation

Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One drawing of a unit: its centre lies `dx` right of and `dy` below the point where the unit stands."""

    wanted: int
    dx: float
    dy: float
    width: float
    height: float


@dataclass(slots=True, kw_only=True)
class Unit:
    """A thing with what is on or in it. It stands at `x`, `y`; `in_air` ones stand on nothing."""

    wanted: int
    parts: list[Part]
    row: float = 0.0
    in_air: bool = False
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        return 2 * max(abs(part.dx) + part.width / 2 for part in self.parts)

    @property
    def height(self) -> float:
        return -min(part.dy - part.height / 2 for part in self.parts)

    @property
    def longest(self) -> float:
        """The longest side of the drawing in front."""
        return max(self.parts[-1].width, self.parts[-1].height)

    def resize(self, factor: float) -> None:
        """Make all of it `factor` times as large."""
        self.parts = [
            replace(
                part, dx=part.dx * factor, dy=part.dy * factor, width=part.width * factor, height=part.height * factor
            )
            for part in self.parts
        ]

    def box(self, x: float, y: float) -> Box:
        """What it would cover if it stood at `x`, `y`."""
        half = self.width / 2
        return x - half, y - self.height, x + half, y

    def hidden_share(self, x: float, y: float, others: "list[Unit]") -> float:
        """How much of it would overlap others that have their places, as a share of its own area."""
        box = self.box(x, y)
        covered = sum(overlap(box, other.box(other.x, other.y)) for other in others)
        return covered / (self.width * self.height)


def overlap(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, across) * max(0.0, down)


def depths_of(rows: int) -> list[float]:
    """Where rows stand on the ground, 0 at the horizon and 1 at the lower edge."""
    if rows <= 1:
        return [0.62][:rows]
    return [0.2 + 0.66 * row / (rows - 1) for row in range(rows)]


def relation_cost(relation: Relation, known: list[tuple[int, float]], width: float) -> float:
    """How badly things at `known` (index, x) fit a relation: wrong sides cost most, distance a little."""
    subjects = [x for wanted, x in known if wanted == relation.subject]
    targets = [x for wanted, x in known if wanted == relation.target]
    if not subjects or not targets or relation.subject == relation.target:
        return 0.0
    if relation.kind in ("left", "right"):
        space = 0.1 * width
        clear = min(targets) - max(subjects) if relation.kind == "left" else min(subjects) - max(targets)
        wrong = clear < space
        return 5.0 if wrong else 0.0
    gap = abs(sum(subjects) / len(subjects) - sum(targets) / len(targets)) / width
    return 0.0 if relation.kind == "behind" else 0.5 * gap
