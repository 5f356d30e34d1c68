"""The table of kept turns: what a version shows, what a crash leaves, and that a rebuild shows the same."""

import io
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import lancedb
import numpy as np
import pytest
from PIL import Image

from storage.durable import write_durably
from storage.errors import LakeDamaged, NoSuchThing
from storage.kept_rows import kept_vectors
from storage.lake import Lake
from storage.projection import table_folder
from storage.turns_table import (
    StoredTurn,
    bring_up,
    count,
    lance_version_of,
    open_at,
    read_turns,
    rebuild,
)
from storage.versions import Version
from tests.storage.lakes import (
    commit,
    decision_row,
    direction,
    embedding_row,
    made_sample,
    make_lake,
    package,
    png,
    sample_row,
    topic_row,
    turn_row,
    vector_row,
)


def keep(lake: Lake, sample_id: str, *degrees: float) -> Version:
    """Commit a kept sample and bring the table up."""
    version = commit(lake, made_sample(sample_id, *degrees), package(decision_row(sample_id, "kept"), kind="decision"))
    bring_up(lake, version)
    return version


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = make_lake(tmp_path)
    commit(lake, package(topic_row(), kind="topics"))
    return lake


def contents(lake: Lake, number: int) -> list[StoredTurn]:
    version = lake.version(number)
    ids = sorted({row["sample_id"] for row in open_at(lake, version).search().select(["sample_id"]).to_list()})
    return [turn for sample_id in ids for turn in read_turns(lake, version, sample_id)]


def keys(lake: Lake, version: Version) -> list[tuple[str, int]]:
    return [(row.sample_id, row.turn) for row in kept_vectors(lake, version)]


def test_pictures_and_texts_come_back_as_they_were_committed(lake: Lake) -> None:
    version = keep(lake, "s1", 10, 20)
    first, second = read_turns(lake, version, "s1")
    assert (first.image, second.image) == (png(10), png(20))
    assert (first.turn, first.topic, first.domain, first.caption) == (1, "owls", "nature", "a picture for s1 1")
    assert (first.licence, first.encoder, first.flagged, first.version) == ("CC0-1.0", "small-clip", False, 2)


def test_a_version_shows_only_what_was_kept_by_then(lake: Lake) -> None:
    old = keep(lake, "s1", 10)
    new = keep(lake, "s2", 20)
    assert (count(lake, old), count(lake, new)) == (1, 2)
    assert read_turns(lake, old, "s2") == []


def test_every_version_has_a_tag_even_without_kept_rows(lake: Lake) -> None:
    bring_up(lake, lake.version())
    assert count(lake, lake.version()) == 0
    assert list(kept_vectors(lake, lake.version())) == []
    keep(lake, "s1", 10)
    quiet = commit(lake, package(topic_row("t2", "moths"), kind="topics"))
    bring_up(lake, quiet)
    assert lance_version_of(lake, 3) == lance_version_of(lake, 2) is not None
    assert lance_version_of(lake, 4) is None
    assert count(lake, lake.version(1)) == 0


def test_bringing_up_twice_changes_nothing(lake: Lake) -> None:
    version = keep(lake, "s1", 10)
    before = open_at(lake, version).list_versions()
    bring_up(lake, version)
    assert open_at(lake, version).list_versions() == before


def test_many_versions_are_caught_up_at_once(lake: Lake) -> None:
    for number in range(5):
        commit(lake, made_sample(f"s{number}", number), package(decision_row(f"s{number}", "kept"), kind="decision"))
    bring_up(lake, lake.version())
    assert [count(lake, lake.version(number)) for number in range(1, 7)] == [0, 1, 2, 3, 4, 5]


def test_samples_that_are_not_kept_are_not_shown(lake: Lake) -> None:
    drafts = [made_sample("s1", 10), made_sample("s2", 20), made_sample("s3", 30)]
    outcomes = [decision_row("s1", "failed"), decision_row("s2", "duplicate"), decision_row("s3", "kept")]
    version = commit(lake, *drafts, package(*outcomes, kind="decision"))
    bring_up(lake, version)
    assert keys(lake, version) == [("s3", 1)]


