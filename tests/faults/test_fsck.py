"""A real lake, file by file: what is damaged is named, what the packages prove is mended, and nothing else changes."""

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flows.asked import BuildOptions
from flows.cli.main import cli
from flows.soundness import check_soundness, mend_lake, rebuild_lake
from flows.topics.catalogue import TopicEntry
from storage.compacting import compact, due, maintaining, retire
from storage.fsck.findings import INVARIANTS, Report
from storage.history import history_path, open_published
from storage.history_schema import state_queries
from storage.kept_rows import kept_vectors
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.projection import lance_folder, lance_version_of, table_folder
from storage.records import TABLES, DecisionRow, Row, TurnRow
from storage.turns_table import StoredTurn, open_at, read_turns
from storage.writing import writing
from tests.faults.damages import DAMAGES, empty, every_byte_below, flip_bit, halve, remove, zero
from tests.flows.casts import Troupe, fake_lake, grow
from tests.flows.old_lake import SameEncoder, contents, make

OLD_LAKE = Path(__file__).parents[1] / "flows" / "old_lakes" / "format-2.zip"
HARMLESS = (
    "lance/turns.lance/_transactions/*",
    "lance/turns.lance/_versions/latest_version_hint.json",
    "runs/*/progress.json",
    "runs/*/lock",
    ".lock",
    ".history.lock",
)
"""Files whose damage changes nothing: LanceDB opens tags without its transactions and its hint, a lock is the kernel's
and not what stands in its file, and progress is shown while a run lives."""


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with kept, duplicate, failed and open slots, a spool, and a run that ended well."""
    return make(tmp_path_factory.mktemp("grown") / "lake", compacted=False)


@pytest.fixture
def lake(grown: Lake, tmp_path: Path) -> Lake:
    """A copy of it, to be damaged."""
    shutil.copytree(grown.path, tmp_path / "lake")
    return replace(grown, path=tmp_path / "lake")


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def what_is_wrong(report: Report) -> list[str]:
    return [
        f"{line.invariant} {line.unchecked or ''} {[f'{finding.where}: {finding.what}' for finding in line.findings]}"
        for line in report.lines
        if not line.is_ok
    ]


def names(report: Report, path: Path) -> bool:
    """Whether a finding names a file."""
    return any(finding.where == str(path) for finding in report.findings)


def history_of(lake: Lake) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables, without the numbers of LanceDB's own versions."""
    with closing(open_published(lake)) as connection:
        return {
            table: connection.execute(
                f"SELECT * {'EXCLUDE (lance_version)' if table == 'versions' else ''} FROM {table} ORDER BY ALL"
            ).fetchall()
            for table in state_queries("0")
        }


def table_of(lake: Lake) -> list[tuple[list[StoredTurn], list[tuple[str, int, bytes, bytes]]]]:
    """All rows of the table of turns at every version: texts, picture bytes, vectors."""
    found = []
    for number in range(1, lake.version().number + 1):
        version = lake.version(number)
        shown = open_at(lake, version).search().select(["sample_id"]).to_arrow()["sample_id"].to_pylist()
        ids = sorted({str(sample_id) for sample_id in shown})
        turns = [turn for sample_id in ids for turn in read_turns(lake, version, sample_id)]
        vectors = [
            (row.sample_id, row.turn, row.image.tobytes(), row.text.tobytes()) for row in kept_vectors(lake, version)
        ]
        found.append((turns, vectors))
    return found


def all_of(lake: Lake) -> dict[str, object]:
    """The whole content of a lake, as readers have it."""
    pictures = {
        name: lake.picture(name, lake.version())
        for name in {row.image_sha256 for row in lake.rows(TurnRow, lake.version())}
    }
    return {**contents(lake), "history": history_of(lake), "table": table_of(lake), "bytes": pictures}


@pytest.fixture(scope="module")
def content(grown: Lake) -> Mapping[str, object]:
    return all_of(grown)


# A lake that is well


