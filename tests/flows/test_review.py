"""Questions at the thresholds, a person's answers, and what follows from them in the runs to come."""

import io
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dedup.similarity import cosine
from flows.ancestry import read_ancestry
from flows.asked import BuildOptions
from flows.build import build_lake
from flows.errors import UserError
from flows.review.answering import Said, answer
from flows.review.questions import Question, open_questions, read_questions
from flows.soundness import check_soundness
from flows.standing import read_status, read_status_at
from storage.embeddings import read_standing
from storage.kept_rows import kept_vectors
from storage.lake import Lake
from storage.packages import PackageDraft
from storage.query import query
from storage.records import NearRow
from storage.writing import writing
from tests.flows.casts import assert_fsck_finds_nothing, fake_lake
from tests.flows.conftest import Interlake
from tests.flows.prefect_runs import read_run
from tests.flows.test_rethreshold import BASE, grow_on, lines

NEAR = 0.1
ASKED = tuple(
    BuildOptions(new_topics=topics, samples_per_topic=2, turns=2, review=True, review_near=NEAR) for topics in (5, 3)
)
MORE = BuildOptions(new_topics=4, samples_per_topic=2, turns=2)


def make_asking(path: Path) -> Lake:
    """A lake of two builds that ask, with samples dropped, single turns flagged, and turns that fall just short."""
    lake = fake_lake(path, settings=lines(BASE))
    for options in ASKED:
        grow_on(lake, options)
    return lake


def questions(lake: Lake) -> list[Question]:
    return open_questions(lake, lake.version())


def say(lake: Lake, outcome: str, *asked: Question, by: str = "anna", why: str = "they show two things") -> int:
    answers = [Said(name=each.full_name, outcome=outcome, why=why) for each in asked]  # type: ignore[arg-type]
    return answer(lake.path, answers, by=by).version


def outcome_of(lake: Lake, sample_id: str) -> str:
    return str(query(lake, f"SELECT outcome FROM samples WHERE sample_id = '{sample_id}'").item())


def keepers(lake: Lake) -> list[tuple[str, int]]:
    return [(turn.sample_id, turn.turn) for turn in kept_vectors(lake, lake.version())]


def of_dropped(lake: Lake) -> list[Question]:
    """All questions about the first sample that was dropped."""
    first = next(each for each in questions(lake) if each.outcome == "duplicate")
    return [each for each in questions(lake) if each.sample_id == first.sample_id]


def missed(lake: Lake) -> list[Question]:
    return [each for each in questions(lake) if each.rule == "kept"]


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make_asking(tmp_path_factory.mktemp("asking") / "lake")


@pytest.fixture
def lake(asking: Lake, tmp_path: Path) -> Lake:
    shutil.copytree(asking.path, tmp_path / "lake")
    return Lake.open(tmp_path / "lake")


# What is asked


def test_repeats_at_the_thresholds_are_questions_and_others_are_none(asking: Lake) -> None:
    beyond = "least(image_similarity - image_threshold, text_similarity - text_threshold)"
    flagged = query(asking, f"SELECT sample_id, turn FROM duplicates WHERE {beyond} <= {NEAR} ORDER BY ALL").rows()
    assert sorted(each.key for each in questions(asking) if each.rule == "duplicate") == flagged
    assert 0 < len(flagged) < query(asking, "SELECT count(*) FROM duplicates").item() + 1


def test_kept_turns_just_short_of_the_thresholds_are_questions_with_the_first_they_come_near(asking: Lake) -> None:
    kept = list(kept_vectors(asking, asking.version()))
    assert BASE.image and BASE.text
    expected: dict[tuple[str, int], tuple[str, int, float, float]] = {}
    for place, turn in enumerate(kept):
        for earlier in kept[:place]:
            image, text = cosine(turn.image, earlier.image), cosine(turn.text, earlier.text)
            if earlier.sample_id != turn.sample_id and image >= BASE.image - NEAR and text >= BASE.text - NEAR:
                expected.setdefault((turn.sample_id, turn.turn), (earlier.sample_id, earlier.turn, image, text))
    assert expected
    found = {
        each.key: (each.kept_sample_id, each.kept_turn, each.image_similarity, each.text_similarity)
        for each in missed(asking)
    }
    assert found == expected
    assert all(each.beyond < 0 for each in missed(asking))


