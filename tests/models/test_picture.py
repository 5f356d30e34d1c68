"""Pictures: what is written is read back, and everything else is refused, before it costs memory."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flows.settings import DrawnPictures
from models.picture import ALGORITHMIC, LARGEST_BYTES, LARGEST_SIDE, Picture, decode

WIDTH, HEIGHT = 20, 24
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
GOOD = Picture.from_pixels(PIXELS, source=ALGORITHMIC, marks={"Description": "naïve \u202e <b>"})
ROWS = b"".join(b"\0" + row.tobytes() for row in PIXELS)
SIGNATURE, END = GOOD.data[:8], GOOD.data[-12:]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width: int = WIDTH, height: int = HEIGHT, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def png(*chunks: bytes, rows: bytes = ROWS) -> bytes:
    return SIGNATURE + b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows)) + END


def saved(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


RGB = Image.fromarray(PIXELS)

REFUSED = {
    "nothing": (b"", "no PNG"),
    "a page": (b"<html><body>502 Bad Gateway</body></html>", "no PNG.*<html>"),
    "a JPEG": (saved(RGB, "JPEG"), "no PNG"),
    "a GIF": (saved(RGB.convert("P"), "GIF"), "no PNG"),
    "a CMYK TIFF": (saved(RGB.convert("CMYK"), "TIFF"), "no PNG"),
    "a signature alone": (SIGNATURE, "ends after 8 bytes"),
    "an end alone": (SIGNATURE + END, "no PNG"),
    "no pixels": (SIGNATURE + header() + END, "0 bytes of"),
    "the end cut off": (GOOD.data[:-12], "before its own end"),
    "a byte cut off": (GOOD.data[:-1], "before its own end"),
    "half the rows": (png(header(), rows=ROWS[: len(ROWS) // 2]), "other pixels"),
    "a row too many": (png(header(), rows=ROWS + ROWS[: 1 + 3 * WIDTH]), "other pixels"),
    "a row filter that is none": (png(header(), rows=b"\x09" + ROWS[1:]), "unrecognized data"),
    "garbage behind its end": (GOOD.data + b"garbage", "7 bytes follow its end"),
    "a second picture behind it": (GOOD.data + GOOD.data, "follow its end"),
    "two headers": (png(header(), header(40_000, 40_000)), "no PNG"),
    "no side": (png(header(width=0), rows=b""), "0 x 24 pixels"),
    "a bomb": (png(header(50_000, 50_000)), "50,000 x 50,000 pixels"),
    "a bomb in one direction": (png(header(2**31 - 1, 1)), "2,147,483,647 x 1 pixels"),
    "a bomb of pixels": (png(header(), rows=bytes(40 << 20)), "other pixels"),
    "a bomb of text": (png(header(), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(40 << 20)))), "too large"),
    "a bomb of a profile": (png(header(), chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(40 << 20)))), "too large"),
    "too many bytes": (png(header(), chunk(b"zzZz", bytes(LARGEST_BYTES))), "more than 16,777,216"),
    "grey": (saved(RGB.convert("L")), "another kind"),
    "a palette": (saved(RGB.convert("P")), "another kind"),
    "black and white": (saved(RGB.convert("1")), "another kind"),
    "an alpha channel": (saved(RGB.convert("RGBA")), "another kind"),
    "a transparent colour": (saved(RGB, transparency=(1, 2, 3)), "another kind"),
    "16 bits": (saved(Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)), "another kind"),
    "16 bits of RGB": (png(header(depth=16), rows=ROWS * 2), "another kind"),
    "interlaced": (png(header(interlace=1)), "another kind"),
    "animated": (saved(RGB, save_all=True, append_images=[RGB.transpose(Image.Transpose.ROTATE_180)]), "animated"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_whole_picture_is_refused_before_it_costs_memory(name: str) -> None:
    data, why = REFUSED[name]
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"^not a whole picture: .*{why}"):
            Picture.from_bytes(data)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(data) + (8 << 20)
    finally:
        tracemalloc.stop()


def test_what_is_written_is_read_back() -> None:
    assert Picture.from_bytes(GOOD.data) == GOOD
    assert np.array_equal(GOOD.pixels(), PIXELS)
    assert np.array_equal(decode(png(header())), PIXELS)
    assert GOOD.marks()["Description"] == "naïve \u202e <b>"


def test_the_largest_picture_that_settings_allow_is_one() -> None:
    with pytest.raises(ValueError, match="less than or equal to 2048"):
        DrawnPictures(backend="openmoji", width=LARGEST_SIDE + 1)
    noise = np.random.default_rng(0).integers(0, 256, (LARGEST_SIDE, LARGEST_SIDE, 3), dtype=np.uint8)
    picture = Picture.from_pixels(noise, source=ALGORITHMIC, marks={})
    assert Picture.from_bytes(picture.data) == picture
    with pytest.raises(ValueError, match="2,049 x 1 pixels"):
        Picture.from_pixels(np.zeros((1, LARGEST_SIDE + 1, 3), dtype=np.uint8), source=ALGORITHMIC, marks={})


@given(at=st.integers(0, len(GOOD.data) - 1), bit=st.integers(0, 7), cut=st.booleans())
def test_no_bit_is_left_unlooked_at(at: int, bit: int, *, cut: bool) -> None:
    data = bytearray(GOOD.data)
    data[at] ^= 1 << bit
    with pytest.raises(ValueError, match="not a whole picture"):
        decode(bytes(data[:at] if cut else data))


KINDS = [b"PLTE", b"iCCP", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"fcTL", b"fdAT"]
PARTS = st.tuples(st.sampled_from([*KINDS, b"IDAT", b"IEND", b"zzzz", b"ZZZZ", b"\0\0\0\0"]), st.binary(max_size=40))


@settings(max_examples=300)
@given(st.lists(PARTS, max_size=3), st.lists(PARTS, max_size=2))
def test_strange_parts_make_no_other_picture_and_no_other_error(
    before: list[tuple[bytes, bytes]], after: list[tuple[bytes, bytes]]
) -> None:
    pixels = chunk(b"IDAT", zlib.compress(ROWS))
    parts = [*(chunk(*part) for part in before), pixels, *(chunk(*part) for part in after)]
    try:
        found = decode(SIGNATURE + header() + b"".join(parts) + END)
    except ValueError:
        return
    assert np.array_equal(found, PIXELS)
