"""Keeps those in order who ask at the same time and take unlike long to get ready; knows nothing of models."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Arrivals:
    """Gives out turns in the order in which they are asked for; in one event loop at a time."""

    def __init__(self) -> None:
        self._last: Arrival | None = None

    @contextmanager
    def next(self) -> Iterator["Arrival"]:
        """The arrival of the next one, who is gone when the block ends."""
        arrival = self._last = Arrival(self._last)
        try:
            yield arrival
        finally:
            arrival.gone.set()


class Arrival:
    """One who gets ready while others do, and then waits for a turn."""

    def __init__(self, before: "Arrival | None") -> None:
        self.gone = asyncio.Event()
        self._before = before

    async def turn(self) -> None:
        """Return once all who came before are gone, whether they had their turn or left without."""
        while self._before is not None:
            await self._before.gone.wait()
            self._before = self._before._before
