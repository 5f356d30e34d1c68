"""All invariants of a lake, asserted."""

from flows.soundness import check_soundness
from storage.lake import Lake


def unsound(lake: Lake) -> list[str]:
    """What `interlake fsck` finds wrong, or could not look at."""
    lines = [line for line in check_soundness(lake.path).lines if not line.is_ok]
    found = [f"{line.invariant}: {finding.where}: {finding.what}" for line in lines for finding in line.findings]
    return found + [f"{line.invariant}: {line.unchecked}" for line in lines if line.unchecked]


def assert_sound(lake: Lake) -> None:
    assert unsound(lake) == []
