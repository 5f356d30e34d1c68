"""Colours that carry a meaning without words: a contrast of 3 with what is behind them, in light and in dark."""

import re
from pathlib import Path

import pytest

from flows.gallery import app

STATIC = Path(app.__file__).parent / "static"
GROUNDS = ("ground", "sheet", "sunk")
MARKS = ("edge", "kept", "rejected", "duplicate", "failed", "open", "c1", "c2", "c3", "c4", "focus")
LEAST = 3.0
"""What WCAG 1.4.11 asks of anything but text."""


def light_of(colour: str) -> float:
    """Relative luminance as WCAG defines it, of #rrggbb."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    lower, higher = sorted((light_of(one), light_of(other)))
    return (higher + 0.05) / (lower + 0.05)


def schemes() -> dict[str, dict[str, str]]:
    """The colours of the stylesheet by name, light and dark."""
    blocks = re.findall(r":root \{(.*?)\}", (STATIC / "gallery.css").read_text(), re.DOTALL)
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in blocks)
    return {"light": light, "dark": light | dark}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_borders_of_fields_outcomes_and_lines_stand_out(scheme: str) -> None:
    colours = schemes()[scheme]
    poor = {
        (mark, ground): round(found, 2)
        for mark in MARKS
        for ground in GROUNDS
        if (found := contrast(colours[mark], colours[ground])) < LEAST
    }
    assert poor == {}


def test_points_of_the_map_stand_out_in_light_and_dark() -> None:
    source = (STATIC / "gallery.js").read_text()
    points = [
        colour
        for line in re.findall(r"^const (?:PALETTE|OTHERS|RAMP) = .*$", source, re.MULTILINE)
        for colour in re.findall(r"#[0-9a-f]{6}", line)
    ]
    sheets = [colours["sheet"] for colours in schemes().values()]
    assert len(points) == len(set(points)) == 19 and sheets[0] != sheets[1]
    assert [point for point in points if min(contrast(point, sheet) for sheet in sheets) < LEAST] == []
