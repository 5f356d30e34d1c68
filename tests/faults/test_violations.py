"""Lakes whose files are all whole and whose rows are wrong: fsck says of each which invariant is broken, and where."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flows.asked import BuildOptions
from flows.soundness import check_soundness
from storage.canonical import sha256_hex
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.records import (
    CallRow,
    ClaimRow,
    DecisionRow,
    EmbeddingRow,
    IterationRow,
    Row,
    SampleRow,
    TurnRow,
    VectorRow,
)
from storage.turns_table import bring_up, open_newest
from tests.flows.casts import Troupe, fake_lake, grow
from tests.flows.old_lake import SameEncoder

NAN = np.full(32, np.nan, dtype="<f4").tobytes()


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = fake_lake(tmp_path_factory.mktemp("grown") / "lake")
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=2, turns=1))
    return lake


@pytest.fixture
def lake(grown: Lake, tmp_path: Path) -> Lake:
    shutil.copytree(grown.path, tmp_path / "lake")
    return Lake.open(tmp_path / "lake")


def commit(lake: Lake, *rows: Row) -> None:
    """Commit without any of the checks, as a faulty program would."""
    bring_up(lake, lake.commit([PackageDraft("build", rows)]))


def first(lake: Lake, kind: type[Row]) -> Row:
    return next(lake.rows(kind, lake.version()))


def a_sample_twice(lake: Lake) -> None:
    commit(lake, first(lake, SampleRow))


def two_samples_in_one_slot(lake: Lake) -> None:
    sample = first(lake, SampleRow)
    assert isinstance(sample, SampleRow)
    commit(lake, replace(sample, sample_id="f" * 32))


def a_missing_round(lake: Lake) -> None:
    chosen = next(row for row in lake.rows(IterationRow, lake.version()) if row.chosen)
    commit(lake, replace(chosen, round=chosen.round + 2))


def a_stage_with_two_ends(lake: Lake) -> None:
    chosen = next(row for row in lake.rows(IterationRow, lake.version()) if row.chosen)
    commit(lake, replace(chosen, round=chosen.round + 1))


def a_picture_that_is_nowhere(lake: Lake) -> None:
    turn = first(lake, TurnRow)
    assert isinstance(turn, TurnRow)
    commit(lake, replace(turn, turn=2, image_sha256="ab" * 32))


def a_vector_of_nan(lake: Lake) -> None:
    commit(lake, VectorRow(vector_sha256=sha256_hex(NAN), encoder="sick", dims=32, vector=NAN))


def a_vector_under_anothers_name(lake: Lake) -> None:
    vector = first(lake, VectorRow)
    assert isinstance(vector, VectorRow)
    commit(lake, replace(vector, vector_sha256="cd" * 32))


def an_embedding_without_vectors(lake: Lake) -> None:
    row = first(lake, EmbeddingRow)
    assert isinstance(row, EmbeddingRow)
    commit(lake, replace(row, encoder="other", image_vector_sha256="ef" * 32))


def a_decision_about_nothing(lake: Lake) -> None:
    decision = first(lake, DecisionRow)
    assert isinstance(decision, DecisionRow)
    lake.commit([PackageDraft("decision", [replace(decision, decision_id="0" * 32, sample_id="e" * 32)])])


def a_claim_of_no_topic(lake: Lake) -> None:
    claim = first(lake, ClaimRow)
    assert isinstance(claim, ClaimRow)
    commit(lake, replace(claim, slot_id="d" * 32, sample_id="d" * 32, topic_id="9" * 32))


def a_call_of_no_sample(lake: Lake) -> None:
    call = first(lake, CallRow)
    assert isinstance(call, CallRow)
    commit(lake, replace(call, call_id="1" * 32, sample_id="2" * 32))


def a_row_that_the_table_lacks(lake: Lake) -> None:
    table = open_newest(lake)
    sample = first(lake, SampleRow)
    assert isinstance(sample, SampleRow)
    table.delete(f"sample_id = '{sample.sample_id}'")
    table.tags.update(f"v{lake.version().number}", int(table.version))


def a_row_that_the_table_has_twice(lake: Lake) -> None:
    table = open_newest(lake)
    rows = table.search().limit(1).with_row_id(with_row_id=True).to_arrow()
    names = [name for name in rows.schema.names if name not in ("image", "_rowid")]
    blobs = table.fetch_blobs("image", [int(str(row_id)) for row_id in rows["_rowid"].to_pylist()])
    again = rows.select(names).append_column("image", blobs).select(table.schema.names)
    table.add(again)
    table.tags.update(f"v{lake.version().number}", int(table.version))


def another_text_in_the_table(lake: Lake) -> None:
    table = open_newest(lake)
    table.update(where="turn = 1", values={"question": "Who wrote this?"})
    table.tags.update(f"v{lake.version().number}", int(table.version))


VIOLATIONS: dict[Callable[[Lake], None], str] = {
    a_sample_twice: "ids",
    two_samples_in_one_slot: "slots",
    a_missing_round: "rounds",
    a_stage_with_two_ends: "rounds",
    a_picture_that_is_nowhere: "pictures",
    a_vector_of_nan: "vectors",
    a_vector_under_anothers_name: "vectors",
    an_embedding_without_vectors: "vectors",
    a_decision_about_nothing: "outcomes",
    a_claim_of_no_topic: "outcomes",
    a_call_of_no_sample: "outcomes",
    a_row_that_the_table_lacks: "table",
    a_row_that_the_table_has_twice: "table",
    another_text_in_the_table: "table",
}


def test_the_lake_is_sound_before(lake: Lake) -> None:
    assert check_soundness(lake.path).is_sound


@pytest.mark.parametrize("violate", VIOLATIONS, ids=lambda violate: violate.__name__)
def test_a_broken_invariant_is_named(lake: Lake, violate: Callable[[Lake], None]) -> None:
    violate(lake)
    line = check_soundness(lake.path).line(VIOLATIONS[violate])
    assert line.findings
    assert all(finding.where and finding.what for finding in line.findings)


def test_an_unflagged_pair_above_the_thresholds_is_named(tmp_path: Path) -> None:
    """A program that skips deciding: it says `kept` of a sample that repeats another."""
    lake = fake_lake(tmp_path / "lake")
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=2, turns=1), Troupe(encoder=SameEncoder()))
    decisions = [
        row for row in lake.rows(DecisionRow, lake.version()) if row.turn is None and row.outcome == "duplicate"
    ]
    assert check_soundness(lake.path).is_sound and decisions
    freed = [replace(row, decision_id="5" * 32, outcome="kept", reason=None, stage=None) for row in decisions]
    turns = [replace(row, decision_id="6" * 32, turn=1) for row in freed]
    run_id = lake.version().run_id
    bring_up(lake, lake.commit([PackageDraft("decision", [*freed, *turns])], run_id=run_id))
    line = check_soundness(lake.path).line("duplicates")
    assert len(line.findings) == 1
    assert decisions[0].sample_id in line.findings[0].where + line.findings[0].what
