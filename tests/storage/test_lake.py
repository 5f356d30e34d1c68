"""A lake's versions: chained, equal for equal content, visible only by their rename."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import LakeBusy, LakeDamaged, NoSuchThing, NotALake
from storage.lake import Lake
from storage.packages import PackageDraft, seal
from storage.records import RunEndRow, TopicRow
from storage.versions import CHUNK

END = RunEndRow(state="died", reason=None, run_id="r", finished_at=None)


def topics(*names: str) -> PackageDraft:
    return PackageDraft(
        "topics", [TopicRow(topic_id=name, name=name, category="", domain="", source="test") for name in names]
    )


def new_lake(path: Path) -> Lake:
    return Lake.create(path, seed=7, files={})


def names(lake: Lake, number: int) -> list[str]:
    return [row.name for row in lake.rows(TopicRow, lake.version(number))]


def test_a_new_lake_has_no_version_and_opens_again(tmp_path: Path) -> None:
    new_lake(tmp_path / "lake")
    lake = Lake.open(tmp_path / "lake")
    assert lake.seed == 7
    assert lake.head() is None
    with pytest.raises(NoSuchThing, match="no version 1"):
        lake.version(1)


def test_every_version_stays_readable(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    lake.commit([topics("owl")])
    lake.commit(
        [topics("oak"), PackageDraft("run", [RunEndRow(state="died", reason=None, run_id="r", finished_at=None)])]
    )
    assert names(lake, 1) == ["owl"]
    assert names(lake, 2) == ["owl", "oak"]
    assert lake.version().parent == lake.version(1).sha256


def test_equal_content_gives_an_equal_chain_whatever_the_provenance(tmp_path: Path) -> None:
    hashes = set()
    for run_id in ("first", "second"):
        lake = new_lake(tmp_path / run_id)
        end = replace(END, run_id=run_id)
        lake.commit([topics("owl"), PackageDraft("run", [end])], run_id=run_id)
        hashes.add(lake.version().sha256)
    assert len(hashes) == 1


def test_other_content_gives_another_chain(tmp_path: Path) -> None:
    one, two = new_lake(tmp_path / "one"), new_lake(tmp_path / "two")
    assert one.commit([topics("owl")]).sha256 != two.commit([topics("oak")]).sha256


def test_a_version_is_invisible_until_its_file_is_there(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    lake.commit([topics("owl")])
    lake.commit([topics("oak")])
    (lake.versions / "000002.json").unlink()
    assert names(lake, lake.version().number) == ["owl"]
    lake.commit([topics("oak")])
    assert names(lake, 2) == ["owl", "oak"]
    assert len(list((lake.path / "aside").iterdir())) == 1, "what the crash left is moved aside, not deleted"


def test_an_unfinished_package_is_dropped_by_the_next_commit(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    (lake.path / "staging" / "torn").mkdir()
    lake.commit([topics("owl")])
    assert list((lake.path / "staging").iterdir()) == []


def test_the_list_of_packages_is_cut_into_chunks_that_are_written_once(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    lake.commit([topics(f"t{i}") for i in range(CHUNK + 3)])
    lake.commit([topics("last")])
    assert len(list((lake.versions / "chunks").iterdir())) == 1
    assert len(names(lake, 2)) == CHUNK + 4


def test_a_version_file_that_was_altered_is_damage(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    lake.commit([topics("owl")])
    lake.commit([topics("oak")])
    shutil.copy(lake.versions / "000001.json", lake.versions / "000002.json")
    with pytest.raises(LakeDamaged, match="do not add up"):
        lake.version(2)


def test_a_folder_that_is_no_lake_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(NotALake, match="interlake init"):
        Lake.open(tmp_path)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotALake, match="not an empty folder"):
        new_lake(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_lake_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    (lake.path / "lake.json").write_bytes(seal({"format": 2, "seed": 7}))
    with pytest.raises(NotALake, match="format 2"):
        Lake.open(lake.path)


def test_who_waits_for_the_lock_is_told_who_holds_it(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    with (
        lake.lock(purpose="a long commit", timeout=0),
        pytest.raises(LakeBusy, match=r"process \d+ .*\(a long commit\) since"),
        lake.lock(purpose="another", timeout=0),
    ):
        pass
    with lake.lock(purpose="another", timeout=0):
        pass
