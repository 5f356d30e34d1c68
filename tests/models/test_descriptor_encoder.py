"""The descriptor holds edits of one picture together, keeps other scenes apart, and does the same for texts."""

import asyncio
import hashlib
import io
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from models.descriptor_encoder import DIMS, DescriptorEncoder, describe_picture, describe_text
from models.drawing import DrawRequest
from models.embedding import EmbedRequest
from models.errors import TerminalError
from models.openmoji_painter import OpenmojiPainter
from models.picture import ALGORITHMIC, Picture

IMAGE_THRESHOLD, TEXT_THRESHOLD = 0.95, 0.85
CAPTIONS = [
    "A red apple and two yellow bananas on a wooden table", "A lighthouse above the sea at night with stars",
    "Three penguins on snow under a full moon", "A black cat on a red chair in a kitchen",
    "Two children and a dog on the beach", "A green car next to a red bus in the city", "An elephant in the desert",
    "Four colorful balloons in the sky over a field", "A castle and a rainbow", "A blue whale in the ocean at sunset",
]  # fmt: skip


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    painter = OpenmojiPainter()

    async def draw_all() -> list[Picture]:
        requests = [
            DrawRequest(
                model=painter.identity.name, revision=painter.identity.revision, caption=caption,
                width=256, height=256, steps=0, guidance=0.0, seed=seed,
            )
            for caption in CAPTIONS
            for seed in (1, 2)
        ]  # fmt: skip
        return [drawing.picture for drawing in await asyncio.gather(*map(painter.draw, requests))]

    return asyncio.run(draw_all())


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sum(one.astype(np.float64) * other.astype(np.float64)))


def picture_of(image: Image.Image) -> Picture:
    return Picture.from_pixels(np.asarray(image.convert("RGB"), dtype=np.uint8), source=ALGORITHMIC, marks={})


def as_jpeg(picture: Picture) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(picture.pixels()).save(buffer, "JPEG", quality=80)
    with Image.open(io.BytesIO(buffer.getvalue())) as image:
        return picture_of(image)


def resized(picture: Picture) -> Picture:
    side = (int(picture.width * 0.9), int(picture.height * 0.9))
    return picture_of(Image.fromarray(picture.pixels()).resize(side, Image.Resampling.BICUBIC))


def brighter(picture: Picture) -> Picture:
    return picture_of(Image.fromarray(picture.pixels()).point(lambda value: min(255, int(value * 1.05))))


def test_edits_of_a_picture_stay_above_the_threshold(pictures: list[Picture]) -> None:
    for picture in pictures:
        vector = describe_picture(picture)
        for edit in (as_jpeg, resized, brighter):
            assert cosine(vector, describe_picture(edit(picture))) > IMAGE_THRESHOLD + 0.02, edit.__name__


def test_other_scenes_and_other_seeds_stay_below_it(pictures: list[Picture]) -> None:
    vectors = [describe_picture(picture) for picture in pictures]
    cosines = [cosine(one, other) for one, other in combinations(vectors, 2)]
    assert max(cosines) < IMAGE_THRESHOLD
    others = [cosine(one, other) for one, other in combinations(vectors[::2], 2)]
    assert float(np.median(others)) < 0.4


def test_near_texts_are_above_and_other_texts_below_the_threshold() -> None:
    for caption in CAPTIONS:
        vector = describe_text(caption)
        assert cosine(vector, describe_text(caption.upper() + ".")) > 0.999
        assert cosine(vector, describe_text("A photo of " + caption.lower())) > TEXT_THRESHOLD
    assert max(cosine(describe_text(one), describe_text(other)) for one, other in combinations(CAPTIONS, 2)) < 0.6
    assert cosine(describe_text("a dog bites a man"), describe_text("a man bites a dog")) < 0.999


@pytest.mark.parametrize("text", ["", "   ", "!?", "the of and", "x", "A cat.", "ünïcode wörds 猫", "word " * 5000])
def test_every_text_has_a_finite_unit_vector(text: str) -> None:
    vector = describe_text(text)
    assert vector.dtype == np.float32
    assert vector.shape == (DIMS,)
    assert abs(cosine(vector, vector) - 1) < 1e-5


def test_a_text_without_words_has_the_fixed_vector() -> None:
    fixed = np.zeros(DIMS, dtype=np.float32)
    fixed[0] = 1
    assert np.array_equal(describe_text(""), fixed)
    assert np.array_equal(describe_text("?!"), fixed)


@pytest.mark.parametrize("shade", [0, 127, 128, 255])
@pytest.mark.parametrize("size", [(64, 64), (1, 1), (7, 300)])
def test_every_picture_has_a_finite_unit_vector(shade: int, size: tuple[int, int]) -> None:
    flat = Picture.from_pixels(np.full((*size, 3), shade, dtype=np.uint8), source=ALGORITHMIC, marks={})
    vector = describe_picture(flat)
    assert vector.dtype == np.float32
    assert abs(cosine(vector, vector) - 1) < 1e-5


def test_only_pixels_count(pictures: list[Picture]) -> None:
    bare = Picture.from_pixels(pictures[0].pixels(), source=ALGORITHMIC, marks={})
    assert bare.sha256 != pictures[0].sha256
    assert describe_picture(bare).tobytes() == describe_picture(pictures[0]).tobytes()


def test_known_bytes_do_not_drift() -> None:
    rows, columns = np.indices((90, 120))
    pixels = np.stack([rows * 2, columns * 2, (rows * columns) % 256], axis=2).astype(np.uint8)
    picture = Picture.from_pixels(pixels, source=ALGORITHMIC, marks={})
    assert hashlib.sha256(describe_picture(picture).tobytes()).hexdigest()[:16] == "c937603ed7d2ea12"
    assert hashlib.sha256(describe_text("A red apple on a table").tobytes()).hexdigest()[:16] == "82a00fb06f846686"


def test_another_model_is_refused() -> None:
    with pytest.raises(TerminalError, match="descriptor"):
        asyncio.run(DescriptorEncoder().embed(EmbedRequest(model="clip", revision="1", subject="A cat")))
