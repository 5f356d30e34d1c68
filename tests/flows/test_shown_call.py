"""Calls as a person reads them: stable lines of requests and responses, and `interlake call`."""

import json

import numpy as np
import pytest

from flows.shown_call import request_lines, response_lines
from models.chat import ChatRequest, ImagePart, Message, Sampling, TextPart
from models.drawing import DrawRequest
from models.embedding import EmbedRequest
from models.picture import ALGORITHMIC, Picture
from storage.canonical import Json, canonical_text

SAMPLING = Sampling(temperature=0.7, top_p=1.0, top_k=0, min_p=0, repeat_penalty=1.1, max_tokens=160)
PICTURE = Picture.from_pixels(np.zeros((8, 8, 3), dtype=np.uint8), source=ALGORITHMIC, marks={})


def chat(*messages: Message, schema: Json = None) -> Json:
    return ChatRequest(
        model="writer", revision="abc", messages=messages, sampling=SAMPLING, schema=schema, seed=7
    ).canonical()


def test_a_chat_is_one_fact_a_line_in_a_fixed_order() -> None:
    looked = Message("user", (TextPart("Look:\nwhat is it?"), ImagePart(PICTURE)))
    assert request_lines(chat(Message.of("system", "Be brief."), looked, schema={"type": "object"})) == [
        "kind: chat",
        "model: writer",
        "revision: abc",
        "seed: 7",
        "sampling.max_tokens: 160",
        "sampling.min_p: 0",
        "sampling.repeat_penalty: 1.1",
        "sampling.temperature: 0.7",
        "sampling.top_k: 0",
        "sampling.top_p: 1",
        "message 1 system:",
        "  Be brief.",
        "message 2 user:",
        "  Look:",
        "  what is it?",
        f"  [picture {PICTURE.sha256}]",
        'schema: {"type":"object"}',
    ]


def test_drawings_and_embeddings_have_their_own_facts() -> None:
    drawn = DrawRequest(
        model="painter", revision="1", caption="an owl", width=64, height=32, steps=4, guidance=0.5, seed=3
    )
    assert request_lines(drawn.canonical()) == [
        "kind: draw",
        "model: painter",
        "revision: 1",
        "seed: 3",
        "caption: an owl",
        "guidance: 0.5",
        "height: 32",
        "steps: 4",
        "width: 64",
    ]
    seen = EmbedRequest(model="encoder", revision="1", subject=PICTURE).canonical()
    assert request_lines(seen)[-1] == f"image_sha256: {PICTURE.sha256}"
    read = EmbedRequest(model="encoder", revision="1", subject="two\nlines").canonical()
    assert request_lines(read)[-3:] == ["text:", "  two", "  lines"]


def test_a_request_has_the_same_lines_before_and_after_it_was_recorded() -> None:
    asked = chat(Message.of("user", "an owl"))
    assert request_lines(json.loads(canonical_text(asked))) == request_lines(asked)


def test_a_reply_that_is_json_is_laid_out_and_any_other_is_left_as_it_is() -> None:
    assert response_lines({"text": '{"a":"é","s":null}', "finish_reason": "stop"}) == [
        "finish reason: stop",
        "reply:",
        "  {",
        '    "a": "é",',
        '    "s": null',
        "  }",
    ]
    assert response_lines({"text": '{"a": "cut', "finish_reason": "length"})[-1] == '  {"a": "cut'
    assert response_lines({"message": "all one colour"}) == ["message: all one colour"]
    assert response_lines({}) == []


@pytest.mark.parametrize("text", ["[" * 100_000, "NaN", "12"])
def test_a_hostile_reply_is_shown_as_it_came(text: str) -> None:
    assert response_lines({"text": text, "finish_reason": "stop"})[-1] == f"  {text}"
