"""Which of several equal servers gets the next request, and how many each bears. Knows no network; is told the time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

START = 32  # requests at a time that a server is given before anything is known of it: what one vLLM bears with ease
FIRST_REST = 1.0  # seconds that a failing server is set aside; doubled with each failure in a row
LONGEST_REST = 60.0
LONG_AGO = float("-inf")

Clock = Callable[[], float]


@dataclass(slots=True)
class Limit:
    """How many requests at a time a server bears, found by trying: additive increase, multiplicative decrease.

    A round of answers raises the limit by one, a sign of overload halves it. Of all linear rules this is the kind that
    comes to rest at full use and a fair share, without knowing the capacity or the other callers (Chiu and Jain,
    "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance in Computer Networks", Computer Networks
    and ISDN Systems 17, 1989). Before the first overload a round doubles it, as TCP's slow start does (Jacobson,
    "Congestion Avoidance and Control", SIGCOMM 1988): the capacity may be many times START.
    """

    most: int
    value: float = field(init=False)
    cut_at: float = LONG_AGO

    def __post_init__(self) -> None:
        self.value = min(START, self.most)

    def grow(self, active: int) -> None:
        """After an answer that came while `active` requests ran; with half of the limit idle it proves nothing."""
        if 2 * active >= self.value:
            step = 1.0 if self.cut_at == LONG_AGO else 1.0 / self.value
            self.value = min(self.value + step, self.most)

    def cut(self, started: float, now: float) -> None:
        """After a sign of overload; requests that started before the last cut complain of what is mended already."""
        if started > self.cut_at:
            self.value = max(self.value / 2, 1.0)
            self.cut_at = now


@dataclass(slots=True, eq=False)
class Replica:
    """One server: what it does now, what it bears, and until when it is left alone."""

    limit: Limit
    clock: Clock
    active: int = 0
    given: int = 0
    failures: int = 0
    warned_at: float = LONG_AGO
    aside_until: float = LONG_AGO
    wished_until: float = LONG_AGO
    """Until when it said itself that it wants to be left alone."""

    @property
    def room(self) -> int:
        """Requests at a time that it is given now; a single one after a failure, until that is answered."""
        return 1 if self.failures else int(self.limit.value)

    @property
    def in_use(self) -> bool:
        return self.aside_until <= self.clock()

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """Counts one request for as long as it lasts, however it ends."""
        self.active += 1
        self.given += 1
        try:
            yield
        finally:
            self.active -= 1

    def answered(self, started: float) -> None:
        """It answered, to whatever effect; good news when the request is younger than the last bad news."""
        if started > self.warned_at:
            self.failures = 0
            self.aside_until = LONG_AGO
        self.limit.grow(self.active)

    def overloaded(self, started: float, rest: float) -> None:
        """It has too much to do, and wants to be left alone for `rest` seconds."""
        self.warned_at = self.clock()
        self.limit.cut(started, self.warned_at)
        self.wished_until = max(self.wished_until, self.warned_at + rest)
        self.aside_until = max(self.aside_until, self.wished_until)

    def failed(self, started: float) -> None:
        """It did not answer and is set aside; requests that fail together count as one, or the rest would explode."""
        if started > self.warned_at:
            self.warned_at = self.clock()
            self.aside_until = self.warned_at + min(FIRST_REST * 2.0**self.failures, LONGEST_REST)
            self.failures += 1

    def hung(self, started: float) -> None:
        """It did not answer in time: it has too much to do, or is stuck."""
        self.limit.cut(started, self.clock())
        self.failed(started)


def choose_replica(replicas: Sequence[Replica]) -> Replica:
    """The one in use with the least to do for what it bears; when none is, the one whose rest ends first."""
    in_use = [replica for replica in replicas if replica.in_use]
    if not in_use:
        return min(replicas, key=lambda replica: replica.aside_until)
    return min(in_use, key=lambda replica: (replica.active / replica.room, replica.given))


def wished_rest(replicas: Sequence[Replica]) -> float:
    """Seconds for which all of them have said that they want to be left alone; 0 when one may be asked."""
    return max(0.0, min(replica.wished_until - replica.clock() for replica in replicas))


def total_room(replicas: Sequence[Replica]) -> int:
    """How many requests all servers together are given now, at least one."""
    return max(1, sum(replica.room for replica in replicas if replica.in_use))
