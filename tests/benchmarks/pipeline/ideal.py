"""The best to be done with given chains of calls on so many servers: a list schedule in the order of the plan."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When each chain would begin and end, in seconds from the start; `wall` is when the last one ends."""

    begins: Sequence[float]
    ends: Sequence[float]

    @property
    def wall(self) -> float:
        return max(self.ends, default=0.0)

    def first(self, chains: int) -> float:
        """When the first so many chains of the plan are all done: no version with them can be earlier."""
        return max(self.ends[:chains], default=0.0)


def schedule(chains: Sequence[Sequence[float]], servers: int) -> Schedule:
    """Chains of seconds, in the order of the plan; the calls of a chain one after the other, nothing else takes time.

    Greedy: a free server takes the call that can be made of the earliest chain. When a call ends, the next one of its
    chain can be made at that moment, and of all others that wait none belongs to a chain that was begun: so each server
    sees a chain through, and takes the next one of the plan then.
    """
    free = [0.0] * servers
    begins: list[float] = []
    ends: list[float] = []
    for chain in chains:
        begin = free[0]
        end = begin + sum(chain)
        heapq.heapreplace(free, end)
        begins.append(begin)
        ends.append(end)
    return Schedule(begins=begins, ends=ends)


def lower_bound(chains: Sequence[Sequence[float]], servers: int) -> float:
    """Seconds that no schedule can be under: all servers busy all the time, or the longest chain."""
    whole = [sum(chain) for chain in chains]
    return max(sum(whole) / servers, max(whole, default=0.0))
