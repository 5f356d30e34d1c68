"""Which drawings scenes are made of, by all their names, and which of them training never sees."""

import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass

import emoji
from open_clip.tokenizer import SimpleTokenizer

from models.scene_lexicon import Lexicon, NamedDrawing, split_words, synonyms
from models.scene_words import (
    COLOURS,
    COUNTS,
    EXTRA_DRAWINGS,
    GROUNDS,
    LIGHTS,
    RELATIONS,
    SIDES,
    SIZES,
    STOP_WORDS,
    TABLES,
    VAGUE_COUNTS,
    ZONE_WORDS,
)

HELD_OUT_ONE_IN = 10
WORDS = 12_000  # of the commonest English words that can stand in the gaps of a caption


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A drawing and the names that captions may call it by; `common` ones have an everyday name beside Unicode's."""

    drawing: NamedDrawing
    names: tuple[str, ...]
    common: bool


def is_held_out(codepoint: str) -> bool:
    """Whether training never sees a drawing: one in ten, by a hash of its code."""
    return int(hashlib.sha256(codepoint.encode()).hexdigest(), 16) % HELD_OUT_ONE_IN == 0


def list_subjects(lexicon: Lexicon) -> list[Subject]:
    """All drawings that the painter can name, in order of their codes."""
    found: dict[str, NamedDrawing] = {}
    names: defaultdict[str, set[str]] = defaultdict(set)
    everyday = {alias for alias, _ in synonyms()}
    official = {str(entry["en"]).strip(":").replace("_", " ") for entry in emoji.EMOJI_DATA.values()}
    for name in everyday | official | set(EXTRA_DRAWINGS):
        drawing = lexicon.find(tuple(split_words(name)))
        if drawing is not None:
            found[drawing.codepoint] = drawing
            names[drawing.codepoint].add(name.replace("\u2019", "'"))
    return [
        Subject(drawing=found[code], names=tuple(sorted(names[code])), common=bool(names[code] & everyday))
        for code in sorted(found)
    ]


def list_words(lexicon: Lexicon) -> tuple[str, ...]:
    """Common English words, the commonest first, that mean nothing to the painter."""
    pieces = SimpleTokenizer().encoder
    whole = [piece.removesuffix("</w>") for piece in pieces if re.fullmatch(r"[a-z]{3,14}</w>", piece)]
    known = _words_of_the_painter()
    return tuple(word for word in whole[:WORDS] if word not in known and lexicon.match([word], 0) is None)


def _words_of_the_painter() -> frozenset[str]:
    texts = [*STOP_WORDS, *COUNTS, *VAGUE_COUNTS, *COLOURS, *SIZES, *ZONE_WORDS, *TABLES, *RELATIONS, *SIDES]
    texts += [*GROUNDS.values(), *LIGHTS.values(), "background backdrop"]
    single = {word for text in texts for word in text.split()}
    return frozenset(single | {f"{word}s" for word in single})
