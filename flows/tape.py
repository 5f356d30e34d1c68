"""The tape of a run: finished calls go to the batch's spool at once, and are found again, also those of dead runs."""

import asyncio
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
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
        self._spools: dict[Path, _ShelvedSpool] = {}
        self._lock = threading.Lock()

    def add(self, path: Path) -> None:
        """Index a spool; what is torn is left out, and one that is gone holds nothing."""
        with self._lock:
            if path in self._spools:
                self._spools.pop(path).file.close()
            try:
                spool = self._spools[path] = _ShelvedSpool(path.open("rb"))
            except FileNotFoundError:
                return
            for place, call in read_spool(spool.file):
                spool.index(call.row, place)

    def note(self, row: CallRow, path: Path, place: int) -> None:
        """Index a call that was just appended to a spool on the shelf."""
        with self._lock:
            self._spools[path].index(row, place)

    def find(self, call_id: str, request_key: str) -> RecordedCall | None:
        """This very call if it was made; else what anybody was answered to the same request, refusals left out."""
        with self._lock:
            by_id = [(spool, spool.by_id[call_id]) for spool in self._spools.values() if call_id in spool.by_id]
            by_key = [
                (spool, spool.by_key[request_key]) for spool in self._spools.values() if request_key in spool.by_key
            ]
            for spool, place in by_id + by_key:
                call = read_call(spool.file, place)
                if call and call.row.request_key == request_key:
                    return call
        return None

    def drop(self, path: Path) -> None:
        """Forget a spool whose calls are committed."""
        with self._lock:
            self._spools.pop(path).file.close()

    def close(self) -> None:
        """Let go of all spools; they are not read any more."""
        with self._lock:
            for spool in self._spools.values():
                spool.file.close()


@dataclass(slots=True)
class _ShelvedSpool:
    """An open spool, and at which places its calls stand: one by its id, a request's first answer by its key."""

    file: IO[bytes]
    by_id: dict[str, int] = field(default_factory=dict)
    by_key: dict[str, int] = field(default_factory=dict)

    def index(self, row: CallRow, place: int) -> None:
        self.by_id[row.call_id] = place
        if row.error is None:
            self.by_key.setdefault(row.request_key, place)


class BatchTape:
    """The tape of one batch: what it keeps goes into the batch's spool, and from there into its package.

    `committed` are calls of the batch's samples that earlier packages hold; they are found, and not kept again. What is
    kept in one turn of the event loop is written in one go.
    """

    def __init__(self, spool: Spool, shelf: SpoolShelf, committed: Iterable[RecordedCall]) -> None:
        self._spool = spool
        self._shelf = shelf
        self._committed = {call.row.call_id: call for call in committed}
        self._answered = {call.row.request_key: call for call in self._committed.values() if call.row.error is None}
        self._kept = {call.row.call_id for call in read_calls_of(spool.path)}
        self._unwritten: list[RecordedCall] = []
        self._written: asyncio.Future[None]
        shelf.add(spool.path)

    def find(self, at: Address, request_key: str) -> RecordedCall | None:
        call_id = at.call_id()
        for call in (self._committed.get(call_id), self._answered.get(request_key)):
            if call and call.row.request_key == request_key:
                return call
        return self._shelf.find(call_id, request_key)

    async def keep(self, call: RecordedCall) -> None:
        if call.row.call_id in self._kept or call.row.call_id in self._committed:
            return
        if not self._unwritten:
            self._written = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(self._write)
        self._kept.add(call.row.call_id)
        self._unwritten.append(call)
        await asyncio.shield(self._written)  # several wait for it: one of them may be cancelled

    def _write(self) -> None:
        calls, self._unwritten = self._unwritten, []
        try:
            places = self._spool.append(calls)
        except Exception as error:  # a disk that is full, a value that has no form: who waits has to hear of any
            self._kept.difference_update(call.row.call_id for call in calls)
            self._written.set_exception(error)
            return
        for call, place in zip(calls, places, strict=True):
            self._shelf.note(call.row, self._spool.path, place)
        self._written.set_result(None)

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
