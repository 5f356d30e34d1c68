"""Compaction: the same rows, in the same order, whoever reads them and whatever is killed; retention is explicit."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from storage.calls import read_calls
from storage.canonical import sha256_hex
from storage.compacting import compact, due, maintaining, retire, retired
from storage.errors import LakeBusy, LakeDamaged
from storage.history import history_path, publish
from storage.lake import Lake
from storage.query import query
from storage.records import TABLES, CallRow
from storage.sizes import measure
from storage.tables import Among, compact_folders, read_compact
from storage.turns_table import bring_up, count, rebuild
from tests.storage.lakes import (
    call_row,
    claim_row,
    commit,
    decision_row,
    direction,
    end_row,
    iteration_row,
    made_sample,
    make_lake,
    model_row,
    package,
    png,
    recipe_row,
    start_row,
    topic_row,
    vector_row,
)

NOW = timedelta(0)
PICTURE, VECTOR = png(7), direction(10)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """Six versions: topics, a claim, a sample kept, one dropped, a retry's call, an end."""
    lake = make_lake(tmp_path)
    commit(lake, package(topic_row(), topic_row("t2", "oaks"), kind="topics"))
    commit(lake, package(start_row("run1"), claim_row("s1", "run1"), recipe_row(), model_row(), kind="run"))
    drawn = replace(call_row("c1", "s1"), image_sha256=sha256_hex(PICTURE), vector_sha256=sha256_hex(VECTOR))
    calls = package(drawn, vector_row(VECTOR), iteration_row("s1", 1, "question", 0), pictures=[PICTURE], kind="calls")
    commit(lake, made_sample("s1", 0, 30), calls, package(decision_row("s1", "kept"), kind="decision"))
    commit(lake, made_sample("s2", 60), package(decision_row("s2", "kept"), kind="decision"))
    commit(lake, package(call_row("c2", "s1", request='{"a":1}'), kind="calls"))
    commit(lake, package(end_row("run1"), decision_row("s2", "duplicate"), kind="run"))
    yield lake
    read_compact.cache_clear()


def everything(lake: Lake) -> list[object]:
    """All rows of every table at every version, with the version that brought each in, calls with their bytes."""
    found: list[object] = []
    for number in range(1, lake.version().number + 1):
        version = lake.version(number)
        found += [lake.scan(kind, version).collect().rows() for kind in TABLES.values()]
        found += [[(call.row, dict(call.attachments)) for call in read_calls(lake, version, ["s1", "s2"])]]
    return found


def compact_all(lake: Lake) -> None:
    with maintaining(lake):
        for group in due(lake, lake.version(), least=1):
            compact(lake, group)


def test_every_row_of_every_version_is_read_the_same_after_compaction(lake: Lake) -> None:
    before, sha256 = everything(lake), lake.version().sha256
    compact_all(lake)
    (folder,) = compact_folders(lake.path / "compact")
    assert (folder.first, folder.last) == (1, 6)
    assert everything(lake) == before
    assert lake.version().sha256 == sha256


def test_after_retirement_the_packages_are_gone_and_nothing_else_is(lake: Lake) -> None:
    before = everything(lake)
    compact_all(lake)
    with maintaining(lake):
        gone = retire(lake, after=NOW)
    assert len(gone) == len(lake.version().packages)
    assert list(lake.packages.iterdir()) == []
    assert everything(lake) == before
    commit(lake, package(topic_row("t3", "elms"), kind="topics"))
    assert everything(lake)[: len(before)] == before


def test_nothing_is_retired_before_its_time(lake: Lake) -> None:
    compact_all(lake)
    with maintaining(lake):
        assert retired(lake, after=timedelta(days=1)) == retire(lake, after=timedelta(days=1)) == []
    assert len(list(lake.packages.iterdir())) == len(lake.version().packages)


def test_a_lake_is_compacted_bit_by_bit_and_versions_are_never_cut(lake: Lake) -> None:
    before = everything(lake)
    with maintaining(lake):
        first = lake.version(3)
        for group in due(lake, first, least=1):
            compact(lake, group)
        assert due(lake, lake.version(), least=99) == []
        (rest,) = due(lake, lake.version(), least=1)
        assert [entry.version for entry in rest] == [4, 4, 5, 6]
        compact(lake, rest)
        assert due(lake, lake.version(), least=1) == []
    assert [(found.first, found.last) for found in compact_folders(lake.path / "compact")] == [(1, 3), (4, 6)]
    assert everything(lake) == before


