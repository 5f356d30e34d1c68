"""Time travel: what a version shows stays the same for ever, whatever is built, compacted, retired or rebuilt later."""

import hashlib
import json

import polars as pl
import pytest

from flows.asked import BuildOptions
from flows.replay.replaying import Replaying, ReplayOptions
from flows.soundness import rebuild_lake
from flows.standing import read_status_at
from storage.canonical import content_sha256
from storage.history_schema import state_queries
from storage.lake import Lake
from storage.packages import table_sha256
from storage.query import query
from storage.records import TABLES, ImageRow
from tests.flows.casts import Troupe, fake_lake, grow, maintain
from tests.flows.test_reembed import OtherEncoder, move

ONE = BuildOptions(new_topics=1, samples_per_topic=2, turns=2)
NOT_CONTENT = {"versions": ["lance_version"], "images": ["start", "package"]}
"""Where a version lies, which maintenance and rebuild may change."""


def content_at(lake: Lake, number: int) -> dict[str, str]:
    """A hash for each table of a version's rows, and one over all its pictures."""
    version = lake.version(number)
    hashes = {name: table_sha256(rows) for name, kind in TABLES.items() if (rows := list(lake.rows(kind, version)))}
    pictures = hashlib.sha256()
    for row in sorted(set(lake.rows(ImageRow, version)), key=lambda row: row.image_sha256):
        pictures.update(lake.picture(row.image_sha256, version))
    return hashes | {"version": version.sha256, "pictures": pictures.hexdigest()}


def answers_at(lake: Lake, number: int) -> dict[str, str]:
    """A hash for each table of the history as SQL shows it at a version."""
    hashes = {}
    for name in state_queries("v"):
        frame = query(lake, f"SELECT * FROM {name}", at=number).drop(NOT_CONTENT.get(name, []), strict=False)
        texts = frame.select(pl.all().cast(pl.String)).rows()
        hashes[name] = content_sha256(sorted(json.dumps(row) for row in texts))
    return hashes


@pytest.fixture(scope="module")
def travelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, dict[int, dict[str, str]]]:
    """A lake and what each of its first versions showed when it was the newest."""
    lake = fake_lake(tmp_path_factory.mktemp("travel") / "lake")
    seen: dict[int, dict[str, str]] = {}
    for _ in range(2):
        grow(lake.path, ONE)
        number = lake.version().number
        seen[number] = content_at(lake, number) | {f"sql {k}": v for k, v in answers_at(lake, number).items()}
    return lake, seen


def shown(lake: Lake, numbers: list[int]) -> dict[int, dict[str, str]]:
    return {n: content_at(lake, n) | {f"sql {k}": v for k, v in answers_at(lake, n).items()} for n in numbers}


def test_an_old_version_shows_the_same_after_all_that_may_happen_to_a_lake(
    travelled: tuple[Lake, dict[int, dict[str, str]]],
) -> None:
    lake, seen = travelled
    grow(lake.path, ONE, Troupe())
    assert shown(lake, list(seen)) == seen, "after another build"
    move(lake, OtherEncoder(alike=True))
    assert shown(lake, list(seen)) == seen, "after a move to another encoder, which drops samples"
    maintain(lake)
    assert shown(lake, list(seen)) == seen, "after compaction"
    maintain(lake, days=0)
    assert shown(lake, list(seen)) == seen, "after packages were retired"
    (lake.path / "history.duckdb").unlink()
    rebuild_lake(lake.path, lock_timeout=5)
    assert shown(lake, list(seen)) == seen, "after the projections were made anew"
    first = next(iter(seen))
    replaying = Replaying(lake.path, ReplayOptions(version=first))
    report = replaying.report([replaying.replay(number) for number in replaying.numbers])
    assert report.is_identical
    assert report.sha256 == seen[first]["version"]


def test_status_tells_how_a_lake_stood(travelled: tuple[Lake, dict[int, dict[str, str]]]) -> None:
    lake, seen = travelled
    first, second = seen
    assert [read_status_at(lake.path, number).planned for number in (first, second)] == [2, 4]
