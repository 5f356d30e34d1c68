"""Two columns of a result as marks in a box: what is drawn, in numbers. Knows nothing of SVG or HTML."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from flows.gallery.charts import Tick

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 56
MOST_COLUMNS = 40
"""Columns of a bar chart; more are left out, and that is said."""
LABEL = 16
"""Characters of a label below a column."""
STEPS = 5
FIRST_SECOND, LAST_SECOND = (
    datetime(1, 1, 1, tzinfo=UTC).timestamp(),
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp(),
)
"""The times that can be told, in seconds since 1970; earlier and later ones are drawn at these."""
HALF_A_DAY = 43_200.0
LEAST = 1e-300
"""Numbers nearer to 0 are drawn at 0."""

Shape: TypeAlias = Literal["dot", "column"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A dot's middle, or a column's upper left corner with its size; `told` is what it stands for."""

    x: float
    y: float
    told: str
    width: float = 0.0
    height: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What is drawn; `left_out` counts rows that have no place in it."""

    shape: Shape
    x: str
    y: str
    marks: Sequence[Mark]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    left_out: int
    width: int = WIDTH
    height: int = HEIGHT
    base: int = HEIGHT - BOTTOM
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Values from `low` to `high` on a stretch of the picture."""

    low: float
    high: float
    first: float
    last: float

    def place(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.first + share * (self.last - self.first), 2)


def draw(names: Sequence[str], rows: Sequence[Sequence[object]], x: str, y: str) -> Plot | None:
    """The plot of two columns by name, or None when one is not there or `y` has no numbers.

    Dots where `x` has numbers, or times and no number; columns where it is words.
    """
    if x not in names or y not in names:
        return None
    at_x, at_y = names.index(x), names.index(y)
    pairs = [(row[at_x], value) for row in rows if (value := to_number(row[at_y])) is not None]
    if not pairs:
        return None
    places = [to_number(value) for value, _ in pairs]
    is_time = all(place is None for place in places)
    if is_time:
        places = [to_number(value, are_times=True) for value, _ in pairs]
    if all(place is None for place in places):
        return _columns(x, y, pairs, left_out=len(rows) - len(pairs))
    dots = [(place, value) for place, (_, value) in zip(places, pairs, strict=True) if place is not None]
    return _dots(x, y, dots, left_out=len(rows) - len(dots), is_time=is_time)


def to_number(value: object, *, are_times: bool = False) -> float | None:
    """A finite number, from text as well; of a time, if asked for, its seconds since 1970. None for all else."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value) if isinstance(value, (int, float, str)) else math.nan
    except OverflowError:
        return None
    except ValueError:
        number = _seconds(str(value)) if are_times else math.nan
    if abs(number) < LEAST:
        return 0.0
    return number if math.isfinite(number) and abs(number) < 1e300 else None


def _seconds(text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
        seconds = found.replace(tzinfo=found.tzinfo or UTC).timestamp()
        return min(max(seconds, FIRST_SECOND), LAST_SECOND)
    except (ValueError, OverflowError):
        return math.nan


def _columns(x: str, y: str, pairs: Sequence[tuple[object, float]], *, left_out: int) -> Plot:
    shown = pairs[:MOST_COLUMNS]
    scale = _scale([0.0, *(value for _, value in shown)], HEIGHT - BOTTOM, TOP)
    step = (WIDTH - LEFT - RIGHT) / len(shown)
    zero = scale.place(0.0)
    marks, ticks = [], []
    for at, (name, value) in enumerate(shown):
        left, high = LEFT + at * step, scale.place(value)
        told = f"{name}: {_told(value)}"
        width = round(step * 0.8, 2)
        marks.append(Mark(x=round(left, 2), y=min(zero, high), width=width, height=abs(zero - high), told=told))
        if at % (1 + len(shown) // 9) == 0:
            ticks.append(Tick(at=round(left + step * 0.4, 2), label=_cut(str(name))))
    y_ticks = list(_ticks(scale))
    left_out += len(pairs) - len(shown)
    return Plot(shape="column", x=x, y=y, marks=marks, x_ticks=ticks, y_ticks=y_ticks, left_out=left_out)


def _dots(x: str, y: str, dots: Sequence[tuple[float, float]], *, left_out: int, is_time: bool) -> Plot:
    across = (_scale_times if is_time else _scale)([place for place, _ in dots], LEFT, WIDTH - RIGHT)
    up = _scale([value for _, value in dots], HEIGHT - BOTTOM, TOP)
    marks = [
        Mark(x=across.place(place), y=up.place(value), told=f"{_told(place, is_time=is_time)}: {_told(value)}")
        for place, value in dots
    ]
    ticks = list(_ticks(across, is_time=is_time))
    return Plot(shape="dot", x=x, y=y, marks=marks, x_ticks=ticks, y_ticks=list(_ticks(up)), left_out=left_out)


def _scale(values: Sequence[float], first: float, last: float) -> Scale:
    low, high = min(values), max(values)
    if low == high:
        low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
    return Scale(low=low, high=high, first=first, last=last)


def _scale_times(values: Sequence[float], first: float, last: float) -> Scale:
    low, high = min(values), max(values)
    if low == high:
        low, high = max(low - HALF_A_DAY, FIRST_SECOND), min(high + HALF_A_DAY, LAST_SECOND)
    return Scale(low=low, high=high, first=first, last=last)


def _ticks(scale: Scale, *, is_time: bool = False) -> Iterator[Tick]:
    """Some round numbers on a scale."""
    step = 10 ** math.floor(math.log10((scale.high - scale.low) / STEPS))
    step *= next(times for times in (1, 2, 5, 10) if (scale.high - scale.low) / (step * times) <= STEPS)
    first = math.ceil(scale.low / step)
    for at in range(first, math.floor(scale.high / step) + 1):
        yield Tick(at=scale.place(at * step), label=_told(at * step, is_time=is_time))


def _told(value: float, *, is_time: bool = False) -> str:
    if is_time:
        return f"{datetime.fromtimestamp(value, UTC):%m-%d %H:%M}"
    return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:.3g}"


def _cut(text: str) -> str:
    return text if len(text) <= LABEL else f"{text[: LABEL - 1]}…"
