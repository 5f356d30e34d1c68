"""Small charts as plain data that a template draws as SVG: places and labels, no colours. Numbers in, numbers out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 12.0, 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A label on an axis and where it is, in units of the picture."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A series: its points, and the same as SVG has them."""

    name: str
    points: Sequence[tuple[float, float, float]]
    """Place across, place down, and the value itself."""

    @property
    def path(self) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in self.points)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column from the ground up."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart with its axes; `title` says in words what it shows."""

    title: str
    across: Sequence[Tick]
    up: Sequence[Tick]
    lines: Sequence[Line] = ()
    columns: Sequence[Column] = ()
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    ground: float = HEIGHT - BOTTOM
    right: float = WIDTH - RIGHT


def line_chart(title: str, series: Mapping[str, Mapping[int, float]], *, most: float, least: float = 0.0) -> Chart:
    """Lines over whole numbers, such as rounds; values from `least` to `most`."""
    places = sorted({x for points in series.values() for x in points})
    last = max(places, default=0)

    def across(x: float) -> float:
        return LEFT + 14 + (WIDTH - LEFT - RIGHT - 28) * (x / last if last else 0.5)

    def down(y: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * ((y - least) / ((most - least) or 1))

    return Chart(
        title=title,
        across=[Tick(at=across(x), label=str(x)) for x in places],
        up=[Tick(at=down(y), label=f"{y:g}") for y in _steps(least, most)],
        lines=[
            Line(name=name, points=[(across(x), down(y), y) for x, y in sorted(points.items())])
            for name, points in series.items()
        ],
    )


def column_chart(title: str, values: Sequence[float], labels: Mapping[int, str], *, unit: str) -> Chart:
    """Columns side by side; `labels` name some of them by their place."""
    most = max(values, default=0.0) or 1.0
    width = (WIDTH - LEFT - RIGHT) / max(len(values), 1)
    tall = HEIGHT - TOP - BOTTOM
    return Chart(
        title=title,
        across=[Tick(at=LEFT + place * width, label=label) for place, label in labels.items()],
        up=[Tick(at=HEIGHT - BOTTOM - tall * y / most, label=f"{y:.3g}") for y in _steps(0.0, most)],
        columns=[
            Column(
                x=LEFT + place * width + 0.5,
                y=HEIGHT - BOTTOM - tall * value / most,
                width=max(width - 1, 0.5),
                height=tall * value / most,
                title=f"{value:.3g} {unit}",
            )
            for place, value in enumerate(values)
        ],
    )


def _steps(least: float, most: float) -> list[float]:
    return [least + (most - least) * step / 4 for step in range(5)]
