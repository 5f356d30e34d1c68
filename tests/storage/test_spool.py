"""The spool: what was appended is read back, and a torn end costs only what was torn."""

import json
import resource
import struct
import tracemalloc
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.canonical import sha256_hex
from storage.records import CallRow
from storage.spool import RecordedCall, Spool, read_call, read_calls_of, torn_parts


def call(number: int, data: bytes = b"") -> RecordedCall:
    row = CallRow(
        call_id=f"{number:032x}",
        request_key=f"{number:064x}",
        sample_id="5a",
        turn=1,
        stage="image",
        round=0,
        purpose="draw",
        attempt=0,
        model_id="painter",
        seed=number,
        request="{}",
        response='{"text":"naïve \\u0000 \\"quoted\\"\\n"}',
        error=None,
        image_sha256=sha256_hex(data) if data else None,
        vector_sha256=None,
        prompt_tokens=None,
        completion_tokens=3,
        run_id="r",
        seconds=0.5,
        tries=1,
        backend='{"batch":2}',
        started_at=datetime(2026, 11, 1, tzinfo=UTC),
    )
    return RecordedCall(row, {sha256_hex(data): data} if data else {})


def test_calls_come_back_with_their_bytes(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.log")
    calls = [call(1, b"\n\0picture\n"), call(2), call(3, b"x" * 100_000)]
    places = [*spool.append(calls[:2]), *spool.append(calls[2:])]
    spool.close()
    assert read_calls_of(spool.path) == calls
    with spool.path.open("rb") as file:
        spool.path.unlink()
        assert [read_call(file, place) for place in places] == calls


def test_a_spool_goes_on_where_it_ended(tmp_path: Path) -> None:
    for number in (1, 2):
        spool = Spool(tmp_path / "s.log")
        spool.append([call(number)])
        spool.close()
    assert [read.row.seed for read in read_calls_of(tmp_path / "s.log")] == [1, 2]


@given(cut=st.integers(min_value=0))
def test_a_torn_end_loses_only_what_was_torn(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("spool") / "s.log"
    spool = Spool(path)
    places = spool.append([call(number, b"picture") for number in (1, 2, 3)])
    spool.close()
    whole = path.read_bytes()
    cut %= len(whole)
    path.write_bytes(whole[:cut])
    survivors = sum(end <= cut for end in [*places[1:], len(whole)])
    assert [read.row.seed for read in read_calls_of(path)] == [1, 2, 3][:survivors]
    spool = Spool(path)
    (place,) = spool.append([call(9)])
    spool.close()
    with path.open("rb") as file:
        assert read_call(file, place) == call(9)
    assert [read.row.seed for read in read_calls_of(path)] == [*[1, 2, 3][:survivors], 9]


def test_a_flipped_bit_costs_its_frame_alone(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.log")
    places = spool.append([call(number, b"picture" * number) for number in (1, 2, 3)])
    spool.close()
    data = bytearray(spool.path.read_bytes())
    data[places[1] + 40] ^= 1
    spool.path.write_bytes(data)
    assert [read.row.seed for read in read_calls_of(spool.path)] == [1, 3]
    assert torn_parts(spool.path) == [(places[1], places[2] - places[1])]
    with spool.path.open("rb") as file:
        assert read_call(file, places[1]) is None
        assert read_call(file, places[2]) == call(3, b"picture" * 3)
    again = Spool(spool.path)
    again.append([call(4)])
    again.close()
    assert [read.row.seed for read in read_calls_of(spool.path)] == [1, 3, 4], "only a torn end is cut off"


WITHIN = [b"", b"ilk2", b"ilk2ilk2\xff\xff\xff\x7f1234", b"picture" * 30]


@settings(max_examples=200)
@given(data=st.data())
def test_damage_loses_the_frames_that_it_touches_and_makes_up_none(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("spool") / "s.log"
    calls = [call(number, data.draw(st.sampled_from(WITHIN)) + bytes(number)) for number in range(1, 6)]
    places = write(path, calls)
    whole = bytearray(path.read_bytes())
    cut = data.draw(st.one_of(st.just(len(whole)), st.integers(0, len(whole))))
    flips = data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 7)), max_size=4, unique=True))
    for at, bit in flips:
        whole[at] ^= 1 << bit
    path.write_bytes(whole[:cut])
    ends = [*places[1:], len(whole)]
    hurt = {at for at, _ in flips}
    survivors = [
        number
        for number, (start, end) in enumerate(zip(places, ends, strict=True))
        if end <= cut and hurt.isdisjoint(range(start, end))
    ]
    assert read_calls_of(path) == [calls[number] for number in survivors]
    assert {place for place, _ in torn_parts(path)}.isdisjoint(places[number] for number in survivors)
    assert sum(length for _, length in torn_parts(path)) == cut - sum(ends[n] - places[n] for n in survivors)
    spool = Spool(path)
    (place,) = spool.append([call(9)])
    spool.close()
    with path.open("rb") as file:
        assert read_call(file, place) == call(9)
    assert [read.row.seed for read in read_calls_of(path)] == [*(calls[number].row.seed for number in survivors), 9]


