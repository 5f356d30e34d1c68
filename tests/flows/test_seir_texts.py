"""The prompts, the reading of replies, and the rules of the text critic."""

import jsonschema
import numpy as np
import pytest

from flows.seir import prompts
from flows.seir.checks import check_answer, check_question, only_repeats
from flows.seir.prompts import (
    MAX_TOKENS,
    PastTurn,
    critique_answer,
    critique_image,
    critique_question,
    draft_answer,
    draft_question,
    prompts_sha256,
    rewrite_answer,
    rewrite_caption,
    rewrite_question,
)
from flows.seir.replies import (
    ANSWER_ROOM,
    CAPTION_ROOM,
    QUESTION_ROOM,
    SUGGESTION_ROOM,
    AnswerReply,
    BadReply,
    CaptionReply,
    Critique,
    QuestionReply,
    Reply,
    parse_reply,
    schema_of,
)
from models.chat import ImagePart, Message, TextPart
from models.picture import ALGORITHMIC, Picture
from storage.wording import stem_of

TOPIC = "wolves under a full moon"
QUESTION = "Why do wolves howl under a full moon? Tell me in two lines and draw a picture."
ANSWER = "They howl to find each other. On bright nights their voices seem to carry further."
CAPTION = "A grey wolf on a white hill, with a yellow moon and three stars above it."


def picture(shade: int) -> Picture:
    return Picture.from_pixels(np.full((4, 4, 3), shade, dtype=np.uint8), source=ALGORITHMIC, marks={})


def past() -> PastTurn:
    return PastTurn(question=QUESTION, answer=ANSWER, caption=CAPTION, picture=picture(9))


def text_of(message: Message) -> str:
    return "".join(part.text for part in message.parts if isinstance(part, TextPart))


