"""The recorded calls of one sample, as the tape of a recorder that asks nobody."""

from collections.abc import Iterable

from flows.recorder import Address
from storage.records import CallRow
from storage.spool import RecordedCall


class RecordedTape:
    """Finds a call by its place and its request, both as they were; remembers what was asked for, in order."""

    def __init__(self, calls: Iterable[RecordedCall]) -> None:
        self._calls = {call.row.call_id: call for call in calls}
        self.asked: dict[str, RecordedCall] = {}
        self.last: Address | None = None

    def find(self, at: Address, request_key: str) -> RecordedCall | None:
        self.last = at
        call = self._calls.get(at.call_id())
        return call if call and call.row.request_key == request_key else None

    async def keep(self, call: RecordedCall) -> None:
        self.asked[call.row.call_id] = call

    def rows(self) -> list[CallRow]:
        """All that is recorded."""
        return [call.row for call in self._calls.values()]

    def unasked(self) -> list[CallRow]:
        """What is recorded and was not asked for."""
        return [row for row in self.rows() if row.call_id not in self.asked]
