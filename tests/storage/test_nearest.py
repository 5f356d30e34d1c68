"""The kept turns nearest to a vector, with an index and without, and what an index must not break."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from dedup.similarity import cosine
from storage.canonical import sha256_hex
from storage.errors import LakeDamaged, NoSuchThing
from storage.kept_rows import kept_vectors
from storage.lake import Lake
from storage.nearest import Kind, Neighbourhood
from storage.projection import lance_version_of, table_folder
from storage.turn_rows import Floats
from storage.turns_index import covered_rows, index_vectors
from storage.turns_table import bring_up, count, open_at, rebuild
from storage.turns_upkeep import optimize
from storage.versions import Version
from storage.writing import Writer, writing
from tests.storage.lakes import commit, decision_row, made_sample, make_lake, package, recipe_row, topic_row

DIMS = 16
TURNS = 50


def vectors(seed: int, number: int = TURNS) -> Floats:
    """Unit vectors in clumps, as those of pictures are."""
    random = np.random.default_rng(seed)
    clumps = np.random.default_rng(0).standard_normal((12, DIMS))
    rows = clumps[random.integers(0, 12, number)] + 0.5 * random.standard_normal((number, DIMS))
    unit: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("<f4")
    return unit


def keep(lake: Lake, seed: int, turns: int = TURNS) -> Version:
    sample_id = f"s{seed}"
    sample = made_sample(sample_id, *range(turns), vectors=[row.tobytes() for row in vectors(seed, turns)])
    version = commit(lake, sample, package(decision_row(sample_id, "kept"), kind="decision"))
    bring_up(lake, version)
    return version


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = make_lake(tmp_path)
    commit(lake, package(topic_row(), kind="topics"), package(recipe_row(), kind="run"))
    for seed in range(1, 7):
        keep(lake, seed)
    return lake


def exact(lake: Lake, version: Version, vector: Floats, by: Kind, limit: int) -> set[tuple[str, int]]:
    turns = kept_vectors(lake, version)
    near = sorted((-cosine(vector, getattr(turn, by)), turn.sample_id, turn.turn) for turn in turns)
    return {(sample_id, turn) for _, sample_id, turn in near[:limit]}


def found(lake: Lake, version: Version, vector: Floats, by: Kind, limit: int) -> set[tuple[str, int]]:
    near = Neighbourhood(lake, version).nearest(vector, by=by, limit=limit)
    return {(turn.sample_id, turn.turn) for turn in near}


def recall(lake: Lake, version: Version) -> float:
    """The share of the ten nearest turns that are found, over twenty vectors."""
    shares = [
        len(found(lake, version, vector, "image", 10) & exact(lake, version, vector, "image", 10)) / 10
        for vector in vectors(99, 20)
    ]
    return sum(shares) / len(shares)


@pytest.mark.parametrize("by", ["image", "text"])
def test_without_an_index_exactly_the_nearest_turns_are_found(lake: Lake, by: Kind) -> None:
    head = lake.version()
    for vector in vectors(99, 5):
        assert found(lake, head, vector, by, 7) == exact(lake, head, vector, by, 7)


def test_a_found_turn_brings_its_texts_and_the_vector_it_was_found_by(lake: Lake) -> None:
    vector = vectors(3)[4]
    (turn,) = Neighbourhood(lake, lake.version()).nearest(vector, by="image", limit=1)
    assert (turn.sample_id, turn.turn, turn.version, turn.topic) == ("s3", 5, 4, "owls")
    assert turn.question == "What does s3 ask in turn 5?"
    assert not turn.flagged
    assert turn.vector.tobytes() == vector.tobytes()


def test_vectors_of_a_kept_sample_come_in_the_order_of_its_turns(lake: Lake) -> None:
    turns = Neighbourhood(lake, lake.version()).vectors_of("s2")
    assert [turn.turn for turn in turns] == list(range(1, TURNS + 1))
    assert np.array_equal(np.stack([turn.image for turn in turns]), vectors(2))
    assert Neighbourhood(lake, lake.version(2)).vectors_of("s2") == []


def test_an_empty_version_has_no_encoder_and_no_neighbours(lake: Lake) -> None:
    near = Neighbourhood(lake, lake.version(1))
    assert near.encoder is None
    assert near.nearest(vectors(1)[0], by="image", limit=5) == []


def test_a_version_that_the_table_does_not_show_is_named(lake: Lake) -> None:
    later = commit(lake, package(topic_row("t2", "moths"), kind="topics"))
    with pytest.raises(NoSuchThing, match=f"version {later.number}"):
        Neighbourhood(lake, later)


# With an index


def test_a_small_table_gets_no_index(lake: Lake) -> None:
    before = lance_version_of(lake, lake.version().number)
    assert index_vectors(lake, timeout=5).rows == 0
    assert lance_version_of(lake, lake.version().number) == before


def test_an_index_covers_all_rows_and_finds_nearly_all_neighbours(lake: Lake) -> None:
    head = lake.version()
    done = index_vectors(lake, least=100, timeout=5)
    assert (done.rows, done.is_done) == (300, True)
    plan = open_at(lake, head).search(vectors(1)[0], vector_column_name="image_vector").limit(3).explain_plan()
    assert "image_vector_idx" in plan
    assert recall(lake, head) > 0.95
    assert count(lake, head) == 300


def test_old_tags_stay_without_an_index_and_answer_as_before(lake: Lake) -> None:
    old = lake.version(4)
    before = [found(lake, old, vector, "image", 5) for vector in vectors(99, 5)]
    index_vectors(lake, least=100, timeout=5)
    assert covered_rows(open_at(lake, old)) == 0
    assert [found(lake, old, vector, "image", 5) for vector in vectors(99, 5)] == before


def test_rows_that_come_after_the_index_are_found_too_and_a_tenth_of_them_makes_it_anew(lake: Lake) -> None:
    index_vectors(lake, least=100, timeout=5)
    few = keep(lake, 7, turns=10)
    assert covered_rows(open_at(lake, few)) == 300
    assert ("s7", 3) in found(lake, few, vectors(7, 10)[2], "image", 1)
    assert index_vectors(lake, least=100, timeout=5).rows == 300
    many = keep(lake, 8)
    assert index_vectors(lake, least=100, timeout=5).rows == 360
    assert covered_rows(open_at(lake, many)) == 360


def test_rewriting_files_and_taking_samples_out_keeps_the_index_right(lake: Lake) -> None:
    index_vectors(lake, least=100, timeout=5)
    out = commit(lake, package(decision_row("s2", "rejected"), kind="decision"))
    bring_up(lake, out)
    assert optimize(lake, timeout=5).is_done
    assert recall(lake, out) > 0.95
    assert "s2" not in {sample_id for sample_id, _ in found(lake, out, vectors(2)[0], "image", 40)}


def test_an_index_of_a_table_that_was_made_anew_meanwhile_is_not_named(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = []

    @contextmanager
    def meddled(lake: Lake, *, purpose: str, timeout: float) -> Iterator[Writer]:
        with writing(lake, purpose=purpose, timeout=timeout) as writer:
            entered.append(purpose)
            if len(entered) == 2:
                rebuild(lake, writer.head)
            yield writer

    monkeypatch.setattr("storage.turns_index.writing", meddled)
    done = index_vectors(lake, least=100, timeout=5)
    assert (done.rows, done.is_done) == (0, False)
    monkeypatch.undo()
    assert covered_rows(open_at(lake, lake.version())) == 0
    assert index_vectors(lake, least=100, timeout=5).is_done


def test_a_damaged_index_is_told_with_what_to_do_and_a_rebuild_does_it(lake: Lake) -> None:
    head = lake.version()
    index_vectors(lake, least=100, timeout=5)
    for path in table_folder(lake).glob("_indices/*/*.idx"):
        path.write_bytes(sha256_hex(b"damage").encode())
    with pytest.raises(LakeDamaged, match="rebuild"):
        found(lake, head, vectors(1)[0], "image", 3)
    rebuild(lake, head)
    assert found(lake, head, vectors(1)[0], "image", 3) == exact(lake, head, vectors(1)[0], "image", 3)
