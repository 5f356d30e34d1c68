"""Embeds pictures by what they look like and texts by their words, without any learned weights.

A picture's vector and a text's vector are NOT comparable: each kind has a space of its own, in the same 512 numbers.
Meant for near-duplicates. All sums are over integers or correctly rounded, so the bytes repeat on every machine.
"""

import asyncio
import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.embedding import Embedding, EmbedRequest, Vector
from models.fingerprint import versions_of
from models.identity import ModelIdentity
from models.picture import Picture
from models.refusal import refuse_another_model
from models.scene_words import STOP_WORDS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

DIMS = 512
_SIDE = 32  # pixels of the thumbnail that is transformed
_LUMA = (16, 15)  # frequencies kept, down and across
_CHROMA = (6, 6)
_CELLS = 4  # gradient cells a side, eight directions each
_BINS = (6, 4, 3)  # luma, blue and red difference
# Shares of the blocks in the vector's length: luma, chroma (two), directions, colours.
_SHARES = (1.0, 0.55, 0.8, 0.55)
_WORD, _STOP_WORD, _PAIR, _GRAM = 8, 1, 4, 1  # weights of the features of a text


class DescriptorEncoder:
    """An `Encoder` of 512 numbers: a perceptual descriptor for pictures, signed feature hashing for texts.

    A text without any word has the fixed vector (1, 0, 0, …).
    """

    def __init__(self) -> None:
        self._identity = ModelIdentity(
            name="descriptor",
            revision="1",
            licence="Apache-2.0",
            fingerprint=versions_of("numpy", "pillow") | {"device": "cpu"},
        )

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    @property
    def at_once(self) -> int:
        return 2

    @property
    def dims(self) -> int:
        return DIMS

    async def embed(self, request: EmbedRequest) -> Embedding:
        """The vector of a picture or a text; TerminalError when another model is asked for."""
        refuse_another_model(request.model, request.revision, self._identity)
        subject = request.subject
        if isinstance(subject, str):
            return Embedding(vector=describe_text(subject))
        return Embedding(vector=await asyncio.to_thread(describe_picture, subject))


def describe_picture(picture: Picture) -> Vector:
    """Float32 of shape (512,), unit norm: low frequencies, gradient directions and colours of a 32 pixel thumbnail."""
    whole = Image.fromarray(picture.pixels())
    small = whole.resize((_SIDE, _SIDE), Image.Resampling.BOX).convert("YCbCr")
    detail = whole.convert("L").resize((2 * _SIDE, 2 * _SIDE), Image.Resampling.BOX)
    planes = np.asarray(small, dtype=np.int64)
    blocks = [
        (_frequencies(planes[:, :, 0], _LUMA), _SHARES[0]),
        (np.concatenate([_frequencies(planes[:, :, plane], _CHROMA) for plane in (1, 2)]), _SHARES[1]),
        (_directions(np.asarray(detail, dtype=np.int64)), _SHARES[2]),
        (_colours(planes), _SHARES[3]),
    ]
    return _unit(np.concatenate([_scaled(block, share) for block, share in blocks]))


def describe_text(text: str) -> Vector:
    """Float32 of shape (512,), unit norm: signed hashes of words, pairs of words and runs of 3 to 5 letters."""
    sums = np.zeros(DIMS, dtype=np.int64)
    for feature, weight in _features(re.findall(r"\w+", text.lower())).items():
        digest = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "big")
        sums[digest % DIMS] += weight if digest >> 63 else -weight
    if not sums.any():
        sums[0] = 1
    return _unit(sums.astype(np.float64))


