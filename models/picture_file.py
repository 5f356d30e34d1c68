"""A picture file of somebody else's (JPEG, WebP, with transparency, large), as the one kind of picture known here."""

import io
import struct
import warnings
import zlib

import numpy as np
from PIL import Image, ImageOps

from models.picture import LARGEST_SIDE, Picture

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
LARGEST_FILE = 64 << 20
"""Bytes of a file that are read at all."""
_TORN = (OSError, SyntaxError, ValueError, LookupError, EOFError, struct.error, zlib.error)


def read_picture_file(data: bytes) -> Picture:
    """The first still of a file, upright, on white, no side above 2048 pixels; ValueError when it is no picture.

    EXIF's turns are applied, grey and palettes become RGB, CMYK as Pillow converts it, 16 bits of grey the nearest of
    8; wider numbers, whose white nobody knows, are refused. A picture as interlake writes it stays as it is. This
    is for looking at, not for keeping: other marks are lost.
    """
    if len(data) > LARGEST_FILE:
        raise ValueError(f"it has {len(data):,} bytes, more than {LARGEST_FILE:,}")
    try:
        return Picture.from_bytes(data)
    except ValueError:
        return Picture.from_bytes(_as_plain_png(data))


def _as_plain_png(data: bytes) -> bytes:
    bombs = (Image.DecompressionBombWarning, Image.DecompressionBombError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
                upright = _in_eight_bits(ImageOps.exif_transpose(image)).convert("RGBA")
    except (*_TORN, *bombs) as error:
        raise ValueError(f"it is no picture that can be read ({', '.join(FORMATS)})") from error
    white = Image.new("RGBA", upright.size, "white")
    buffer = io.BytesIO()
    Image.alpha_composite(white, upright).convert("RGB").save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """16 bits of grey as 8, which Pillow would cut off at 255; ValueError for whole or broken numbers of 32 bits."""
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels are numbers of 32 bits (mode {image.mode})")
    if not image.mode.startswith("I;16"):
        return image
    wide = np.asarray(image).astype(np.uint32)
    return Image.fromarray(((wide + 128) // 257).astype(np.uint8))
