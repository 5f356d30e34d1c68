"""A lake's versions: chained, equal for equal content, visible only by their rename."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from storage.canonical import sha256_hex
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


@pytest.mark.parametrize(("number", "way_out"), [(1, "that made it"), (4, "update interlake")])
def test_a_lake_of_another_format_is_refused(tmp_path: Path, number: int, way_out: str) -> None:
    lake = new_lake(tmp_path / "lake")
    (lake.path / "lake.json").write_bytes(seal({"format": number, "seed": 7}))
    with pytest.raises(NotALake, match=f"format {number}.*{way_out}"):
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


def damage_table(lake: Lake, data: bytes | None) -> None:
    (file,) = lake.packages.glob("000001-*/topics.parquet")
    if data is None:
        file.unlink()
    else:
        file.write_bytes(data)


@pytest.mark.parametrize("data", [b"", b"PAR1 torn", None], ids=["emptied", "torn", "missing"])
def test_a_table_that_is_gone_or_torn_is_never_read_as_an_empty_one(tmp_path: Path, data: bytes | None) -> None:
    lake = new_lake(tmp_path / "lake")
    lake.commit([topics("owl")])
    lake.commit([topics("oak")])
    damage_table(lake, data)
    with pytest.raises(LakeDamaged, match=r"topics\.parquet"):
        names(lake, 2)
    with pytest.raises(LakeDamaged, match=r"topics\.parquet"):
        lake.scan(TopicRow, lake.version())
    assert lake.scan(RunEndRow, lake.version()).collect().height == 0, "a table that no package ever had is empty"


def test_a_scan_has_the_version_of_every_row(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    lake.commit([topics("owl")])
    lake.commit([PackageDraft("run", [END])])
    version = lake.commit([topics("oak", "elm")])
    assert lake.scan(TopicRow, version, ["name"]).collect().rows() == [("owl", 1), ("elm", 3), ("oak", 3)]
    assert lake.scan(TopicRow, version).collect().columns == [*TopicRow.columns(), "version"]


def test_a_picture_whose_pack_is_gone_or_short_is_damage(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    picture = b"a picture"
    version = lake.commit([PackageDraft("build", [], {sha256_hex(picture): picture})])
    assert lake.picture(sha256_hex(picture), version) == picture
    (pack,) = lake.packages.glob("*/images.pack")
    pack.write_bytes(picture[:-1])
    with pytest.raises(LakeDamaged, match=r"images\.pack is damaged"):
        lake.picture(sha256_hex(picture), version)
    pack.unlink()
    with pytest.raises(LakeDamaged, match=r"images\.pack cannot be read"):
        lake.picture(sha256_hex(picture), version)


def test_a_stray_file_among_the_versions_is_no_version(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    lake.commit([topics("owl")])
    shutil.copy(lake.versions / "000001.json", lake.versions / "000001 copy.json")
    assert lake.version().number == 1


def test_a_version_file_that_is_gone_is_damage_while_later_ones_are_there(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    lake.commit([topics("owl")])
    lake.commit([topics("oak")])
    (lake.versions / "000001.json").unlink()
    with pytest.raises(LakeDamaged, match=r"000001\.json is missing"):
        lake.version(1)
    shutil.copy(lake.path / "lake.json", lake.versions / "000001.json")
    with pytest.raises(LakeDamaged, match=r"000001\.json holds something else"):
        lake.version(1)
