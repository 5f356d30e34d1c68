"""Why a sample is as it is: where it comes from, what it was compared with, what came of it; `interlake why`."""

import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from dedup.decide import Thresholds
from dedup.similarity import cosine
from flows import compared
from flows.ancestry import Ancestry, kept_spans, read_ancestry
from flows.asked import BuildOptions
from flows.cli.explain import ancestry_lines
from flows.compared import Comparison
from flows.rerunning.choosing import Choice
from models.errors import ContentError
from storage.embeddings import embedded_turns
from storage.kept_rows import KeptVectors, kept_vectors
from storage.lake import Lake
from storage.query import query
from storage.records import CallRow
from storage.tables import read_compact
from tests.flows.casts import Troupe, fake_lake, grow
from tests.flows.conftest import Interlake
from tests.flows.eventful_lake import (
    AGAIN,
    BACK,
    BUILT,
    MOVED,
    HalfBlindEncoder,
    change_settings,
    make,
    make_again,
)

OLD = Path(__file__).parents[1] / "flows" / "old_lakes" / "format-3.zip"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make(tmp_path_factory.mktemp("eventful") / "lake")


@pytest.fixture(scope="module")
def told(lake: Lake) -> dict[str, Ancestry]:
    """The ancestry of every sample of that lake."""
    return {sample_id: read_ancestry(lake, sample_id) for sample_id in sample_ids(lake)}


def sample_ids(lake: Lake, where: str = "TRUE") -> list[str]:
    return query(lake, f"SELECT sample_id FROM samples WHERE {where} ORDER BY sample_id")["sample_id"].to_list()


@cache
def kept_at(lake: Lake, version: int) -> list[KeptVectors]:
    return list(kept_vectors(lake, lake.version(version)))


def candidates(lake: Lake, found: Ancestry, comparison: Comparison) -> list[KeptVectors]:
    """The turns that a decision compares with, by the table of turns: another way to know them than the one tested."""
    sample_id, version = found.sample["sample_id"], comparison.version
    now = kept_at(lake, version)
    if comparison.kind == "reembed":
        completed = query(lake, f"SELECT max(version) FROM turns WHERE sample_id = '{sample_id}'").item()
        return [turn for turn in now if (turn.version, turn.sample_id) < (completed, sample_id)]
    siblings = {row["sample_id"] for row in found.others}
    before = kept_at(lake, version - 1)
    there = {turn.sample_id for turn in before}
    mates = [turn for turn in now if turn.sample_id not in there and turn.sample_id < sample_id]
    return [turn for turn in (*before, *mates) if turn.sample_id not in siblings]


def closeness(limits: Thresholds, image: float, text: float) -> float:
    beyond = (image - limits.image, text - limits.text)
    return {"both": min(beyond), "image": beyond[0], "text": beyond[1], "either": max(beyond)}[limits.policy]


def assert_compared_as_it_was(lake: Lake, found: Ancestry, own: dict[tuple[str, int], KeptVectors]) -> None:
    """The candidates, the nearest one and its cosines are those of a plain search through the table of turns."""
    for comparison in found.comparisons:
        others = candidates(lake, found, comparison)
        assert comparison.kept_turns == len(others)
        for turn in comparison.turns:
            mine = own[comparison.encoder, turn.turn]
            measured = [(cosine(mine.image, other.image), cosine(mine.text, other.text)) for other in others]
            if not measured:
                assert turn.nearest is None
                continue
            best = max(range(len(measured)), key=lambda n: closeness(comparison.thresholds, *measured[n]))
            assert turn.nearest is not None
            assert (turn.nearest.image, turn.nearest.text) == measured[best]
            assert (turn.nearest.sample_id, turn.nearest.turn) == (others[best].sample_id, others[best].turn)