def _features(words: list[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for word in words:
        known = word in STOP_WORDS
        found[f"w:{word}"] += _STOP_WORD if known else _WORD
        if not known:
            found.update({f"g:{gram}": _GRAM for gram in _grams(f"<{word}>")})
    for first, second in pairwise(words):
        both = first in STOP_WORDS and second in STOP_WORDS
        found[f"p:{first} {second}"] += _STOP_WORD if both else _PAIR
    return found


def _grams(word: str) -> Iterable[str]:
    return [word[start : start + size] for size in (3, 4, 5) for start in range(len(word) - size + 1)]


def _frequencies(plane: Ints, kept: tuple[int, int]) -> Floats:
    """The lowest coefficients of a cosine transform of a square plane, flattened, evened out over the frequencies."""
    down, across = _cosines(kept[0], plane.shape[0]), _cosines(kept[1], plane.shape[1])
    rows = np.sum(down[:, :, None] * (plane - 128)[None, :, :], axis=1)
    sums = np.sum(rows[:, None, :] * across[None, :, :], axis=2)
    frequency = np.arange(kept[0])[:, None] + np.arange(kept[1])[None, :]
    evened = np.sign(sums) * np.sqrt(np.abs(sums).astype(np.float64) * (0.5 + frequency))
    return np.asarray(evened, dtype=np.float64).reshape(-1)


def _cosines(kept: int, size: int) -> Ints:
    """Integer cosines (scaled by 2^12) of shape (kept, size)."""
    angles = [
        [math.cos(math.pi * wave * (2 * place + 1) / (2 * size)) for place in range(size)] for wave in range(kept)
    ]
    return np.array([[round(4096 * value) for value in row] for row in angles], dtype=np.int64)


def _directions(plane: Ints) -> Floats:
    """Eight gradient directions in each cell, centred on the cell's mean."""
    across = plane[1:-1, 2:] - plane[1:-1, :-2]
    down = plane[2:, 1:-1] - plane[:-2, 1:-1]
    strength = np.abs(across) + np.abs(down)
    octant = 4 * (across < 0) + 2 * (down < 0) + (np.abs(across) < np.abs(down))
    size = plane.shape[0] // _CELLS
    place = np.minimum(np.arange(strength.shape[0]) // size, _CELLS - 1)
    cell = place[:, None] * _CELLS + place[None, :]
    counts = np.bincount((cell * 8 + octant).reshape(-1), weights=strength.reshape(-1), minlength=_CELLS * _CELLS * 8)
    roots = np.sqrt(counts)
    overall = math.fsum(roots.tolist()) / len(roots)
    return np.asarray(roots - overall, dtype=np.float64)


def _colours(planes: Ints) -> Floats:
    """A soft histogram over luma, blue and red difference, less what an even spread would give."""
    counts = np.zeros(_BINS, dtype=np.int64)
    spread = [_shared_bins(planes[:, :, plane].reshape(-1), bins, plane) for plane, bins in enumerate(_BINS)]
    for luma, luma_share in spread[0]:
        for blue, blue_share in spread[1]:
            for red, red_share in spread[2]:
                np.add.at(counts, (luma, blue, red), luma_share * blue_share * red_share)
    roots = np.sqrt(counts.reshape(-1).astype(np.float64))
    return np.asarray(roots - math.fsum(roots.tolist()) / len(roots), dtype=np.float64)


def _shared_bins(values: Ints, bins: int, plane: int) -> list[tuple[Ints, Ints]]:
    """The two nearest bins of each value with their shares, which add up to 64."""
    low, high = (0, 255) if plane == 0 else (78, 178)  # the differences hardly ever leave the middle
    place = (np.clip(values, low, high) - low) * (bins - 1) * 64 // (high - low)
    lower = np.minimum(place // 64, bins - 2)
    upper_share = place - lower * 64
    return [(lower, 64 - upper_share), (lower + 1, upper_share)]


def _scaled(block: Floats, share: float) -> Floats:
    """The block at length `share`, or nought where it is flat."""
    length = math.sqrt(math.fsum((block * block).tolist()))
    return block * (share / length) if length > 0 else block


def _unit(values: Floats) -> Vector:
    length = math.sqrt(math.fsum((values * values).tolist()))
    return (values / length).astype(np.float32)
