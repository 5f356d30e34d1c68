"""Packages: what is written is what is read, and damage is named."""

import json
from pathlib import Path

import pytest

from storage.canonical import sha256_hex
from storage.errors import LakeDamaged
from storage.packages import PackageDraft, read_manifest, read_picture, table_sha256, verify_package, write_package
from storage.records import ImageRow, TopicRow, VectorRow

OWL = TopicRow(topic_id="01", name="owls", category="birds", domain="nature", source="catalogue")
OAK = TopicRow(topic_id="02", name="oaks", category="trees", domain="nature", source="catalogue")
PICTURES = {sha256_hex(data): data for data in (b"first picture", b"second")}


def test_content_hash_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    there = write_package(tmp_path / "a", PackageDraft("topics", [OWL, OAK]))
    back = write_package(tmp_path / "b", PackageDraft("topics", [OAK, OWL]))
    assert there.content_sha256 == back.content_sha256


def test_content_hash_is_the_documented_one() -> None:
    line = '["01","owls","birds","nature","catalogue"]\n'
    assert table_sha256([OWL]) == sha256_hex(line.encode())


def test_blobs_and_provenance_do_not_enter_the_content_hash() -> None:
    row = VectorRow(vector_sha256="ab", encoder="e", dims=1, vector=b"\0\0\0\0")
    other = VectorRow(vector_sha256="ab", encoder="e", dims=1, vector=b"\1\1\1\1")
    assert table_sha256([row]) == table_sha256([other])


def test_pictures_come_back_from_the_pack(tmp_path: Path) -> None:
    write_package(tmp_path / "p", PackageDraft("build", [], PICTURES))
    start = 0
    for sha256, data in sorted(PICTURES.items()):
        assert read_picture(tmp_path / "p", start, len(data)) == data
        assert sha256_hex(read_picture(tmp_path / "p", start, len(data))) == sha256
        start += len(data)
    assert read_manifest(tmp_path / "p").tables == {ImageRow.table: 2}


def test_a_picture_that_is_not_what_its_name_says_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not hash to its name"):
        write_package(tmp_path / "p", PackageDraft("build", [], {"00" * 32: b"something else"}))


def test_two_rows_of_one_key_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two rows with the key"):
        write_package(tmp_path / "p", PackageDraft("topics", [OWL, OWL]))


@pytest.mark.parametrize("damage", [b"", b"\0" * 40, None], ids=["emptied", "zeroed", "missing"])
def test_damage_of_any_file_is_found_and_named(tmp_path: Path, damage: bytes | None) -> None:
    for name in ("topics.parquet", "images.pack", "manifest.json"):
        folder = tmp_path / name
        write_package(folder, PackageDraft("topics", [OWL], PICTURES))
        verify_package(folder)
        if damage is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(damage)
        with pytest.raises(LakeDamaged, match=name):
            verify_package(folder)


def test_a_flipped_word_in_a_manifest_breaks_its_seal(tmp_path: Path) -> None:
    write_package(tmp_path / "p", PackageDraft("topics", [OWL]))
    path = tmp_path / "p" / "manifest.json"
    sealed = json.loads(path.read_text())
    sealed["body"]["tables"]["topics"] = 2
    path.write_text(json.dumps(sealed))
    with pytest.raises(LakeDamaged, match="own sha256"):
        read_manifest(tmp_path / "p")
