"""How often the nearest category is the right one, the shipped topics held out one by one, by several kinds of vectors.

The wordbook is what `flows.topics.placing` goes by; the others are what it was chosen over. A category is the sum of
its other topics and its own words, as there.
"""

import asyncio
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np

from flows.topics.alike import fold_name
from flows.topics.catalogue import TopicEntry, normalise_name, read_catalogue
from flows.topics.placing import OWN_WORDS
from flows.topics.wordbook import Vectors, read_wordbook, to_unit
from models.descriptor_encoder import DescriptorEncoder
from models.embedding import Embedding, EmbedRequest, Encoder
from models.scene_clip_encoder import SceneClipEncoder

Embed: TypeAlias = Callable[[Sequence[str]], Vectors]


CERTAIN = 3
"""One topic in so many is looked at by itself: those whose place is the most certain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Shares of the topics whose nearest category and domain are their own: of all, and of the most certain ones.

    `certain_from` is what similarity and lead over the next category add up to for these, at least.
    """

    name: str
    category: float
    domain: float
    certain_from: float
    certain_category: float
    certain_domain: float


def hold_out(name: str, embed: Embed, entries: Sequence[TopicEntry]) -> HeldOut:
    """Each topic is placed by all others."""
    paths = sorted({(entry.domain, entry.category) for entry in entries})
    places = {path: number for number, path in enumerate(paths)}
    own = np.array([places[entry.domain, entry.category] for entry in entries])
    vectors = embed([entry.name for entry in entries])
    sums = OWN_WORDS * embed([f"{domain} {category}" for domain, category in paths])
    np.add.at(sums, own, vectors)
    near = vectors @ to_unit(sums).T
    rows = np.arange(len(entries))
    near[rows, own] = np.einsum("ij,ij->i", to_unit(sums[own] - vectors), vectors)
    order = np.sort(near, axis=1)
    score = 2 * order[:, -1] - order[:, -2]
    best = near.argmax(axis=1)
    domains = np.array([sorted({path[0] for path in paths}).index(path[0]) for path in paths])
    right, right_domain = best == own, domains[best] == domains[own]
    certain_from = float(np.quantile(score, 1 - 1 / CERTAIN))
    chosen = score >= certain_from
    return HeldOut(
        name=name,
        category=float(right.mean()),
        domain=float(right_domain.mean()),
        certain_from=certain_from,
        certain_category=float(right[chosen].mean()),
        certain_domain=float(right_domain[chosen].mean()),
    )


def compare() -> list[HeldOut]:
    """The wordbook beside a small CLIP, hashed words, and shared pieces of words."""
    entries = read_catalogue()
    ways: dict[str, Embed] = {
        "words of the wordbook": read_wordbook().embed,
        "pieces of words (tf-idf)": _embed_pieces(entries),
        "encoder scene_clip": _embed_by(SceneClipEncoder()),
        "encoder descriptor": _embed_by(DescriptorEncoder()),
    }
    return [hold_out(name, embed, entries) for name, embed in ways.items()]


def table(found: Sequence[HeldOut]) -> list[str]:
    """The comparison as lines."""
    lines = [f"{'nearest category by':28} category   domain   certain third: from   category   domain"]
    for each in found:
        certain = f"{each.certain_from:21.2f} {each.certain_category:10.1%} {each.certain_domain:8.1%}"
        lines.append(f"{each.name:28} {each.category:8.1%} {each.domain:8.1%} {certain}")
    return lines


def _embed_by(encoder: Encoder) -> Embed:
    who = encoder.identity

    async def ask(texts: Sequence[str]) -> list[Embedding]:
        return [
            await encoder.embed(EmbedRequest(model=who.name, revision=who.revision, subject=text)) for text in texts
        ]

    return lambda texts: np.array([found.vector for found in asyncio.run(ask(texts))], dtype=np.float64)


def _embed_pieces(entries: Sequence[TopicEntry]) -> Embed:
    """Words and their pieces of three and four letters, the rare ones counting more."""
    known = [_pieces(entry.name) for entry in entries]
    spread = Counter(piece for pieces in known for piece in pieces)
    columns = {piece: number for number, piece in enumerate(sorted(spread))}

    def embed(texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), len(columns)), dtype=np.float32)
        for row, text in enumerate(texts):
            for piece, count in _pieces(text).items():
                if piece in columns:
                    vectors[row, columns[piece]] = count * math.log((1 + len(known)) / (1 + spread[piece]) + 1)
        return to_unit(cast("Vectors", vectors))  # in float32, since there are many pieces

    return embed


def _pieces(text: str) -> Counter[str]:
    words = [fold_name(word) for word in re.findall(r"\w+", normalise_name(text))]
    framed = [f"<{word}>" for word in words]
    grams = (word[at : at + size] for word in framed for size in (3, 4) for at in range(len(word) - size + 1))
    return Counter([*framed, *framed, *grams])
