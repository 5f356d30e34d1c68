"""What changed between drafts: nothing is lost, as much as can stays, and no text makes it dear."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from flows.gallery.worddiff import MOST_WORDS, Piece, diff_words, find_common

TEXTS = st.text(alphabet="ab ,\n\u00a0", max_size=30)
WORDS = st.lists(st.sampled_from("abc"), max_size=12)


class Counted:
    """A word that counts how often any like it was looked at."""

    looked = 0

    def __init__(self, name: int) -> None:
        self.name = name

    def __hash__(self) -> int:
        Counted.looked += 1
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        Counted.looked += 1
        return isinstance(other, Counted) and self.name == other.name


@given(TEXTS, TEXTS)
def test_pieces_make_both_texts_and_neighbours_differ(before: str, after: str) -> None:
    pieces = diff_words(before, after)
    assert "".join(each.text for each in pieces if each.change != "new") == before
    assert "".join(each.text for each in pieces if each.change != "gone") == after
    assert all(each.text for each in pieces)
    assert all(one.change != other.change for one, other in pairwise(pieces))


@given(WORDS, WORDS)
def test_as_many_words_as_can_stay(old: list[str], new: list[str]) -> None:
    pairs = find_common(old, new)
    assert all(old[at] == new[place] for at, place in pairs)
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(pairs))
    most = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for at, word in enumerate(old):
        for place, other in enumerate(new):
            longer = most[at][place] + 1 if word == other else 0
            most[at + 1][place + 1] = max(longer, most[at][place + 1], most[at + 1][place])
    assert len(pairs) == most[-1][-1]


def test_hostile_words_are_looked_at_no_oftener_than_others() -> None:
    for old, new in ((range(400), range(400, 800)), ([0] * 400, [0, 1] * 200), ([0, 1] * 200, [1, 0, 2, 1] * 100)):
        Counted.looked = 0
        find_common([Counted(name) for name in old], [Counted(name) for name in new])
        assert Counted.looked <= 8 * 400, "each word is looked up, and found"


def test_longer_texts_are_told_whole() -> None:
    long = "word " * (MOST_WORDS + 1)
    assert diff_words(long, "word") == [Piece(change="gone", text=long), Piece(change="new", text="word")]
    assert diff_words("word", long)[0] == Piece(change="gone", text="word")
    assert diff_words("word " * 5, "word " * 6) != [Piece(change="gone", text="word " * 5)]
