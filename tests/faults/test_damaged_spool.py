"""What a damaged spool costs a build: the calls whose frames are torn, and nothing else."""

from pathlib import Path

import pytest

from flows.opening import open_build
from models.chat import ChatRequest
from models.errors import TerminalError
from storage.errors import LakeDamaged
from storage.lake import Lake
from storage.records import CallRow
from storage.spool import read_spool
from tests.faults.test_waiting import ONE
from tests.flows.casts import Troupe, assert_fsck_finds_nothing, fake_lake, grow
from tests.flows.test_build import assert_conserved


def tear(path: Path, at: int) -> str:
    """Flip a bit within the frame of the call at this index; the key of its request."""
    with path.open("rb") as file:
        place, call = list(read_spool(file))[at]
    data = bytearray(path.read_bytes())
    data[place + 30] ^= 4
    path.write_bytes(data)
    return call.row.request_key


def left_by_a_dead_run(lake: Lake) -> tuple[Path, list[str]]:
    """The spool of a run that stopped half way, and the keys of all requests in it."""
    calls = 0

    def die_soon(_: ChatRequest) -> Exception | None:
        nonlocal calls
        calls += 1
        return TerminalError("down") if calls > 10 else None

    with pytest.raises(TerminalError):
        grow(lake.path, ONE, Troupe(writer_fails=die_soon))
    (spool,) = lake.runs.glob("*/spool/*.log")
    with spool.open("rb") as file:
        return spool, [call.row.request_key for _, call in read_spool(file)]


def test_only_what_a_flipped_bit_took_is_asked_again(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    spool, answered = left_by_a_dead_run(lake)
    lost = tear(spool, 3)
    troupe = Troupe()
    assert grow(lake.path, ONE, troupe).counts()["kept"] == 2
    assert set(troupe.asked) & set(answered) == {lost}
    assert troupe.asked.count(lost) == 1
    assert len(answered) > 6
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)


def test_a_call_that_the_disk_lost_before_the_commit_stops_the_run_and_is_asked_again(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    lost: list[str] = []
    asked: list[str] = []

    def tear_at_the_end(request: ChatRequest) -> Exception | None:
        asked.append(request.key())
        if len(asked) == 9:
            (spool,) = lake.runs.glob("*/spool/*.log")
            lost.append(tear(spool, 2))
        return None

    with (
        pytest.raises(LakeDamaged, match="has lost 1 of the "),
        open_build(lake.path, ONE, studio=Troupe(writer_fails=tear_at_the_end)) as run,
    ):
        run.make(0)
        run.commit(0)
    troupe = Troupe()
    assert grow(lake.path, ONE, troupe).counts()["kept"] == 2
    assert set(troupe.asked) == set(lost)
    keys = [row.request_key for row in lake.rows(CallRow, lake.version()) if not row.purpose.startswith("embed")]
    assert len(keys) == len(set(keys))
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)
