"""Travelling through versions: how the lake stood, and what came, went or changed between two of them."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.tables import read_compact
from tests.flows.conftest import Interlake

OLD = Path(__file__).with_name("old_lakes") / "format-3.zip"


@pytest.fixture
def old_lake(tmp_path: Path) -> Iterator[Path]:
    """Kept and duplicate (version 3), two failed (6), two that a stopped run left open (8)."""
    shutil.unpack_archive(OLD, tmp_path)
    yield tmp_path / "lake"
    read_compact.cache_clear()


def test_status_tells_how_the_lake_stood_at_a_version(interlake: Interlake, old_lake: Path) -> None:
    _, out, _ = interlake("status", "--lake", old_lake, "--version", 5, "--json")
    then = json.loads(out)
    assert then["outcomes"] == {"kept": 1, "rejected": 0, "duplicate": 1, "failed": 0, "open": 2}
    assert (then["version"], then["topics_covered"], then["planned"]) == (5, 2, 4)
    assert not {"running", "interrupted"} & then.keys()
    _, out, _ = interlake("status", "--lake", old_lake, "--version", 9)
    assert "2 failed + 2 open" in out
    assert "at work" not in out
    assert "no living run" not in out
    _, out, _ = interlake("status", "--lake", old_lake)
    assert "2 open slots belong to no living run" in out


@pytest.mark.parametrize("number", [0, 10])
def test_status_of_a_version_that_is_not_there_is_bad_input(interlake: Interlake, old_lake: Path, number: int) -> None:
    code, _, err = interlake("status", "--lake", old_lake, "--version", number)
    assert code == 2
    assert str(number) in err
