"""Travelling through versions: how the lake stood, and what came, went or changed between two of them."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from flows.between import Span
from flows.changes import Changes, read_changes
from flows.cli.travel import changes_lines
from flows.recipe_changes import compare, read_recipe_changes
from flows.sample_changes import SampleGroup
from flows.topics.catalogue import read_catalogue
from storage.lake import Lake
from storage.query import query
from tests.flows.conftest import Interlake
from tests.flows.eventful_lake import (
    AGAIN,
    BACK,
    BUILT,
    FAILED,
    FOUNDED,
    MOVED,
    NEW_TOPICS,
    RESUMED,
    RETRIED,
    STOPPED,
    TOPICS,
    make,
)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make(tmp_path_factory.mktemp("eventful") / "lake")


def group(changes: Changes, before: str | None, after: str | None) -> SampleGroup:
    (found,) = [each for each in changes.samples if (each.before, each.after) == (before, after)]
    return found


def outcomes(lake: Lake, version: int) -> dict[str, str]:
    return dict(query(lake, f"SELECT sample_id, outcome FROM samples_at({version})").iter_rows())


def differences(lake: Lake, start: int, end: int) -> Iterator[tuple[str, str | None, str | None]]:
    """Samples whose outcomes differ, the slow way."""
    old, new = outcomes(lake, start), outcomes(lake, end)
    for sample_id in sorted(old.keys() | new.keys()):
        if old.get(sample_id) != new.get(sample_id):
            yield sample_id, old.get(sample_id), new.get(sample_id)


def test_status_tells_how_the_lake_stood_at_a_version(interlake: Interlake, lake: Lake) -> None:
    _, out, _ = interlake("status", "--lake", lake.path, "--version", STOPPED, "--json")
    then = json.loads(out)
    counted = query(lake, f"SELECT outcome, count(*) FROM samples_at({STOPPED}) GROUP BY ALL")
    assert {name: count for name, count in then["outcomes"].items() if count} == dict(counted.iter_rows())
    assert (then["outcomes"]["failed"], then["outcomes"]["open"]) == (2, 2)
    assert (then["version"], then["topics_covered"], then["planned"]) == (STOPPED, 5, 10)
    assert then["topics"] == len(read_catalogue())
    assert not {"running", "interrupted"} & then.keys()
    _, out, _ = interlake("status", "--lake", lake.path, "--version", STOPPED)
    assert "2 failed + 2 open" in out
    assert "at work" not in out
    assert "no living run" not in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("status", "--version", 99), "there is no version 99; the newest is 27"),
        (("diff", 1, 99), "there is no version 99; the newest is 27"),
        (("diff", 99, 1), "there is no version 99; the newest is 27"),
        (("diff", 0, 1), "0 is not in the range x>=1"),
    ],
)
def test_a_version_that_is_not_there_is_bad_input(
    interlake: Interlake, lake: Lake, words: tuple[str | int, ...], message: str
) -> None:
    code, out, err = interlake(words[0], "--lake", lake.path, *words[1:])
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (FOUNDED, AGAIN),
        (FOUNDED, FOUNDED + 1),
        (BUILT, FAILED),
        (STOPPED, RESUMED),
        (TOPICS, MOVED),
        (BACK, AGAIN),
        (AGAIN, BUILT),
    ],
)
def test_every_sample_that_differs_is_named_once_with_both_outcomes(lake: Lake, start: int, end: int) -> None:
    changes = read_changes(lake, start, end)
    named = [(each.sample_id, found.before, found.after) for found in changes.samples for each in found.samples]
    assert sorted(named) == list(differences(lake, start, end))
    assert all(found.count == len(found.samples) for found in changes.samples)
    assert all(each.cause for found in changes.samples for each in found.samples)


def test_each_version_in_between_tells_its_run_and_what_it_brought(lake: Lake) -> None:
    steps = read_changes(lake, FOUNDED, BACK).steps
    assert [step.version for step in steps] == list(range(FOUNDED + 1, BACK + 1))
    kinds = {step.version: step.kind for step in steps}
    assert (kinds[BUILT], kinds[TOPICS], kinds[MOVED]) == ("build", "topics", "reembed")
    claim, commit, end = steps[:3]
    assert (claim.counts, claim.recipe_id is not None) == ({"slots": 6}, True)
    assert commit.counts["samples"] == sum(commit.outcomes.values()) == 6
    assert end.ended == {end.run_id: "finished"}
    assert list(steps[STOPPED - 2].ended.values()) == ["stopped"]
    assert sum(step.counts.get("topics", 0) for step in steps) == NEW_TOPICS


def test_a_failure_is_told_in_words_that_lead_to_its_last_call(lake: Lake) -> None:
    failed = group(read_changes(lake, BUILT, FAILED), None, "failed")
    assert failed.count == 2
    for sample in failed.samples:
        assert sample.cause is not None
        assert (sample.cause.kind, sample.cause.stage, sample.cause.reason) == ("build", "image", "blank_picture")
        (words,) = sample.cause.words
        assert "draw, 3 attempts: all one colour" in words
        last = words.partition("last call ")[2].rstrip(")")
        found = query(lake, f"SELECT sample_id, attempt FROM calls WHERE starts_with(call_id, '{last}')")
        assert found.rows() == [(sample.sample_id, 2)]


def test_slots_that_another_recipe_took_over_went_and_their_successors_came(lake: Lake) -> None:
    changes = read_changes(lake, STOPPED, STOPPED + 1)
    went, came = group(changes, "open", None), group(changes, None, "open")
    assert {each.slot_id for each in went.samples} == {each.slot_id for each in came.samples}
    assert {each.cause.kind if each.cause else "" for each in (*went.samples, *came.samples)} == {"claim"}
    (recipe,) = changes.recipes
    assert [(change.key, change.before, change.after) for change in recipe.changes] == [("settings.rounds.image", 3, 1)]
    (undone,) = read_changes(lake, STOPPED + 1, STOPPED).recipes
    assert [(change.before, change.after) for change in undone.changes] == [(1, 3)]


def test_a_move_that_decides_anew_is_named_as_the_cause_and_told_backwards_too(lake: Lake) -> None:
    changes = read_changes(lake, TOPICS, MOVED)
    dropped = group(changes, "kept", "duplicate")
    for sample in dropped.samples:
        assert sample.cause is not None
        assert (sample.cause.version, sample.cause.run_kind, sample.cause.kind) == (MOVED - 1, "reembed", "reembed")
        assert (sample.cause.stage, sample.cause.reason) == ("dedup", "all_turns_duplicate")
        assert [words.split(" (")[0].split(" of ")[0] for words in sample.cause.words] == [
            "turn 1 repeats turn 1",
            "turn 2 repeats turn 1",
        ]
    (recipe,) = changes.recipes
    assert [change.key for change in recipe.changes] == ["selection.models.encoder.name"]
    back = read_changes(lake, MOVED, TOPICS)
    assert group(back, "duplicate", "kept").samples == dropped.samples
    assert [step.version for step in back.steps] == [20, 19, 18, 17]


def test_samples_that_gave_way_to_a_rerun_name_their_successors(lake: Lake) -> None:
    changes = read_changes(lake, BACK, AGAIN)
    came, went = group(changes, None, "kept"), group(changes, "kept", "rejected")
    successors = {each.slot_id: each.sample_id for each in came.samples}
    for sample in went.samples:
        assert sample.cause is not None
        assert (sample.cause.run_kind, sample.cause.reason) == ("rerun", "superseded")
        assert sample.cause.words == (f"sample {successors[sample.slot_id][:8]} takes its place",)
    assert {each.recipe_id for each in came.samples} == {changes.recipes[0].recipe_id}
    assert changes.recipes[0].generation_before != changes.recipes[0].selection_before


def test_turns_became_flagged_and_ceased_to_be(lake: Lake) -> None:
    built = read_changes(lake, FOUNDED, BUILT)
    flagged = {
        (row["sample_id"], row["turn"])
        for row in query(lake, f"SELECT * FROM duplicates WHERE version <= {BUILT}").iter_rows(named=True)
    }
    assert {(each.sample_id, each.turn) for found in built.turns for each in found.turns} == flagged
    kept = {sample_id for sample_id, outcome in outcomes(lake, BUILT).items() if outcome == "kept"}
    (alone,) = [found for found in built.turns if not found.with_sample]
    assert {each.sample_id for each in alone.turns} <= kept
    assert {found.is_flagged for found in built.turns} == {True}
    freed = [found for found in read_changes(lake, MOVED, BACK).turns if not found.is_flagged]
    assert sum(found.count for found in freed) > 0
    assert {each.cause.outcome for found in freed for each in found.turns if each.cause} == {"kept"}


def test_what_is_printed_is_short_unless_all_is_asked_for(interlake: Interlake, lake: Lake) -> None:
    code, out, _ = interlake("diff", "--lake", lake.path, RETRIED, TOPICS)
    assert code == 0
    assert f"{NEW_TOPICS} topics came, from crafts.txt (version {TOPICS})" in out
    assert "… and 5 more (--all)" in out
    assert out.count("Crafts > craft ") == 20
    _, out, _ = interlake("diff", "--lake", lake.path, RETRIED, TOPICS, "--all")
    assert out.count("Crafts > craft ") == NEW_TOPICS
    assert "more" not in out


def test_many_versions_are_told_run_by_run(lake: Lake) -> None:
    lines = [text for _, text in changes_lines(read_changes(lake, FOUNDED, BACK), limit=20)]
    (built,) = [text for text in lines if text.startswith("versions 2 to 4, ")]
    assert re.search(r"6 slots claimed; 6 samples made: \d kept, \d duplicate; finished", built)
    (moved,) = [text for text in lines if text.startswith("versions 17 to 20, ")]
    assert "10 samples decided again" in moved


def test_the_printed_diff_says_what_changed_and_why(interlake: Interlake, lake: Lake) -> None:
    _, out, _ = interlake("diff", "--lake", lake.path, TOPICS, MOVED)
    assert "from version 16 to version 20: 4 versions came" in out
    assert 'selection.models.encoder.name: "fake-encoder" -> "other-encoder"' in out
    assert "  kept -> duplicate: 6\n" in out
    assert "version 19, reembed " in out
    assert "(picture 1.0000 of 0.95, caption 1.0000 of 0.85)" in out
    _, out, _ = interlake("diff", "--lake", lake.path, STOPPED + 1, STOPPED)
    assert "1 version went" in out
    assert "settings.rounds.image: 1 -> 3" in out
    _, out, _ = interlake("diff", "--lake", lake.path, BUILT, BUILT)
    assert out == f"version {BUILT} against itself: nothing differs\n"


def test_json_is_complete(interlake: Interlake, lake: Lake) -> None:
    _, out, _ = interlake("diff", "--lake", lake.path, FOUNDED, AGAIN, "--json")
    told: dict[str, Any] = json.loads(out)
    rows = query(lake, f"SELECT decision_id FROM decisions WHERE version > {FOUNDED}")["decision_id"].to_list()
    assert sorted(row["decision_id"] for row in told["decisions"]) == sorted(rows)
    assert sum(found["count"] for found in told["decision_counts"]) == len(rows)
    assert sum(len(found["topics"]) for found in told["topics"]) == NEW_TOPICS
    assert len(told["steps"]) == AGAIN - FOUNDED
    (failed,) = [found for found in told["samples"] if found["after"] == "failed"]
    assert len(failed["samples"][0]["cause"]["evidence"]["attempts"]) == 3


def test_a_recipe_is_compared_with_the_last_one_that_had_the_part(lake: Lake) -> None:
    first, second, moved, back = read_recipe_changes(Span(lake=lake, low=0, high=BACK))
    assert (first.generation_before, first.selection_before, first.changes) == (None, None, ())
    assert second.generation_before == second.selection_before == first.recipe_id
    assert (moved.generation_before, moved.selection_before) == (None, second.recipe_id)
    assert (back.generation_before, back.selection_before) == (None, moved.recipe_id)


def test_a_key_that_is_not_there_is_told_from_one_that_is_null() -> None:
    (change,) = compare({"a": 1, "b": None}, {"a": 1})
    assert (change.key, change.is_gone, change.is_new) == ("b", True, False)
    (change,) = compare({"a": None}, {"a": None, "s": []}, "selection.")
    assert (change.key, change.is_new, change.after) == ("selection.s", True, [])
