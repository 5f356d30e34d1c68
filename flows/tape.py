"""The tape of a run: finished calls go to the batch's spool at once, and are found again, also those of dead runs."""

import threading
from collections.abc import Iterable
from pathlib import Path

from storage.spool import RecordedCall, Spool, read_call, read_spool

SPOOL_FOLDER = "spool"


class SpoolShelf:
    """All spools that a run may read: its own and those that dead runs left. Finds a call by its request key."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[Path, int]] = {}
        self._lock = threading.Lock()

    def add(self, spools: Iterable[Path]) -> None:
        """Index spools by reading them once; torn ends are left out."""
        for path in spools:
            for place, call in read_spool(path):
                self.note(call.row.request_key, path, place)

    def note(self, request_key: str, path: Path, place: int) -> None:
        with self._lock:
            self._places.setdefault(request_key, (path, place))

    def find(self, request_key: str) -> RecordedCall | None:
        with self._lock:
            found = self._places.get(request_key)
        return read_call(*found) if found else None

    def forget(self, path: Path) -> None:
        """Leave out a spool that is about to be removed."""
        with self._lock:
            self._places = {key: place for key, place in self._places.items() if place[0] != path}


class BatchTape:
    """The tape of one batch: `kept` are the calls that go into its package, each once."""

    def __init__(self, spool: Spool, shelf: SpoolShelf, committed: dict[str, RecordedCall]) -> None:
        self._spool = spool
        self._shelf = shelf
        self._committed = committed
        self._committed_ids = {call.row.call_id for call in committed.values()}
        self._kept = {call.row.call_id for _, call in read_spool(spool.path)}

    def find(self, request_key: str) -> RecordedCall | None:
        return self._committed.get(request_key) or self._shelf.find(request_key)

    def keep(self, call: RecordedCall) -> None:
        if call.row.call_id in self._kept or call.row.call_id in self._committed_ids:
            return
        place = self._spool.append(call)
        self._kept.add(call.row.call_id)
        self._shelf.note(call.row.request_key, self._spool.path, place)
