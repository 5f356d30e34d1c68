"""What changed between two drafts, word by word. Texts in, pieces out."""

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Change: TypeAlias = Literal["same", "gone", "new"]

_WORDS = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")
"""A word, or a sign, with the space before it."""
MOST_WORDS = 3000
"""Texts of more words are told as one gone and one new."""


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
    return list(_joined(_pieces(old, new)))


def find_common(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Places in both, in order, of a longest sequence of words that stands in both.

    One whole number holds a column of the table that is usually filled cell by cell, so each word of `new` costs a few
    operations on a number of as many bits as `old` has words, whatever the words are.
    """
    places: dict[Hashable, int] = {}
    for at, word in enumerate(old):
        places[word] = places.get(word, 0) | 1 << at
    full = (1 << len(old)) - 1
    columns = [full]
    for word in new:
        column = columns[-1]
        hit = column & places.get(word, 0)
        columns.append(((column + hit) | (column - hit)) & full)
    return _walk_back(columns, len(old))[::-1]


def _walk_back(columns: Sequence[int], row: int) -> list[tuple[int, int]]:
    """The pairs from the last to the first; an unset bit says that the word of its row makes the sequence longer."""
    found: list[tuple[int, int]] = []
    at = len(columns) - 1
    while row and at:
        if columns[at] >> (row - 1) & 1:
            row -= 1
        elif columns[at - 1] >> (row - 1) & 1:
            found.append((row - 1, at - 1))
            row, at = row - 1, at - 1
        else:
            at -= 1
    return found


def _pieces(old: list[str], new: list[str]) -> Iterator[Piece]:
    """Pieces of which neighbours may be alike."""
    done, shown = 0, 0
    for at, place in [*find_common(old, new), (len(old), len(new))]:
        yield from _changed("".join(old[done:at]), "".join(new[shown:place]))
        yield Piece(change="same", text="".join(old[at : at + 1]))
        done, shown = at + 1, place + 1


def _changed(gone: str, new: str) -> Iterator[Piece]:
    """What stands between two words that stayed; the space that both begin with has not changed."""
    space = gone[: len(gone) - len(gone.lstrip())]
    if not new.startswith(space) or new[len(space) : len(space) + 1].isspace():
        space = ""
    yield Piece(change="same", text=space)
    yield Piece(change="gone", text=gone.removeprefix(space))
    yield Piece(change="new", text=new.removeprefix(space))


def _joined(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The same without empty ones, and with neighbours of one kind made one."""
    change: Change = "same"
    texts: list[str] = []
    for piece in pieces:
        if piece.text and piece.change != change:
            if texts:
                yield Piece(change=change, text="".join(texts))
            change, texts = piece.change, []
        if piece.text:
            texts.append(piece.text)
    if texts:
        yield Piece(change=change, text="".join(texts))