PUBLIC = ("samples", "runs", "turns", "iterations", "calls", "decisions", "claims", "topics", "images")


def test_projections_made_from_compact_folders_are_the_same(lake: Lake) -> None:
    head = lake.version()
    bring_up(lake, head)

    def shown() -> list[object]:
        publish(lake, head)
        history = [query(lake, f"FROM {name} ORDER BY ALL").rows() for name in PUBLIC]
        bodies = [query(lake, "FROM call_bodies ORDER BY ALL", at=number).rows() for number in (4, 6)]
        return [*history, *bodies, [count(lake, lake.version(number)) for number in range(1, 7)]]

    before = shown()
    compact_all(lake)
    with maintaining(lake):
        retire(lake, after=NOW)
    rebuild(lake, head)
    history_path(lake).unlink()
    assert shown() == before


def test_pictures_are_linked_and_not_written_again(lake: Lake) -> None:
    (pack,) = lake.packages.glob("*-calls-*/images.pack")
    before = measure(lake, lake.version())
    compact_all(lake)
    assert pack.stat().st_nlink == 2
    after = measure(lake, lake.version())
    assert after.packages == before.packages
    assert after.samples == before.samples == 2
    assert 0 < after.compact < before.packages


def test_a_damaged_package_is_not_compacted(lake: Lake) -> None:
    (file,) = lake.packages.glob("000005-*/calls.parquet")
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)
    with pytest.raises(LakeDamaged, match=r"calls\.parquet is not what"):
        compact_all(lake)
    assert compact_folders(lake.path / "compact") == []


def test_a_package_stays_when_the_folder_that_holds_it_is_damaged(lake: Lake) -> None:
    compact_all(lake)
    (file,) = lake.path.glob("compact/*/turns.parquet")
    file.write_bytes(file.read_bytes()[:-9])
    with maintaining(lake), pytest.raises(LakeDamaged, match=r"turns\.parquet is not what"):
        retire(lake, after=NOW)
    assert len(list(lake.packages.iterdir())) == len(lake.version().packages)


def test_a_compact_folder_of_another_lake_is_refused(lake: Lake, tmp_path: Path) -> None:
    compact_all(lake)
    other = make_lake(tmp_path / "other")
    commit(other, package(topic_row("t9", "newts"), kind="topics"))
    (lake.path / "compact").rename(other.path / "compact")
    with pytest.raises(LakeDamaged, match="holds other packages"):
        other.holdings(other.version())


def test_one_at_a_time_maintains_and_clears_what_a_killed_one_left(lake: Lake) -> None:
    (lake.path / "compact" / ".killed").mkdir(parents=True)
    with maintaining(lake):
        assert list((lake.path / "compact").iterdir()) == []
        with pytest.raises(LakeBusy, match="maintenance"), maintaining(lake):
            pass


def test_who_looked_packages_up_before_they_were_retired_reads_on(lake: Lake) -> None:
    head = lake.version()
    holdings, (place, *_) = lake.holdings(head), list(lake.find_pictures(head, {sha256_hex(PICTURE)}))
    before = [holding.read(kind.table, kind.columns()) for holding in holdings for kind in TABLES.values()]
    compact_all(lake)
    with maintaining(lake):
        retire(lake, after=NOW)
    assert [holding.read(kind.table, kind.columns()) for holding in holdings for kind in TABLES.values()] == before
    assert place.read() == PICTURE
    (lake.path / "compact").rename(lake.path / "elsewhere")
    with pytest.raises(LakeDamaged, match="is missing"):
        holdings[0].read("topics", ["name"])


def test_lookups_in_a_compact_folder_find_what_they_look_for(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.compacting.PIECE_BYTES", 1)
    compact_all(lake)
    head = lake.version()
    assert [row.call_id for row in lake.rows(CallRow, head, Among(column="sample_id", values={"s1"}))] == ["c1", "c2"]
    assert list(lake.rows(CallRow, head, Among(column="sample_id", values={"s9"}))) == []
    assert lake.picture(sha256_hex(PICTURE), head) == PICTURE
    assert list(lake.find_pictures(lake.version(2), {sha256_hex(PICTURE)})) == []
