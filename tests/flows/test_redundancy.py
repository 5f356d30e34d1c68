"""Turns that repeat earlier ones: questions are written anew, what stays a repeat is told, and all of it replays."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

from flows.asked import BuildOptions
from flows.recipe import write_recipe
from flows.replay.replaying import Replaying, ReplayOptions
from flows.seir.checks import check_question
from flows.seir.prompts import PastTurn
from flows.settings import read_settings
from flows.soundness import check_soundness
from flows.studio import Cast
from flows.topics.catalogue import TopicEntry
from flows.ui.findings import read_findings
from flows.ui.report import write_report
from models.chat import ChatRequest
from models.fakes import FakeChat, FakeEncoder
from models.picture import ALGORITHMIC, Picture
from storage.lake import Lake
from storage.query import query
from tests.flows.casts import Troupe, fake_lake, grow
from tests.flows.conftest import Interlake

TOPIC = "wolves"
ASKED = "What do wolves eat in winter? Describe it and draw a picture."
OTHER = "Where do wolves sleep in summer? Describe it and draw a picture."
SWITCHED_ON = {"attempts = 3 ": "repeated_question = 0.8\nattempts = 3 "}
THIRD = "Why do wolves howl at the moon? Describe it and draw a picture."
ONE = BuildOptions(new_topics=1, samples_per_topic=1, turns=3)


@dataclass(slots=True)
class Stubborn(Troupe):
    """A troupe whose writer has one question, and one other for whoever says that the first turn asked it already."""

    async def __aenter__(self) -> Cast:
        def script(request: ChatRequest) -> str:
            wanted = json.dumps(request.canonical())
            if '"question"' in json.dumps(request.schema):
                told = "turn 1 asked this already" in wanted
                return json.dumps({"question": OTHER if told else ASKED})
            if '"suggestion"' in json.dumps(request.schema):
                return json.dumps({"suggestion": None})
            return json.dumps({"answer": "They eat what they find.", "caption": "A grey wolf stands on white snow."})

        chat = FakeChat(script=script)
        cast = await Troupe.__aenter__(self)
        return replace(cast, writer=chat, critic=chat, viewer=chat)


def past(question: str) -> PastTurn:
    picture = Picture.from_pixels(np.zeros((4, 4, 3), np.uint8), source=ALGORITHMIC, marks={})
    return PastTurn(question=question, answer="They do.", caption="A wolf in the snow.", picture=picture)


def said(lake: Lake, sql: str) -> list[tuple[object, ...]]:
    return query(lake, sql).rows()


@pytest.fixture(scope="module")
def stubborn(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A dialogue of three turns whose third question stays a repeat of an earlier one."""
    topics = [TopicEntry(name=TOPIC, category="", domain="nature")]
    lake = fake_lake(tmp_path_factory.mktemp("stubborn") / "lake", settings=SWITCHED_ON, topics=topics)
    grow(lake.path, ONE, Stubborn())
    return lake


@pytest.mark.parametrize(
    ("question", "turn"),
    [(ASKED.upper(), 1), ("Please draw what a wolf eats in the winter.", 1), (OTHER, 2), (THIRD, None)],
)
def test_a_question_repeats_the_turn_that_it_shares_most_words_with(question: str, turn: int | None) -> None:
    finding = check_question(TOPIC, question, [past(ASKED), past(OTHER)], 0.8)
    assert (finding.name if finding else None) == (f"repeats-turn-{turn}" if turn else None)
    if finding:
        assert finding.suggestion == f"Ask about another aspect of wolves: turn {turn} asked this already."


def test_without_a_threshold_only_the_same_words_are_a_repeat() -> None:
    assert check_question(TOPIC, "Please draw what a wolf eats in the winter.", [past(ASKED)]) is None
    same = check_question(TOPIC, ASKED.upper(), [past(ASKED)])
    assert same is not None and same.name == "repetition"