def test_a_build_that_does_not_ask_leaves_no_question_and_the_recipe_that_it_always_had(tmp_path: Path) -> None:
    asking, other = fake_lake(tmp_path / "asking", settings=lines(BASE)), fake_lake(tmp_path / "other")
    shutil.copy(asking.path / "interlake.toml", other.path / "interlake.toml")
    grow_on(asking, ASKED[0])
    grow_on(other, BuildOptions(new_topics=5, samples_per_topic=2, turns=2))
    assert questions(other) == [] and query(other, "SELECT count(*) FROM near_misses").item() == 0
    assert "review" not in query(other, "SELECT selection FROM recipes").item()
    assert '"review":{"ask":true,"near":0.1}' in query(asking, "SELECT selection FROM recipes").item()
    same = "SELECT sample_id, outcome FROM samples ORDER BY ALL"
    assert query(asking, same).rows() == query(other, same).rows()
    assert_fsck_finds_nothing(other)


def test_the_settings_can_ask_for_every_build_and_an_option_says_otherwise(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake", settings=lines(BASE))
    with (lake.path / "interlake.toml").open("a") as file:
        file.write("\n[selection.review]\nask = true\nnear = 0.1\n")
    grow_on(lake, BuildOptions(new_topics=2, samples_per_topic=2, turns=2, review=False))
    before = lake.version().number
    assert read_questions(lake, lake.version()) == []
    grow_on(lake, BuildOptions(new_topics=5, samples_per_topic=2, turns=2))
    assert questions(lake) and all(each.version > before for each in questions(lake))


def test_status_counts_open_questions_also_as_they_were(lake: Lake, interlake: Interlake) -> None:
    before, count = lake.version().number, len(questions(lake))
    assert read_status(lake.path).questions == count
    say(lake, "kept", questions(lake)[0])
    assert read_status(lake.path).questions == count - 1
    assert read_status_at(lake.path, before).questions == count
    code, out, _ = interlake("status", "--lake", lake.path)
    assert code == 0 and f"{count - 1} questions open to a person; 'interlake review' shows them" in out


# What a person says


def test_a_sample_that_a_person_keeps_comes_back_and_later_runs_go_on_with_it(lake: Lake) -> None:
    asked = of_dropped(lake)
    version = say(lake, "kept", *asked)
    assert outcome_of(lake, asked[0].sample_id) == "kept"
    assert {each.key for each in asked} <= set(keepers(lake))
    assert lake.version().number == version
    assert_fsck_finds_nothing(lake)
    grow_on(lake, MORE)
    assert_fsck_finds_nothing(lake)
    assert {each.key for each in asked} <= set(keepers(lake))


def test_a_turn_that_a_person_calls_a_duplicate_is_flagged_with_its_keeper_named(lake: Lake) -> None:
    asked = missed(lake)[0]
    version = say(lake, "duplicate", asked)
    assert asked.key not in keepers(lake)
    evidence = query(lake, f"SELECT * FROM duplicates WHERE version = {version}").row(0, named=True)
    assert (evidence["kept_sample_id"], evidence["kept_turn"]) == (asked.kept_sample_id, asked.kept_turn)
    assert evidence["image_similarity"] == asked.image_similarity
    flags = {turn for sample_id, turn in read_standing(lake, lake.version()).flagged if sample_id == asked.sample_id}
    assert outcome_of(lake, asked.sample_id) == ("duplicate" if flags == {1, 2} else "kept")
    assert_fsck_finds_nothing(lake)


def test_who_decided_and_why_stand_with_the_decision(lake: Lake) -> None:
    asked = questions(lake)[0]
    version = say(lake, "kept", asked, by="anna", why="another\nplace")
    rows = query(lake, f"SELECT kind, outcome, evidence FROM decisions WHERE version = {version} AND turn IS NOT NULL")
    kind, outcome, evidence = rows.row(0)
    assert (kind, outcome) == ("review", "kept")
    assert json.loads(evidence) == {
        "by": "anna", "why": "another\nplace", "kept_sample_id": asked.kept_sample_id, "kept_turn": asked.kept_turn,
    }  # fmt: skip
    verdicts = [each for each in read_ancestry(lake, asked.sample_id).decisions if each.version == version]
    assert any("anna says: another place" in each.words for each in verdicts)
    assert query(lake, f"SELECT kind FROM runs WHERE version = {version}").item() == "review"


def test_a_person_can_think_better_of_it(lake: Lake) -> None:
    asked = missed(lake)[0]
    say(lake, "duplicate", asked)
    assert asked.key not in [each.key for each in questions(lake)]
    say(lake, "kept", asked)
    assert asked.key in keepers(lake)
    answered = next(each for each in read_questions(lake, lake.version()) if each.key == asked.key)
    assert answered.word and answered.word.outcome == "kept"
    assert_fsck_finds_nothing(lake)


def test_a_word_that_confirms_the_rule_closes_the_question_and_changes_nothing_else(lake: Lake) -> None:
    before, shown = read_standing(lake, lake.version()), keepers(lake)
    for asked in (missed(lake)[0], of_dropped(lake)[0]):
        say(lake, asked.rule, asked)
    after = read_standing(lake, lake.version())
    assert (after.kept, after.flagged, keepers(lake)) == (before.kept, before.flagged, shown)
    assert after.decided_at == before.decided_at
    assert_fsck_finds_nothing(lake)


@pytest.mark.parametrize(
    ("names", "by", "why", "said"),
    [
        (["0123456789ab"], "anna", "so", "is no question of this lake"),
        (["FIRST:7"], "anna", "so", "is no question of this lake"),
        (["abc"], "anna", "so", "is no question of this lake"),
        (["FIRST", "FIRST"], "anna", "so", "is answered twice"),
        (["FIRST"], " ", "so", "--by NAME"),
        (["FIRST"], "anna", "", "--reason TEXT"),
    ],
)
def test_answers_that_cannot_be_are_refused_and_nothing_is_written(
    lake: Lake, names: Sequence[str], by: str, why: str, said: str
) -> None:
    head, first = lake.version(), questions(lake)[0].full_name
    answers = [Said(name=name.replace("FIRST", first.partition(":")[0]), outcome="kept", why=why) for name in names]
    with pytest.raises(UserError, match=said):
        answer(lake.path, answers, by=by)
    assert lake.version().sha256 == head.sha256


def test_fsck_names_near_misses_whose_decision_or_turns_are_not_there(lake: Lake) -> None:
    row = next(iter(lake.rows(NearRow, lake.version())))
    wrong = (
        replace(row, decision_id="0" * 32),
        replace(row, turn=7),
        replace(row, turn=3 - row.turn, kept_sample_id="f" * 32),
    )
    with writing(lake, purpose="a test", timeout=1) as writer:
        writer.commit([PackageDraft("decision", wrong)])
    (outcomes,) = (line for line in check_soundness(lake.path).lines if line.invariant == "outcomes")
    assert {finding.what for finding in outcomes.findings} == {
        f"decision {'0' * 32} is named and keeps no such sample",
        f"turn 7 of sample {row.sample_id} is named and was never made",
        f"turn {row.kept_turn} of sample {'f' * 32} is named and was never made",
    }


# The command


def test_the_command_lists_both_turns_and_writes_their_pictures(
    asking: Lake, tmp_path: Path, interlake: Interlake
) -> None:
    code, out, err = interlake("review", "--lake", asking.path, "--list", "--pictures", tmp_path / "pictures")
    first, count = questions(asking)[0], len(questions(asking))
    assert (code, err) == (0, "")
    assert f"{first.name}, version {first.version}: {first.beyond:.4f} beyond the thresholds" in out
    assert out.count("caption: ") == 2 * count and out.endswith(f"{count} open questions\n")
    code, out, _ = interlake("review", "--lake", asking.path, "--json", "--pictures", tmp_path / "pictures")
    told = json.loads(out)
    assert (code, told["open"]) == (0, count)
    for side in (told["questions"][0]["mine"], told["questions"][0]["kept"]):
        assert Path(side["picture"]).read_bytes().startswith(b"\x89PNG")


def test_the_command_takes_answers_and_says_what_they_came_to(lake: Lake, interlake: Interlake) -> None:
    asked, near = of_dropped(lake), missed(lake)[0]
    words = ("--keep", asked[0].sample_id[:8], "--duplicate", near.name, "--reason", "looked", "--by", "anna")
    code, out, err = interlake("review", "--lake", lake.path, *words)
    assert (code, err) == (0, "")
    assert f"version {lake.version().number}: {len(asked)} turn" in out
    assert f"1 sample came back: {asked[0].sample_id[:8]}" in out
    assert interlake("review", "--lake", lake.path, "--list", "--all")[1].count("anna says: looked") == len(asked) + 1


def test_bad_input_is_one_sentence_and_exit_code_2_a_busy_lake_3(lake: Lake, interlake: Interlake) -> None:
    for words in (
        ("--keep", "0123456789ab"),
        ("--keep", questions(lake)[0].name, "--list"),
        ("--pictures", lake.path / "lake.json"),
    ):
        code, out, err = interlake("review", "--lake", lake.path, *words, "--by", "anna", "--reason", "so")
        assert (code, out) == (2, "") and err
    with lake.lock(purpose="a test", timeout=1):
        given = ("--keep", questions(lake)[0].name, "--by", "anna", "--reason", "so", "--lock-timeout", "0")
        assert interlake("review", "--lake", lake.path, *given)[0] == 3


def type_in(monkeypatch: pytest.MonkeyPatch, *typed: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in typed)))