def test_a_decision_that_changes_takes_a_sample_out_and_back_in(lake: Lake) -> None:
    kept = keep(lake, "s1", 10)
    judged = commit(lake, package(decision_row("s1", "rejected"), kind="decision"))
    bring_up(lake, judged)
    again = commit(lake, package(decision_row("s1", "kept", decision_id="review"), kind="decision"))
    bring_up(lake, again)
    assert [count(lake, version) for version in (kept, judged, again)] == [1, 0, 1]
    assert read_turns(lake, again, "s1") == read_turns(lake, kept, "s1")


def test_duplicate_turns_of_a_kept_sample_are_flagged_and_never_keepers(lake: Lake) -> None:
    decisions = package(decision_row("s1", "kept"), decision_row("s1", "duplicate", turn=2), kind="decision")
    version = commit(lake, made_sample("s1", 10, 20), decisions)
    bring_up(lake, version)
    assert [turn.flagged for turn in read_turns(lake, version, "s1")] == [False, True]
    assert keys(lake, version) == [("s1", 1)]
    relaxed = commit(lake, package(decision_row("s1", "kept", turn=2), kind="decision"))
    bring_up(lake, relaxed)
    assert keys(lake, relaxed) == [("s1", 1), ("s1", 2)]
    assert keys(lake, version) == [("s1", 1)]


def test_a_retried_sample_is_gathered_from_all_its_packages(lake: Lake) -> None:
    first, second = made_sample("s1", 10, 20).rows[1:3]
    whole = made_sample("s1", 10, 20)
    vectors = [row for row in whole.rows if row.table in {"vectors", "embeddings"}]
    commit(lake, package(sample_row("s1", turns=2), first, *vectors, decision_row("s1", "failed"), pictures=[png(10)]))
    version = commit(lake, package(second, decision_row("s1", "kept"), pictures=[png(20)]))
    bring_up(lake, version)
    assert [(turn.turn, turn.image, turn.version) for turn in read_turns(lake, version, "s1")] == [
        (1, png(10), 3),
        (2, png(20), 3),
    ]


def test_every_file_of_the_table_is_synced(lake: Lake) -> None:
    opened: set[str] = set()  # by Python, which opens these files to fsync them; LanceDB's own calls do not show

    def watch(event: str, values: tuple[object, ...]) -> None:
        if event == "open":
            opened.add(str(values[0]))

    sys.addaudithook(watch)
    keep(lake, "s1", 10)
    version = keep(lake, "s2", 20)
    bring_up(lake, commit(lake, package(decision_row("s1", "rejected"))))
    there = {str(path) for path in (lake.path / "lance").rglob("*") if path.name != "turns.chain.json"}
    assert len(there) > 20
    assert there <= opened
    assert count(lake, version) == 2


def test_vectors_come_in_the_order_of_version_sample_and_turn(lake: Lake) -> None:
    keep(lake, "s9", 10, 20)
    keep(lake, "s1", 30)
    commit(lake, package(decision_row("s9", "rejected"), kind="decision"))
    version = commit(lake, package(decision_row("s9", "kept", decision_id="review"), kind="decision"))
    bring_up(lake, version)
    rows = list(kept_vectors(lake, version))
    assert [(row.version, row.sample_id, row.turn) for row in rows] == [(2, "s9", 1), (2, "s9", 2), (3, "s1", 1)]
    expected = np.frombuffer(direction(20), dtype="<f4"), np.frombuffer(direction(21), dtype="<f4")
    assert (rows[1].image == expected[0]).all()
    assert (rows[1].text == expected[1]).all()
    assert rows[1].image.dtype == np.float32


def test_rows_added_before_a_crash_are_not_added_twice(lake: Lake) -> None:
    keep(lake, "s1", 10)
    version = commit(lake, made_sample("s2", 20), package(decision_row("s2", "kept"), kind="decision"))
    bring_up(lake, version)
    (table_folder(lake) / "_refs" / "tags" / "v3.json").unlink()
    bring_up(lake, version)
    assert keys(lake, version) == [("s1", 1), ("s2", 1)]