def test_every_text_prompt_is_text_alone_and_alternates_up_to_the_case() -> None:
    history = [past()]
    told = [
        draft_question(TOPIC, "Draw wolves under a full moon.", history),
        critique_question(TOPIC, QUESTION, history),
        rewrite_question(TOPIC, QUESTION, "Be brief.", history),
        draft_answer(TOPIC, QUESTION, history),
        critique_answer(QUESTION, ANSWER, CAPTION, history),
        rewrite_answer(QUESTION, ANSWER, CAPTION, "Be brief.", history),
        rewrite_caption(QUESTION, ANSWER, CAPTION, "Be brief.", history),
    ]
    for messages in told:
        roles = [message.role for message in messages]
        assert roles[0] == "system"
        assert roles[1:] == ["user", "assistant"] * (len(roles) // 2 - 1) + ["user"]
        assert all(isinstance(part, TextPart) for message in messages for part in message.parts)


def test_the_examples_in_the_prompts_are_themselves_replies_that_would_be_taken() -> None:
    shapes: list[tuple[tuple[Message, ...], type[Reply]]] = [
        (draft_question(TOPIC, "I", []), QuestionReply),
        (critique_question(TOPIC, "Q", []), Critique),
        (rewrite_question(TOPIC, "Q", "S", []), QuestionReply),
        (draft_answer(TOPIC, "Q", []), AnswerReply),
        (critique_answer("Q", "A", "C", []), Critique),
        (rewrite_answer("Q", "A", "C", "S", []), AnswerReply),
        (rewrite_caption("Q", "A", "C", "S", []), CaptionReply),
    ]
    for messages, shape in shapes:
        examples = [text_of(message) for message in messages if message.role == "assistant"]
        assert examples
        for example in examples:
            parse_reply(shape, example, "stop")


def test_the_beginning_of_a_prompt_is_the_same_for_every_topic() -> None:
    one, other = draft_answer("chess", "Q1", []), draft_answer("bread", "Q2", [past()])
    assert one[:-1] == other[:-1]
    assert one[-1] != other[-1]


def test_the_image_critique_ends_with_one_picture_and_exactly_the_caption() -> None:
    now = picture(200)
    messages = critique_image("Q?", "An answer.", "The caption now.", now, [past()])
    last = messages[-1]
    assert last.role == "user"
    assert [part.picture for part in last.parts if isinstance(part, ImagePart)] == [now]
    assert [part.text for part in last.parts if isinstance(part, TextPart)][-1] == "The caption now."
    assert last.parts[-1] == TextPart("The caption now.")
    earlier = [part.picture for m in messages[:-1] for part in m.parts if isinstance(part, ImagePart)]
    assert earlier == [past().picture]


def test_earlier_turns_are_told() -> None:
    assert QUESTION in text_of(draft_question(TOPIC, "I", [past()])[-1])
    assert ANSWER in text_of(draft_answer(TOPIC, "Q", [past()])[-1])
    assert CAPTION in text_of(rewrite_caption("Q", "A", "C", "S", [past()])[-1])


def test_a_changed_prompt_changes_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    before = prompts_sha256()
    assert prompts_sha256() == before
    for name in ("DRAFT_QUESTION", "CRITIQUE_IMAGE", "REWRITE_CAPTION"):
        with monkeypatch.context() as patch:
            patch.setattr(prompts, name, "Something else.")
            assert prompts.prompts_sha256() != before


def test_schemas_are_small_and_closed() -> None:
    assert schema_of(CaptionReply) == {
        "type": "object",
        "properties": {"caption": {"type": "string", "maxLength": CAPTION_ROOM}},
        "required": ["caption"],
        "additionalProperties": False,
    }
    assert schema_of(Critique) == {
        "type": "object",
        "properties": {"suggestion": {"anyOf": [{"type": "string", "maxLength": SUGGESTION_ROOM}, {"type": "null"}]}},
        "required": ["suggestion"],
        "additionalProperties": False,
    }
    for shape in (QuestionReply, AnswerReply, CaptionReply, Critique):
        schema = schema_of(shape)
        assert isinstance(schema, dict)
        jsonschema.Draft202012Validator.check_schema(schema)


def test_there_are_tokens_enough_to_close_the_longest_reply() -> None:
    rooms = {
        "question": QUESTION_ROOM,
        "answer": ANSWER_ROOM + CAPTION_ROOM,
        "caption": CAPTION_ROOM,
        "critique": SUGGESTION_ROOM,
    }
    assert MAX_TOKENS.keys() == rooms.keys()
    assert all(MAX_TOKENS[kind] >= room / 3 + 20 for kind, room in rooms.items())


def test_a_reply_is_stripped_and_composed() -> None:
    reply = parse_reply(QuestionReply, '{"question": "  What is a cafe\\u0301? "}', "stop")
    assert reply.question == "What is a caf\u00e9?"


@pytest.mark.parametrize(
    "said", ["null", '""', '"  "', '"None."', '"No change"', '"no changes"', '"null"', '"Nothing"', '"No suggestion."']
)
def test_a_critic_without_a_wish_suggests_nothing(said: str) -> None:
    assert parse_reply(Critique, f'{{"suggestion": {said}}}', "stop").suggestion is None


def test_a_wish_stays_as_it_is() -> None:
    said = parse_reply(Critique, '{"suggestion": "No change of colour, but name the place"}', "stop")
    assert said.suggestion == "No change of colour, but name the place"


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ('{"caption": "A red bo', "length", "cut"),
        ('{"caption": "A red boat."}', "length", "cut"),
        ("A red boat.", "stop", "not_json"),
        ("", "stop", "not_json"),
        ('["A red boat."]', "stop", "wrong_shape"),
        ('{"caption": 7}', "stop", "wrong_shape"),
        ('{"caption": null}', "stop", "wrong_shape"),
        ("{}", "stop", "wrong_shape"),
        ('{"caption": "A boat.", "more": 1}', "stop", "wrong_shape"),
        ('{"caption": " "}', "stop", "empty"),
        ('{"caption": "A red boat on a"}', "stop", "cut_sentence"),
        ('{"caption": "A red boat on a,"}', "stop", "cut_sentence"),
        ('{"caption": "A red\\u0000 boat."}', "stop", "unsafe_text"),
        ('{"caption": "A red \\ud800 boat."}', "stop", "unsafe_text"),
        ('{"caption": "A red \\u001b[31m boat."}', "stop", "unsafe_text"),
        ('{"caption": "' + "boat " * 65 + 'end."}', "stop", "too_long"),
    ],
)
def test_a_bad_reply_says_why(text: str, finish: str, reason: str) -> None:
    with pytest.raises(BadReply) as bad:
        parse_reply(CaptionReply, text, finish)
    assert bad.value.reason == reason


def test_the_word_limits_are_inclusive() -> None:
    parse_reply(QuestionReply, '{"question": "' + "why " * 49 + 'not?"}', "stop")
    with pytest.raises(BadReply) as bad:
        parse_reply(QuestionReply, '{"question": "' + "why " * 50 + 'not?"}', "stop")
    assert bad.value.reason == "too_long"


