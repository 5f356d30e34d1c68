"""How two answers to one request differ, as a person reads it. No lake, no model."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from flows.regenerate.comparing import (
    Drift,
    FactDrift,
    PixelDrift,
    TextDrift,
    VectorDrift,
    compare_answers,
    compare_pixels,
    compare_texts,
    compare_vectors,
)
from models.picture import ALGORITHMIC, Picture
from storage.canonical import canonical_text, sha256_hex
from storage.records import CallRow
from storage.spool import RecordedCall

ROW = CallRow(
    call_id="c", request_key="k", sample_id="s", turn=1, stage="question", round=0, purpose="draft", attempt=0,
    model_id="m", seed=1, request="{}", response="{}", error=None, image_sha256=None, vector_sha256=None,
    prompt_tokens=None, completion_tokens=None, run_id="r", seconds=0.0, tries=1, backend=None,
    started_at=datetime.now(UTC),
)  # fmt: skip
PIXELS = np.full((4, 8, 3), 100, dtype=np.uint8)


def reply(text: str, *, finish_reason: str = "stop", **changes: Any) -> RecordedCall:
    told = canonical_text({"text": text, "finish_reason": finish_reason})
    return RecordedCall(replace(ROW, **{"response": told, "prompt_tokens": 3, "completion_tokens": 2, **changes}))


def refusal(reason: str, message: str) -> RecordedCall:
    return RecordedCall(replace(ROW, error=reason, response=canonical_text({"message": message})))


def drawn(pixels: np.ndarray[Any, Any], licence: str = "CC0-1.0", **marks: str) -> RecordedCall:
    picture = Picture.from_pixels(pixels, source=ALGORITHMIC, marks=marks)
    told = canonical_text({"licence": licence, "pixel_sha256": picture.pixel_sha256})
    return RecordedCall(replace(ROW, response=told, image_sha256=picture.sha256), {picture.sha256: picture.data})


def embedded(*numbers: float) -> RecordedCall:
    data = np.array(numbers, dtype="<f4").tobytes()
    return RecordedCall(replace(ROW, vector_sha256=sha256_hex(data)), {sha256_hex(data): data})


def lines(*drifts: Drift) -> list[str]:
    return [line for drift in drifts for line in drift.lines()]


def test_equal_answers_do_not_differ_whoever_gave_them() -> None:
    elsewhere = reply("A cat.", backend='{"server":"b"}', seconds=9.0, run_id="other")
    assert compare_answers(reply("A cat."), elsewhere) == ()
    assert compare_answers(drawn(PIXELS), drawn(PIXELS)) == ()
    assert compare_answers(embedded(1, 0), embedded(1, 0)) == ()
    assert compare_answers(refusal("refused", "no"), refusal("refused", "no")) == ()


def test_texts_differ_at_their_first_token_that_is_not_the_same() -> None:
    was = "one two three four five six, a red apple on a table in the kitchen"
    drift = compare_texts(was, was.replace("red", "blue"))
    assert drift == TextDrift(
        index=9,
        was="red",
        now="blue",
        was_around="… four five six, a red apple on a table in …",
        now_around="… four five six, a blue apple on a table in …",
    )
    assert lines(drift)[0] == 'token 9 was "red", is "blue"'


@pytest.mark.parametrize(
    ("was", "now", "index", "tokens"),
    [
        ("A cat.", "A cat!", 3, (".", "!")),
        ("A cat", "A cat sits", 3, (None, "sits")),
        ("A cat sits", "", 1, ("A", None)),
        ("Ein Käfer", "Ein Kafer", 2, ("Käfer", "Kafer")),
        ("猫 が", "猫 は", 2, ("が", "は")),
        ('{"a": 1}', '{"a": 2}', 6, ("1", "2")),
    ],
)
def test_a_token_is_a_word_or_a_sign(was: str, now: str, index: int, tokens: tuple[str | None, str | None]) -> None:
    drift = compare_texts(was, now)
    assert (drift.index, (drift.was, drift.now)) == (index, tokens)


def test_a_text_that_ends_earlier_says_so() -> None:
    assert lines(compare_texts("A cat", "A cat sits"))[0] == 'token 3 was the end, is "sits"'


def test_texts_may_differ_in_the_space_between_their_tokens_alone() -> None:
    assert lines(compare_texts("a b c", "a b\n c")) == [
        "the same words and signs, with other space between them",
        "  was: a b c",
        "  is:  a b\\n c",
    ]


def test_a_reply_may_differ_in_its_end_and_its_length() -> None:
    before, after = reply("A cat."), reply("A cat", finish_reason="length", completion_tokens=1)
    assert lines(*compare_answers(before, after)) == [
        'token 3 was ".", is the end',
        "  was: A cat.",
        "  is:  A cat",
        "finish reason was stop, is length",
        "tokens written was 2, is 1",
    ]
    assert compare_answers(reply("A"), reply("A", prompt_tokens=4)) == (FactDrift(name="tokens read", was=3, now=4),)


def test_a_refusal_is_another_answer_than_content() -> None:
    drifts = compare_answers(refusal("blank_picture", "all one colour"), drawn(PIXELS))
    assert lines(*drifts) == ["the answer was refused as blank_picture: all one colour, is a picture"]
    told = [lines(*compare_answers(content, refusal("refused", "no"))) for content in (reply("A"), embedded(1, 0))]
    assert told == [[f"the answer was {what}, is refused as refused: no"] for what in ("a text", "a vector")]


def test_refusals_differ_by_reason_and_message() -> None:
    drifts = compare_answers(refusal("blank_picture", "black"), refusal("flagged_picture", "white"))
    assert lines(*drifts) == [
        "reason of the refusal was blank_picture, is flagged_picture",
        "message was black, is white",
    ]


def test_pixels_are_counted_and_measured_by_channel() -> None:
    now = PIXELS.copy()
    now[0, 0] = (101, 100, 90)
    now[3, 7] = (99, 100, 100)
    drift = compare_pixels(PIXELS, now)
    assert drift == PixelDrift(differing=2, of=32, largest=(1, 0, 10), mean=(2 / 32, 0.0, 10 / 32))
    assert lines(drift) == [
        "2 of 32 pixels differ (6.25 %)",
        "red/green/blue differ by 1/0/10 of 255 at most, by 0.0625/0/0.312 on average over all pixels",
    ]
    assert compare_answers(drawn(PIXELS), drawn(now)) == (drift,)


def test_the_farthest_pixels_are_255_apart() -> None:
    black, white = np.zeros_like(PIXELS), np.full_like(PIXELS, 255)
    for pair in ((black, white), (white, black)):
        assert compare_pixels(*pair).largest == (255, 255, 255)


def test_a_picture_whose_file_alone_differs_is_told_apart() -> None:
    drifts = compare_answers(drawn(PIXELS, Software="1"), drawn(PIXELS, Software="2"))
    assert lines(*drifts) == ["the file's bytes differ, and no pixel does"]


def test_pictures_may_differ_in_size_and_licence() -> None:
    drifts = compare_answers(drawn(PIXELS), drawn(PIXELS[:2], licence="MIT"))
    assert lines(*drifts) == ["size was 8 x 4, is 8 x 2", "licence was CC0-1.0, is MIT"]


def test_vectors_differ_by_an_angle_and_a_number() -> None:
    (drift,) = compare_answers(embedded(1, 0), embedded(0.6, 0.8))
    assert isinstance(drift, VectorDrift)
    assert drift.cosine == pytest.approx(0.6, abs=1e-6)
    assert drift.largest == pytest.approx(0.8, abs=1e-6)
    assert compare_vectors(np.array([1.0, 0.0]), np.array([-1.0, 0.0])).cosine == -1
    assert lines(*compare_answers(embedded(1, 0), embedded(1, 0, 0))) == ["numbers of the vector was 2, is 3"]
