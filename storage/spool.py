"""The spool: finished calls of open slots, appended as they come, so that nothing paid for is asked again.

A frame is a 12-byte header (length and CRC-32 of the body, and a magic word), then the body: one line of JSON, the
attachments' bytes behind it. `append` hands the frame to the kernel, which is enough to outlive a killed process;
`sync` makes all frames so far outlive a power cut. Reading ends at the first frame that is torn.
"""

import errno
import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO

from storage.canonical import sha256_hex
from storage.records import CallRow

_HEADER = struct.Struct("<4sII")
_MAGIC = b"ilk1"


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A call with the bytes that its row names by hash: a picture, a vector (little-endian float32)."""

    row: CallRow
    attachments: Mapping[str, bytes] = field(default_factory=dict)


class Spool:
    """An append-only file of recorded calls; one writer."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._end = _cut_torn_end(path)
        self._file: IO[bytes] = path.open("ab", buffering=0)

    def append(self, call: RecordedCall) -> int:
        """Append a call; returns its place, by which `read_call` finds it. OSError when the disk is full."""
        frame = _frame(call)
        if self._file.write(frame) != len(frame):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        place, self._end = self._end, self._end + len(frame)
        return place

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Sync and close; closing twice is fine."""
        if not self._file.closed:
            self.sync()
            self._file.close()


def _cut_torn_end(path: Path) -> int:
    """Where new frames go: behind the last whole one; what is torn after it is cut off."""
    if not path.exists():
        return 0
    end = 0
    with path.open("r+b") as file:
        while _read_frame(file) is not None:
            end = file.tell()
        file.truncate(end)
    return end


def _frame(call: RecordedCall) -> bytes:
    row = {name: getattr(call.row, name) for name in CallRow.columns()}
    row["started_at"] = call.row.started_at.isoformat()
    sizes = [len(data) for data in call.attachments.values()]
    line = json.dumps({"row": row, "sizes": sizes}).encode() + b"\n"
    body = line + b"".join(call.attachments.values())
    return _HEADER.pack(_MAGIC, len(body), zlib.crc32(body)) + body


def read_spool(spool: IO[bytes]) -> Iterator[tuple[int, RecordedCall]]:
    """Every whole frame with its place in the file, up to the first torn one."""
    spool.seek(0)
    while True:
        place = spool.tell()
        call = _read_frame(spool)
        if call is None:
            return
        yield place, call


def read_calls_of(path: Path) -> list[RecordedCall]:
    """All whole calls of a spool."""
    with path.open("rb") as file:
        return [call for _, call in read_spool(file)]


def read_call(spool: IO[bytes], place: int) -> RecordedCall:
    """The call at a place that `read_spool` or `Spool.append` gave; the file may have lost its name by now."""
    spool.seek(place)
    call = _read_frame(spool)
    assert call is not None, "a spool only grows"
    return call


def _read_frame(file: IO[bytes]) -> RecordedCall | None:
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    magic, length, checksum = _HEADER.unpack(header)
    body = file.read(length)
    if magic != _MAGIC or len(body) < length or zlib.crc32(body) != checksum:
        return None
    line, _, rest = body.partition(b"\n")
    values = json.loads(line)
    values["row"]["started_at"] = datetime.fromisoformat(values["row"]["started_at"])
    attachments, start = {}, 0
    for size in values["sizes"]:
        data = rest[start : start + size]
        attachments[sha256_hex(data)] = data
        start += size
    return RecordedCall(CallRow(**values["row"]), attachments)