def test_a_healthy_lake_is_said_to_be_sound_and_is_not_touched(lake: Lake) -> None:
    before = every_byte_below(lake.path)
    report = check_soundness(lake.path)
    assert what_is_wrong(report) == []
    assert [line.invariant for line in report.lines] == list(INVARIANTS)
    assert report.line("outcomes").looked_at == "6 planned = 1 kept + 0 rejected + 1 duplicate + 2 failed + 2 open"
    assert report.line("table").looked_at == f"2 turns at v{report.version}, {report.version} tags"
    assert every_byte_below(lake.path) == before


def test_a_repair_of_a_healthy_lake_changes_nothing(lake: Lake) -> None:
    before = every_byte_below(lake.path)
    report = mend_lake(lake.path, lock_timeout=5)
    assert (what_is_wrong(report), report.mended) == ([], ())
    assert every_byte_below(lake.path) == before


def test_a_lake_of_format_2_is_sound(tmp_path: Path) -> None:
    zipfile.ZipFile(OLD_LAKE).extractall(tmp_path)
    assert what_is_wrong(check_soundness(tmp_path / "lake")) == []


def test_an_empty_lake_is_sound(tmp_path: Path) -> None:
    Lake.create(
        tmp_path / "lake",
        seed=1,
        files={"interlake.toml": (fake_lake(tmp_path / "other").path / "interlake.toml").read_bytes()},
    )
    assert what_is_wrong(check_soundness(tmp_path / "lake")) == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_that_cannot_matter_changes_nothing(lake: Lake, damage: str) -> None:
    files = [path for pattern in HARMLESS for path in lake.path.glob(pattern) if path.stat().st_size]
    assert {path.parent.name for path in files} >= {"_transactions", "_versions"}
    for path in files:
        DAMAGES[damage](path)
    assert what_is_wrong(check_soundness(lake.path)) == []


# The truth


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damaged_table_and_pack_is_named(lake: Lake, damage: str) -> None:
    files = [path for path in lake.packages.rglob("*") if path.suffix in (".parquet", ".pack")]
    elsewhere = {"near_misses", "verdicts", "inquiries", "proposals", "proposal_decisions", "templates"}
    tables = TABLES.keys() - elsewhere  # of builds that leave questions to a person, of judges, of what models proposed
    assert {path.name for path in files} == {*(f"{table}.parquet" for table in tables), "images.pack"}
    for path in files:
        DAMAGES[damage](path)
    report = check_soundness(lake.path)
    assert [path for path in files if not names(report, path)] == []
    assert not any(finding.mending for finding in report.line("packages").findings)


@pytest.mark.parametrize("name", ["topics.parquet", "images.pack"])
def test_what_cannot_be_proven_stays_as_it_is(lake: Lake, name: str) -> None:
    (path,) = list(lake.packages.glob(f"000003-*/{name}")) or list(lake.packages.glob(f"*/{name}"))
    flip_bit(path)
    before = every_byte_below(lake.path)
    report = mend_lake(lake.path, lock_timeout=5)
    assert names(report, path)
    assert "copy of the lake" in report.line("packages").findings[0].way_out
    assert every_byte_below(lake.path) == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_manifests_are_made_anew_from_their_tables(lake: Lake, content: Mapping[str, object], damage: str) -> None:
    files = sorted(lake.packages.glob("*/manifest.json"))
    for path in files:
        DAMAGES[damage](path)
    report = check_soundness(lake.path)
    assert [path for path in files if not names(report, path)] == []
    mended = mend_lake(lake.path, lock_timeout=5)
    assert what_is_wrong(mended) == []
    assert {step.where for step in mended.mended} >= {str(path) for path in files}
    assert contents(lake) == {key: content[key] for key in contents(lake)}


@pytest.mark.parametrize("damage", DAMAGES)
def test_all_versions_are_made_anew_from_packages_and_history(
    lake: Lake, content: Mapping[str, object], damage: str
) -> None:
    files = sorted(lake.versions.glob("*.json"))
    for path in files:
        DAMAGES[damage](path)
    report = check_soundness(lake.path)
    assert [path for path in files if not names(report, path)] == []
    assert what_is_wrong(mend_lake(lake.path, lock_timeout=5)) == []
    assert all_of(lake) == content