def test_rows_deleted_before_a_crash_are_deleted_once_more(lake: Lake) -> None:
    keep(lake, "s1", 10)
    table = lancedb.connect(str(lake.path / "lance")).open_table("turns")
    table.delete("sample_id = 's1'")
    version = keep(lake, "s2", 20)
    assert keys(lake, version) == [("s1", 1), ("s2", 1)]


@pytest.mark.parametrize("loss", ["all", "chain", "newest manifest", "tag"])
def test_a_lost_or_broken_table_is_made_anew(lake: Lake, loss: str) -> None:
    keep(lake, "s1", 10, 20)
    version = keep(lake, "s2", 30)
    before = [contents(lake, number) for number in (1, 2, 3)]
    folder = table_folder(lake)
    if loss == "all":
        shutil.rmtree(lake.path / "lance")
    elif loss == "chain":
        (lake.path / "lance" / "turns.chain.json").unlink()
    elif loss == "newest manifest":
        min((folder / "_versions").glob("*.manifest")).write_bytes(b"torn")
    else:
        (folder / "_refs" / "tags" / "v3.json").write_bytes(b"")
    bring_up(lake, version)
    assert [contents(lake, number) for number in (1, 2, 3)] == before


def test_a_rebuild_shows_what_step_by_step_showed(lake: Lake) -> None:
    keep(lake, "s1", 10, 20)
    keep(lake, "s2", 30)
    version = commit(lake, package(decision_row("s1", "rejected"), kind="decision"))
    bring_up(lake, version)
    before = [contents(lake, number) for number in (1, 2, 3, 4)]
    vectors = [(row.sample_id, row.image.tolist()) for row in kept_vectors(lake, version)]
    rebuild(lake, version)
    assert [contents(lake, number) for number in (1, 2, 3, 4)] == before
    assert [(row.sample_id, row.image.tolist()) for row in kept_vectors(lake, version)] == vectors


def test_a_table_of_another_lake_is_not_taken_for_ours(lake: Lake, tmp_path: Path) -> None:
    other = make_lake(tmp_path / "other")
    commit(other, package(topic_row(), kind="topics"))
    keep(other, "s7", 70)
    version = commit(lake, made_sample("s1", 10), package(decision_row("s1", "kept"), kind="decision"))
    shutil.copytree(other.path / "lance", lake.path / "lance")
    with pytest.raises(NoSuchThing, match="does not show version 2"):
        keys(lake, version)
    bring_up(lake, version)
    assert keys(lake, version) == [("s1", 1)]


def test_a_version_that_was_not_brought_up_cannot_be_read(lake: Lake) -> None:
    keep(lake, "s1", 10)
    version = commit(lake, package(topic_row("t2", "moths"), kind="topics"))
    with pytest.raises(NoSuchThing, match="does not show version 3"):
        count(lake, version)


@pytest.mark.parametrize(
    ("numbers", "length"),
    [([0.0, 0.0, 0.0, 0.0], "0"), ([np.nan, 0.0, 0.0, 0.0], "nan"), ([2.0, 0.0, 0.0, 0.0], "2")],
)
def test_vectors_that_are_no_unit_vectors_are_refused(lake: Lake, numbers: list[float], length: str) -> None:
    good = keep(lake, "s1", 10)
    bad = np.array(numbers, dtype="<f4").tobytes()
    version = commit(lake, made_sample("s2", 20, vectors=[bad]), package(decision_row("s2", "kept"), kind="decision"))
    with pytest.raises(ValueError, match=f"length {length}; it must be finite"):
        bring_up(lake, version)
    assert keys(lake, good) == [("s1", 1)]
    assert lance_version_of(lake, version.number) is None


