"""The spool: finished calls of open slots, appended as they come, so that nothing paid for is asked again.

A frame is a 12-byte header (magic word, length of the body, CRC-32 of the frame's place in the file, the length and the
body), then the body: one line of JSON, the attachments' bytes behind it. `append` hands the frame to the kernel, which
is enough to outlive a killed process; `sync` makes all frames so far outlive a power cut. Damage costs the frames that
it touches and no other: reading goes on at the next whole one, and since a frame knows its place, bytes inside of a
picture that look like a frame are none.
"""

import errno
import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import IO, get_args, get_type_hints

import orjson

from storage.canonical import sha256_hex
from storage.records import CallRow

_HEADER = struct.Struct("<4sII")
_BOUND = struct.Struct("<QI")
_MAGIC = b"ilk2"
_MAGICS = [_MAGIC, b"ilk1"]
"""The second is of frames whose CRC-32 is of the body alone. They are read right behind a whole frame, never sought."""
_CHUNK_BYTES = 1 << 20


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

    def append(self, calls: Sequence[RecordedCall]) -> list[int]:
        """Append calls in one go; returns their places, by which `read_call` finds them.

        OSError when the disk is full; then none of them is there.
        """
        places, frames, end = [], [], self._end
        for call in calls:
            places.append(end)
            frames.append(_frame(call, end))
            end += len(frames[-1])
        written = b"".join(frames)
        if self._file.write(written) != len(written):
            self._take_back()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._end = end
        return places

    def _take_back(self) -> None:
        """Cut off the part of a frame that was still written; where even that fails, go on behind it."""
        with suppress(OSError):
            self._file.truncate(self._end)
        self._end = os.fstat(self._file.fileno()).st_size

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Sync and close; closing twice is fine."""
        if not self._file.closed:
            try:
                self.sync()
            finally:
                self._file.close()


def _cut_torn_end(path: Path) -> int:
    """Where new frames go: behind the last whole one; what is torn after it is cut off."""
    if not path.exists():
        return 0
    end = 0
    with path.open("r+b") as file:
        for frame in _frames(file):
            end = frame.end
        file.truncate(end)
    return end


def _frame(call: RecordedCall, place: int) -> bytes:
    data = call.attachments.values()
    body = b"".join((orjson.dumps({"row": call.row, "sizes": [*map(len, data)]}), b"\n", *data))
    return _HEADER.pack(_MAGIC, len(body), _checksum(_MAGIC, place, body)) + body


def _checksum(magic: bytes, place: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(_BOUND.pack(place, len(body))) if magic == _MAGIC else 0)


def read_spool(spool: IO[bytes]) -> Iterator[tuple[int, RecordedCall]]:
    """Every call with its place in the file. What is torn is left out, and what another interlake wrote otherwise."""
    for frame in _frames(spool):
        call = _parse(frame.body)
        if call is not None:
            yield frame.place, call


def read_calls_of(path: Path) -> list[RecordedCall]:
    """All whole calls of a spool."""
    with path.open("rb") as file:
        return [call for _, call in read_spool(file)]


def read_call(spool: IO[bytes], place: int) -> RecordedCall | None:
    """The call at a place that `read_spool` or `Spool.append` gave; the file may have lost its name by now.

    None when it cannot be read any more.
    """
    body = _read_body(spool, place, _size_of(spool), _MAGICS)
    return None if body is None else _parse(body)


def torn_parts(path: Path) -> list[tuple[int, int]]:
    """Start and length of every part of a spool that belongs to no whole frame; a killed writer may leave one."""
    parts, end = [], 0
    with path.open("rb") as file:
        for frame in _frames(file):
            if frame.place > end:
                parts.append((end, frame.place - end))
            end = frame.end
        left = _size_of(file) - end
    return [*parts, (end, left)] if left else parts


@dataclass(frozen=True, slots=True)
class _Frame:
    """A whole frame: its body, and where the frame begins and ends."""

    place: int
    body: bytes

    @property
    def end(self) -> int:
        return self.place + _HEADER.size + len(self.body)


def _frames(file: IO[bytes]) -> Iterator[_Frame]:
    """Every whole frame; behind damage, those that follow the next magic word under which a frame is whole."""
    size, place = _size_of(file), 0
    magics = _MAGICS
    while place < size:
        body = _read_body(file, place, size, magics)
        if body is not None:
            frame = _Frame(place, body)
            yield frame
            place, magics = frame.end, _MAGICS
        else:
            place, magics = _find_magic(file, place + 1, size), _MAGICS[:1]


def _find_magic(file: IO[bytes], place: int, size: int) -> int:
    """Where the magic word stands next, at this place or behind it; `size` when it does not."""
    file.seek(place)
    seen = b""
    while chunk := file.read(_CHUNK_BYTES):
        seen = seen[1 - len(_MAGIC) :] + chunk
        found = seen.find(_MAGIC)
        if found >= 0:
            return file.tell() - len(seen) + found
    return size


def _read_body(file: IO[bytes], place: int, size: int, magics: Sequence[bytes]) -> bytes | None:
    """The body of a whole frame at a place, else None; a length that leads out of the file is not even tried."""
    file.seek(place)
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    magic, length, checksum = _HEADER.unpack(header)
    if magic not in magics or length > size - place - _HEADER.size:
        return None
    body = file.read(length)
    return body if len(body) == length and _checksum(magic, place, body) == checksum else None


def _size_of(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


def _parse(body: bytes) -> RecordedCall | None:
    """The call in a body; None when it is none as this interlake knows them."""
    line, _, rest = body.partition(b"\n")
    try:
        values = json.loads(line)
        values["row"]["started_at"] = datetime.fromisoformat(values["row"]["started_at"])
        row, attachments = CallRow(**values["row"]), _split(rest, values["sizes"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    named = {row.image_sha256, row.vector_sha256} - {None}
    return RecordedCall(row, attachments) if _fits(row) and named <= attachments.keys() else None


def _split(data: bytes, sizes: list[int]) -> dict[str, bytes]:
    """Attachments by their hash; ValueError when the sizes are not those of the data."""
    if min(sizes, default=0) < 0 or sum(sizes) != len(data):
        raise ValueError("the sizes are not those of the attachments")
    attachments, start = {}, 0
    for size in sizes:
        part = data[start : start + size]
        attachments[sha256_hex(part)] = part
        start += size
    return attachments


def _fits(row: CallRow) -> bool:
    """Whether every value is of its column's type, so that the row can be committed."""
    return all(isinstance(getattr(row, name), kinds) for name, kinds in _kinds().items())


@cache
def _kinds() -> dict[str, tuple[type, ...]]:
    hints = get_type_hints(CallRow)
    kinds = {name: get_args(hints[name]) or (hints[name],) for name in CallRow.columns()}
    return {name: (int, float) if kind == (float,) else kind for name, kind in kinds.items()}
