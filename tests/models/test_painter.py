"""The procedural painter draws what captions name, says what it could not draw, and repeats to the byte."""

import asyncio
import io
import json
import time

import numpy as np
import pytest
from PIL import Image

from models.drawing import Drawing, DrawRequest
from models.errors import TerminalError
from models.openmoji_painter import CREDIT, OpenmojiPainter
from models.scene import SCENE_MARK, Scene
from models.scene_caption import read_caption
from models.scene_layout import lay_out
from models.scene_lexicon import Lexicon, singular, split_words, synonyms
from models.scene_sprites import SpriteBox


@pytest.fixture(scope="module")
def painter() -> OpenmojiPainter:
    return OpenmojiPainter()


@pytest.fixture(scope="module")
def lexicon(painter: OpenmojiPainter) -> Lexicon:
    return painter.lexicon()


def request_of(
    painter: OpenmojiPainter, caption: str, *, seed: int = 1, size: tuple[int, int] = (256, 256)
) -> DrawRequest:
    return DrawRequest(
        model=painter.identity.name, revision=painter.identity.revision, caption=caption,
        width=size[0], height=size[1], steps=0, guidance=0.0, seed=seed,
    )  # fmt: skip


def draw(painter: OpenmojiPainter, caption: str, *, seed: int = 1, size: tuple[int, int] = (256, 256)) -> Drawing:
    return asyncio.run(painter.draw(request_of(painter, caption, seed=seed, size=size)))


def scene_of(drawing: Drawing) -> Scene:
    return Scene.from_text(drawing.picture.marks()[SCENE_MARK])


def names(drawing: Drawing) -> list[str]:
    return sorted(each.name for each in scene_of(drawing).objects)


def test_counts_colours_and_the_table_of_a_caption_are_drawn(painter: OpenmojiPainter) -> None:
    drawing = draw(painter, "A green apple and two red bananas on a wooden table")
    assert names(drawing) == ["banana", "banana", "green apple"]
    scene = scene_of(drawing)
    assert {each.colour for each in scene.objects if each.name == "banana"} == {"red"}
    assert scene.background.ground == "table"
    assert set(scene.drawn_words) == {"green", "apple", "red", "bananas", "wooden", "table"}
    assert scene.undrawn_words == ()


def test_whole_names_come_before_their_parts(painter: OpenmojiPainter) -> None:
    assert names(draw(painter, "a moon cake")) == ["moon cake"]
    assert names(draw(painter, "the moon")) == ["full moon"]
    assert names(draw(painter, "an ice cream and a polar bear")) == ["ice cream", "polar bear"]


def test_words_that_cannot_be_drawn_are_told_and_the_picture_is_not_flat(painter: OpenmojiPainter) -> None:
    drawing = draw(painter, "Democracy examines the rule of law")
    scene = scene_of(drawing)
    assert scene.objects == ()
    assert scene.undrawn_words == ("democracy", "examines", "rule", "law")
    assert np.ptp(drawing.picture.pixels().astype(int)) > 20


