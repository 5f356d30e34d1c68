"""The perceptual hash: few bits differ between edits of one picture, many between different ones."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from models.perceptual import BITS, difference_hash, differing_bits


def picture(seed: int) -> Image.Image:
    """Some large soft shapes."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((192, 192), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("seed", range(5))
def test_edits_of_a_picture_differ_in_few_bits(seed: int) -> None:
    one = picture(seed)
    edits = [
        encoded(one, "JPEG", quality=60),
        encoded(one.resize((144, 144))),
        encoded(ImageEnhance.Brightness(one).enhance(1.05)),
        encoded(one.crop((2, 2, 190, 190))),
    ]
    assert differing_bits(encoded(one), encoded(one)) == 0
    assert max(differing_bits(encoded(one), edit) for edit in edits) <= BITS // 8


def test_different_pictures_differ_in_many_bits() -> None:
    hashes = [difference_hash(encoded(picture(seed))) for seed in range(8)]
    apart = [(a ^ b).bit_count() for number, a in enumerate(hashes) for b in hashes[:number]]
    assert min(apart) > BITS // 4


def test_the_bits_are_those_of_neighbours_by_hand() -> None:
    rising = np.tile(np.arange(0, 180, 20, dtype=np.uint8), (8, 1))
    assert difference_hash(encoded(Image.fromarray(rising))) == 2**64 - 1
    assert difference_hash(encoded(Image.fromarray(rising[:, ::-1].copy()))) == 0


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="no picture"):
        difference_hash(b"GIF89a and nothing more")
