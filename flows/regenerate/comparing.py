"""How an answer differs from the recorded one: words, pixels, numbers. Pure: reads no lake and asks no model."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from models.picture import decode
from storage.canonical import Json
from storage.records import CallRow
from storage.spool import RecordedCall

CONTEXT = 5
"""Tokens that are shown on either side of the first one that differs."""

_TOKEN = re.compile(r"\w+|[^\w\s]")

ANSWER = ("response", "error", "image_sha256", "vector_sha256", "prompt_tokens", "completion_tokens")
"""What of a call is its answer, as its own hash has it."""

Channels = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class FactDrift:
    """A fact of an answer that is another one."""

    name: str
    was: Json
    now: Json

    def lines(self) -> Iterator[str]:
        yield f"{self.name} was {_told(self.was)}, is {_told(self.now)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDrift:
    """The first token (a word or a sign, counted from 1) in which texts differ; None where a text ends before it.

    With `index` None all tokens are the same, and the space between them is not. `*_around` are the texts about there.
    """

    index: int | None
    was: str | None
    now: str | None
    was_around: str
    now_around: str

    def lines(self) -> Iterator[str]:
        if self.index is None:
            yield "the same words and signs, with other space between them"
        else:
            yield f"token {self.index} was {_token_told(self.was)}, is {_token_told(self.now)}"
        yield f"  was: {self.was_around}"
        yield f"  is:  {self.now_around}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelDrift:
    """How many pixels differ, of how many, and by how much of 255: the largest difference of each channel (red, green,
    blue), and the mean over all pixels. None of them where only the file differs."""

    differing: int
    of: int
    largest: tuple[int, int, int]
    mean: Channels

    def lines(self) -> Iterator[str]:
        if not self.differing:
            yield "the file's bytes differ, and no pixel does"
            return
        share = 100 * self.differing / self.of
        yield f"{self.differing} of {self.of} pixels differ ({share:.3g} %)"
        largest, mean = "/".join(map(str, self.largest)), "/".join(f"{each:.3g}" for each in self.mean)
        yield f"red/green/blue differ by {largest} of 255 at most, by {mean} on average over all pixels"


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorDrift:
    """The cosine of two vectors, and the largest difference of a number."""

    cosine: float
    largest: float

    def lines(self) -> Iterator[str]:
        yield f"cosine {self.cosine:.9f}, numbers differ by {self.largest:.3g} at most"


Drift = FactDrift | TextDrift | PixelDrift | VectorDrift


def compare_answers(recorded: RecordedCall, now: RecordedCall) -> tuple[Drift, ...]:
    """All that differs between two answers to the same request; nothing where they are identical."""
    if all(getattr(recorded.row, name) == getattr(now.row, name) for name in ANSWER):
        return ()
    return tuple(_drifts(recorded, now))


def _drifts(recorded: RecordedCall, now: RecordedCall) -> Iterator[Drift]:
    before, after = recorded.row, now.row
    if (before.error is None) != (after.error is None):
        yield FactDrift(name="the answer", was=_kind(before), now=_kind(after))
        return
    if before.error != after.error:
        yield FactDrift(name="reason of the refusal", was=before.error, now=after.error)
    told, tells = _members(before), _members(after)
    if told.get("text") != tells.get("text"):
        yield compare_texts(str(told.get("text", "")), str(tells.get("text", "")))
    is_same = before.image_sha256 == after.image_sha256
    yield from () if is_same else _picture_drift(recorded, now)
    yield from (
        FactDrift(name=name.replace("_", " "), was=told.get(name), now=tells.get(name))
        for name in sorted((told.keys() | tells.keys()) - {"text", "pixel_sha256", "tokens"})
        if told.get(name) != tells.get(name)
    )
    if told.get("tokens") != tells.get("tokens"):
        yield FactDrift(name="log-probabilities", was="as recorded", now="others")
    if before.vector_sha256 != after.vector_sha256:
        yield from _vector_drift(recorded, now)
    for name, words in (("prompt_tokens", "tokens read"), ("completion_tokens", "tokens written")):
        if getattr(before, name) != getattr(after, name):
            yield FactDrift(name=words, was=getattr(before, name), now=getattr(after, name))


def _members(row: CallRow) -> Mapping[str, Json]:
    told = json.loads(row.response)
    return told if isinstance(told, dict) else {"response": told}


def _kind(row: CallRow) -> str:
    """What came back, in words."""
    if row.error is not None:
        return f"refused as {row.error}: {_members(row).get('message')}"
    return "a picture" if row.image_sha256 else "a vector" if row.vector_sha256 else "a text"


def compare_texts(was: str, now: str) -> TextDrift:
    """Where two texts that are not the same first differ."""
    pairs = zip_longest(_TOKEN.finditer(was), _TOKEN.finditer(now))
    for index, (before, after) in enumerate(pairs):
        old, new = (each[0] if each else None for each in (before, after))
        if old != new:
            around = (_around(text, index) for text in (was, now))
            return TextDrift(index=index + 1, was=old, now=new, was_around=next(around), now_around=next(around))
    return _space_drift(was, now)


def _space_drift(was: str, now: str) -> TextDrift:
    same = next((place for place, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), min(len(was), len(now)))
    index = len(_TOKEN.findall(was[:same]))
    return TextDrift(index=None, was=None, now=None, was_around=_around(was, index), now_around=_around(now, index))


def _around(text: str, index: int) -> str:
    """A text from some tokens before one to some after it, on one line, cut ends marked."""
    tokens = list(_TOKEN.finditer(text))
    first, last = max(0, index - CONTEXT), index + CONTEXT
    start = tokens[first].start() if 0 < first < len(tokens) else 0
    end = tokens[last].end() if last < len(tokens) else len(text)
    cut = json.dumps(text[start:end], ensure_ascii=False)[1:-1]
    return f"{'… ' if start else ''}{cut}{' …' if end < len(text) else ''}"


def _picture_drift(recorded: RecordedCall, now: RecordedCall) -> Iterator[Drift]:
    before, after = (decode(call.attachments[call.row.image_sha256 or ""]) for call in (recorded, now))
    if before.shape == after.shape:
        yield compare_pixels(before, after)
    else:
        (height, width, _), (new_height, new_width, _) = before.shape, after.shape
        yield FactDrift(name="size", was=f"{width} x {height}", now=f"{new_width} x {new_height}")


def compare_pixels(was: NDArray[np.uint8], now: NDArray[np.uint8]) -> PixelDrift:
    """How far pictures of one size, uint8 of shape (height, width, 3), are apart."""
    apart = np.abs(was.astype(np.int16) - now.astype(np.int16))
    largest, mean = apart.max(axis=(0, 1)), apart.mean(axis=(0, 1), dtype=np.float64)
    return PixelDrift(
        differing=int(np.count_nonzero(apart.any(axis=2))),
        of=apart.shape[0] * apart.shape[1],
        largest=(int(largest[0]), int(largest[1]), int(largest[2])),
        mean=(float(mean[0]), float(mean[1]), float(mean[2])),
    )


def _vector_drift(recorded: RecordedCall, now: RecordedCall) -> Iterator[Drift]:
    before, after = (
        np.frombuffer(call.attachments[call.row.vector_sha256 or ""], dtype="<f4").astype(np.float64)
        for call in (recorded, now)
    )
    if before.shape == after.shape:
        yield compare_vectors(before, after)
    else:
        yield FactDrift(name="numbers of the vector", was=len(before), now=len(after))


def compare_vectors(was: NDArray[np.float64], now: NDArray[np.float64]) -> VectorDrift:
    """How far vectors of one length are apart; neither is zero."""
    cosine = float(was @ now / np.sqrt((was @ was) * (now @ now)))
    return VectorDrift(cosine=cosine, largest=float(np.abs(was - now).max()))


def _told(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _token_told(token: str | None) -> str:
    return "the end" if token is None else json.dumps(token, ensure_ascii=False)