def write(path: Path, calls: Sequence[RecordedCall]) -> list[int]:
    spool = Spool(path)
    places = spool.append(calls)
    spool.close()
    return places


def test_a_picture_that_holds_frames_is_a_picture(tmp_path: Path) -> None:
    inner, path = tmp_path / "inner.log", tmp_path / "s.log"
    write(inner, [call(number) for number in range(100, 105)])
    write(path, [call(1, inner.read_bytes()), call(2)])
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    assert [read.row.seed for read in read_calls_of(path)] == [2], "not those within the picture of the torn frame"


@pytest.mark.parametrize("length", [2**32 - 1, 2**31, 70_000, 0])
def test_a_length_that_cannot_be_is_not_believed(tmp_path: Path, length: int) -> None:
    path = tmp_path / "s.log"
    write(path, [call(1), call(2, b"x" * 50_000), call(3)])
    data = bytearray(path.read_bytes())
    data[4:8] = length.to_bytes(4, "little")
    path.write_bytes(data)
    tracemalloc.start()
    try:
        assert [read.row.seed for read in read_calls_of(path)] == [2, 3]
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


OTHERS = {
    "no JSON": b"not JSON\n",
    "not even UTF-8": b"\xff\xfe\n",
    "brackets without end": b"[" * 100_000 + b"\n",
    "another thing": b'{"event":"end"}\n',
    "a list": b"[1]\n",
    "a row of another interlake": b'{"row":{"call_id":"1","started_at":"2026-11-01T00:00:00+00:00"},"sizes":[]}\n',
}


def frame(body: bytes, place: int) -> bytes:
    """A frame as `storage.spool` describes it."""
    checksum = zlib.crc32(body, zlib.crc32(struct.pack("<QI", place, len(body))))
    return struct.pack("<4sII", b"ilk2", len(body), checksum) + body


def body_of(one: RecordedCall, sizes: list[object] | None = None, **changes: object) -> bytes:
    row = {name: getattr(one.row, name) for name in CallRow.columns()}
    row |= {"started_at": one.row.started_at.isoformat(), **changes}
    sizes = sizes if sizes is not None else [len(data) for data in one.attachments.values()]
    return json.dumps({"row": row, "sizes": sizes}).encode() + b"\n" + b"".join(one.attachments.values())


OTHERS |= {
    "a turn that is no number": body_of(call(7), turn="one"),
    "a time that is none": body_of(call(7), started_at=7),
    "no request": body_of(call(7), request=None),
    "a picture that it does not have": body_of(call(7), image_sha256="0" * 64),
    "sizes that are none": body_of(call(7, b"picture"), sizes=["7"]),
    "sizes that go backwards": body_of(call(7, b"picture"), sizes=[8, -1]),
    "more than the sizes say": body_of(call(7, b"picture"), sizes=[3]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_whole_frame_that_is_no_call_is_left_out_and_left_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / "s.log"
    write(path, [call(1)])
    path.write_bytes(path.read_bytes() + frame(OTHERS[name], path.stat().st_size))
    size = path.stat().st_size
    assert torn_parts(path) == []
    assert write(path, [call(2)]) == [size]
    assert read_calls_of(path) == [call(1), call(2)]


def test_a_frame_as_described_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.log"
    path.write_bytes(frame(body_of(call(1, b"picture")), 0))
    assert read_calls_of(path) == [call(1, b"picture")]


def test_frames_of_an_earlier_interlake_are_read_up_to_the_first_torn_one(tmp_path: Path) -> None:
    path = tmp_path / "s.log"
    bodies = [body_of(call(number, b"picture")) for number in (1, 2, 3)]
    old = b"".join(struct.pack("<4sII", b"ilk1", len(body), zlib.crc32(body)) + body for body in bodies)
    path.write_bytes(old)
    write(path, [call(4)])
    assert [read.row.seed for read in read_calls_of(path)] == [1, 2, 3, 4]
    data = bytearray(path.read_bytes())
    data[len(old) // 3 + 20] ^= 1
    path.write_bytes(data)
    assert [read.row.seed for read in read_calls_of(path)] == [1, 4]


def test_a_frame_that_did_not_fit_is_taken_back(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.log")
    spool.append([call(1)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (spool.path.stat().st_size + 100, hard))
    try:
        with pytest.raises(OSError, match=r"s\.log"):
            spool.append([call(2, b"pi"), call(4, b"picture")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    (place,) = spool.append([call(3)])
    spool.close()
    with spool.path.open("rb") as file:
        assert read_call(file, place) == call(3)
    assert torn_parts(spool.path) == []
