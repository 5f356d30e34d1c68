"""What changed between two drafts, word by word. Texts in, pieces out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, TypeAlias

Change: TypeAlias = Literal["same", "gone", "new"]

_WORDS = re.compile(r"\s+|\w+|[^\w\s]")
MOST_WORDS = 3000
"""Longer texts are told as one gone and one new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of words that stayed, went or came."""

    change: Change
    text: str


def diff_words(before: str, after: str) -> list[Piece]:
    """The pieces in order: `after` is what the same and new ones make together, `before` the same and gone ones."""
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    if max(len(old), len(new)) > MOST_WORDS:
        return [Piece(change="gone", text=before), Piece(change="new", text=after)]
    return list(_pieces(old, new))


def _pieces(old: list[str], new: list[str]) -> Iterator[Piece]:
    for tag, start, end, new_start, new_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            yield Piece(change="same", text="".join(old[start:end]))
            continue
        if end > start:
            yield Piece(change="gone", text="".join(old[start:end]))
        if new_end > new_start:
            yield Piece(change="new", text="".join(new[new_start:new_end]))
