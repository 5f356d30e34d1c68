"""A picture: PNG bytes that carry their own marks, and the hashes they are known by."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

# IPTC digital source types (https://cv.iptc.org/newscodes/digitalsourcetype/).
TRAINED_ALGORITHMIC = "trainedAlgorithmicMedia"
ALGORITHMIC = "algorithmicMedia"

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
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", _xmp(source))
        for key in sorted(marks):
            text.add_itxt(key, marks[key])
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG", compress_level=PNG_LEVEL, pnginfo=text)
        return cls._of(buffer.getvalue(), np.ascontiguousarray(pixels))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Picture":
        """Read an encoded picture; ValueError when it does not decode completely."""
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

    def marks(self) -> dict[str, str]:
        """The PNG text entries, those that `from_pixels` was given among them."""
        with Image.open(io.BytesIO(self.data)) as image:
            image.load()
            return {str(key): value for key, value in image.info.items() if isinstance(value, str)}


def decode(data: bytes) -> NDArray[np.uint8]:
    """RGB pixels, uint8 of shape (height, width, 3); ValueError when the bytes are no whole picture."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"not a whole picture: {error}") from error


def _xmp(source: str) -> str:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/{source}"/>'
        "</rdf:RDF></x:xmpmeta>"
    )
