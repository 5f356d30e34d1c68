"""What the checker of the hash chain finds in lakes that were tampered with, by somebody who can seal files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.canonical import content_sha256, sha256_hex
from storage.lake import Lake
from storage.packages import MANIFEST, file_hashes, seal, unseal
from storage.records import CallRow, TurnRow
from storage.versions import PackageEntry
from tests.flows.casts import maintain
from tests.test_chain import assert_ok, check, grow_twice


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return grow_twice(tmp_path_factory.mktemp("whole") / "lake")


@pytest.fixture
def lake(whole: Lake, tmp_path: Path) -> Lake:
    """A lake to be tampered with, by somebody who can seal files."""
    shutil.copytree(whole.path, tmp_path / "lake")
    return Lake.open(tmp_path / "lake")


def first_build(lake: Lake) -> PackageEntry:
    return next(entry for entry in lake.version().packages if entry.kind == "build")


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change the body of a sealed file, and seal it again."""
    body = unseal(path)
    change(body)
    path.write_bytes(seal(body))


def seal_files(folder: Path) -> None:
    """Have a manifest say of the files in its folder what they are now."""
    edit(folder / MANIFEST, lambda body: body.update(files=file_hashes(folder)))


def rewrite(folder: Path, table: str, column: str, change: Callable[[Any], object]) -> None:
    """Change one value of a table; its file and its manifest stay whole."""
    path = folder / f"{table}.parquet"
    rows = pq.read_table(path)
    values = rows[column].to_pylist()
    values[-1] = change(values[-1])
    at = rows.schema.get_field_index(column)
    pq.write_table(rows.set_column(at, rows.schema.field(at), pa.array(values, rows.schema.field(at).type)), path)
    seal_files(folder)


def last_character(text: str) -> str:
    return text[:-1] + ("x" if text[-1] != "x" else "y")


def assert_wrong(lake: Lake, *words: str, good: int) -> None:
    """The checker vouches for so many versions, and names with these words what is wrong in the next one."""
    said = check(lake.path, cwd=lake.path.parent)
    assert said.code == 1
    assert [line.split()[1] for line in said.lines] == [str(number) for number in range(1, good + 1)]
    assert len(said.wrong.splitlines()) == 1
    assert [word for word in words if word not in said.wrong] == [], said.wrong


def test_one_changed_character_of_a_row_is_found(lake: Lake) -> None:
    entry = first_build(lake)
    rewrite(lake.folder(entry), TurnRow.table, "answer", last_character)
    assert_wrong(lake, f"package {entry.name} has rows that hash to", entry.content_sha256, good=entry.version - 1)


def test_provenance_may_be_another(lake: Lake) -> None:
    rewrite(lake.folder(first_build(lake)), CallRow.table, "run_id", last_character)
    assert_ok(lake, cwd=lake.path.parent)


def test_one_changed_character_in_a_compact_folder_is_found_though_the_package_is_still_there(lake: Lake) -> None:
    maintain(lake)
    entry = lake.version().packages[-1]
    (folder,) = lake.path.glob("compact/0*")
    assert_ok(lake, cwd=lake.path.parent)
    rewrite(folder, "run_ends", "state", last_character)
    assert_wrong(lake, f"package {entry.name} has rows that hash to", good=entry.version - 1)


@pytest.mark.parametrize("adds_up", [False, True])
def test_a_version_with_another_parent_is_found(lake: Lake, *, adds_up: bool) -> None:
    def change(body: dict[str, Any]) -> None:
        body["parent"] = lake.version(1).sha256
        if adds_up:
            own = [[entry.kind, entry.content_sha256] for entry in lake.version(3).added()]
            body["sha256"] = content_sha256([3, body["parent"], own])

    edit(lake.versions / "000003.json", change)
    assert_wrong(lake, "version 3 is gone, or no child of the one before", good=2)


def test_a_version_that_is_gone_is_found(lake: Lake) -> None:
    (lake.versions / "000002.json").unlink()
    assert_wrong(lake, "version 2 is gone", good=1)


def test_a_removed_package_is_found(lake: Lake) -> None:
    entry = first_build(lake)
    shutil.rmtree(lake.folder(entry))
    assert_wrong(lake, f"package {entry.name} has rows that hash to nothing", good=entry.version - 1)


def test_a_flipped_byte_of_a_picture_is_found(lake: Lake) -> None:
    folder = lake.folder(first_build(lake))
    pack = folder / "images.pack"
    rows = pq.read_table(folder / "images.parquet").to_pylist()
    data = bytearray(pack.read_bytes())
    data[rows[1]["start"]] ^= 1
    pack.write_bytes(data)
    seal_files(folder)
    assert_wrong(lake, str(folder / "images.parquet"), rows[1]["image_sha256"], good=0)


def test_a_flipped_bit_of_a_vector_is_found(lake: Lake) -> None:
    folder = lake.folder(first_build(lake))
    named = pq.read_table(folder / "vectors.parquet").to_pylist()[-1]["vector_sha256"]
    rewrite(folder, "vectors", "vector", lambda data: bytes([data[0] ^ 1]) + data[1:])
    assert_wrong(lake, str(folder / "vectors.parquet"), named, good=0)


@pytest.mark.parametrize("adds_up", [False, True])
def test_a_swapped_pair_of_packages_is_found(lake: Lake, *, adds_up: bool) -> None:
    number = first_build(lake).version

    def change(body: dict[str, Any]) -> None:
        body["tail"][-2:] = body["tail"][:-3:-1]
        if adds_up:
            own = [[entry["kind"], entry["content_sha256"]] for entry in body["tail"][-2:]]
            body["sha256"] = content_sha256([number, body["parent"], own])

    assert len(lake.version(number).added()) == 2
    edit(lake.versions / f"{number:06d}.json", change)
    if adds_up:
        assert_wrong(lake, f"version {number + 1} is gone, or no child of the one before", good=number)
    else:
        assert_wrong(lake, f"version {number} has packages that do not add up", good=number - 1)


def test_a_list_that_leaves_out_an_earlier_package_is_found(lake: Lake) -> None:
    edit(lake.versions / "000004.json", lambda body: body["tail"].pop(0))
    assert_wrong(lake, "version 4 lists others", good=3)


@pytest.mark.parametrize("name", ["lake.json", "versions/000002.json", "packages/*-build-*/manifest.json"])
def test_a_file_that_is_not_as_it_was_sealed_is_named(lake: Lake, name: str) -> None:
    path = sorted(lake.path.glob(name))[0]
    sealed = json.loads(path.read_bytes())
    path.write_text(json.dumps(sealed | {"sha256": sha256_hex(b"another")}))
    assert_wrong(lake, f"{path} is not as it was sealed", good=1 if name.startswith("versions") else 0)
