"""A picture: PNG bytes that carry their own marks, and the hashes they are known by.

One kind is known, what `Picture.from_pixels` writes: a PNG of one still, of 8-bit RGB, upright as its pixels lie. All
else is refused in one sentence: other formats whatever they are named, greyscale, palettes, transparency, 16 bits,
CMYK, animations, EXIF that turns it, more pixels than are known here, files that end early or late. A painter that has
something else makes pixels of it, so that nobody who reads a picture converts it in his own way, and none comes into
the world without its marks.
"""

import hashlib
import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

# IPTC digital source types (https://cv.iptc.org/newscodes/digitalsourcetype/).
TRAINED_ALGORITHMIC = "trainedAlgorithmicMedia"
ALGORITHMIC = "algorithmicMedia"

LARGEST_SIDE = 2048
"""Pixels. The settings ask for no more; that many are 12 MiB of RGB."""
LARGEST_BYTES = 16 << 20
"""Of a file: pixels that cannot be compressed, and 4 MiB for marks."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">IIBBBBB")
_TIFF_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_ORIENTATION, _UPRIGHT = 0x0112, 1  # EXIF's tag, and its value for pixels that are shown as they lie
_PIXEL_PARTS = frozenset({b"IHDR", b"IDAT", b"IEND"})
_PLAIN_RGB = [8, 2, 0, 0, 0]  # bit depth, colour type, compression, filter, interlace
PNG_LEVEL = 1  # zlib level; 6 takes half as long again for a few per cent of bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An encoded picture. `sha256` is over `data`, `pixel_sha256` over the raw RGB bytes, row by row."""

    data: bytes
    sha256: str
    pixel_sha256: str
    width: int
    height: int

    @classmethod
    def from_pixels(cls, pixels: NDArray[np.uint8], *, source: str, marks: Mapping[str, str]) -> "Picture":
        """Encode an array of shape (height, width, 3) as a PNG marked as machine-made before its first hash.

        `source` is an IPTC digital source type; `marks` are further PNG text entries (model, licence, scene).
        """
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise ValueError(f"a picture is uint8 of shape (height, width, 3), not {pixels.dtype} {pixels.shape}")
        _refuse_size(pixels.shape[1], pixels.shape[0])
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", _xmp(source))
        for key in sorted(marks):
            text.add_itxt(key, marks[key])
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG", compress_level=PNG_LEVEL, pnginfo=text)
        return cls._of(buffer.getvalue(), np.ascontiguousarray(pixels))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Picture":
        """Read an encoded picture; ValueError when it is none as this module knows them, whole and nothing more."""
        return cls._of(data, decode(data))

    @classmethod
    def _of(cls, data: bytes, pixels: NDArray[np.uint8]) -> "Picture":
        return cls(
            data=data,
            sha256=hashlib.sha256(data).hexdigest(),
            pixel_sha256=hashlib.sha256(pixels.tobytes()).hexdigest(),
            width=pixels.shape[1],
            height=pixels.shape[0],
        )

    def pixels(self) -> NDArray[np.uint8]:
        """The picture as uint8 of shape (height, width, 3)."""
        return decode(self.data)

    def bare_data(self) -> bytes:
        """The PNG with the same pixels, bit for bit, and nothing that tells where it is from: no text or profile."""
        parts = (_part(kind, content) for kind, content in _chunks(self.data) if kind in _PIXEL_PARTS)
        return _SIGNATURE + b"".join(parts)

    def marks(self) -> dict[str, str]:
        """The PNG text entries, those that `from_pixels` was given among them."""
        with Image.open(io.BytesIO(self.data)) as image:
            image.load()
            return {str(key): value for key, value in image.info.items() if isinstance(value, str)}


def decode(data: bytes) -> NDArray[np.uint8]:
    """RGB pixels, uint8 of shape (height, width, 3); ValueError when the bytes are no whole picture.

    What the file claims is looked at before memory is taken for it.
    """
    try:
        _refuse_other_kinds(data)
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            return np.asarray(image, dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, LookupError, struct.error, zlib.error) as error:
        raise ValueError(f"not a whole picture: {error}") from error


def _refuse_other_kinds(data: bytes) -> None:
    """ValueError unless the bytes are a PNG of one still of 8-bit RGB, every part of it whole, and nothing more."""
    if len(data) > LARGEST_BYTES:
        raise ValueError(f"it has {len(data):,} bytes, more than {LARGEST_BYTES:,}")
    chunks = list(_chunks(data))
    kinds = [kind for kind, _ in chunks]
    if kinds[:1] != [b"IHDR"] or len(chunks[0][1]) != _HEADER.size or kinds.count(b"IHDR") > 1:
        raise ValueError(f"it is no PNG; it begins with {data[:12]!r}")
    width, height, *kind = _HEADER.unpack(chunks[0][1])
    _refuse_size(width, height)
    if kind != _PLAIN_RGB or b"tRNS" in kinds:
        raise ValueError("it is another kind of PNG than 8-bit RGB, without transparency, not interlaced")
    if b"acTL" in kinds:
        raise ValueError("it is animated")
    if any(_orientation(content) != _UPRIGHT for kind, content in chunks if kind == b"eXIf"):
        raise ValueError("its EXIF says that it is shown turned or mirrored; turn its pixels and leave that out")
    _refuse_other_amounts(b"".join(content for kind, content in chunks if kind == b"IDAT"), height * (1 + 3 * width))


def _refuse_other_amounts(compressed: bytes, wanted: int) -> None:
    """ValueError unless there are pixels for every row and none are left over."""
    stream = zlib.decompressobj()
    found = len(stream.decompress(compressed, wanted + 1))
    if found != wanted or not stream.eof or stream.unused_data:
        raise ValueError(f"it has other pixels than its size says: {found:,} bytes of {wanted:,}")


def _orientation(exif: bytes) -> int:
    """How EXIF says that pixels are turned, 1 for not at all: viewers heed it, and readers of pixels do not."""
    order = _TIFF_ORDERS.get(exif[:4])
    if order is None:
        return _UPRIGHT
    (place,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, place)
    for entry in range(count):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, place + 2 + 12 * entry)
        if tag == _ORIENTATION:
            return int(value)
    return _UPRIGHT


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the chunks of a PNG; ValueError when one is torn, or IEND is not the end."""
    place, kind = len(_SIGNATURE), b""
    if data[:place] != _SIGNATURE:
        return
    while kind != b"IEND":
        if place + 12 > len(data):
            raise ValueError(f"it ends after {len(data):,} bytes, before its own end")
        (length,) = struct.unpack_from(">I", data, place)
        end = place + 12 + length
        kind, content = data[place + 4 : place + 8], data[place + 8 : end - 4]
        if end > len(data) or zlib.crc32(kind + content) != struct.unpack_from(">I", data, end - 4)[0]:
            raise ValueError(f"its part at byte {place} is torn")
        yield kind, content
        place = end
    if place != len(data):
        raise ValueError(f"{len(data) - place:,} bytes follow its end")


def _part(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _refuse_size(width: int, height: int) -> None:
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        raise ValueError(f"it is {width:,} x {height:,} pixels, not 1 to {LARGEST_SIDE:,} a side")


def _xmp(source: str) -> str:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/{source}"/>'
        "</rdf:RDF></x:xmpmeta>"
    )
