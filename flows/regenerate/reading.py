"""Recorded calls, read a few at a time, each with its request made again, or what stands in the way of that."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import groupby

from flows.regenerate.choosing import Listed
from flows.regenerate.rebuilding import NotAskable, Pictures, Request, pictures_in, rebuild
from models.picture import Picture
from storage.calls import AlteredCall, examine_calls_among
from storage.errors import LakeDamaged
from storage.lake import Lake
from storage.spool import RecordedCall
from storage.tables import Among
from storage.turn_rows import find_pictures
from storage.versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A recorded call that can be asked again."""

    call: RecordedCall
    request: Request


Found = Ready | str
"""A call that is ready, or why it is not."""


class CallReader:
    """Reads from a lake as it was at a version. Holds nothing between two readings."""

    def __init__(self, lake: Lake, head: Version) -> None:
        self._lake = lake
        self._head = head

    def read(self, calls: Iterable[Listed]) -> dict[str, Found]:
        """By id each of the calls, with pictures and vectors."""
        found: dict[str, Found] = {}
        by_version = sorted({call.call_id: call for call in calls}.values(), key=lambda call: call.version)
        for number, group in groupby(by_version, key=lambda call: call.version):
            found |= self._read_version(number, {call.call_id for call in group})
        return found

    def _read_version(self, number: int, call_ids: Collection[str]) -> dict[str, Found]:
        added = self._head.until(number).since(number - 1)
        found: dict[str, Found] = {}
        whole: list[RecordedCall] = []
        try:
            for call in examine_calls_among(self._lake, added, Among(column="call_id", values=call_ids)):
                if isinstance(call, AlteredCall):
                    found[call.row.call_id] = f"it is not what was recorded: {call.problem}"
                else:
                    whole.append(call)
            pictures = self._pictures(added, whole)
        except LakeDamaged as error:
            return dict.fromkeys(call_ids, str(error))
        return found | {call.row.call_id: _ready(call, pictures) for call in whole}

    def _pictures(self, added: Version, calls: Iterable[RecordedCall]) -> Pictures:
        """What the requests name: mostly pictures that came with the same version."""
        named = {sha256 for call in calls for sha256 in pictures_in(call.row.request)}
        near = {place.image.image_sha256: place for place in self._lake.find_pictures(added, named)} if named else {}
        places = near | find_pictures(self._lake, self._head, named - near.keys())
        return {sha256: Picture.from_bytes(place.read()) for sha256, place in places.items()}


def _ready(call: RecordedCall, pictures: Pictures) -> Found:
    try:
        return Ready(call=call, request=rebuild(call.row.request, call.row.request_key, pictures))
    except NotAskable as error:
        return str(error)