def test_marks_are_canonical_and_name_the_licence(painter: OpenmojiPainter) -> None:
    drawing = draw(painter, "A cat on a chair")
    marks = drawing.picture.marks()
    assert drawing.licence == "CC-BY-SA-4.0"
    assert marks["Copyright"] == CREDIT
    assert marks["Software"] == f"interlake openmoji painter {painter.identity.revision}"
    assert marks["Description"] == "A cat on a chair"
    scene = json.loads(marks[SCENE_MARK])
    assert marks[SCENE_MARK] == json.dumps(scene, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert set(scene["objects"][0]) == {"name", "codepoint", "x", "y", "size", "colour"}


def test_equal_requests_give_equal_bytes_from_a_warm_and_a_fresh_painter(painter: OpenmojiPainter) -> None:
    caption = "Two blue birds flying above a house near three trees at sunset"
    first = draw(painter, caption, seed=5).picture.data
    assert draw(painter, caption, seed=5).picture.data == first
    assert draw(OpenmojiPainter(), caption, seed=5).picture.data == first
    assert draw(painter, caption, seed=6).picture.data != first


def test_concurrent_drawing_gives_the_same_pictures_as_drawing_alone(painter: OpenmojiPainter) -> None:
    captions = ["A dog", "A red car", "Three fish in the sea", "A castle at night", "A cup of tea", "A rocket in space"]
    alone = [draw(painter, caption).picture.sha256 for caption in captions]

    async def together() -> list[str]:
        fresh = OpenmojiPainter()
        drawings = await asyncio.gather(*(fresh.draw(request_of(fresh, caption)) for caption in captions))
        return [drawing.picture.sha256 for drawing in drawings]

    assert asyncio.run(together()) == alone


@pytest.mark.parametrize("size", [(64, 64), (96, 320), (400, 130), (1100, 700)])
def test_all_things_stay_inside_pictures_of_any_shape(painter: OpenmojiPainter, size: tuple[int, int]) -> None:
    for seed in range(3):
        drawing = draw(painter, "A giraffe, two cars and five tulips under a rainbow and clouds", seed=seed, size=size)
        assert (drawing.picture.width, drawing.picture.height) == size
        for each in scene_of(drawing).objects:
            assert 0 <= each.x < size[0]
            assert 0 <= each.y < size[1]
            assert 2 <= each.size <= max(size)


@pytest.mark.parametrize("shape", [(1.0, 1.0), (1.8, 1.0), (1.0, 2.5)])
def test_no_drawing_is_cut_off_at_an_edge(lexicon: Lexicon, shape: tuple[float, float]) -> None:
    sprites = SpriteBox()
    width, height = shape
    for caption in (
        "A huge elephant and ten flowers under a big rainbow",
        "A cat on a chair by a tall tree",
        "Six boats",
    ):
        for seed in range(6):
            rng = np.random.Generator(np.random.PCG64(seed))
            _, placements = lay_out(read_caption(caption, lexicon), sprites.aspect, width, height, rng)
            for each in placements:
                assert each.width / 2 - 0.005 <= each.x <= width - each.width / 2 + 0.005
                assert each.height / 2 - 0.005 <= each.y <= height - each.height / 2 + 0.005


def test_things_of_the_sky_are_above_things_of_the_ground(painter: OpenmojiPainter) -> None:
    for seed in range(5):
        places = {each.name: each.y for each in scene_of(draw(painter, "A horse under the sun", seed=seed)).objects}
        assert places["sun"] < places["horse"]


def test_left_and_right_are_kept_for_every_seed(painter: OpenmojiPainter) -> None:
    for seed in range(8):
        places = {
            each.name: each.x for each in scene_of(draw(painter, "A dog to the left of a cow", seed=seed)).objects
        }
        assert places["dog"] < places["cow"]


def test_things_of_one_row_do_not_hide_each_other(painter: OpenmojiPainter) -> None:
    for seed in range(5):
        drawn = scene_of(draw(painter, "A car and a bus on a street", seed=seed)).objects
        gap = abs(drawn[0].x - drawn[1].x)
        assert gap >= (drawn[0].size + drawn[1].size) / 2 * 0.9


def test_a_colour_changes_the_pixels_of_its_thing(painter: OpenmojiPainter) -> None:
    red = draw(painter, "A red car on a street").picture.pixels().astype(int)
    green = draw(painter, "A green car on a street").picture.pixels().astype(int)
    redness = [int(np.count_nonzero(pixels[:, :, 0] - pixels[:, :, 1] > 80)) for pixels in (red, green)]
    assert redness[0] > 10 * max(1, redness[1])


def test_another_model_or_an_odd_size_is_refused(painter: OpenmojiPainter) -> None:
    request = request_of(painter, "A cat")
    other = DrawRequest(**{name: getattr(request, name) for name in DrawRequest.__slots__} | {"revision": "0"})
    with pytest.raises(TerminalError, match="openmoji-painter"):
        asyncio.run(painter.draw(other))
    with pytest.raises(ValueError, match="64 to 2048"):
        draw(painter, "A cat", size=(63, 256))


def test_a_cancelled_drawing_ends_soon(painter: OpenmojiPainter) -> None:
    async def cancel_at_once() -> float:
        task = asyncio.create_task(painter.draw(request_of(painter, "Ten cows and a castle", size=(2048, 2048))))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        started = time.monotonic()
        await asyncio.get_running_loop().shutdown_default_executor()
        return time.monotonic() - started

    assert asyncio.run(cancel_at_once()) < 10


def test_no_name_is_a_flag_a_letter_or_a_skin_tone(lexicon: Lexicon) -> None:
    for word in ("japan", "up", "on", "new", "ok", "aries", "infinity", "watch", "fly"):
        assert lexicon.find((word,)) is None, word
    assert len(lexicon) > 1200


def test_every_further_name_leads_to_an_installed_drawing(lexicon: Lexicon) -> None:
    assert [alias for alias, _ in synonyms() if lexicon.find(tuple(split_words(alias))) is None] == []


@pytest.mark.parametrize(
    ("plural", "one"),
    [
        ("children", "child"),
        ("cherries", "cherry"),
        ("boxes", "box"),
        ("buses", "bus"),
        ("horses", "horse"),
        ("glass", "glass"),
    ],
)
def test_plurals_are_led_back_to_one(plural: str, one: str) -> None:
    assert singular(plural) == one


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a pair of kittens", [("cat", 2, ())]),
        ("several black horses", [("horse", 4, ("black",))]),
        ("a red and white sailboat", [("sailboat", 1, ("red", "white"))]),
        ("The car is blue.", [("automobile", 1, ("blue",))]),
        ("an orange and an orange cat", [("tangerine", 1, ()), ("cat", 1, ("orange",))]),
        ("a brick house", [("house", 1, ())]),
    ],
)
def test_captions_are_read_into_things(
    lexicon: Lexicon, caption: str, expected: list[tuple[str, int, tuple[str, ...]]]
) -> None:
    wanted = read_caption(caption, lexicon).wanted
    assert [(each.drawing.name, each.count, each.colours) for each in wanted] == expected


@pytest.mark.parametrize(
    ("caption", "ground", "light"),
    [
        ("a boat on the lake at night", "sea", "night"),
        ("a camel among the dunes at sunset", "desert", "sunset"),
        ("a spoon in the kitchen", "room", None),
        ("a cup on a desk", "table", None),
        ("a deer in the snowy woods", "snow", None),
        ("a bus in the city", "city", None),
    ],
)
def test_captions_are_read_into_places(lexicon: Lexicon, caption: str, ground: str, light: str | None) -> None:
    reading = read_caption(caption, lexicon)
    assert (reading.ground, reading.light) == (ground, light)


def test_the_picture_file_is_a_whole_png(painter: OpenmojiPainter) -> None:
    data = draw(painter, "A cat").picture.data
    with Image.open(io.BytesIO(data)) as image:
        image.verify()
        assert image.format == "PNG"
