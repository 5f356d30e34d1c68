"""How well measures of likeness tell names of one thing from names of two: the reasons for `flows/topics/likeness.py`.

Distinct are the shipped topics, each with its nearest other one; the same are PAIRS, written by hand before anything
was measured. Run it by `.venv/bin/python -m tests.benchmarks.likeness`: a line for each measure and threshold.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from flows.topics.alike import fold_name
from flows.topics.catalogue import read_catalogue
from flows.topics.likeness import MEANING
from flows.topics.wordbook import read_wordbook, to_unit
from models.embedding import EmbedRequest
from models.scene_clip_encoder import SceneClipEncoder
from storage.wording import content_stems

Vectors = NDArray[np.float64]
THRESHOLDS = (0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
EVERY = 3
"""The small CLIP reads each third name: it takes them one by one."""

_PAIRS = """
sea turtle|marine turtle;bicycle wheel|wheel of a bicycle;grey wolf|gray wolf;tomato soup|soup made of tomatoes;
car repair|repairing a car;old lighthouse|ancient lighthouse;snow-covered mountain|snowy mountain;
cup of tea|teacup with tea;street musician|musician on the street;wooden bridge|bridge made of wood;
birthday cake|cake for a birthday;hot-air balloon|hot air balloon ride;fishing boat|boat for fishing;
rose garden|garden of roses;sand castle|castle of sand;polar bear|white polar bear;apple pie|homemade apple pie;
fire engine|fire truck;sofa|couch;autumn leaves|fall leaves;spectacles|eyeglasses;aeroplane|airplane;lorry|truck;
rabbit|bunny;rain forest|tropical rain forest;coffee shop|cafe;farmers market|farmer's market stall;
train station|railway station;film camera|movie camera;kitchen knife|chef's knife;honey bee|honeybees;
peacock feather|feather of a peacock;full moon|the full moon at night;pottery|making pottery;violin|playing the violin;
chess|game of chess;school bus|yellow school bus;volcano|erupting volcano;waterfall|big waterfall;
stone wall|wall of stones
"""
PAIRS = [(one, other) for pair in _PAIRS.replace("\n", "").split(";") for one, _, other in [pair.partition("|")]]


def embed_by_stems(names: Sequence[str], stems: dict[str, int]) -> Vectors:
    """Unit vectors with a number for each stem."""
    table = np.zeros((len(names), len(stems)))
    for row, name in enumerate(names):
        table[row, [stems[stem] for stem in content_stems(name)]] = 1
    return to_unit(table)


def embed_by_clip(names: Sequence[str]) -> Vectors:
    """Vectors of the text side of the small CLIP."""
    encoder = SceneClipEncoder()
    who = {"model": encoder.identity.name, "revision": encoder.identity.revision}

    async def all_of() -> Vectors:
        found = [(await encoder.embed(EmbedRequest(subject=name, **who))).vector for name in names]
        return np.array(found, dtype=np.float64)

    return asyncio.run(all_of())


def tell(label: str, names: Sequence[str], embed: Callable[[Sequence[str]], Vectors]) -> None:
    """Print which part of distinct names and of pairs reach each threshold."""
    pairs = [(one, other) for one, other in PAIRS if fold_name(one) != fold_name(other)]
    known = embed(names)
    near = known @ known.T
    np.fill_diagonal(near, -1)
    nearest = near.max(axis=1)
    same = np.sum(embed([one for one, _ in pairs]) * embed([other for _, other in pairs]), axis=1)
    sys.stdout.write(f"{label}: {len(names)} distinct names, {len(pairs)} pairs of one thing\n")
    for threshold in THRESHOLDS:
        gone, found = (nearest >= threshold).mean(), (same >= threshold).mean()
        sys.stdout.write(f"  {threshold:.2f}: {100 * gone:5.1f} % of distinct names, {100 * found:3.0f} % of pairs\n")


def main() -> None:
    names = list(dict.fromkeys(entry.name for entry in read_catalogue()))
    texts = [*names, *(name for pair in PAIRS for name in pair)]
    stems = {stem: at for at, stem in enumerate(sorted({stem for text in texts for stem in content_stems(text)}))}
    book = read_wordbook()

    def mixed(texts: Sequence[str]) -> Vectors:
        by_stems, by_meaning = embed_by_stems(texts, stems), book.embed(texts)
        return np.hstack([np.sqrt(1 - MEANING) * by_stems, np.sqrt(MEANING) * by_meaning])

    tell("shared stems", names, lambda texts: embed_by_stems(texts, stems))
    tell("wordbook", names, book.embed)
    tell("both, as it is used", names, mixed)
    tell("wordbook", names[::EVERY], book.embed)
    tell("small CLIP", names[::EVERY], embed_by_clip)


if __name__ == "__main__":
    main()
