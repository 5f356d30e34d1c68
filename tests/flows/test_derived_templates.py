"""Templates from questions that people wrote: what is left out and why, what is added, builds and replays with them."""

import json
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from flows.derivation_run import Derived, list_templates, open_deriving, preview_derivation
from flows.lakes import make_lake
from flows.replay.replaying import ReplayOptions, replay_lake_at
from flows.topics.catalogue import Template, TopicEntry, read_templates
from flows.topics.generalising import TemplateReply, Type, ask_for_template, object_to
from flows.topics.written_questions import QuestionFileError, read_questions
from models.chat import ChatRequest, TextPart
from storage.lake import Lake
from storage.records import ClaimRow, TemplateRow
from tests.flows.casts import assert_fsck_finds_nothing, fake_lake, grow
from tests.flows.conftest import Interlake
from tests.flows.test_proposals import Author

QUESTIONS = [
    "How would a lighthouse look in thick fog? Describe it and draw a picture.",
    "Which sounds surround a waterfall? Write them down and draw the place.",
    "If a violin could talk, what would it complain about? Tell me and draw it.",
    "What would a museum of bridges show in its last room? Explain and sketch it.",
    "Could a tortoise be the hero of a film? Tell the plot and draw the poster.",
    "What do bakers dream of at four in the morning? Say it and paint it.",
    "How would a Lighthouse look in thick fog? Describe it, and draw a picture!",
    "How would a lighthouse look in very thick fog tonight? Describe it and draw a picture.",
    "Wie sieht eine Windmühle im Winter aus? Beschreibe sie und zeichne ein Bild.",
    "What does it look like, and can you draw it?",
    "The old windmill by the river in the autumn rain.",
    "Draw foxes.",
]
LEFT_OUT = ["duplicate", "near duplicate", "language", "ambiguous", "no request", "length"]
SUBJECTS = ["a lighthouse", "a waterfall", "a violin", "a museum of bridges", "a tortoise", "bakers"]
GENERAL = dict(zip(QUESTIONS, SUBJECTS, strict=False))


def generalise(request: ChatRequest) -> str:
    """What a good model would say: the subject gives way to a place for a topic."""
    (said,) = (part.text for part in request.messages[-1].parts if isinstance(part, TextPart))
    question = said.removeprefix("Question: ")
    subject = GENERAL[question]
    return json.dumps({"subject": subject, "template": question.replace(subject, "{topic}"), "type": "look"})


def a_file(folder: Path, questions: list[str] | None = None) -> Path:
    file = folder / "questions.csv"
    rows = "".join(f'"{question}",Ada,survey 7,CC0-1.0\n' for question in questions or QUESTIONS)
    file.write_text(f"question,author,source,licence\n{rows}", encoding="utf-8")
    return file


def derive(lake: Lake, file: Path, author: Author | None = None) -> Derived:
    with open_deriving(lake.path, file, studio=author or Author(says=generalise)) as deriving:
        return deriving.derive()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    topics = [TopicEntry(name=name, category="Pets", domain="Animals") for name in ("cats", "dogs")]
    return fake_lake(tmp_path / "lake", topics=topics)


def test_six_of_twelve_questions_are_left_out_for_six_reasons_and_six_become_templates(lake: Lake) -> None:
    derived = derive(lake, a_file(lake.path.parent))
    assert [each["reason"] for each in derived.questions] == ["", "", "", "", "", "", *LEFT_OUT]
    rows = {row.text: row for row in lake.rows(TemplateRow, lake.version())}
    assert set(rows) == {question.replace(subject, "{topic}") for question, subject in GENERAL.items()}
    first = rows["How would {topic} look in thick fog? Describe it and draw a picture."]
    origin = json.loads(first.origin)
    assert first.template_id.startswith("derived-")
    assert (origin["question"], origin["author"], origin["source"], origin["licence"]) == (
        QUESTIONS[0],
        "Ada",
        "survey 7",
        "CC0-1.0",
    )
    again = derive(lake, a_file(lake.path.parent))
    assert {each["reason"] for each in again.questions[:6]} == {"alike"}
    report = replay_lake_at(lake.path, ReplayOptions())
    assert report.is_identical, report.differences
    assert_fsck_finds_nothing(lake)


def test_a_killed_run_goes_on_and_asks_nothing_twice(lake: Lake) -> None:
    class Killed(Exception):
        pass

    file = a_file(lake.path.parent)
    broken = Author(says=generalise, fails=lambda count: Killed() if count == 4 else None)
    with pytest.raises(Killed):
        derive(lake, file, broken)
    assert_fsck_finds_nothing(lake)
    resumed = Author(says=generalise)
    derived = derive(lake, file, resumed)
    assert sum(bool(each["template_id"]) for each in derived.questions) == 6
    assert len(resumed.asked) < 6
    assert len({*broken.asked, *resumed.asked}) == 6