def own_vectors(lake: Lake, sample_id: str) -> dict[tuple[str, int], KeptVectors]:
    encoders = query(lake, f"SELECT DISTINCT encoder FROM embeddings WHERE sample_id = '{sample_id}'")["encoder"]
    turns = [turn for encoder in encoders for turn in embedded_turns(lake, lake.version(), encoder, {sample_id})]
    return {(turn.encoder, turn.turn): turn for turn in turns}


def assert_reached_as_decided(lake: Lake, found: Ancestry) -> None:
    """A turn's nearest reaches the thresholds exactly where the decision flagged the turn."""
    for comparison in found.comparisons:
        mine = f"sample_id = '{found.sample['sample_id']}' AND version = {comparison.version}"
        flagged = set(query(lake, f"SELECT turn FROM duplicates WHERE {mine}")["turn"])
        assert {turn.turn for turn in comparison.turns if turn.is_reached} == flagged


def test_every_decision_of_every_sample_is_explained_by_what_it_was_compared_with(
    lake: Lake, told: dict[str, Ancestry]
) -> None:
    decided = 0
    for sample_id, found in told.items():
        resting = [each for each in found.decisions if each.turn is None and each.outcome in ("kept", "duplicate")]
        assert [each.version for each in found.comparisons] == [each.version for each in resting]
        assert_reached_as_decided(lake, found)
        assert_compared_as_it_was(lake, found, own_vectors(lake, sample_id))
        decided += len(found.comparisons)
    assert decided == 10 + 10 + 10 + 7


@pytest.mark.parametrize("policy", ["image", "text", "either"])
def test_the_nearest_is_the_nearest_by_the_policy_in_use(tmp_path: Path, policy: str) -> None:
    lake = fake_lake(tmp_path / "lake", settings={'policy = "both"': f'policy = "{policy}"'})
    troupe = Troupe(encoder=HalfBlindEncoder())
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=3, turns=2), troupe)
    for sample_id in sample_ids(lake):
        found = read_ancestry(lake, sample_id)
        assert {each.thresholds.policy for each in found.comparisons} == {policy}
        assert_reached_as_decided(lake, found)
        assert_compared_as_it_was(lake, found, own_vectors(lake, sample_id))


def test_exact_cosines_alone_find_the_same_nearest(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compared, "NEAR", 10.0)  # then every turn could be the nearest by the sums
    for sample_id in sample_ids(lake, f"version = {AGAIN - 2}")[:2]:
        assert_compared_as_it_was(lake, read_ancestry(lake, sample_id), own_vectors(lake, sample_id))


@pytest.fixture
def retried(tmp_path: Path) -> Iterator[Lake]:
    """A lake whose failed samples were made by a second attempt of the same recipe."""
    shutil.unpack_archive(OLD, tmp_path)
    lake = Lake.open(tmp_path / "lake")
    grow(lake.path, BuildOptions(new_topics=0, samples_per_topic=2, turns=2, retry_failed=True))
    yield lake
    read_compact.cache_clear()


def test_a_sample_that_a_retry_made_tells_both_claims_and_what_the_second_was_compared_with(retried: Lake) -> None:
    again = query(retried, "SELECT sample_id FROM claims WHERE retry = 1 ORDER BY ALL")["sample_id"].to_list()
    assert len(again) == 2
    for sample_id in again:
        found = read_ancestry(retried, sample_id)
        assert [claim["retry"] for claim in found.claims] == [0, 1]
        assert [each.outcome for each in found.decisions] == ["failed", "kept"]
        assert len(found.comparisons) == 1
        assert_reached_as_decided(retried, found)
        assert_compared_as_it_was(retried, found, own_vectors(retried, sample_id))
        lines = [text for _, text in ancestry_lines(found, limit=20)]
        assert any(" claimed in version 5 by run " in text and text.endswith(" (retry 1)") for text in lines)


