"""The spool: what was appended is read back, and a torn end costs only what was torn."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.canonical import sha256_hex
from storage.records import CallRow
from storage.spool import RecordedCall, Spool, read_call, read_calls_of


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
    places = [spool.append(one) for one in calls]
    spool.close()
    assert read_calls_of(spool.path) == calls
    with spool.path.open("rb") as file:
        spool.path.unlink()
        assert [read_call(file, place) for place in places] == calls


def test_a_spool_goes_on_where_it_ended(tmp_path: Path) -> None:
    for number in (1, 2):
        spool = Spool(tmp_path / "s.log")
        spool.append(call(number))
        spool.close()
    assert [read.row.seed for read in read_calls_of(tmp_path / "s.log")] == [1, 2]


@given(cut=st.integers(min_value=0))
def test_a_torn_end_loses_only_what_was_torn(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("spool") / "s.log"
    spool = Spool(path)
    places = [spool.append(call(number, b"picture")) for number in (1, 2, 3)]
    spool.close()
    whole = path.read_bytes()
    cut %= len(whole)
    path.write_bytes(whole[:cut])
    survivors = sum(end <= cut for end in [*places[1:], len(whole)])
    assert [read.row.seed for read in read_calls_of(path)] == [1, 2, 3][:survivors]
    spool = Spool(path)
    place = spool.append(call(9))
    spool.close()
    with path.open("rb") as file:
        assert read_call(file, place).row.seed == 9
    assert [read.row.seed for read in read_calls_of(path)] == [*[1, 2, 3][:survivors], 9]


def test_a_flipped_bit_ends_the_reading(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.log")
    places = [spool.append(call(number)) for number in (1, 2, 3)]
    spool.close()
    data = bytearray(spool.path.read_bytes())
    data[places[1] + 40] ^= 1
    spool.path.write_bytes(data)
    assert [read.row.seed for read in read_calls_of(spool.path)] == [1]
