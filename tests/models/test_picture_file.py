"""Picture files of other kinds: what is made of them, and what is refused."""

import io

import numpy as np
import pytest
from PIL import Image

from models.picture import TRAINED_ALGORITHMIC, Picture
from models.picture_file import LARGEST_FILE, read_picture_file


def written(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def halves(mode: str = "RGB") -> Image.Image:
    """32 x 16 pixels, red on the left and blue on the right."""
    image = Image.new("RGB", (32, 16), "red")
    image.paste("blue", (16, 0, 32, 16))
    return image.convert(mode)


def test_a_picture_of_our_own_stays_as_it_is_byte_for_byte() -> None:
    picture = Picture.from_pixels(np.asarray(halves()), source=TRAINED_ALGORITHMIC, marks={"model": "m"})
    assert read_picture_file(picture.data) == picture


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "P"), ("PNG", "RGBA"), ("BMP", "RGB"), ("GIF", "P"), ("TIFF", "RGB"), ("JPEG", "RGB")]
)
def test_other_kinds_show_the_same_pixels(kind: str, mode: str) -> None:
    pixels = read_picture_file(written(halves(mode), kind)).pixels().astype(int)
    assert pixels.shape == (16, 32, 3)
    assert np.abs(pixels - np.asarray(halves()).astype(int))[:, [4, 28]].max() < 12


def test_what_is_transparent_is_white() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert (read_picture_file(written(clear, "PNG")).pixels() == 255).all()


def test_a_photograph_is_turned_upright_and_a_large_one_made_smaller() -> None:
    tags = Image.Exif()
    tags[0x0112] = 6  # to be turned by a quarter
    picture = read_picture_file(written(halves().resize((4000, 2000)), "JPEG", exif=tags))
    assert (picture.width, picture.height) == (1024, 2048)
    red, _, blue = picture.pixels()[10, 500]
    assert red > 200 and blue < 50


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"words",
        written(halves(), "JPEG")[:300],
        written(halves(), "PNG")[:60],
        b"%PDF-1.4 \n",
        bytes(LARGEST_FILE + 1),
        written(Image.new("1", (20_000, 10_000)), "PNG"),
    ],
    ids=["empty", "words", "half a JPEG", "half a PNG", "PDF", "too long", "200 million pixels"],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"no picture that can be read|bytes, more than"):
        read_picture_file(data)