def test_the_versions_in_which_a_sample_is_kept_are_those_where_its_outcome_is_kept(
    lake: Lake, told: dict[str, Ancestry]
) -> None:
    kept: dict[str, set[int]] = {sample_id: set() for sample_id in sample_ids(lake)}
    for version in range(1, AGAIN + 1):
        for sample_id in query(lake, f"FROM samples_at({version}) WHERE outcome = 'kept'")["sample_id"]:
            kept[sample_id].add(version)
    for sample_id, versions in kept.items():
        assert {number for first, last in told[sample_id].kept_in for number in range(first, last + 1)} == versions


def test_a_claim_ends_a_span_and_a_second_decision_to_keep_does_not() -> None:
    def decided(version: int, outcome: str, turn: int | None = None) -> dict[str, Any]:
        return {"version": version, "outcome": outcome, "turn": turn}

    rows = [decided(3, "kept"), decided(5, "kept"), decided(6, "duplicate", turn=1), decided(9, "kept")]
    assert list(kept_spans(rows, [{"version": 2}, {"version": 8}], 12)) == [(3, 7), (9, 12)]
    assert list(kept_spans([decided(3, "failed")], [{"version": 2}], 12)) == []


def test_the_printed_why_leads_from_the_topic_to_what_came_of_it(interlake: Interlake, lake: Lake) -> None:
    (sample_id,) = sample_ids(lake, "outcome = 'rejected' AND sample_id IN (SELECT kept_sample_id FROM duplicates)")[:1]
    found = read_ancestry(lake, sample_id)
    code, out, _ = interlake("why", "--lake", lake.path, sample_id[:8])
    assert code == 0
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0] == f"sample {sample_id}: rejected"
    assert any(line.startswith(f"topic: {found.topic['name']} (") for line in lines)
    assert f"slot {found.slot_number} of the topic, claimed in version 2 by run " in out
    assert f"turn 1: template {found.templates[0].template_id}: {found.templates[0].text}" in lines
    assert found.topic["name"] in str(found.templates[0].text)
    assert "painter: fake-painter, revision 1, licence CC0-1.0" in lines
    assert f"interlake {found.environment['interlake']['version']} (sources " in out  # type: ignore[index,call-overload]
    assert any(line.startswith(f"version {BUILT - 1}, build: with ") for line in lines)
    assert f"kept in versions {BUILT - 1} to " in out
    assert any(line.startswith("sample ") and line.endswith(" takes its place") for line in lines)
    assert any("later, version 25, recipe " in line and line.endswith(": kept") for line in lines)


def test_every_call_has_its_line_in_the_order_of_the_story(lake: Lake) -> None:
    (sample_id,) = sample_ids(lake, "outcome = 'failed'")[:1]
    found = read_ancestry(lake, sample_id)
    recorded = {row.call_id for row in lake.rows(CallRow, lake.version()) if row.sample_id == sample_id}
    assert {row["call_id"] for row in found.calls} == recorded
    assert len(found.calls) == len(recorded)
    places = [(row["turn"], ["question", "answer", "image"].index(row["stage"]), row["round"]) for row in found.calls]
    assert places == sorted(places)
    lines = [text for indent, text in ancestry_lines(found, limit=20) if indent == 4]
    assert sum(text.endswith(", blank_picture") for text in lines) == 3
    assert any(", attempt 2: fake-painter, " in text for text in lines)
    assert sorted(row["sample_id"] for row in found.others) == sample_ids(
        lake, f"slot_id = '{found.sample['slot_id']}' AND sample_id <> '{sample_id}'"
    )


def test_those_that_repeat_a_sample_are_told_and_whether_that_still_holds(lake: Lake) -> None:
    keeper = query(lake, f"SELECT kept_sample_id FROM duplicates WHERE version = {BACK - 1} LIMIT 1").item()
    found = read_ancestry(lake, keeper)
    rows = query(lake, f"SELECT sample_id, turn, version FROM duplicates WHERE kept_sample_id = '{keeper}'").rows()
    assert sorted((each.sample_id, each.turn, each.version) for each in found.repeated_by) == sorted(rows)
    flagged = set(
        query(
            lake,
            "SELECT sample_id, turn FROM decisions WHERE turn IS NOT NULL GROUP BY ALL"
            " HAVING arg_max(outcome, version) = 'duplicate'",
        ).rows()
    )
    latest = {(each.sample_id, each.turn): each.version for each in found.repeated_by if each.holds}
    assert latest.keys() <= flagged
    assert all(version >= BACK - 1 for version in latest.values())
    assert not any(each.holds for each in found.repeated_by if each.version < MOVED)
    lines = [text for _, text in ancestry_lines(found, limit=3)]
    assert f"… and {len(rows) - 3} more (--all)" in lines