def test_builds_draw_from_derived_templates_and_leave_old_slots_as_they_were(tmp_path: Path) -> None:
    topics = [TopicEntry(name=name, category="Pets", domain="Animals") for name in ("cats", "dogs")]
    lake = fake_lake(tmp_path / "lake", topics=topics, seed=10)
    options = BuildOptions(new_topics=1, samples_per_topic=1, turns=2)
    grow(lake.path, options)
    before = list(lake.rows(ClaimRow, lake.version()))
    derived = derive(lake, a_file(lake.path.parent))
    ids = {each["template_id"] for each in derived.questions if each["template_id"]}
    grow(lake.path, options)
    claims = list(lake.rows(ClaimRow, lake.version()))
    assert claims[: len(before)] == before
    drawn = {name for claim in claims[len(before) :] for name in json.loads(claim.templates)}
    assert drawn & ids, "by this seed the first template is a derived one"
    report = replay_lake_at(lake.path, ReplayOptions())
    assert report.is_identical, report.differences
    assert_fsck_finds_nothing(lake)


REPLY = {"subject": "a lighthouse", "template": "What would {topic} say? Tell me, and draw it.", "type": "voice"}


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("What would it say? Tell me, and draw it.", "no place"),
        ("What would {topic} say to {place}? Tell me, and draw it.", "other place"),
        (f"What would {{topic}} say{' so' * 50}? Tell me, and draw it.", "too long"),
        ("What would {topic} say? Tell me in a poem of four lines.", "no picture"),
        ("{topic}, drawn as a picture.", "no words"),
        ("What would {topic} and other lighthouses say? Tell me, and draw it.", "keeps its subject"),
        ("What would {topic} say in 1875? Tell me, and draw it.", "knowledge"),
        ("What would {topic} say in Cornwall? Tell me, and draw it.", "knowledge"),
        ("Explain {topic} in a few plain sentences and draw a picture to go with them.", "alike"),
    ],
)
def test_a_template_must_be_one(template: str, reason: str) -> None:
    question = "What would a lighthouse say? Draw it."
    objection = object_to(TemplateReply.model_validate({**REPLY, "template": template}), question, read_templates())
    assert objection is not None
    assert objection[0] == reason
    assert object_to(TemplateReply.model_validate(REPLY), question, ()) is None
    elsewhere = object_to(TemplateReply.model_validate(REPLY), "What would a windmill say? Draw it.", ())
    assert elsewhere is not None and elsewhere[0] == "no subject"


def test_types_are_those_of_the_shipped_templates_and_the_examples_are_templates() -> None:
    assert {*Type.__args__} == {*(template.type for template in read_templates()), "other"}  # type: ignore[attr-defined]
    known: list[Template] = []
    messages = ask_for_template("x")
    for asked, replied in zip(messages[1:-1:2], messages[2:-1:2], strict=True):
        (question,), (reply,) = asked.parts, replied.parts
        assert isinstance(question, TextPart) and isinstance(reply, TextPart)
        assert object_to(TemplateReply.model_validate_json(reply.text), question.text, known) is None


@pytest.mark.parametrize(
    ("text", "says"), [("text\nHow?\n", "no column 'question'"), ('question\n"How\n', "no CSV file")]
)
def test_files_that_are_none_are_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "x.csv"
    file.write_text(text)
    with pytest.raises(QuestionFileError, match=says):
        read_questions(file)


def test_commands_show_what_the_filter_leaves_out_and_list_templates(interlake: Interlake, tmp_path: Path) -> None:
    lake = make_lake(tmp_path / "lake", profile="fake", seed=1, topics=())
    file, report = a_file(tmp_path), tmp_path / "report.csv"
    code, out, _ = interlake("templates", "derive", file, "--lake", lake.path, "--dry-run", "--report", report)
    assert code == 0
    assert out.startswith("12 questions: the model would be asked about 6; left out: 1 ambiguous, 1 duplicate, ")
    assert len(report.read_text().splitlines()) == 13
    assert lake.version().number == 1
    assert [each["reason"] for each in preview_derivation(file).questions[6:]] == LEFT_OUT
    code, out, _ = interlake("templates", "list", "--lake", lake.path, "--json")
    assert (code, len(json.loads(out))) == (0, len(read_templates()))
    code, _, err = interlake("templates", "derive", file, "--lake", lake.path, "--report", tmp_path / "x.txt")
    assert (code, "a report is a file .csv or .json" in err) == (2, True)


def test_listed_templates_say_where_they_are_from(lake: Lake) -> None:
    derive(lake, a_file(lake.path.parent, QUESTIONS[:1]))
    *shipped, own = list_templates(lake.path)
    assert {each.origin for each in shipped} == {None}
    assert own.origin is not None and own.origin["subject"] == "a lighthouse"