@pytest.mark.parametrize("number", [1, 4, 9])
def test_a_version_is_made_anew_without_the_history(lake: Lake, content: Mapping[str, object], number: int) -> None:
    history_path(lake).unlink()
    path = lake.versions / f"{number:06d}.json"
    halve(path)
    assert names(check_soundness(lake.path), path)
    assert what_is_wrong(mend_lake(lake.path, lock_timeout=5)) == []
    assert contents(lake) == {key: content[key] for key in contents(lake)}
    assert any(found.name.startswith(path.name) for found in (lake.path / "aside").iterdir())


def test_a_version_that_nothing_confirms_is_not_made_up(lake: Lake) -> None:
    history_path(lake).unlink()
    remove(lance_folder(lake) / "turns.chain.json")
    head = lake.versions / "000009.json"
    zero(head)
    report = mend_lake(lake.path, lock_timeout=5)
    assert names(report, head) and not report.is_sound
    assert head.read_bytes().strip(b"\0") == b""


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_mark_is_made_anew_from_the_versions(lake: Lake, content: Mapping[str, object], damage: str) -> None:
    DAMAGES[damage](lake.path / "lake.json")
    assert [line.invariant for line in check_soundness(lake.path).lines if not line.is_ok] == ["lake"]
    assert what_is_wrong(mend_lake(lake.path, lock_timeout=5)) == []
    assert Lake.open(lake.path).seed == content["seed"]


def test_an_old_lakes_mark_is_named_and_not_made_up(tmp_path: Path) -> None:
    zipfile.ZipFile(OLD_LAKE).extractall(tmp_path)
    zero(tmp_path / "lake" / "lake.json")
    done = run("fsck", "--repair", "--lake", str(tmp_path / "lake"))
    assert done.exit_code == 1
    assert "BAD lake" in done.output and str(tmp_path / "lake" / "lake.json") in done.output
    assert (tmp_path / "lake" / "lake.json").read_bytes().strip(b"\0") == b""


@pytest.mark.parametrize("damage", ["halved", "emptied", "zeroed", "gone"])
def test_settings_that_cannot_be_read_are_named(lake: Lake, damage: str) -> None:
    path = lake.path / "interlake.toml"
    said = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    path.write_text("\n".join(said))  # or half of it might be whole settings, and a comment
    DAMAGES[damage](path)
    report = check_soundness(lake.path)
    assert [line.invariant for line in report.lines if not line.is_ok] == ["settings"]
    assert names(report, path)


# Compact folders


@pytest.fixture
def compacted(lake: Lake) -> Lake:
    with maintaining(lake):
        for group in due(lake, lake.version(), least=2):
            compact(lake, group)
    return lake


@pytest.mark.parametrize("damage", DAMAGES)
def test_compact_folders_and_packages_stand_in_for_each_other(
    compacted: Lake, content: Mapping[str, object], damage: str
) -> None:
    assert what_is_wrong(check_soundness(compacted.path)) == []
    (folder,) = (compacted.path / "compact").iterdir()
    for path in (folder / "calls.parquet", next(compacted.packages.glob("000003-decision-*")) / "decisions.parquet"):
        other = shutil.copytree(compacted.path, compacted.path.parent / path.stem)
        damaged = other / path.relative_to(compacted.path)
        DAMAGES[damage](damaged)
        assert names(check_soundness(other), damaged)
        mended = mend_lake(other, lock_timeout=5)
        assert what_is_wrong(mended) == []
        assert contents(replace(compacted, path=other)) == {key: content[key] for key in contents(compacted)}


def test_a_compact_folders_manifest_is_made_anew_when_its_packages_were_retired(
    compacted: Lake, content: Mapping[str, object]
) -> None:
    with maintaining(compacted):
        assert len(retire(compacted, after=timedelta(0))) == 11
    assert what_is_wrong(check_soundness(compacted.path)) == []
    (manifest,) = (compacted.path / "compact").glob("*/manifest.json")
    zero(manifest)
    assert names(check_soundness(compacted.path), manifest)
    assert what_is_wrong(mend_lake(compacted.path, lock_timeout=5)) == []
    assert contents(compacted) == {key: content[key] for key in contents(compacted)}


