"""fsck on small lakes: chunks of the list of packages, versions lost at its end, rows that LanceDB has deleted."""

import json
from pathlib import Path

import pytest

from storage import versions
from storage.fsck.check import check_lake
from storage.fsck.findings import Report
from storage.fsck.mending import mend
from storage.history import history_path, publish
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.projection import lance_folder, table_folder
from storage.writing import writing
from tests.faults.damages import DAMAGES, every_byte_below, halve, remove
from tests.storage.lakes import decision_row, made_sample, make_lake, package, topic_row

VERSIONS = 5


def show(lake: Lake, *drafts: PackageDraft) -> None:
    with writing(lake, purpose="test", timeout=5) as writer:
        writer.commit(drafts)


@pytest.fixture
def chunked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake whose versions bring in two packages each; its chunks hold three, and so cut versions in two."""
    monkeypatch.setattr(versions, "CHUNK", 3)
    lake = make_lake(tmp_path)
    for number in range(1, VERSIONS + 1):
        show(lake, *(package(topic_row(f"{kind}{number}"), kind=kind) for kind in ("topics", "more")))
    publish(lake, lake.version())
    return lake


def wrong(report: Report) -> list[str]:
    return [line.invariant for line in report.lines if not line.is_ok]


def named(report: Report) -> set[str]:
    return {finding.where for finding in report.findings}


def chain_of(lake: Lake) -> list[object]:
    """Every version with its packages, read from files that no cache knows."""
    return [
        (found.sha256, found.packages, found.created_at, found.run_id)
        for found in map(lake.version, range(1, VERSIONS + 1))
    ]


def repaired(lake: Lake) -> Report:
    with lake.lock(purpose="test", timeout=5):
        mend(lake.path)
    return check_lake(lake.path)


@pytest.mark.parametrize("damage", DAMAGES)
def test_chunks_are_made_anew_to_the_byte(chunked: Lake, damage: str) -> None:
    files = sorted((chunked.versions / "chunks").glob("*.json"))
    assert len(files) == 3
    assert wrong(check_lake(chunked.path)) == []
    before = every_byte_below(chunked.versions)
    for path in files:
        DAMAGES[damage](path)
    assert named(check_lake(chunked.path)) >= {str(path) for path in files}
    assert wrong(repaired(chunked)) == []
    assert every_byte_below(chunked.versions) == before


@pytest.mark.parametrize("numbers", [[1], [3, 4], [5], [4, 5], [1, 2, 3, 4, 5]])
def test_versions_that_are_gone_are_made_anew(chunked: Lake, numbers: list[int]) -> None:
    before = chain_of(chunked)
    files = [chunked.versions / f"{number:06d}.json" for number in numbers]
    for path in files:
        remove(path)
    assert named(check_lake(chunked.path)) >= {str(path) for path in files}
    assert wrong(repaired(chunked)) == []
    assert chain_of(chunked) == before


def test_two_newest_versions_are_made_anew_when_only_the_tables_chain_file_knows_the_last(chunked: Lake) -> None:
    before = [chunked.version(number).sha256 for number in range(1, VERSIONS + 1)]
    history_path(chunked).unlink()
    for number in (4, 5):
        remove(chunked.versions / f"{number:06d}.json")
    assert wrong(repaired(chunked)) == []
    assert [chunked.version(number).sha256 for number in range(1, VERSIONS + 1)] == before


def test_a_lake_put_back_from_an_older_copy_has_lost_nothing_that_could_be_proven(chunked: Lake) -> None:
    """The table and the history are of a version that neither the chain nor any package knows."""
    remove(chunked.versions / "000005.json")
    for folder in chunked.packages.glob("000005-*"):
        folder.rename(chunked.path / "aside" / folder.name)
    assert wrong(check_lake(chunked.path)) == ["table", "history", "orphans"]
    assert wrong(repaired(chunked)) == []
    assert chunked.version().number == 4


def test_a_version_and_the_manifests_that_would_prove_it_are_left_as_they_are(chunked: Lake) -> None:
    remove(chunked.versions / "000005.json")
    for manifest in chunked.packages.glob("000005-*/manifest.json"):
        halve(manifest)
    report = check_lake(chunked.path)
    assert "orphans" in wrong(report)
    assert named(report) >= {str(path) for path in chunked.packages.glob("000005-*")}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_what_lance_says_is_deleted_is_named_and_mended(tmp_path: Path, damage: str) -> None:
    lake = make_lake(tmp_path)
    show(lake, package(topic_row(), kind="topics"))
    made = [made_sample("s1", 10.0), made_sample("s2", 50.0)]
    kept = [decision_row(name, "kept") for name in ("s1", "s2")]
    show(lake, *made, package(*kept, kind="decision"))
    show(lake, package(decision_row("s2", "duplicate"), kind="decision"))
    assert check_lake(lake.path).line("table").is_ok
    (path,) = (table_folder(lake) / "_deletions").iterdir()
    DAMAGES[damage](path)
    line = check_lake(lake.path).line("table")
    if damage != "flipped":  # of an Arrow file of one number hardly a bit is read
        assert str(path) in {finding.where for finding in line.findings}
    assert repaired(lake).line("table").is_ok
    assert json.loads((lance_folder(lake) / "turns.chain.json").read_bytes())["body"]["number"] == 3
