"""Recorded calls: those of the samples asked for, with their bytes, and damage where the bytes are gone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from storage.calls import AlteredCall, answer_hash, examine_calls, examine_calls_among, read_calls
from storage.canonical import sha256_hex
from storage.errors import LakeDamaged
from storage.lake import Lake
from storage.records import CallRow
from storage.spool import RecordedCall
from storage.tables import Among
from tests.storage.lakes import call_row, commit, direction, make_lake, package, png, vector_row

PICTURE, VECTOR = png(7), direction(10)
DRAWN: CallRow = replace(call_row("c1", "s1"), image_sha256=sha256_hex(PICTURE), vector_sha256=sha256_hex(VECTOR))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = make_lake(tmp_path)
    commit(lake, package(DRAWN, call_row("c2", "s2"), vector_row(VECTOR), pictures=[PICTURE]))
    commit(lake, package(call_row("c3", "s1")))
    return lake


def read(lake: Lake, *sample_ids: str) -> list[str]:
    return [call.row.call_id for call in read_calls(lake, lake.version(), sample_ids)]


def test_calls_of_some_samples_come_with_their_bytes(lake: Lake) -> None:
    assert read(lake, "s1") == ["c1", "c3"]
    assert read(lake, "s2", "s3") == ["c2"]
    first = next(read_calls(lake, lake.version(), ["s1"]))
    assert (first.row, dict(first.attachments)) == (
        DRAWN,
        {sha256_hex(PICTURE): PICTURE, sha256_hex(VECTOR): VECTOR},
    )


def test_any_choice_of_calls_can_be_looked_at(lake: Lake) -> None:
    chosen = Among(column="call_id", values=["c3", "c2"])
    assert [call.row.call_id for call in examine_calls_among(lake, lake.version(), chosen)] == ["c2", "c3"]


@pytest.mark.parametrize("name", ["calls.parquet", "images.parquet", "vectors.parquet", "images.pack"])
@pytest.mark.parametrize("data", [None, b"PAR1 torn"])
def test_a_file_that_is_gone_or_torn_is_damage(lake: Lake, name: str, data: bytes | None) -> None:
    (file,) = lake.packages.glob(f"000001-*/{name}")
    if data is None:
        file.unlink()
    else:
        file.write_bytes(data)
    with pytest.raises(LakeDamaged, match=name):
        read(lake, "s1")


def test_a_call_that_names_bytes_which_its_package_lacks_is_damage(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    commit(lake, package(replace(call_row("c1", "s1"), image_sha256="ab" * 32)))
    with pytest.raises(LakeDamaged, match=r"call c1 .*which it names"):
        read(lake, "s1")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"response": '{"text":"other"}'}, "its response is not what its own hash says"),
        ({"prompt_tokens": 11}, "its response is not what its own hash says"),
        ({"request": '{"seed":2}'}, "its request does not hash to its key"),
    ],
)
def test_a_call_that_was_altered_is_named_and_the_others_come(
    tmp_path: Path, changed: dict[str, Any], problem: str
) -> None:
    lake = make_lake(tmp_path)
    row = call_row("c1", "s1")
    guarded = replace(row, answer_sha256=answer_hash(row))
    commit(lake, package(replace(guarded, **changed), replace(guarded, call_id="c2")))
    altered, whole = examine_calls(lake, lake.version(), ["s1"])
    assert isinstance(altered, AlteredCall)
    assert (altered.row.call_id, altered.problem) == ("c1", problem)
    assert isinstance(whole, RecordedCall)
    with pytest.raises(LakeDamaged, match="call c1 is not what was recorded"):
        read(lake, "s1")


def test_a_call_from_before_answers_were_guarded_is_taken_as_it_is(lake: Lake) -> None:
    assert all(call.row.answer_sha256 is None for call in read_calls(lake, lake.version(), ["s1", "s2"]))
