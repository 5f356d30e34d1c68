"""Maintenance of a real lake: builds, readers, old versions and the command line before and after it."""

import json
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.asked import BuildOptions
from flows.cli.main import cli
from flows.soundness import check_soundness
from storage.history import history_path
from storage.lake import Lake
from storage.packages import seal, unseal
from storage.projection import lance_version_of, tagged_numbers
from storage.query import query
from storage.records import CallRow, TurnRow
from storage.tables import read_compact
from storage.turns_table import count, open_at, open_newest, read_turns
from storage.turns_upkeep import optimize
from storage.writing import Writer, writing
from tests.flows.casts import Troupe, fake_lake, grow, maintain
from tests.flows.test_build import assert_conserved

ONE = BuildOptions(new_topics=1, samples_per_topic=2, turns=1)
SMALL = {"batch_size = 8": "batch_size = 1"}


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = fake_lake(tmp_path / "lake", settings=SMALL)
    for _ in range(3):
        grow(lake.path, ONE)
    yield lake
    read_compact.cache_clear()


def shown(lake: Lake) -> list[object]:
    """What readers see: the chain, every turn with picture, the history at every version."""
    head = lake.version()
    samples = sorted({row.sample_id for row in lake.rows(TurnRow, head)})
    return [
        head.sha256,
        [read_turns(lake, head, sample_id) for sample_id in samples],
        [query(lake, "FROM samples ORDER BY ALL", at=number).rows() for number in range(1, head.number + 1)],
        query(lake, "SELECT * EXCLUDE (lance_version) FROM versions ORDER BY version").rows(),
    ]


@pytest.mark.parametrize("days", [None, 0], ids=["all stays", "what is old is retired"])
def test_a_maintained_lake_shows_the_same_and_grows_on(lake: Lake, days: float | None) -> None:
    before = shown(lake)
    maintain(lake, days=days)
    assert shown(lake) == before
    assert len(list(lake.packages.iterdir())) == (0 if days == 0 else len(lake.version().packages))
    grow(lake.path, ONE)
    grown = shown(lake)
    maintain(lake, days=days)
    assert shown(lake) == grown
    assert_conserved(lake)


def test_the_table_of_turns_has_fewer_files_and_every_tag_until_tags_are_retired(lake: Lake) -> None:
    numbers = list(range(1, lake.version().number + 1))
    counts = [count(lake, lake.version(number)) for number in numbers]
    done = optimize(lake, timeout=5)
    assert (done.files_before, done.files_after, done.is_done) == (6, 1, True)
    assert optimize(lake, timeout=5).files_after == 1
    assert [count(lake, lake.version(number)) for number in numbers] == counts
    maintain(lake, days=0)
    assert tagged_numbers(lake) == [numbers[-1]]
    head = query(lake, "SELECT version, lance_version FROM versions ORDER BY version").rows()
    assert head == [*((number, None) for number in numbers[:-1]), (numbers[-1], lance_version_of(lake, numbers[-1]))]


@pytest.mark.parametrize("reason", ["rows are deleted", "the disk is full"])
def test_a_rewrite_that_cannot_be_named_is_left_for_the_next_time_or_told(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    entered = []

    @contextmanager
    def meddled(lake: Lake, *, purpose: str, timeout: float) -> Iterator[Writer]:
        with writing(lake, purpose=purpose, timeout=timeout) as writer:
            entered.append(purpose)
            if len(entered) == 2 and reason == "rows are deleted":
                open_newest(lake).delete("turn = 1 AND version = 3")
            if len(entered) == 2 and reason == "the disk is full":
                limit = resource.getrlimit(resource.RLIMIT_FSIZE)
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, limit[1]))
                try:
                    yield writer
                finally:
                    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            else:
                yield writer

    monkeypatch.setattr("storage.turns_upkeep.writing", meddled)
    if reason == "rows are deleted":
        assert not optimize(lake, timeout=5).is_done
    else:
        with pytest.raises(OSError, match=r"too large|os error 27"):
            optimize(lake, timeout=5)
    monkeypatch.undo()
    grow(lake.path, ONE)
    assert check_soundness(lake.path).is_sound
    assert optimize(lake, timeout=5).is_done


def test_a_reader_at_work_is_not_disturbed(lake: Lake) -> None:
    head = lake.version()
    table, rows = open_at(lake, head), lake.rows(CallRow, head)
    first = next(rows)
    sample = next(iter(lake.rows(TurnRow, head))).sample_id
    maintain(lake)
    assert table.count_rows() == count(lake, head)
    assert [first, *rows] == list(lake.rows(CallRow, head))
    assert read_turns(lake, head, sample)


def test_a_build_goes_on_during_maintenance(lake: Lake) -> None:
    failures: list[BaseException] = []

    def keep_maintaining() -> None:
        try:
            while not done.is_set():
                maintain(lake, days=0)
        except BaseException as error:
            failures.append(error)

    done = threading.Event()
    thread = threading.Thread(target=keep_maintaining)
    thread.start()
    try:
        run = grow(lake.path, BuildOptions(new_topics=3, samples_per_topic=2, turns=1), Troupe(latency=0.01))
    finally:
        done.set()
        thread.join()
    assert not failures
    assert run.counts()["kept"] == 6
    assert_conserved(lake)


def test_a_retry_finds_its_earlier_calls_in_a_compact_folder(tmp_path: Path) -> None:
    from models.errors import ContentError

    lake = fake_lake(tmp_path / "lake", settings=SMALL)
    grow(lake.path, ONE, Troupe(painter_fails=lambda _: ContentError("blank_picture", "all one colour")))
    asked = {row.request_key for row in lake.rows(CallRow, lake.version())}
    maintain(lake, days=0)
    troupe = Troupe()
    run = grow(lake.path, BuildOptions(new_topics=0, samples_per_topic=1, turns=1, retry_failed=True), troupe)
    assert run.counts()["kept"] == 2
    assert troupe.asked and not asked & set(troupe.asked)


def test_a_lake_of_format_2_is_lifted_before_it_gets_a_compact_folder(lake: Lake) -> None:
    (lake.path / "lake.json").write_bytes(seal({"format": 2, "seed": lake.seed}))
    assert grow(lake.path, ONE).counts()["kept"] == 2
    assert unseal(lake.path / "lake.json")["format"] == 2
    maintain(lake)
    assert unseal(lake.path / "lake.json") == {"format": 3, "seed": lake.seed}


def test_the_command_says_what_it_would_do_and_what_it_did(lake: Lake, prefect_server: str) -> None:
    assert prefect_server
    runner = CliRunner()
    outlook = runner.invoke(cli, ["maintain", "--lake", str(lake.path), "--least", "1", "--dry-run"])
    assert outlook.exit_code == 0, outlook.output
    assert "would compact" in outlook.output and not (lake.path / "compact").exists()
    args = ["maintain", "--lake", str(lake.path), "--least", "1", "--retire-after", "0", "--json"]
    done = runner.invoke(cli, args)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["packages_retired"] == said["compacted"] == len(lake.version().packages)
    assert said["after"]["packages"] < said["before"]["packages"]
    assert history_path(lake).exists()
    assert runner.invoke(cli, ["maintain", "--lake", str(lake.path), "--least", "0"]).exit_code == 2
