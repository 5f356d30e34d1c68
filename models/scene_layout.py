"""Decides where the things of a caption stand: rows on the ground, free places in the sky, no two on one spot.

Knows nothing of pixels: all lengths are fractions of the shorter side of the picture, `y` grows downwards.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from models.scene import Backdrop
from models.scene_backdrop import horizon_of
from models.scene_caption import CaptionReading, Relation, Wanted
from models.scene_kinds import CONTAINERS, SEATS
from models.scene_lexicon import NamedDrawing
from models.scene_place import choose_backdrop
from models.scene_units import Part, Unit, depths_of, relation_cost

Footing: TypeAlias = Literal["shadow", "island", "ripple", "none"]

MAX_OBJECTS = 14
ROW_CAPACITY = 4
TRIES = 48
MARGIN = 0.04
LARGEST = {1: 0.5, 2: 0.46}  # longest side of the largest thing, by number of things
LARGEST_AMONG_MANY = 0.42
_SKY_SIZES = {
    "star": 0.075,
    "glowing star": 0.08,
    "snowflake": 0.08,
    "butterfly": 0.12,
    "honeybee": 0.1,
    "rainbow": 0.34,
}
_SKY_SIZE = 0.2
_ROW_STEPS = {"behind": -1, "front": 1, "below": 1, "left": 0, "right": 0}  # from the row of what it is related to
MIXED_COLOURS = ("red", "yellow", "blue", "green", "purple", "orange", "pink")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One drawing in its place: centre `x`, `y`, `width` and `height`; later placements lie in front."""

    wanted: int
    drawing: NamedDrawing
    colours: tuple[str, ...]
    x: float
    y: float
    width: float
    height: float
    flip: bool
    footing: Footing


def lay_out(
    reading: CaptionReading, aspect: Callable[[str], float], width: float, height: float, rng: np.random.Generator
) -> tuple[Backdrop, list[Placement]]:
    """The backdrop and all placements, from back to front, on a picture of `width` by `height` (shorter side 1)."""
    backdrop = choose_backdrop(reading)
    wanted = _limit(reading.wanted)
    layout = _Layout(
        wanted=wanted, relations=reading.relations, aspect=aspect, size=(width, height), ground=backdrop.ground, rng=rng
    )
    return backdrop, layout.run()


def _limit(wanted: tuple[Wanted, ...]) -> list[Wanted]:
    """The same things with at most `MAX_OBJECTS` pieces in all; the most numerous lose first."""
    limited = list(wanted[:MAX_OBJECTS])
    while sum(each.count for each in limited) > MAX_OBJECTS:
        most = max(range(len(limited)), key=lambda index: limited[index].count)
        spare = sum(each.count for each in limited) - MAX_OBJECTS
        lower = max(1, limited[most].count - spare) if len(limited) == 1 else limited[most].count - 1
        limited[most] = replace(limited[most], count=min(lower, MAX_OBJECTS))
    return limited


