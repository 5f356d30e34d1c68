"""Lakes that an earlier interlake made are read, built on and maintained: one of each format, kept as data."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from flows.soundness import check_soundness
from flows.standing import read_status
from storage.lake import Lake
from storage.packages import FORMAT, READABLE, unseal
from storage.query import query
from storage.records import CallRow
from storage.tables import read_compact
from storage.turns_table import read_turns
from tests.flows.casts import Troupe, grow, maintain
from tests.flows.old_lake import contents
from tests.flows.test_build import assert_conserved

OLD = Path(__file__).with_name("old_lakes")
FORMATS = sorted(READABLE)


@pytest.fixture(params=FORMATS)
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lake]:
    shutil.unpack_archive(OLD / f"format-{request.param}.zip", tmp_path)
    yield Lake.open(tmp_path / "lake")
    read_compact.cache_clear()


def said(lake: Lake) -> object:
    """What its own interlake found in it."""
    return json.loads((lake.path.parent / "contents.json").read_text())


def test_every_format_that_can_be_read_has_a_lake() -> None:
    assert [path.stem for path in sorted(OLD.iterdir())] == [f"format-{number}" for number in FORMATS]


def test_an_old_lake_holds_what_its_own_interlake_found_in_it(lake: Lake) -> None:
    assert json.loads(json.dumps(contents(lake))) == said(lake)
    assert check_soundness(lake.path).is_sound
    outcomes = {name: count for name, count in read_status(lake.path).outcomes.items() if count}
    assert outcomes == {"kept": 1, "duplicate": 1, "failed": 2, "open": 2}
    assert query(lake, "SELECT outcome, count(*) AS n FROM samples GROUP BY ALL ORDER BY ALL")["n"].to_list() == [
        1,
        2,
        1,
        2,
    ]
    (kept,) = query(lake, "SELECT sample_id FROM samples WHERE outcome = 'kept'")["sample_id"]
    assert [turn.turn for turn in read_turns(lake, lake.version(), kept)] == [1, 2]


def test_an_old_lake_is_finished_and_grows_on_and_asks_nothing_twice(lake: Lake) -> None:
    before = {row.request_key for row in lake.rows(CallRow, lake.version())}
    troupe = Troupe()
    grow(lake.path, BuildOptions(new_topics=0, samples_per_topic=2, turns=2, retry_failed=True), troupe)
    assert read_status(lake.path).outcomes["open"] == read_status(lake.path).outcomes["failed"] == 0
    assert not before & set(troupe.asked)
    assert_conserved(lake)
    assert check_soundness(lake.path).is_sound


def test_maintenance_lifts_an_old_lake_to_the_present_format_and_its_content_stays(lake: Lake) -> None:
    maintain(lake, days=0)
    assert unseal(lake.path / "lake.json")["format"] == FORMAT
    assert json.loads(json.dumps(contents(lake))) == said(lake)
    assert check_soundness(lake.path).is_sound
