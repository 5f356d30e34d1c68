"""How texts are compared by their words: crude English stems, so that `wolves` meets `wolf` and `baking` meets `bakes`.
It errs towards "same", and knows nothing of turns, lakes and models.

What is changed here changes `flows.seir.checks` (raise its CHECKS_VERSION) and `storage.redundancy` (its MEASURE).
"""

import re
from functools import lru_cache

REMEMBERED = 1024
"""Texts whose words are kept at hand: each turn of a dialogue is compared with all others."""

WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_FUNCTION_WORDS = frozenset(
    WORD.findall(
        "a about after all also an and any are around as at be been before being beside between but by can could did "
        "do does down each every for from had has have he her here his how i if in into is it its just like made make "
        "many may me might more most much my near no nor not of off on one only or other our out over own please she "
        "should so some such than that the their them then there these they this those through to too under up us "
        "very was we were what when where which while who why will with would you your one two three four five few "
        "answer describe explain line lines sentence sentences tell word words write"
    )
)
PICTURE_WORDS = frozenset(
    WORD.findall(
        "picture pictures image images drawing drawings draw drawn sketch illustrate illustrated illustration paint "
        "painted painting photo photograph show depict poster diagram visual"
    )
)
_VES_STEMS = frozenset(WORD.findall("cal el hal kni lea li loa scar sel shel thie wi wol"))  # of calves, elves, …
_UNTOLD = _FUNCTION_WORDS | PICTURE_WORDS


def shared_words(one: str, other: str) -> float:
    """How much two texts say the same: stems of meaning in both by those in either, from 0 to 1, whatever their order.

    Texts that are equal but for case, digits and punctuation have exactly 1.0; others without such a stem 0.0.
    """
    if (words_only(one) or one) == (words_only(other) or other):
        return 1.0
    a, b = content_stems(one), content_stems(other)
    return len(a & b) / len(a | b) if a or b else 0.0


def stem_of(word: str) -> str:
    """A crude English stem: `wolves` and `wolf`, `cities` and `city`, `baking` and `bakes` come out equal."""
    word = word.casefold().replace("\u2019", "'").removesuffix("'s")
    if word.endswith("ves") and word[:-3] in _VES_STEMS:
        return word[:-3] + "f"
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    for ending, least in (("ing", 6), ("ed", 5), ("es", 5), ("s", 4), ("e", 4)):
        if len(word) >= least and word.endswith(ending) and not word.endswith("ss"):
            return _single_end(word.removesuffix(ending))
    return word


@lru_cache(maxsize=REMEMBERED)
def content_stems(text: str) -> frozenset[str]:
    """The stems of the words that carry meaning, those that speak of pictures left out."""
    words = (word.casefold() for word in WORD.findall(text))
    return frozenset(stem_of(word) for word in words if word not in _UNTOLD and len(word) > 1)


@lru_cache(maxsize=REMEMBERED)
def words_only(text: str) -> str:
    """A text without case, punctuation and digits."""
    return " ".join(word.casefold() for word in WORD.findall(text))


def _single_end(stem: str) -> str:
    """Undo a doubled last letter (`swimm`) and a silent one (`bak`, `bake`)."""
    if len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "aeiouls":
        return stem[:-1]
    return stem.removesuffix("e") if len(stem) > 3 else stem