# Projections


def newest_manifest(lake: Lake) -> Path:
    number = lance_version_of(lake, lake.version().number)
    assert number is not None
    return table_folder(lake) / "_versions" / f"{2**64 - 1 - number:020d}.manifest"


PARTS: dict[str, Callable[[Lake], Path]] = {
    "data": lambda lake: next((table_folder(lake) / "data").glob("*.lance")),
    "manifest": newest_manifest,
    "tag": lambda lake: table_folder(lake) / "_refs" / "tags" / "v5.json",
    "chain file": lambda lake: lance_folder(lake) / "turns.chain.json",
    "history": history_path,
}
MAY_NOT_MATTER = {("tag", "flipped"), ("history", "gone"), ("history", "flipped"), ("manifest", "flipped")}
"""Of a tag and a manifest some bytes are read by nobody, of a history the blocks that it no longer uses; one that is
gone is made when it is asked for. The lake is sound then: every row, picture and vector of the table was compared."""
BLOCK = 256 * 1024
"""Bytes of a block of DuckDB's, each with a checksum of its own."""


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("part", PARTS)
def test_a_damaged_projection_is_named(lake: Lake, part: str, damage: str) -> None:
    path = PARTS[part](lake)
    DAMAGES[damage](path)
    report = check_soundness(lake.path)
    assert not report.is_sound or (part, damage) in MAY_NOT_MATTER
    assert report.is_sound or names(report, path)
    assert report.is_sound or all(finding.mending for finding in report.findings)