def test_the_threshold_enters_the_recipe_only_where_there_is_one(stubborn: Lake) -> None:
    settings = read_settings(stubborn.path / "interlake.toml")
    roles = {"encoder": FakeEncoder().identity}
    unsaid = settings.generation.model_copy(update={"repeated_question": None})
    before = write_recipe(settings.model_copy(update={"generation": unsaid}), roles)
    assert "repeated_question" not in before.generation
    assert json.loads(write_recipe(settings, roles).generation)["settings"]["repeated_question"] == 0.8


def test_a_repeated_question_is_written_anew_until_the_rewrites_are_spent_and_then_it_stays(stubborn: Lake) -> None:
    rounds = said(
        stubborn,
        "SELECT turn, round, question, critic, stopped FROM iterations WHERE stage = 'question' ORDER BY ALL",
    )
    critic = FakeChat().identity
    (content,) = said(stubborn, f"SELECT DISTINCT model_id FROM models WHERE name = '{critic.name}'")[0]
    assert rounds == [
        (1, 0, ASKED, content, "satisfied"),
        (2, 0, ASKED, "check:repeats-turn-1", None),
        (2, 1, OTHER, content, "satisfied"),
        (3, 0, ASKED, "check:repeats-turn-1", None),
        (3, 1, OTHER, "check:repeats-turn-2", None),
        (3, 2, ASKED, "check:repeats-turn-1", None),
        (3, 3, OTHER, None, "rounds_spent"),
    ]


def test_what_stays_a_repeat_is_told_by_the_stored_numbers(stubborn: Lake) -> None:
    columns = "turn, question_similarity >= 0.8, question_turn, answer_similarity, caption_similarity = 1.0"
    rows = said(stubborn, f"SELECT {columns} FROM redundancy ORDER BY turn")
    assert rows == [(2, False, 1, 1.0, True), (3, True, 2, 1.0, True)]


def test_it_replays_and_is_sound_and_comes_out_again_when_the_history_is_made_anew(
    stubborn: Lake, tmp_path: Path
) -> None:
    shutil.copytree(stubborn.path, tmp_path / "lake")
    lake = Lake.open(tmp_path / "lake")
    before = said(lake, "SELECT * FROM redundancy ORDER BY ALL")
    replaying = Replaying(lake.path, ReplayOptions())
    report = replaying.report([replaying.replay(number) for number in replaying.numbers])
    assert report.is_identical, report.differences
    assert check_soundness(lake.path).is_sound
    (lake.path / "history.duckdb").unlink()
    assert said(lake, "SELECT * FROM redundancy ORDER BY ALL") == before


def test_numbers_that_were_altered_are_found(stubborn: Lake, tmp_path: Path) -> None:
    shutil.copytree(stubborn.path, tmp_path / "lake")
    said(Lake.open(tmp_path / "lake"), "SELECT 1")
    with duckdb.connect(str(tmp_path / "lake" / "history.duckdb")) as connection:
        connection.execute("UPDATE redundancy SET image_similarity = 0.5 WHERE turn = 2")
    report = check_soundness(tmp_path / "lake")
    assert not report.is_sound and "table redundancy has 1 row too many and 1 row too few" in str(report)


def test_show_and_the_report_say_how_much_turns_repeat(stubborn: Lake, interlake: Interlake) -> None:
    (sample_id,) = said(stubborn, "SELECT sample_id FROM samples")[0]
    code, out, _ = interlake("show", "--lake", stubborn.path, str(sample_id)[:8])
    assert code == 0
    assert out.count("most alike of the earlier turns: picture ") == 2
    assert "question 1.0000 of turn 2" in " ".join(out.split())
    (run_id,) = said(stubborn, "SELECT run_id FROM runs")[0]
    page = write_report(read_findings(stubborn, str(run_id)))
    assert "## Within dialogues: " in page and "of 2 later turns have nearly the picture of an earlier one" in page
    assert "question alike (from 0.8)" in page and "| 1 (100%) |" in page
