"""The committer's index of kept turns, when others commit between its batches."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from flows.commit import Committer
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.records import DecisionRow
from storage.writing import writing
from tests.benchmarks.growing import found_lake
from tests.benchmarks.synthetic import Synthesis, open_workshop

DIMS = 64


class OpenCommitter(Committer):
    """A committer whose index can be looked into."""

    def __init__(self, lake: Lake, run_id: str) -> None:
        super().__init__(open_workshop(lake, run_id))
        self.make = Synthesis(run_id=run_id, dims=DIMS)
        self.catch_up()

    def add(self, *numbers: int) -> Sequence[str]:
        """Commit samples by number; returns the outcomes."""
        return sorted(self.commit(self.make.batch(numbers)).outcomes.values())

    def index(self) -> list[tuple[str, bytes]]:
        self.catch_up()
        kept = self._index.turns
        turns = [kept.turn(place) for place in range(len(kept))]
        return [(turn.sample_id, turn.image.tobytes() + turn.text.tobytes()) for turn in turns]


def reject(lake: Lake, sample_id: str) -> None:
    row = DecisionRow(
        decision_id=f"reject-{sample_id}",
        sample_id=sample_id,
        turn=None,
        kind="review",
        outcome="rejected",
        stage=None,
        reason="review",
        evidence="{}",
        encoder=None,
    )
    with writing(lake, purpose="test", timeout=1) as writer:
        writer.commit([PackageDraft("decision", [row])])


def test_versions_of_others_are_followed_to_the_very_index_that_reading_it_anew_gives(tmp_path: Path) -> None:
    lake = found_lake(tmp_path / "lake")
    ours, theirs = OpenCommitter(lake, "ours"), OpenCommitter(lake, "theirs")
    assert ours.add(1, 2) == ["kept", "kept"]
    assert theirs.add(3) == ["kept"]
    assert theirs.add(4, 5) == ["kept", "kept"]
    assert ours.add(6) == ["kept"]
    assert len(ours.index()) == 6
    assert ours.index() == theirs.index() == OpenCommitter(lake, "fresh").index()


def test_a_turn_that_repeats_one_of_anothers_newest_version_is_found(tmp_path: Path) -> None:
    lake = found_lake(tmp_path / "lake")
    ours, theirs = OpenCommitter(lake, "ours"), OpenCommitter(lake, "theirs")
    ours.add(1)
    theirs.add(2)
    batch = ours.make.batch([3])
    ((slot, dialogue),), ((_, other),) = batch.work, ours.make.batch([2]).work
    vectors = replace(other.embeddings[0], sample_id=slot.sample_id)
    repeats = replace(dialogue, embeddings=[vectors], vectors=other.vectors)
    assert ours.commit(replace(batch, work=[(slot, repeats)])).outcomes == {slot.sample_id: "duplicate"}
    assert len(ours.index()) == 2
    assert ours.index() == theirs.index()


def test_a_version_that_decides_about_earlier_samples_has_the_index_read_anew(tmp_path: Path) -> None:
    lake = found_lake(tmp_path / "lake")
    ours, theirs = OpenCommitter(lake, "ours"), OpenCommitter(lake, "theirs")
    ours.add(1, 2)
    theirs.add(3)
    gone = ours.make.slot(1).sample_id
    reject(lake, gone)
    theirs.add(4)
    assert gone not in dict(ours.index())
    assert len(ours.index()) == 3
    assert ours.index() == OpenCommitter(lake, "fresh").index()


def test_more_versions_than_are_worth_following_are_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.kept_index.MOST_STEPS", 1)
    lake = found_lake(tmp_path / "lake")
    ours, theirs = OpenCommitter(lake, "ours"), OpenCommitter(lake, "theirs")
    theirs.add(1)
    theirs.add(2)
    assert ours.index() == theirs.index()