def flip_a_bit_in_every_block(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for at in range(BLOCK // 2, len(data), BLOCK):
        data[at] ^= 1
    path.write_bytes(data)


def test_a_history_with_a_wrong_bit_in_every_block_is_named(lake: Lake) -> None:
    flip_a_bit_in_every_block(history_path(lake))
    assert names(check_soundness(lake.path), history_path(lake))


@pytest.mark.parametrize(("part", "damage"), [("data", "flipped"), ("manifest", "zeroed"), ("chain file", "gone")])
def test_the_table_is_made_anew(lake: Lake, content: Mapping[str, object], part: str, damage: str) -> None:
    DAMAGES[damage](PARTS[part](lake))
    flip_a_bit_in_every_block(history_path(lake))
    mended = mend_lake(lake.path, lock_timeout=5)
    assert what_is_wrong(mended) == []
    assert all_of(lake) == content
    assert {path.name.partition("-")[0] for path in (lake.path / "aside").iterdir()} == {"lance", "history.duckdb"}


def test_a_table_that_is_behind_is_brought_up(lake: Lake, content: Mapping[str, object]) -> None:
    remove(table_folder(lake) / "_refs" / "tags" / "v9.json")
    report = check_soundness(lake.path)
    assert [finding.mending for finding in report.findings] == ["brings it up"]
    assert what_is_wrong(mend_lake(lake.path, lock_timeout=5)) == []
    assert table_of(lake) == content["table"]


def test_a_rebuild_comes_to_the_same_content(lake: Lake, content: Mapping[str, object]) -> None:
    done = rebuild_lake(lake.path, lock_timeout=5)
    assert (done.turns, done.version) == (2, 9)
    assert all_of(lake) == content
    assert what_is_wrong(check_soundness(lake.path)) == []


def test_a_rebuild_from_damaged_packages_leaves_everything_as_it_is(lake: Lake) -> None:
    halve(next(lake.packages.glob("*/calls.parquet")))
    before = every_byte_below(lake.path)
    done = run("rebuild", "--lake", str(lake.path))
    assert "see 'interlake fsck'" in str(done.exception)
    assert every_byte_below(lake.path) == before


# Spools, and what nothing names


@pytest.mark.parametrize("damage", ["halved", "zeroed", "flipped"])
def test_a_torn_spool_is_named_and_left(lake: Lake, damage: str) -> None:
    (path,) = lake.runs.glob("*/spool/*.log")
    DAMAGES[damage](path)
    before = path.read_bytes()
    report = mend_lake(lake.path, lock_timeout=5)
    assert [line.invariant for line in report.lines if not line.is_ok] == ["spools"]
    assert names(report, path) and path.read_bytes() == before


def test_what_a_killed_process_left_is_put_aside_and_strangers_are_left_alone(lake: Lake) -> None:
    left = [
        lake.path / "staging" / "0123" / "topics.parquet",
        lake.packages / "000010-build-0123456789ab" / "samples.parquet",
        lake.packages / "000002-run-0123456789ab" / "claims.parquet",
        lake.versions / ".000010.json.77.part",
        lake.runs / "0123" / "progress.json",
        lake.path / ".history-0123.duckdb",
    ]
    strangers = [lake.path / "notes.txt", lake.packages / "README"]
    for path in (*left, *strangers):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"left")
    report = check_soundness(lake.path)
    assert len(report.findings) == len(report.line("orphans").findings) == len(left)
    assert "notes.txt, packages/README" in report.line("orphans").notes[0]
    mended = mend_lake(lake.path, lock_timeout=5)
    assert what_is_wrong(mended) == []
    assert not any(path.exists() for path in left) and all(path.exists() for path in strangers)
    assert sum(data == b"left" for data in every_byte_below(lake.path / "aside").values()) == len(left)


def test_what_a_living_commit_is_writing_is_no_orphan(lake: Lake) -> None:
    (lake.path / "staging" / "0123").mkdir()
    (lake.packages / "000010-build-0123456789ab").mkdir()
    with lake.lock(purpose="test", timeout=5):
        assert what_is_wrong(check_soundness(lake.path)) == []
    assert len(check_soundness(lake.path).line("orphans").findings) == 2


def test_a_lake_is_sound_whenever_it_is_looked_at_while_builds_go_on(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    builds = BuildOptions(new_topics=2, samples_per_topic=2, turns=1)
    with ThreadPoolExecutor() as pool:
        building = pool.submit(lambda: [grow(lake.path, builds) for _ in range(4)])
        seen = set()
        while not building.done():
            report = check_soundness(lake.path)
            assert what_is_wrong(report) == []
            seen.add(report.version)
        building.result()
    assert len(seen) > 1, "it was looked at between the first version and the last"


# Duplicates


def test_a_kept_pair_that_is_not_flagged_is_named(tmp_path: Path) -> None:
    topics = [TopicEntry(name=name, category="nature", domain="science") for name in ("barn owls", "oak trees")]
    lake = fake_lake(tmp_path / "lake", topics=topics)
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=2, turns=1), Troupe(encoder=SameEncoder()))
    assert what_is_wrong(check_soundness(lake.path)) == []
    head = lake.version()
    (dropped,) = [row for row in lake.rows(DecisionRow, head) if row.turn is None and row.outcome == "duplicate"]
    kept: list[Row] = [
        replace(dropped, decision_id="a", outcome="kept"),
        replace(dropped, decision_id="b", turn=1, outcome="kept"),
    ]
    with writing(lake, purpose="test", timeout=5) as writer:
        writer.commit([PackageDraft("decision", kept)], run_id=head.run_id)
    report = check_soundness(lake.path)
    assert [line.invariant for line in report.lines if not line.is_ok] == ["duplicates"]
    (finding,) = report.findings
    assert dropped.sample_id in finding.where + finding.what and "repeats turn 1 of sample" in finding.what


# The command


def test_the_command_tells_what_is_wrong_and_what_to_do(lake: Lake) -> None:
    words = ("fsck", "--lake", str(lake.path))
    done = run(*words)
    assert done.exit_code == 0 and done.output.count("ok ") == len(INVARIANTS)
    empty(history_path(lake))
    done = run(*words)
    assert done.exit_code == 1
    assert "BAD history" in done.output and "'interlake fsck --repair' makes it anew" in done.output
    told = json.loads(run(*words, "--json").output)
    assert not told["sound"]
    assert [line["findings"][0]["where"] for line in told["lines"] if not line["ok"]] == [str(history_path(lake))]
    done = run(*words, "--repair")
    assert done.exit_code == 0 and "mended: " in done.output
    done = run("rebuild", "--lake", str(lake.path))
    assert done.exit_code == 0 and "2 turns, 9 versions" in done.output