def test_a_sample_that_another_took_the_place_of_is_not_compared_with_it(lake: Lake, told: dict[str, Ancestry]) -> None:
    for sample_id in sample_ids(lake, f"version = {AGAIN - 2} AND outcome = 'kept'"):
        found = told[sample_id]
        (old,) = [row for row in found.others if row["outcome"] == "rejected"]
        nearest = [turn.nearest for each in found.comparisons for turn in each.turns]
        assert old["sample_id"] not in {near.sample_id for near in nearest if near}
        assert found.run["kind"] == "rerun"


def test_a_rerun_that_was_retried_is_not_compared_with_what_it_takes_the_place_of(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1))
    change_settings(lake.path, "answer = 3\n", "answer = 1\n")
    blank = Troupe(painter_fails=lambda _: ContentError("blank_picture", "all one colour"))
    make_again(lake.path, Choice(everything=True), blank)
    grow(lake.path, BuildOptions(new_topics=0, samples_per_topic=1, retry_failed=True))
    (sample_id,) = query(lake, "SELECT sample_id FROM claims WHERE retry = 1")["sample_id"]
    found = read_ancestry(lake, sample_id)
    assert [row["outcome"] for row in found.others] == ["kept"]
    assert [each.outcome for each in found.decisions] == ["failed", "kept"]
    assert [each.kept_turns for each in found.comparisons] == [0]
    assert "turn 1: there was none yet" in [text for _, text in ancestry_lines(found, limit=20)]


def test_json_is_complete(interlake: Interlake, lake: Lake) -> None:
    (sample_id, *_) = sample_ids(lake, f"version = {BUILT - 1} AND outcome = 'duplicate'")
    _, out, _ = interlake("why", "--lake", lake.path, sample_id, "--json")
    told, found = json.loads(out), read_ancestry(lake, sample_id)
    assert told["sample"]["sample_id"] == sample_id
    assert told["generation"]["settings"]["rounds"] == {"question": 3, "answer": 3, "image": 3}
    assert len(told["calls"]) == len(found.calls)
    assert [each["nearest"] for each in told["comparisons"][0]["turns"]] == [
        {name: getattr(turn.nearest, name) for name in ("sample_id", "turn", "image", "text")}
        for turn in found.comparisons[0].turns
    ]
    assert told["comparisons"][0]["thresholds"] == {"image": 0.95, "text": 0.85, "policy": "both"}


def test_an_open_sample_has_no_calls_yet_and_was_compared_with_nothing(interlake: Interlake, tmp_path: Path) -> None:
    shutil.unpack_archive(OLD, tmp_path)
    lake = Lake.open(tmp_path / "lake")
    (sample_id, *_) = sample_ids(lake, "outcome = 'open'")
    code, out, _ = interlake("why", "--lake", lake.path, sample_id)
    assert code == 0
    assert "stopped (TerminalError: the server went away)" in out
    assert all(text in out for text in ("no call is committed", "no decision about it rests on vectors", "no version"))
    assert "\u202e" not in out
    read_compact.cache_clear()


@pytest.mark.parametrize("prefix", ["abc", "nonsense", "00000000"])
def test_an_id_that_names_no_sample_is_bad_input(interlake: Interlake, lake: Lake, prefix: str) -> None:
    code, out, err = interlake("why", "--lake", lake.path, prefix)
    assert (code, out) == (2, "")
    assert prefix in err