def test_a_second_encoder_is_refused_by_name(lake: Lake) -> None:
    keep(lake, "s1", 10)
    draft = made_sample("s2", 20, encoder="large-clip")
    version = commit(lake, draft, package(decision_row("s2", "kept", encoder="large-clip"), kind="decision"))
    with pytest.raises(ValueError, match="'large-clip' and 'small-clip'"):
        bring_up(lake, version)


def test_a_lake_that_moves_to_another_encoder_shows_its_vectors_and_old_tags_keep_theirs(lake: Lake) -> None:
    keep(lake, "s1", 10)
    before = keep(lake, "s2", 20)
    longer = direction(30, dims=8)
    moved = [embedding_row(name, 1, image=longer, text=longer, encoder="large-clip") for name in ("s1", "s2")]
    commit(lake, package(*moved, vector_row(longer, "large-clip"), kind="vectors"))
    decisions = [decision_row("s1", "kept", encoder="large-clip", decision_id="a")]
    decisions += [decision_row("s2", "duplicate", encoder="large-clip", decision_id="b")]
    after = commit(lake, package(*decisions, kind="decision"))
    bring_up(lake, after)
    shown = list(kept_vectors(lake, after))
    assert [(turn.sample_id, turn.encoder, len(turn.image), turn.version) for turn in shown] == [
        ("s1", "large-clip", 8, 2)
    ]
    assert [(turn.sample_id, turn.encoder, len(turn.image)) for turn in kept_vectors(lake, before)] == [
        ("s1", "small-clip", 4),
        ("s2", "small-clip", 4),
    ]
    judged = commit(lake, package(replace(decision_row("s1", "kept", decision_id="review"), encoder=None)))
    bring_up(lake, judged)
    assert [turn.encoder for turn in read_turns(lake, judged, "s1")] == ["large-clip"]


def test_vectors_of_another_length_are_refused(lake: Lake) -> None:
    keep(lake, "s1", 10)
    draft = made_sample("s2", 20, vectors=[direction(20, dims=8)])
    version = commit(lake, draft, package(decision_row("s2", "kept"), kind="decision"))
    with pytest.raises(ValueError, match="vectors of 4 numbers, these have 8"):
        bring_up(lake, version)


def test_a_damaged_picture_is_found_before_it_is_shown(lake: Lake) -> None:
    version = commit(lake, made_sample("s1", 10), package(decision_row("s1", "kept"), kind="decision"))
    pack = next(lake.packages.glob("*/images.pack"))
    write_durably(pack, pack.read_bytes()[:-1] + b"?")
    with pytest.raises(LakeDamaged, match="is damaged"):
        bring_up(lake, version)
    assert lance_version_of(lake, 1) is not None
    assert lance_version_of(lake, 2) is None


def test_a_picture_may_lie_in_an_earlier_package(lake: Lake) -> None:
    keep(lake, "s1", 10)
    data = direction(50)
    turn = turn_row("s2", 1, picture=png(10))
    rows = [sample_row("s2"), turn, embedding_row("s2", 1, image=data, text=data), vector_row(data)]
    version = commit(lake, package(*rows, decision_row("s2", "kept")))
    bring_up(lake, version)
    assert read_turns(lake, version, "s2")[0].image == png(10)


@pytest.mark.parametrize("size", [8, 64, 512])
def test_pictures_of_every_size_come_back_byte_for_byte(lake: Lake, size: int) -> None:
    buffer = io.BytesIO()
    noise = np.random.default_rng(size).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format="PNG")
    picture, data = buffer.getvalue(), direction(50)
    turn = turn_row("s2", 1, picture=picture)
    vectors = [embedding_row("s2", 1, image=data, text=data), vector_row(data)]
    rows = [sample_row("s2"), turn, *vectors, decision_row("s2", "kept")]
    version = commit(lake, package(*rows, pictures=[picture]))
    bring_up(lake, version)
    assert read_turns(lake, version, "s2")[0].image == picture


def test_ids_that_are_no_ids_never_reach_a_filter(lake: Lake) -> None:
    version = keep(lake, "s1", 10)
    with pytest.raises(ValueError, match="is not a sample id"):
        read_turns(lake, version, "s1' OR 'a' = 'a")
