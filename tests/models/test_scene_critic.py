"""The scene critic is content with captions that are on the picture, and says what to change in others."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from models.chat import ChatReply, ChatRequest, ImagePart, Message, Sampling, TextPart
from models.drawing import DrawRequest
from models.errors import ContentError, TerminalError
from models.openmoji_painter import OpenmojiPainter
from models.picture import ALGORITHMIC, Picture
from models.scene import SCENE_MARK, Scene, SceneObject
from models.scene_clip_encoder import identity_of
from models.scene_critic import SceneCritic

SAMPLING = Sampling(temperature=0.0, top_p=1.0, top_k=0, min_p=0.0, repeat_penalty=1.0, max_tokens=64)
PAINTER = OpenmojiPainter()
CRITIC = SceneCritic()


def request_of(*messages: Message, revision: str = CRITIC.identity.revision) -> ChatRequest:
    return ChatRequest(
        model="scene-critic", revision=revision, messages=messages, sampling=SAMPLING, schema=None, seed=1
    )


def paint(caption: str) -> Picture:
    identity = PAINTER.identity
    request = DrawRequest(
        model=identity.name, revision=identity.revision, caption=caption,
        width=192, height=192, steps=0, guidance=0.0, seed=3,
    )  # fmt: skip
    return asyncio.run(PAINTER.draw(request)).picture


def criticise(picture: Picture, caption: str) -> ChatReply:
    message = Message("user", (TextPart("What should change?"), ImagePart(picture), TextPart(caption)))
    return asyncio.run(CRITIC.chat(request_of(Message.of("system", "You look at pictures."), message)))


def suggestion(picture: Picture, caption: str) -> str | None:
    value = json.loads(criticise(picture, caption).text)
    assert set(value) == {"suggestion"}
    text = value["suggestion"]
    assert text is None or (isinstance(text, str) and 0 < len(text.split()) <= 40)
    return text


def with_scene(picture: Picture, scene: Scene) -> Picture:
    return Picture.from_pixels(picture.pixels(), source=ALGORITHMIC, marks={SCENE_MARK: scene.to_text()})


@pytest.mark.parametrize(
    "caption",
    [
        "A red apple and two yellow bananas on a wooden table",
        "A beach at sunset",
        "Three penguins on snow",
        "A dog playing with a ball in a park",
    ],
)
def test_it_is_content_when_the_caption_is_on_the_picture(caption: str) -> None:
    assert suggestion(paint(caption), caption) is None


def test_it_names_at_most_three_words_that_could_not_be_drawn() -> None:
    caption = "A scientist contemplates abstract theories of eternal justice"
    text = suggestion(paint(caption), caption)
    assert text is not None
    assert text.count('"') == 6
    assert '"contemplates"' in text
    assert "scientist" not in text


def test_it_asks_for_concrete_things_when_nothing_was_drawn() -> None:
    text = suggestion(paint("Freedom of thought"), "Freedom of thought")
    assert text is not None
    assert '"freedom"' in text


def test_it_sees_that_there_are_too_few() -> None:
    caption = "A hundred ants on the grass"
    text = suggestion(paint(caption), caption)
    assert text is not None
    assert "of 100 for ant" in text


def test_it_sees_what_another_caption_asks_for_and_the_picture_lacks() -> None:
    picture = paint("A cat and a dog in a field")
    text = suggestion(picture, "A cat, a dog and a horse in a field")
    assert text is not None
    assert "horse is missing" in text
    place = suggestion(picture, "A cat and a dog in the desert")
    assert place is not None
    assert "desert" in place
    light = suggestion(picture, "A cat and a dog in a field at night")
    assert light is not None
    assert "night" in light


def test_it_sees_a_colour_that_was_not_given() -> None:
    picture = paint("A blue car on a street")
    scene = Scene.from_text(picture.marks()[SCENE_MARK])
    car = scene.objects[0]
    pale = SceneObject(name=car.name, codepoint=car.codepoint, x=car.x, y=car.y, size=car.size, colour=None)
    plain = Scene(
        objects=(pale,), background=scene.background, drawn_words=scene.drawn_words, undrawn_words=scene.undrawn_words
    )
    text = suggestion(with_scene(picture, plain), "A blue car on a street")
    assert text is not None
    assert "not blue" in text


def test_words_around_what_was_drawn_do_not_matter_where_the_caption_fits_its_picture() -> None:
    caption = "When they have a match, the balloon becomes a glowing target for their teammates, who use it to score."
    assert suggestion(paint(caption), caption) is None
    elsewhere = suggestion(paint("A rocket and a planet in space"), caption)
    assert elsewhere is not None
    assert '"match"' in elsewhere


def test_a_fitting_caption_still_lacks_what_was_not_drawn() -> None:
    caption = "When they have a match, 30 balloons become a glowing target for their teammates, who use it to score."
    text = suggestion(paint(caption), caption)
    assert text is not None
    assert "ask for at most" in text


def test_tokens_are_words_between_spaces() -> None:
    reply = criticise(paint("A cat"), "A cat")
    assert reply.prompt_tokens == 4 + 3 + 2
    assert reply.completion_tokens == len(reply.text.split())
    assert reply.finish_reason == "stop"


def test_a_picture_without_a_scene_is_no_content() -> None:
    bare = Picture.from_pixels(np.zeros((64, 64, 3), dtype=np.uint8), source=ALGORITHMIC, marks={})
    with pytest.raises(ContentError) as caught:
        criticise(bare, "A cat")
    assert caught.value.reason == "no_scene"
    broken = Picture.from_pixels(np.zeros((64, 64, 3), dtype=np.uint8), source=ALGORITHMIC, marks={SCENE_MARK: "[]"})
    with pytest.raises(ContentError):
        criticise(broken, "A cat")


def test_questions_without_one_picture_and_a_caption_are_refused() -> None:
    picture = paint("A cat")
    for parts in (
        (TextPart("A cat"),),
        (ImagePart(picture),),
        (ImagePart(picture), ImagePart(picture), TextPart("A cat")),
    ):
        with pytest.raises(ValueError, match="picture"):
            asyncio.run(CRITIC.chat(request_of(Message("user", parts))))
    with pytest.raises(ValueError, match="user message"):
        asyncio.run(CRITIC.chat(request_of(Message.of("system", "Look."))))


def test_it_says_what_is_wrong_when_the_files_of_the_clip_are_missing(tmp_path: Path) -> None:
    with pytest.raises(TerminalError, match="SHA256SUMS"):
        SceneCritic(tmp_path)


def test_its_revision_names_the_weights_that_it_looks_with() -> None:
    assert CRITIC.identity.revision == f"2+scene-clip-{identity_of().revision}"


def test_another_revision_is_refused() -> None:
    with pytest.raises(TerminalError, match="scene-critic"):
        asyncio.run(CRITIC.chat(request_of(Message.of("user", "A cat"), revision="1")))
