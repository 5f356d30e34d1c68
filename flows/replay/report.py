"""What a replay came to, version by version. Reads no lake."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from flows.replay.differences import Difference

GIVEN = "given"
"""What a version is that only says what was given, or what happened."""


class ReplayDiffers(Exception):
    """A replay is not what was recorded; the message is the first difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedVersion:
    """One version made again: how many samples (or turns), calls and decisions, and what differs.

    `made_sha256` is the version's hash as the replay gives it, None where only a part of it was replayed.
    """

    version: int
    what: str
    made_sha256: str | None = None
    samples: int = 0
    turns: int = 0
    calls: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()

    @property
    def is_identical(self) -> bool:
        return not self.differences

    def line(self) -> str:
        """One line for a person."""
        counts = [(self.samples, "sample"), (self.turns, "turn"), (self.calls, "call")]
        made = ", ".join(_counted(count, name) for count, name in counts if count)
        outcomes = ", ".join(f"{count} {name}" for name, count in self.outcomes.items() if count)
        if self.differences:
            verdict = _counted(len(self.differences), "difference")
        else:
            verdict = f"identical, sha256 {self.made_sha256[:16]}" if self.made_sha256 else "identical"
        told = f"{made} ({outcomes})" if outcomes else made
        return f"version {self.version}, {self.what}: {told}: {verdict}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A replay of a lake, or of a part of it.

    `given` counts the versions that only say what was given or what happened; they are what the chain says, unless they
    are among `versions`.
    """

    path: str
    version: int
    sha256: str
    versions: tuple[ReplayedVersion, ...]
    given: int
    seconds: float

    @property
    def differences(self) -> tuple[Difference, ...]:
        return tuple(difference for each in self.versions for difference in each.differences)

    @property
    def is_identical(self) -> bool:
        return not self.differences

    def line(self) -> str:
        """The verdict in one line."""
        samples, calls = (sum(getattr(each, name) for each in self.versions) for name in ("samples", "calls"))
        counts = [(len(self.versions), "version"), (samples, "sample"), (calls, "call")]
        what = ", ".join(_counted(count, name) for count, name in counts)
        verdict = "all identical" if self.is_identical else _counted(len(self.differences), "difference")
        given = f", {_counted(self.given, 'version')} of what was given looked through" if self.given else ""
        return f"{what} replayed{given} in {self.seconds:.1f} s: {verdict}"

    def table(self) -> list[dict[str, str | int]]:
        """A row for each version."""
        return [
            {
                "version": each.version,
                "what": each.what,
                "samples": each.samples,
                "calls": each.calls,
                "differences": len(each.differences),
                "sha256": each.made_sha256 or "",
            }
            for each in self.versions
        ]

    def json(self) -> dict[str, object]:
        return asdict(self) | {
            "identical": self.is_identical,
            "versions": [asdict(each) | {"identical": each.is_identical} for each in self.versions],
        }


def _counted(count: int, name: str) -> str:
    return f"{count} {name}{'s' * (count != 1)}"
