"""How many samples a run has under way, and when its next batch may be begun. Knows no Prefect and no models.

A batch is begun as long as models have room for more samples than are being written: so the end of one batch, whose
last samples keep few requests busy, is filled with the beginning of the next. What is written and waits to be committed
in its turn is bounded as well, or one slow sample would let the rest of the plan pile up behind it.
"""

import threading
from collections.abc import Callable

SLACK = 1.25
"""Samples being written for each request that models bear at a time: some of them are always between two requests."""
HELD = 4
"""Samples begun and not committed for each that may be being written."""
AT_LEAST = 2
"""Batches begun and not committed however large they are, or the end of each would be waited for."""


class Intake:
    """Counts the samples of begun batches. `room` says how many requests models bear at a time, and may change;
    `most` bounds the batches begun and not committed, None is no bound but the samples'. Safe to use from all threads.
    """

    def __init__(self, *, room: Callable[[], int], most: int | None) -> None:
        self._room = room
        self._most = most
        self._unwritten: dict[int, int] = {}
        self._held: dict[int, int] = {}
        self._is_over = False
        self._changed = threading.Condition()

    def begin(self, number: int, samples: int) -> None:
        """A batch of so many samples is begun, or begun again after an error."""
        with self._changed:
            self._unwritten[number] = self._held[number] = samples

    def write(self, number: int) -> None:
        """A sample of a batch is written."""
        with self._changed:
            self._unwritten[number] -= 1
            self._changed.notify_all()

    def stop(self) -> None:
        """Nothing more is begun: a batch could not be made, or the run ends."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def release(self, number: int) -> None:
        """A batch was committed, or given up."""
        with self._changed:
            self._unwritten.pop(number, None)
            self._held.pop(number, None)
            self._changed.notify_all()

    def wait_for_room(self) -> bool:
        """Wait until another batch may be begun: True; or until nothing more is to be begun: False."""
        with self._changed:
            while not self._is_over:
                if self.has_room():
                    return True
                self._changed.wait(_LOOK_AGAIN_SECONDS)
            return False

    def has_room(self) -> bool:
        """Whether another batch may be begun now."""
        with self._changed:
            wanted = SLACK * self._room()
            return (
                (self._most is None or len(self._held) < self._most)
                and sum(self._unwritten.values()) < wanted
                and (len(self._held) < AT_LEAST or sum(self._held.values()) < HELD * wanted)
            )


_LOOK_AGAIN_SECONDS = 1.0  # nobody tells when models begin to bear more
