"""Packages: what is written is what is read, and damage is named."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from storage.canonical import content_sha256, sha256_hex
from storage.errors import LakeDamaged
from storage.packages import IMAGE_PACK, PackageDraft, read_manifest, read_picture, table_sha256, unseal, write_package
from storage.records import ImageRow, TopicRow, VectorRow, from_arrow
from storage.tables import check_end, read_file

OWL = TopicRow(topic_id="01", name="owls", category="birds", domain="nature", source="catalogue")
OAK = TopicRow(topic_id="02", name="oaks", category="trees", domain="nature", source="catalogue")
FIRST = ImageRow(image_sha256=sha256_hex(b"second"), length=6, start=0)  # whose hash is the smaller one
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
    images = from_arrow(ImageRow, pq.read_table(tmp_path / "p" / "images.parquet"))
    assert {image.image_sha256: read_picture(tmp_path / "p" / IMAGE_PACK, image) for image in images} == PICTURES
    assert read_manifest(tmp_path / "p").tables == {ImageRow.table: 2}


def test_a_picture_that_is_not_what_its_name_says_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not hash to its name"):
        write_package(tmp_path / "p", PackageDraft("build", [], {"00" * 32: b"something else"}))


def test_two_rows_of_one_key_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two rows with the key"):
        write_package(tmp_path / "p", PackageDraft("topics", [OWL, OWL]))


READERS: dict[str, Callable[[Path], object]] = {
    "topics.parquet": lambda folder: read_file(folder / "topics.parquet"),
    "images.pack": lambda folder: read_picture(folder / IMAGE_PACK, FIRST),
    "manifest.json": read_manifest,
}


@pytest.mark.parametrize("damage", [b"", b"\0" * 40, b"PAR1", None], ids=["emptied", "zeroed", "cut", "missing"])
@pytest.mark.parametrize("name", READERS)
def test_damage_of_any_file_is_found_and_named(tmp_path: Path, name: str, damage: bytes | None) -> None:
    write_package(tmp_path / "p", PackageDraft("topics", [OWL], PICTURES))
    READERS[name](tmp_path / "p")
    if damage is None:
        (tmp_path / "p" / name).unlink()
    else:
        (tmp_path / "p" / name).write_bytes(damage)
    with pytest.raises(LakeDamaged, match=name):
        READERS[name](tmp_path / "p")


def test_a_table_that_is_torn_anywhere_is_damage(tmp_path: Path) -> None:
    write_package(tmp_path / "p", PackageDraft("topics", [OWL, OAK]))
    path = tmp_path / "p" / "topics.parquet"
    whole = path.read_bytes()
    for length in (1, len(whole) // 3, len(whole) - 1):
        path.write_bytes(whole[:length])
        for read in (read_file, check_end):
            with pytest.raises(LakeDamaged, match=r"topics\.parquet cannot be read"):
                read(path)
    path.write_bytes(whole[:4] + b"\xff" * 60 + whole[64:])
    with pytest.raises(LakeDamaged, match=r"topics\.parquet cannot be read"):
        read_file(path)


@pytest.mark.parametrize("text", ["[]", "7", '"text"', "null", "{}"])
def test_a_sealed_file_of_another_shape_is_damage(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sealed.json"
    path.write_text(text)
    with pytest.raises(LakeDamaged, match=r"sealed\.json"):
        unseal(path)
    path.write_text(json.dumps({"body": json.loads(text), "sha256": content_sha256(json.loads(text))}))
    with pytest.raises(LakeDamaged, match="something else"):
        unseal(path, "number")


def test_a_flipped_word_in_a_manifest_breaks_its_seal(tmp_path: Path) -> None:
    write_package(tmp_path / "p", PackageDraft("topics", [OWL]))
    path = tmp_path / "p" / "manifest.json"
    sealed = json.loads(path.read_text())
    sealed["body"]["tables"]["topics"] = 2
    path.write_text(json.dumps(sealed))
    with pytest.raises(LakeDamaged, match="own sha256"):
        read_manifest(tmp_path / "p")
