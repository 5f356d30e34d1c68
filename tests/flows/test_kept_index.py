"""The index of kept turns of a lake: the same decisions whether vectors are read at once or fetched, sketches stored,
made anew, or damaged."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import lancedb
import numpy as np
import pytest

from dedup.decide import Decision, Thresholds, decide
from dedup.turns import TurnVectors
from flows import kept_index
from flows.asked import BuildOptions
from flows.kept_index import KeptIndex
from storage.keepers import all_keepers
from storage.kept_rows import kept_vectors
from storage.lake import Lake
from storage.projection import SKETCHES, lance_folder
from storage.sketches_table import read_sketches
from tests.flows.casts import assert_fsck_finds_nothing, fake_lake, grow

CLOSE = Thresholds(image=0.6, text=0.6, policy="either")
GROWN = BuildOptions(new_topics=5, samples_per_topic=2, turns=2)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = fake_lake(tmp_path_factory.mktemp("kept") / "lake")
    grow(lake.path, GROWN)
    return lake


@pytest.fixture
def lake(built: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setattr(kept_index, "STORE_FROM", 8)
    shutil.copytree(built.path, tmp_path / "lake")
    return Lake.open(tmp_path / "lake")


def encoder_of(lake: Lake) -> str:
    return next(kept_vectors(lake, lake.version())).encoder


def opened(lake: Lake, *, is_large: bool = True) -> KeptIndex:
    """An index that fetches vectors and sketches them from the first turn on; else one as small lakes have it."""
    encoder = encoder_of(lake)
    index = KeptIndex(lake, encoder, fetch_from=1, sketch_from=1) if is_large else KeptIndex(lake, encoder)
    index.catch_up(lake.version())
    return index


def newcomers(lake: Lake) -> Iterator[TurnVectors]:
    """Turns like those that the lake has kept, some of them turned a little."""
    source = np.random.default_rng(5)
    for number, turn in enumerate(kept_vectors(lake, lake.version())):
        image = turn.image + source.standard_normal(len(turn.image)).astype(np.float32) * 0.05 * (number % 3)
        yield TurnVectors(sample_id=f"x{number:03}", turn=1, image=image / np.linalg.norm(image), text=turn.text)


def decided(index: KeptIndex, lake: Lake) -> Decision:
    decision = decide(index.turns, newcomers(lake), CLOSE)
    assert decision.duplicates
    return decision


def plain(decision: Decision) -> tuple[object, ...]:
    return decision.kept_samples, decision.dropped_samples, decision.duplicates


def stored_rows(lake: Lake) -> int:
    found = read_sketches(lake, encoder_of(lake), "image")
    return 0 if found is None else found.keys.height


def test_fetched_vectors_and_sketches_decide_as_whole_vectors_do(lake: Lake) -> None:
    packages = KeptIndex(lake, encoder_of(lake), read_all=all_keepers)
    packages.catch_up(lake.version())
    of_a_small_lake, of_a_large_one = opened(lake, is_large=False), opened(lake)
    assert len({len(index.turns) for index in (packages, of_a_small_lake, of_a_large_one)}) == 1
    wanted = plain(decided(packages, lake))
    assert plain(decided(of_a_small_lake, lake)) == wanted
    assert plain(decided(of_a_large_one, lake)) == wanted
    assert of_a_small_lake.turns.sketches("image") is None
    assert of_a_large_one.turns.sketches("image") is not None


def test_sketches_are_stored_and_taken_up_by_whoever_opens_the_lake_next(lake: Lake) -> None:
    first = opened(lake)
    wanted = plain(decided(first, lake))
    first.store_sketches()
    assert stored_rows(lake) == len(first.turns)
    first.store_sketches()
    assert stored_rows(lake) == len(first.turns)
    again = opened(lake)
    taken = again.turns.sketches("image")
    assert taken is not None
    assert len(taken) == len(again.turns)
    assert plain(decided(again, lake)) == wanted
    assert again.turns.sketches("image") is taken
    assert_fsck_finds_nothing(lake)


def test_what_a_build_adds_is_sketched_by_the_basis_that_is_stored(lake: Lake) -> None:
    index = opened(lake)
    decided(index, lake)
    index.store_sketches()
    before = stored_rows(lake)
    grow(lake.path, GROWN)
    grown = opened(lake)
    assert len(grown.turns) > before
    packages = KeptIndex(lake, encoder_of(lake), read_all=all_keepers)
    packages.catch_up(lake.version())
    assert plain(decided(grown, lake)) == plain(decided(packages, lake))
    grown.store_sketches()
    stored = read_sketches(lake, encoder_of(lake), "image")
    assert stored is not None
    assert stored.keys.unique().height == len(grown.turns)


def test_a_piece_that_was_altered_counts_as_not_there(lake: Lake) -> None:
    index = opened(lake)
    wanted = plain(decided(index, lake))
    index.store_sketches()
    table = lancedb.connect(str(lance_folder(lake))).open_table(SKETCHES)
    rows = table.to_arrow().to_pylist()
    for row in rows:
        row["sketches"] = bytes(len(row["sketches"]))
    lancedb.connect(str(lance_folder(lake))).create_table(
        SKETCHES, table.to_arrow().from_pylist(rows, schema=table.schema), mode="overwrite"
    )
    assert stored_rows(lake) == 0
    assert plain(decided(opened(lake), lake)) == wanted


def test_a_table_that_cannot_be_read_is_made_anew(lake: Lake) -> None:
    index = opened(lake)
    wanted = plain(decided(index, lake))
    index.store_sketches()
    for path in (lance_folder(lake) / f"{SKETCHES}.lance").rglob("*.lance"):
        path.write_bytes(b"torn")
    again = opened(lake)
    assert plain(decided(again, lake)) == wanted
    again.store_sketches()
    assert stored_rows(lake) == len(again.turns)


def test_a_small_lake_is_compared_by_whole_vectors_and_stores_no_sketches(lake: Lake) -> None:
    grow(lake.path, GROWN)
    assert stored_rows(lake) == 0
    assert_fsck_finds_nothing(lake)