def test_a_person_at_the_terminal_is_asked_one_by_one_and_all_is_one_version(
    lake: Lake, interlake: Interlake, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, asked = lake.version().number, questions(lake)
    type_in(monkeypatch, "what?", "k", "", "not the same", "s", "duplicate", "the same", "q", "anna")
    code, out, err = interlake("review", "--lake", lake.path)
    assert (code, err) == (0, ""), out
    assert "'what?' is none of these" in out and f"1 of {len(asked)}: [k]eep" in out
    assert lake.version().number == before + 1
    said = {each.key: each.word for each in read_questions(lake, lake.version()) if each.word}
    assert {key: word.outcome for key, word in said.items()} == {asked[0].key: "kept", asked[2].key: "duplicate"}
    assert {word.by for word in said.values()} == {"anna"}


def test_who_skips_all_or_goes_away_writes_nothing(
    lake: Lake, interlake: Interlake, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lake.version().number
    type_in(monkeypatch, "s")
    assert interlake("review", "--lake", lake.path)[0] == 0
    type_in(monkeypatch, "k")
    assert interlake("review", "--lake", lake.path)[0] == 1
    assert lake.version().number == before


# In Prefect


@pytest.mark.usefixtures("prefect_server")
def test_a_flow_run_that_asks_shows_how_many_questions_are_open_and_the_command(tmp_path: Path) -> None:
    same = {"image = 0.95": "image = 0.0", "text = 0.85": "text = 0.0"}
    lake = fake_lake(tmp_path / "lake", settings=same)
    build_lake(lake=str(lake.path), new_topics=2, samples_per_topic=2, turns=1, review=True, review_near=1.0)
    flow_run_id = query(lake, "SELECT flow_run_id FROM runs").item()
    shown = str(read_run(flow_run_id, tasks=2)[1]["build-questions"].data)
    assert f"{len(questions(lake))} question" in shown and f"interlake review --lake {lake.path.resolve()}" in shown


def test_pictures_are_not_written_into_the_lake_and_a_build_is_not_asked_for_both(
    asking: Lake, interlake: Interlake
) -> None:
    inside = asking.path / "packages"
    code, _, err = interlake("review", "--lake", asking.path, "--list", "--pictures", inside)
    assert (code, err) == (2, f"interlake: {inside} lies in the lake; name a folder elsewhere\n")
    sample = query(asking, "SELECT sample_id FROM samples LIMIT 1").item()
    assert interlake("show", "--lake", asking.path, sample, "--pictures", inside)[0] == 2
    version = asking.version().number
    code, _, err = interlake("build", "--lake", asking.path, "--no-review", "--review-near", "0.1")
    assert code == 2 and "leave one of the two out" in err
    assert asking.version().number == version
