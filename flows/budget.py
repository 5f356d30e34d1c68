"""What a build may spend on models: calls, tokens, seconds. Light, so that the command line can know it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

REASON = "budget"
"""Why a run ended that used up its budget, as `runs.reason` has it."""

USED = ("calls", "tokens", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many requests are sent, repeats after transient errors included; how many tokens of prompts and answers are
    paid for, as far as models tell them; how long after the claim anything is still asked, less what proposing topics
    took before it. None is no bound."""

    calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None

    @property
    def is_bound(self) -> bool:
        return any(getattr(self, name) is not None for name in USED)


UNBOUND = Budget()


class BudgetUsed(Exception):
    """Nothing more is asked; what is under way is heard."""


class Meter:
    """Counts what a run asks, and lets nothing more through once its budget is used up.

    The calls are never more than the budget has, since each is counted before it is sent. What a call costs in tokens
    and time is known when it is answered: of these, what is under way by then comes on top.
    """

    def __init__(self, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        self._budget = budget
        self._clock = clock
        self._since = clock()
        self._before = 0.0
        self._is_paused = False
        self._calls = 0
        self._tokens = 0
        self._used_up: BudgetUsed | None = None

    @property
    def used_up(self) -> BudgetUsed | None:
        """Which budget was used up, once something was not asked for that."""
        return self._used_up

    def pause(self) -> None:
        """Let no time go by until `go_on`: nothing is asked, and nobody should pay for a wait."""
        self._before, self._is_paused = self._seconds(), True

    def go_on(self) -> None:
        self._since, self._is_paused = self._clock(), False

    def admit(self) -> None:
        """Count a request that is about to be sent; BudgetUsed when it may not be. For one thread."""
        for name, used in self._counts().items():
            bound = getattr(self._budget, name)
            if bound is not None and used >= bound:
                self._used_up = self._used_up or BudgetUsed(f"the budget of {bound:g} {name} is used up")
        if self._used_up:
            raise BudgetUsed(*self._used_up.args)
        self._calls += 1

    def hear(self, *tokens: int | None) -> None:
        """Count the tokens of an answer; a model that tells none costs none."""
        self._tokens += sum(count or 0 for count in tokens)

    def used(self) -> dict[str, int]:
        """What was used so far; empty without a budget."""
        return {name: round(count) for name, count in self._counts().items()} if self._budget.is_bound else {}

    def _counts(self) -> dict[str, float]:
        return {"calls": self._calls, "tokens": self._tokens, "seconds": self._seconds()}

    def _seconds(self) -> float:
        return self._before + (0.0 if self._is_paused else self._clock() - self._since)


def describe_used(counts: Mapping[str, int]) -> str:
    """One line for a person: what a build with a budget used, and what is open."""
    used = ", ".join(f"{counts[name]} {name.removesuffix('s' if counts[name] == 1 else '')}" for name in USED)
    samples = "1 sample is" if counts["open"] == 1 else f"{counts['open']} samples are"
    rest = f"{samples} open, and the same command goes on" if counts["open"] else "nothing is open"
    return f"used of the budget: {used}; {rest}"
