"""What looking a lake over finds: a line for each invariant, with everything that is wrong about it. Reads nothing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

INVARIANTS = {
    "lake": "lake.json is whole: the format, and the seed of every slot's id",
    "settings": "interlake.toml can be read",
    "chain": "every version is there, adds up to its sha256 and is the child of the one before",
    "packages": "every package has the files and the rows that its manifest and its version say",
    "compact": "every compact folder holds what the packages that it covers hold",
    "ids": "no key comes twice",
    "slots": "at most one sample for a slot and a generation recipe",
    "pictures": "every picture that is named is there and hashes to its name",
    "rounds": "every stage's rounds follow one another to its end, and kept samples have all of them",
    "vectors": "every vector hashes to its name, is finite and of unit norm; one encoder decides",
    "duplicates": "no unflagged kept turn repeats an earlier one at or above the thresholds",
    "outcomes": "planned slots are the sum of their outcomes, and every decision is about something that is there",
    "table": "LanceDB holds the kept turns of the newest version and nothing else",
    "history": "history.duckdb holds what the packages say",
    "orphans": "nothing lies in the lake that nothing names",
    "spools": "every recorded call of open slots can be read",
}
"""Every invariant in the order in which it is reported, and what it means."""

FROM_A_COPY = "put it back from a copy of the lake"
MOST_ALIKE = 100
"""So many findings of one kind are told one by one; of the rest only their number."""


class UncheckedError(Exception):
    """What an invariant needs to be looked at cannot be read; the message says what that is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong: `where` is a path in the lake or an id, `mending` how a repair would mend it, None if not.

    `advice` is what to do where a repair does nothing.
    """

    where: str
    what: str
    mending: str | None = None
    advice: str = FROM_A_COPY

    @property
    def way_out(self) -> str:
        """What to do about it, in a few words."""
        return f"'interlake fsck --repair' {self.mending}" if self.mending else self.advice


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a check saw: how much it looked at, in words, and what was wrong; notes are about nothing wrong."""

    looked_at: str
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How an invariant stands. `unchecked` says why it could not be looked at, or not at everything."""

    invariant: str
    looked_at: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    unchecked: str | None

    @property
    def is_ok(self) -> bool:
        return not self.findings and self.unchecked is None

    @property
    def meaning(self) -> str:
        return INVARIANTS[self.invariant]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """Something that a repair did: to what, and what was done."""

    where: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a lake stands at its newest version, 0 while it has none; `mended` is what was done before."""

    path: Path
    version: int
    lines: tuple[Line, ...]
    mended: tuple[Mended, ...] = field(default=())

    @property
    def is_sound(self) -> bool:
        return all(line.is_ok for line in self.lines)

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for line in self.lines for finding in line.findings)

    def line(self, invariant: str) -> Line:
        """The line of one invariant."""
        return next(line for line in self.lines if line.invariant == invariant)


def look(invariant: str, check: Callable[[], Seen]) -> Line:
    """Run a check; whatever goes wrong in it becomes part of its line, so that the other checks are still made."""
    try:
        seen = check()
    except UncheckedError as error:
        return Line(invariant=invariant, looked_at="", findings=(), notes=(), unchecked=str(error))
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a panic of a native library is no Exception
        why = f"it cannot be looked at: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return Line(invariant=invariant, looked_at="", findings=(), notes=(), unchecked=why)
    return Line(invariant=invariant, looked_at=seen.looked_at, findings=seen.findings, notes=seen.notes, unchecked=None)


def few(findings: Iterable[Finding], *, of: str) -> tuple[Finding, ...]:
    """Findings of one kind, the first one by one and the number of the rest."""
    found = list(findings)
    if len(found) <= MOST_ALIKE:
        return tuple(found)
    rest = Finding(where=found[-1].where, what=f"and {len(found) - MOST_ALIKE} more {of}", mending=found[-1].mending)
    return (*found[:MOST_ALIKE], rest)


def counted(number: int, noun: str) -> str:
    """A number and its noun: `1 version`, `2 versions`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
