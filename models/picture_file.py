"""A picture file of somebody else's (JPEG, WebP, with transparency, large), as the one kind of picture known here."""

import io
import struct
import warnings
import zlib

from PIL import Image, ImageOps

from models.picture import LARGEST_SIDE, Picture

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
LARGEST_FILE = 64 << 20
"""Bytes of a file that are read at all."""
_TORN = (OSError, SyntaxError, ValueError, LookupError, EOFError, struct.error, zlib.error)


def read_picture_file(data: bytes) -> Picture:
    """The first still of a file, upright, on white, no side above 2048 pixels; ValueError when it is no picture.

    A picture as interlake writes it stays as it is. For looking at, not for keeping: other marks are lost.
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
                upright = ImageOps.exif_transpose(image).convert("RGBA")
    except (*_TORN, *bombs) as error:
        raise ValueError(f"it is no picture that can be read ({', '.join(FORMATS)})") from error
    white = Image.new("RGBA", upright.size, "white")
    buffer = io.BytesIO()
    Image.alpha_composite(white, upright).convert("RGB").save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