class _Layout:
    def __init__(
        self,
        *,
        wanted: list[Wanted],
        relations: tuple[Relation, ...],
        aspect: Callable[[str], float],
        size: tuple[float, float],
        ground: str,
        rng: np.random.Generator,
    ) -> None:
        self._wanted = wanted
        self._relations = [each for each in relations if max(each.subject, each.target) < len(wanted)]
        self._aspect = aspect
        self._width, self._height = size
        self._ground = ground
        self._horizon = horizon_of(ground) * self._height
        self._rng = rng
        self._placed: list[Unit] = []
        self._mixed = int(rng.integers(len(MIXED_COLOURS)))
        self._zones = [self._zone_of(index) for index in range(len(wanted))]

    def run(self) -> list[Placement]:
        grounded = self._rows(self._ground_units())
        self._scale(grounded)
        for row, depth in zip(grounded, depths_of(len(grounded)), strict=True):
            self._place_row(row, self._horizon + (self._height - self._horizon) * depth)
        free = self._free_units()
        shrink = self._fit_free(free)
        for unit in free:
            self._place_free(unit, shrink)
        order = sorted(self._placed, key=lambda unit: (not unit.in_air, unit.y))
        return [placement for unit in order for placement in self._placements(unit)]

    def _zone_of(self, index: int) -> str:
        each = self._wanted[index]
        over = any(
            relation.subject == index and relation.kind == "above" and self._wanted[relation.target].zone == "ground"
            for relation in self._relations
        )
        if self._ground == "space" or (self._ground == "underwater" and each.zone == "water"):
            return "free"
        if over or (each.zone == "sky" and not self._rests(index)):
            return "sky"
        return "ground"

    def _rests(self, index: int) -> bool:
        """Whether something that flies sits on or in another thing."""
        return any(each.subject == index and each.kind in ("on", "in") for each in self._relations)

    def _ground_units(self) -> list[Unit]:
        riders = {each.subject: each for each in self._relations if self._stacks(each)}
        units: list[Unit] = []
        for index, each in enumerate(self._wanted):
            if self._zones[index] != "ground" or index in riders:
                continue
            loads = [relation for relation in riders.values() if relation.target == index]
            units += [self._unit(index, loads if copy == 0 else []) for copy in range(each.count)]
        for unit in units:
            unit.row = self._row_of(unit.wanted)
        return units

    def _stacks(self, relation: Relation) -> bool:
        """Whether the subject can be drawn on or in the target itself."""
        subject, target = relation.subject, relation.target
        if relation.kind not in ("on", "in") or subject == target or self._zones[subject] != "ground":
            return False
        if self._zones[target] != "ground" or self._rests(target):
            return False
        return relation.kind == "on" or self._wanted[target].drawing.name in CONTAINERS or self._is_tree(target)

    def _is_tree(self, index: int) -> bool:
        return self._wanted[index].drawing.name.endswith("tree")

    def _size(self, index: int, side: float) -> tuple[float, float]:
        """Width and height of a drawing whose longest side is `side`."""
        aspect = self._aspect(self._wanted[index].drawing.codepoint)
        return (side, side / aspect) if aspect > 1 else (side * aspect, side)

    def _natural_size(self, index: int) -> tuple[float, float]:
        """Width and height in relative units, where a cat is about 1."""
        return self._size(index, self._weight(index) ** 0.9)

    def _weight(self, index: int) -> float:
        return self._wanted[index].drawing.kind.size * self._wanted[index].scale

    def _unit(self, index: int, loads: list[Relation]) -> Unit:
        """A thing of the ground with all that is on or in it."""
        width, height = self._natural_size(index)
        own = Part(wanted=index, dx=0.0, dy=-height / 2, width=width, height=height)
        pieces = [load for load in loads for _ in range(self._wanted[load.subject].count)]
        riders = [self._rider(own, load, place, len(pieces)) for place, load in enumerate(pieces)]
        inside = [rider for rider, load in zip(riders, pieces, strict=True) if self._is_inside(load)]
        outside = [rider for rider, load in zip(riders, pieces, strict=True) if not self._is_inside(load)]
        return Unit(wanted=index, parts=[*inside, own, *outside])

    def _rider(self, own: Part, load: Relation, place: int, count: int) -> Part:
        """One thing on or in another, the `place`-th of `count` side by side."""
        step = own.width / count
        width, height = self._natural_size(load.subject)
        widest = max(0.8 * step, 0.34 * own.width) if self._is_inside(load) else 1.05 * own.width
        tallest = 0.36 * own.height if self._is_tree(load.target) else 9 * height
        shrink = min(1.0, widest / width, tallest / height)
        width, height = width * shrink, height * shrink
        dx = (place - (count - 1) / 2) * min(step, width * 1.05)
        inside = -0.68 * own.height - 0.2 * height
        outside = -own.height * (1 - self._sink(load.target)) - height / 2
        dy = inside if self._is_inside(load) else outside
        return Part(wanted=load.subject, dx=dx, dy=dy, width=width, height=height)

    def _is_inside(self, load: Relation) -> bool:
        return load.kind == "in" and not self._is_tree(load.target)

    def _sink(self, index: int) -> float:
        """How deep a rider sits in what it is on, as a fraction of that thing's height."""
        if self._is_tree(index):
            return 0.5
        return 0.52 if self._wanted[index].drawing.name in SEATS else 0.08

    def _row_of(self, index: int) -> float:
        row = self._plain_row(index)
        for relation in self._relations:
            if relation.subject != index or relation.target == index or self._zones[relation.target] != "ground":
                continue
            row = self._plain_row(relation.target) + _ROW_STEPS[relation.kind] if relation.kind in _ROW_STEPS else row
        return row

    def _plain_row(self, index: int) -> float:
        size = self._weight(index)
        return 0.0 if size >= 1.45 else 1.0 if size >= 0.9 else 2.0

    def _rows(self, units: list[Unit]) -> list[list[Unit]]:
        rows: list[list[Unit]] = []
        for level in sorted({unit.row for unit in units}):
            row = [unit for unit in units if unit.row == level]
            pieces = -(-len(row) // ROW_CAPACITY)
            rows += [row[part::pieces] for part in range(pieces)]
        return rows

    def _scale(self, rows: list[list[Unit]]) -> None:
        """Bring relative units to fractions of the picture: as large as fits, the nearer the larger."""
        if not rows:
            return
        depths = depths_of(len(rows))
        factors = [0.85 + 0.3 * depth for depth in depths]
        count = sum(len(row) for row in rows)
        largest = LARGEST.get(count, LARGEST_AMONG_MANY)
        limits = []
        spacing = 1.9 * (self._height - self._horizon) * (depths[-1] - depths[0]) / max(1, len(rows) - 1)
        for row, depth, factor in zip(rows, depths, factors, strict=True):
            base = self._horizon + (self._height - self._horizon) * depth
            room = base - MARGIN - (0.12 if "sky" in self._zones else 0.0)
            limits.append(0.86 * self._width / (factor * sum(unit.width * 1.12 for unit in row)))
            limits.append(min(room / (factor * unit.height) for unit in row))
            if len(rows) > 2 and depth > depths[0]:
                limits.append(min(spacing / (factor * unit.height) for unit in row))
            limits.append(min(largest / (factor * unit.longest) for unit in row))
        scale = min(limits)
        for row, factor in zip(rows, factors, strict=True):
            for unit in row:
                least = max(1.0, min(1.8, 0.085 / (scale * factor * max(unit.width, unit.height))))
                unit.resize(scale * factor * least)

    def _place_row(self, row: list[Unit], base: float) -> None:
        """Spread a row over the width: of some random arrangements the one that hides least and fits the words best."""
        best: tuple[float, list[Unit], list[float]] | None = None
        spare = self._width - 2 * MARGIN - sum(unit.width for unit in row)
        for _ in range(TRIES):
            order = self._shuffle(row)
            shares = 0.4 / (len(row) + 1) + 0.6 * self._rng.dirichlet(np.full(len(row) + 1, 2.5))
            x, places = MARGIN, []
            for unit, share in zip(order, shares, strict=False):
                x += max(0.0, spare) * float(share)
                places.append(x + unit.width / 2)
                x += unit.width
            cost = self._cost(order, places, base)
            if best is None or cost < best[0]:
                best = (cost, order, places)
        assert best is not None
        slack = 0.05 * (self._height - self._horizon)
        for unit, x in zip(best[1], best[2], strict=True):
            unit.x = x
            unit.y = min(self._height - MARGIN / 2, base + float(self._rng.uniform(-slack, slack)))
            self._placed.append(unit)

    def _shuffle(self, row: list[Unit]) -> list[Unit]:
        """A random order in which equal things stay together."""
        kinds = sorted({unit.wanted for unit in row})
        order = [kinds[place] for place in self._rng.permutation(len(kinds))]
        return [unit for kind in order for unit in row if unit.wanted == kind]

    def _cost(self, order: list[Unit], places: list[float], base: float) -> float:
        cost = 0.0
        for unit, x in zip(order, places, strict=True):
            cost += unit.hidden_share(x, base, self._placed) + self._side_cost(unit.wanted, x)
        known = [(unit.wanted, x) for unit, x in zip(order, places, strict=True)]
        known += [(unit.wanted, unit.x) for unit in self._placed]
        for relation in self._relations:
            cost += relation_cost(relation, known, self._width)
        return cost

    def _side_cost(self, index: int, x: float) -> float:
        side = self._wanted[index].side
        wrong = (side == "left" and x > self._width * 0.45) or (side == "right" and x < self._width * 0.55)
        return 4.0 if wrong else 0.0

    def _free_units(self) -> list[Unit]:
        units: list[Unit] = []
        for index, each in enumerate(self._wanted):
            if self._zones[index] not in ("sky", "free"):
                continue
            side = 0.34 * self._weight(index) ** 0.6
            if self._zones[index] == "sky":
                side = _SKY_SIZES.get(each.drawing.name, _SKY_SIZE) * each.scale
            width, height = self._size(index, side)
            part = Part(wanted=index, dx=0.0, dy=-height / 2, width=width, height=height)
            units += [Unit(wanted=index, parts=[part], in_air=True) for _ in range(each.count)]
        return sorted(units, key=lambda unit: -unit.width * unit.height)

    def _fit_free(self, units: list[Unit]) -> float:
        """A factor that lets all free things cover about a third of the room that they have."""
        if not units:
            return 1.0
        room = self._width * self._sky_floor() * (1.0 if not self._placed else 0.75)
        covered = sum(unit.width * unit.height for unit in units)
        return float(min(1.7 if not self._placed else 1.0, (0.32 * room / covered) ** 0.5))

    def _sky_floor(self) -> float:
        return self._horizon - 0.02 if self._ground not in ("space", "underwater") else self._height - 2 * MARGIN

    def _place_free(self, unit: Unit, factor: float) -> None:
        largest = 0.5 / max(unit.width, unit.height)
        unit.resize(min(factor, largest))
        for _ in range(6):
            spots = [self._free_spot(unit) for _ in range(TRIES)]
            cost, unit.x, unit.y = min(spots)
            if cost < 0.15:
                break
            unit.resize(0.85)
        self._placed.append(unit)

    def _free_spot(self, unit: Unit) -> tuple[float, float, float]:
        left, right = MARGIN + unit.width / 2, self._width - MARGIN - unit.width / 2
        low, high = MARGIN + unit.height, max(MARGIN + unit.height + 0.01, self._sky_floor())
        x, y = float(self._rng.uniform(left, right)), float(self._rng.uniform(low, high))
        cost = unit.hidden_share(x, y, self._placed)
        known = [(unit.wanted, x), *((other.wanted, other.x) for other in self._placed)]
        gaps = [abs(x - other.x) + abs(y - other.y) for other in self._placed if other.in_air]
        cost += 0.05 * (1 - min(1.0, min(gaps, default=1.0)))
        cost += 0.3 * sum(relation_cost(relation, known, self._width) for relation in self._relations)
        return cost + self._side_cost(unit.wanted, x) + self._upside_down(unit.wanted, y), x, y

    def _upside_down(self, index: int, y: float) -> float:
        """What it costs to be below, in the air, what a thing should be above, or the other way about."""
        cost = 0.0
        for relation in self._relations:
            if relation.kind not in ("above", "below") or index not in (relation.subject, relation.target):
                continue
            other = relation.target if index == relation.subject else relation.subject
            higher = (relation.kind == "above") == (index == relation.subject)
            wrong = [each for each in self._placed if each.wanted == other and each.in_air and (y > each.y) == higher]
            cost += 1.0 if wrong else 0.0
        return cost

    def _placements(self, unit: Unit) -> list[Placement]:
        flip = bool(self._rng.integers(2))
        made = []
        for part in unit.parts:
            each = self._wanted[part.wanted]
            made.append(
                Placement(
                    wanted=part.wanted,
                    drawing=each.drawing,
                    colours=self._colours(each),
                    x=unit.x + part.dx,
                    y=unit.y + part.dy,
                    width=part.width,
                    height=part.height,
                    flip=flip and _may_flip(each.drawing),
                    footing=self._footing(unit) if part.wanted == unit.wanted else "none",
                )
            )
        return made

    def _colours(self, each: Wanted) -> tuple[str, ...]:
        """The wanted colours; `mixed` becomes another colour for every piece."""
        if "mixed" not in each.colours:
            return each.colours
        self._mixed += 1
        return (MIXED_COLOURS[self._mixed % len(MIXED_COLOURS)],)

    def _footing(self, unit: Unit) -> Footing:
        if unit.in_air:
            return "none"
        if self._ground == "sea":
            return "ripple" if self._wanted[unit.wanted].zone == "water" else "island"
        return "shadow"


def _may_flip(drawing: NamedDrawing) -> bool:
    return drawing.kind.domain in ("animal", "vehicle", "plant", "food", "sky")
