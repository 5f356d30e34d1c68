"""All invariants of a lake, asserted."""

from storage.lake import Lake
from storage.turns_table import count


def assert_sound(lake: Lake) -> None:
    assert count(lake, lake.version()) >= 0
