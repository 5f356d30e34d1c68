"""Recorded requests made again: the very same key, or a word why not. No lake, no model."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.regenerate.rebuilding import NotAskable, Request, pictures_in, rebuild
from flows.seir.replies import AnswerReply, CaptionReply, Critique, QuestionReply, Reply, schema_of
from models.chat import ChatRequest, ImagePart, Message, Sampling, TextPart
from models.drawing import DrawRequest
from models.embedding import EmbedRequest
from models.picture import ALGORITHMIC, Picture
from storage.canonical import canonical_text, sha256_hex

SAMPLING = Sampling(temperature=0.4, top_p=1.0, top_k=40, min_p=0.0, repeat_penalty=1.05, max_tokens=160)
PICTURE = Picture.from_pixels(np.zeros((8, 8, 3), dtype=np.uint8), source=ALGORITHMIC, marks={})
OTHER = Picture.from_pixels(np.ones((8, 8, 3), dtype=np.uint8), source=ALGORITHMIC, marks={})
PICTURES = {picture.sha256: picture for picture in (PICTURE, OTHER)}

LOOKED = ChatRequest(
    model="viewer",
    revision="1",
    messages=(
        Message.of("system", "Look."),
        Message("user", (TextPart("which?"), ImagePart(PICTURE), ImagePart(OTHER, bare=True))),
        Message.of("assistant", "the first"),
    ),
    sampling=SAMPLING,
    schema=schema_of(Critique),
    seed=7,
)
DRAWN = DrawRequest(model="painter", revision="1", caption="an owl", width=64, height=32, steps=4, guidance=4.5, seed=3)
SEEN = EmbedRequest(model="encoder", revision="1", subject=PICTURE)
READ = EmbedRequest(model="encoder", revision="1", subject="an owl")


def again(request: Request) -> Request:
    return rebuild(canonical_text(request.canonical()), request.key(), PICTURES)


@pytest.mark.parametrize("request_", [LOOKED, DRAWN, SEEN, READ], ids=["chat", "drawing", "picture", "text"])
def test_a_request_is_the_same_after_it_was_recorded(request_: Request) -> None:
    assert again(request_) == request_


@given(
    text=st.text(alphabet=st.characters(codec="utf-8")),
    number=st.floats(min_value=0, max_value=2, allow_nan=False),
    seed=st.integers(min_value=0, max_value=2**53 - 1),
)
def test_any_text_number_and_seed_come_back(text: str, number: float, seed: int) -> None:
    sampling = Sampling(temperature=number, top_p=1, top_k=0, min_p=number, repeat_penalty=2, max_tokens=9)
    messages = (Message.of("user", text),)
    chat = ChatRequest(model="m", revision="1", messages=messages, sampling=sampling, schema=None, seed=seed)
    assert again(chat) == chat


def test_whole_numbers_are_sent_as_the_kind_of_number_that_was_sent() -> None:
    chat = again(LOOKED)
    assert isinstance(chat, ChatRequest)
    assert [type(getattr(chat.sampling, name)) for name in ("top_p", "min_p", "top_k")] == [float, float, int]


def test_the_pictures_that_a_request_names_are_found() -> None:
    found = [pictures_in(canonical_text(each.canonical())) for each in (LOOKED, DRAWN, SEEN, READ)]
    assert found == [set(PICTURES), set(), {PICTURE.sha256}, set()]


def change(**changes: Any) -> str:
    return canonical_text(json.loads(canonical_text(LOOKED.canonical())) | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "sing"}, "this interlake has no such request"),
        ({"sampling": {"temperature": 1}}, "this interlake has no such request"),
        ({"messages": [{"role": "user", "parts": [{"sound": "x"}]}]}, "this interlake has no such request"),
        ({"penalty": 1}, "made again, its key is"),
    ],
)
def test_a_request_that_is_not_the_same_made_again_cannot_be_asked(changes: dict[str, Any], message: str) -> None:
    other = canonical_text(json.loads(canonical_text(LOOKED.canonical())) | changes)
    with pytest.raises(NotAskable, match=f"cannot be asked as it was: {message}"):
        rebuild(other, sha256_hex(other.encode()), PICTURES)


def test_a_request_whose_pictures_are_not_all_there_cannot_be_asked() -> None:
    with pytest.raises(NotAskable, match=OTHER.sha256):
        rebuild(canonical_text(LOOKED.canonical()), LOOKED.key(), {PICTURE.sha256: PICTURE})


@pytest.mark.parametrize("shape", [QuestionReply, AnswerReply, CaptionReply, Critique])
def test_a_schema_keeps_the_order_of_its_properties_when_it_is_recorded(shape: type[Reply]) -> None:
    """Backends write a reply's fields in the order of the schema, and canonical JSON has them sorted."""
    recorded = json.loads(canonical_text(schema_of(shape)))
    assert list(recorded["properties"]) == list(shape.model_fields)