@pytest.mark.parametrize("ending", ["?", "!", ".", "\u2026", '."', ".)", ".\u201d"])
def test_these_end_a_sentence(ending: str) -> None:
    parse_reply(CaptionReply, '{"caption": "A red boat' + ending.replace('"', '\\"') + '"}', "stop")


def test_a_good_turn_has_no_finding() -> None:
    assert check_question(TOPIC, QUESTION, []) is None
    assert check_answer(TOPIC, QUESTION, ANSWER, CAPTION, []) is None


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("Why do wolves howl? Draw a", "cut"),
        ("Draw a wolf.", "length"),
        ("Draw " + "a wolf and " * 20 + "a moon.", "length"),
        ("Draw a wolf and a wolf and a wolf and a wolf and a wolf now.", "repetition"),
        ("Draw the moon for me. Draw the moon for me.", "repetition"),
        ("Draw a very very very big wolf for me.", "repetition"),
        ("What is the price of a car? Draw me a picture.", "off_topic"),
        ("Why do wolves howl under a full moon at night?", "no_picture_asked"),
    ],
)
def test_a_bad_question_is_found(question: str, name: str) -> None:
    finding = check_question(TOPIC, question, [])
    assert finding is not None
    assert finding.name == name
    assert finding.suggestion.endswith(".")


def test_a_question_is_not_asked_twice() -> None:
    finding = check_question(TOPIC, QUESTION.upper(), [past()])
    assert finding is not None
    assert finding.name == "repetition"


@pytest.mark.parametrize(
    ("answer", "caption", "name"),
    [
        ("They howl to find each", CAPTION, "cut"),
        (ANSWER, "A grey wolf on a", "cut"),
        ("They howl.", CAPTION, "length"),
        (ANSWER, "A wolf.", "length"),
        ("They howl at the moon. They howl at the moon.", CAPTION, "repetition"),
        (ANSWER, "A big wolf, a big wolf, a big wolf on a hill.", "repetition"),
        ("Bread is baked from flour and water in an oven.", CAPTION, "off_topic"),
        (ANSWER, "Two loaves lie on a plate beside some butter.", "off_topic"),
        (ANSWER, "You can see how wolves hunt at night.", "caption_not_visual"),
        (ANSWER, "Draw a grey wolf on a hill.", "caption_not_visual"),
        (ANSWER, "What does the grey wolf see tonight?", "caption_not_visual"),
        ("A grey wolf howls at the yellow moon.", "A grey wolf howls at a yellow moon.", "caption_repeats_answer"),
    ],
)
def test_a_bad_answer_is_found(answer: str, caption: str, name: str) -> None:
    finding = check_answer(TOPIC, QUESTION, answer, caption, [])
    assert finding is not None
    assert finding.name == name


def test_an_answer_or_caption_is_not_given_twice() -> None:
    for answer, caption in (
        (ANSWER, "Two wolves in a dark wood under stars."),
        ("Wolves call so that they keep together.", CAPTION),
    ):
        finding = check_answer(TOPIC, "How do wolves talk? Draw it.", answer, caption, [past()])
        assert finding is not None
        assert finding.name == "repetition"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("wolves", "wolf"),
        ("leaves", "leaf"),
        ("waves", "wave"),
        ("cities", "city"),
        ("foxes", "fox"),
        ("horses", "horse"),
        ("bees", "bee"),
        ("baking", "bakes"),
        ("swimming", "swim"),
        ("Baker's", "baker"),
    ],
)
def test_forms_of_a_word_meet(one: str, other: str) -> None:
    assert stem_of(one) == stem_of(other)


def test_different_words_stay_apart() -> None:
    words = ("glass", "gas", "moon", "moss", "cat", "car", "bee", "bed", "lion", "line")
    assert len({stem_of(word) for word in words}) == len(words)


@pytest.mark.parametrize(
    ("suggestion", "repeats"),
    [
        ("A delicate glass of water, dripping slowly from a glass.", True),
        ("Name the pond, and say how many ducks there are.", False),
        ("Ask for a picture as well.", False),
    ],
)
def test_a_critique_that_only_repeats_the_draft_is_told_from_one_that_suggests(
    suggestion: str, *, repeats: bool
) -> None:
    draft = "The glassy skin is made of water. A delicate glass of water drips slowly from the glass."
    assert only_repeats(suggestion, draft) is repeats
