"""Which names are probably one topic written twice. For reports: identity itself is `catalogue.normalise_name`."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from flows.topics.catalogue import normalise_name

ARTICLES = frozenset({"a", "an", "the"})
# Singular words that end like plurals.
SINGULAR = frozenset({"atlas", "canvas", "christmas", "gas", "lens", "pancreas"})
IRREGULAR = {
    "cacti": "cactus",
    "calves": "calf",
    "children": "child",
    "dice": "die",
    "dwarves": "dwarf",
    "elves": "elf",
    "emus": "emu",
    "feet": "foot",
    "geese": "goose",
    "halves": "half",
    "hooves": "hoof",
    "kiwis": "kiwi",
    "knives": "knife",
    "leaves": "leaf",
    "loaves": "loaf",
    "menus": "menu",
    "mice": "mouse",
    "oxen": "ox",
    "people": "person",
    "scarves": "scarf",
    "shelves": "shelf",
    "skis": "ski",
    "taxis": "taxi",
    "teeth": "tooth",
    "thieves": "thief",
    "wives": "wife",
    "wolves": "wolf",
}
SIBILANT_PLURALS = ("ses", "xes", "zes", "ches", "shes", "oes")
SIBILANT_SINGULARS = ("se", "xe", "ze", "che", "she", "oe")


def fold_name(name: str) -> str:
    """A key that is equal for names which differ only by case, article, English plural, hyphen or word order."""
    words = [_trim(word) for word in normalise_name(name).replace("-", " ").split()]
    telling = sorted(_fold_word(word) for word in words if word and word not in ARTICLES)
    return " ".join(telling) or normalise_name(name)


def find_alike(names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Groups of two or more names with one `fold_name`; groups and names stand in the order of first appearance."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[fold_name(name)].append(name)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _trim(word: str) -> str:
    """A word without punctuation at its ends, and without a possessive ending."""
    word = word.replace("\u2019", "'").removesuffix("'s")
    while word and unicodedata.category(word[0]).startswith("P"):
        word = word[1:]
    while word and unicodedata.category(word[-1]).startswith("P"):
        word = word[:-1]
    return word


def _fold_word(word: str) -> str:
    """A stem, not always a word: equal for a noun and its plural ("berri" for berry and berries)."""
    return _fold_end(strip_plural(word))


def strip_plural(word: str) -> str:
    """The singular of an English plural, or something like it: equal for words that are one."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word.endswith("men"):
        return word[:-2] + "an"
    if word in SINGULAR or len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    return word[:-2] if word.endswith(SIBILANT_PLURALS) else word[:-1]


def _fold_end(word: str) -> str:
    if len(word) > 2 and word.endswith("ie"):
        return word[:-1]
    if len(word) > 2 and word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "i"
    return word[:-1] if len(word) > 2 and word.endswith(SIBILANT_SINGULARS) else word
