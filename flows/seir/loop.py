"""The refinement operator of SEIR: draft, critique, rewrite, until the critic is content or the rewrites are spent."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

D = TypeVar("D")

Stopped = Literal["satisfied", "rounds_spent"]


@dataclass(frozen=True, slots=True)
class Remark:
    """What a critic says of a draft: a suggestion, or None when there is nothing to add; `critic` says who it was."""

    suggestion: str | None
    critic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Round(Generic[D]):
    """Draft `number` and the remark on it; the last draft of a spent stage has none. `seconds` is wall time."""

    number: int
    draft: D
    remark: Remark | None
    stopped: Stopped | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(Generic[D]):
    """The three acts of a stage; each is told the number of the round it acts in."""

    draft: Callable[[], Awaitable[D]]
    critique: Callable[[int, D], Awaitable[Remark]]
    rewrite: Callable[[int, D, str], Awaitable[D]]


async def refine(stage: Stage[D], rewrites: int) -> AsyncIterator[Round[D]]:
    """Yield the rounds of a stage, at most `rewrites` + 1 of them; with 0 rewrites, one draft and no critique.

    Section 3 of the paper, with one change: the critic stops by saying nothing, not by a stop word.
    """
    since = time.monotonic()
    draft = await stage.draft()
    for number in range(rewrites):
        remark = await stage.critique(number, draft)
        stopped: Stopped | None = "satisfied" if remark.suggestion is None else None
        yield Round(number=number, draft=draft, remark=remark, stopped=stopped, seconds=time.monotonic() - since)
        if remark.suggestion is None:
            return
        since = time.monotonic()
        draft = await stage.rewrite(number + 1, draft, remark.suggestion)
    yield Round(number=rewrites, draft=draft, remark=None, stopped="rounds_spent", seconds=time.monotonic() - since)
