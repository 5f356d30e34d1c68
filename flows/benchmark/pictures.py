"""Pictures of other systems, PNG, JPEG or WebP, made into the one kind that is known here. Knows no benchmark.

What anybody sees must not depend on who reads it: pixels are turned as EXIF says, transparency lies on white, greys and
palettes become RGB, and what is larger than a picture may be here is made smaller. Animations are refused, and so
is a file whose header asks for more pixels than it may have, before one of them is decoded.
"""

import io
import os
import stat
import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from models.picture import LARGEST_SIDE, TRAINED_ALGORITHMIC, Picture
from storage.canonical import sha256_hex

FORMATS = ("PNG", "JPEG", "WEBP")
LARGEST_FILE = 32 << 20
"""Bytes."""
MOST_PIXELS = 64_000_000
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}


class UnusablePicture(Exception):
    """A file is no picture that can be judged. `reason` is one word, the message says what is wrong."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def read_picture(path: Path) -> Picture:
    """The picture of a file; one of our own kind stays as it is, byte for byte. UnusablePicture."""
    data = _read_bytes(path)
    try:
        return Picture.from_bytes(data)
    except ValueError:
        return convert_picture(data)


def convert_picture(data: bytes) -> Picture:
    """A picture of our kind with the same pixels, as far as that kind has them; UnusablePicture."""
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            _refuse_unfit(image)
            pixels = _plain_pixels(image)
    except _BROKEN as error:
        raise UnusablePicture("broken_picture", f"it cannot be read as PNG, JPEG or WebP: {error}") from error
    marks = {"Software": "interlake benchmark 1", "Converted-From": sha256_hex(data)}
    return Picture.from_pixels(pixels, source=TRAINED_ALGORITHMIC, marks=marks)


def _read_bytes(path: Path) -> bytes:
    """The bytes of a regular file, opened so that no pipe can make anybody wait."""
    try:
        with open(path, "rb", buffering=0, opener=_open_at_once) as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise UnusablePicture("no_file", f"it cannot be read: {error.strerror}") from error
    if len(data) > LARGEST_FILE:
        raise UnusablePicture("too_large", f"it has more than {LARGEST_FILE:,} bytes")
    return data


def _open_at_once(path: str, flags: int) -> int:
    """A descriptor of a regular file."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnusablePicture("no_file", "it is no file")
    return descriptor


def _refuse_unfit(image: Image.Image) -> None:
    """By the header alone."""
    if image.width * image.height > MOST_PIXELS:
        raise UnusablePicture(
            "too_large", f"it is {image.width:,} x {image.height:,}, more than {MOST_PIXELS:,} pixels"
        )
    if getattr(image, "n_frames", 1) > 1:
        raise UnusablePicture("animated", "it is animated")
    if image.mode not in _MODES:
        raise UnusablePicture("other_kind", f"its pixels are of the kind {image.mode}: 8 bits a colour are wanted")


def _plain_pixels(image: Image.Image) -> np.typing.NDArray[np.uint8]:
    """Upright RGB of shape (height, width, 3), at most LARGEST_SIDE a side."""
    image.draft("RGB", (LARGEST_SIDE, LARGEST_SIDE))
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        above = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
    plain = upright.convert("RGB")
    plain.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(plain, dtype=np.uint8)
