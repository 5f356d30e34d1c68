"""The tape of a run: finished calls go to the batch's spool at once, and are found again, also those of dead runs."""

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from flows.recorder import Address
from storage.errors import LakeDamaged
from storage.records import CallRow
from storage.spool import RecordedCall, Spool, read_call, read_calls_of, read_spool

SPOOL_FOLDER = "spool"


class SpoolShelf:
    """All spools that a run may read: its own and those that dead runs left.

    It keeps them open, so that they can be read on even when whoever made them has tidied them away.
    """

    def __init__(self) -> None:
        self._files: dict[Path, IO[bytes]] = {}
        self._by_id: dict[str, tuple[Path, int]] = {}
        self._by_key: dict[str, tuple[Path, int]] = {}
        self._lock = threading.Lock()

    def add(self, path: Path) -> None:
        """Index a spool; what is torn is left out, and one that is gone holds nothing."""
        with self._lock:
            if path in self._files:
                self._files.pop(path).close()
            try:
                file = self._files[path] = path.open("rb")
            except FileNotFoundError:
                return
            for place, call in read_spool(file):
                self._index(call.row, path, place)

    def note(self, row: CallRow, path: Path, place: int) -> None:
        """Index a call that was just appended to a spool on the shelf."""
        with self._lock:
            self._index(row, path, place)

    def find(self, call_id: str, request_key: str) -> RecordedCall | None:
        """This very call if it was made; else what anybody was answered to the same request, refusals left out."""
        with self._lock:
            for found in (self._by_id.get(call_id), self._by_key.get(request_key)):
                if found:
                    call = read_call(self._files[found[0]], found[1])
                    if call and call.row.request_key == request_key:
                        return call
        return None

    def drop(self, path: Path) -> None:
        """Forget a spool whose calls are committed."""
        with self._lock:
            self._by_id = {call_id: at for call_id, at in self._by_id.items() if at[0] != path}
            self._by_key = {key: at for key, at in self._by_key.items() if at[0] != path}
            self._files.pop(path).close()

    def close(self) -> None:
        """Let go of all spools; they are not read any more."""
        with self._lock:
            for file in self._files.values():
                file.close()

    def _index(self, row: CallRow, path: Path, place: int) -> None:
        self._by_id[row.call_id] = (path, place)
        if row.error is None:
            self._by_key.setdefault(row.request_key, (path, place))


class BatchTape:
    """The tape of one batch: what it keeps goes into the batch's spool, and from there into its package.

    `committed` are calls of the batch's samples that earlier packages hold; they are found, and not kept again.
    """

    def __init__(self, spool: Spool, shelf: SpoolShelf, committed: Iterable[RecordedCall]) -> None:
        self._spool = spool
        self._shelf = shelf
        self._committed = {call.row.call_id: call for call in committed}
        self._answered = {call.row.request_key: call for call in self._committed.values() if call.row.error is None}
        self._kept = {call.row.call_id for call in read_calls_of(spool.path)}
        shelf.add(spool.path)

    def find(self, at: Address, request_key: str) -> RecordedCall | None:
        call_id = at.call_id()
        for call in (self._committed.get(call_id), self._answered.get(request_key)):
            if call and call.row.request_key == request_key:
                return call
        return self._shelf.find(call_id, request_key)

    def keep(self, call: RecordedCall) -> None:
        if call.row.call_id in self._kept or call.row.call_id in self._committed:
            return
        place = self._spool.append(call)
        self._kept.add(call.row.call_id)
        self._shelf.note(call.row, self._spool.path, place)

    def read_back(self) -> list[RecordedCall]:
        """All calls of the batch, for its package; LakeDamaged when the disk does not give back what was kept."""
        calls = read_calls_of(self._spool.path)
        lost = self._kept - {call.row.call_id for call in calls}
        if lost:
            raise LakeDamaged(
                f"{self._spool.path} has lost {len(lost)} of the {len(self._kept)} calls that were written to it: the "
                "disk or the memory is faulty; the same command asks again what is lost, and nothing else"
            )
        return calls
