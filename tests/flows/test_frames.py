"""A lake in one line: its tables as polars frames, a DuckDB connection over them, its pictures."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from flows.frames import LakeFrames, open_lake
from storage.errors import NoSuchThing, NotALake
from storage.history_schema import state_queries
from storage.lake import Lake
from tests.storage.lakes import (
    claim_row,
    commit,
    decision_row,
    made_sample,
    make_lake,
    package,
    png,
    start_row,
    topic_row,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Version 1: two slots are claimed; version 2: one of them is kept."""
    lake = make_lake(tmp_path_factory.mktemp("frames"))
    claims = [claim_row("s1", "run1"), claim_row("s2", "run1")]
    commit(lake, package(topic_row(), start_row("run1"), *claims, kind="run"))
    commit(lake, made_sample("s1", 10, 20), package(decision_row("s1", "kept"), kind="decision"))
    return lake


@pytest.fixture
def lake(made: Lake) -> Iterator[LakeFrames]:
    with open_lake(made.path) as lake:
        yield lake


def test_every_table_is_a_frame_by_its_name(lake: LakeFrames) -> None:
    assert set(lake) == set(state_queries("0"))
    assert all(isinstance(lake[name].collect(), pl.DataFrame) for name in lake)
    with pytest.raises(KeyError, match="sampels is no table; there are topics, "):
        lake["sampels"]


def test_frames_are_joined_and_filtered_before_they_are_read(lake: LakeFrames) -> None:
    kept = lake["samples"].filter(pl.col("outcome") == "kept").join(lake["topics"], on="topic_id")
    assert kept.select("sample_id", "name").collect().rows() == [("s1", "owls")]
    both = pl.collect_all([lake["samples"], lake["turns"], lake["samples"]])
    assert [frame.height for frame in both] == [2, 2, 2]


def test_duckdb_is_over_the_same_tables_and_changes_nothing(lake: LakeFrames) -> None:
    assert lake.sql("SELECT outcome FROM samples ORDER BY sample_id").pl()["outcome"].to_list() == ["kept", "open"]
    assert lake.db.execute("SELECT count(*) FROM turns").fetchall() == [(2,)]
    with pytest.raises(duckdb.Error, match="read-only"):
        lake.db.execute("DELETE FROM samples")


def test_a_lake_is_opened_as_it_was(made: Lake) -> None:
    with open_lake(str(made.path), at=1) as before:
        assert before.number == 1
        assert before["samples"].collect()["outcome"].to_list() == ["open", "open"]
        assert before.sql("SELECT count(*) FROM turns").fetchall() == [(0,)]
    with pytest.raises(NoSuchThing, match="no version 9"):
        open_lake(made.path, at=9)


def test_pictures_are_read_by_their_hash(lake: LakeFrames) -> None:
    sha256 = lake["turns"].select("image_sha256").collect().item(0, 0)
    assert lake.picture(sha256) == png(10)
    with pytest.raises(NoSuchThing):
        lake.picture("0" * 64)


def test_what_is_no_lake_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(NotALake, match="is not a lake"):
        open_lake(tmp_path)
    with open_lake(make_lake(tmp_path).path) as empty:
        assert empty["samples"].collect().height == 0
        with pytest.raises(NoSuchThing, match="no version yet"):
            empty.picture("0" * 64)
