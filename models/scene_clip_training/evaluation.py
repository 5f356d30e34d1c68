"""Measures an exported folder on scenes that training has not seen, as it runs in the embedded profile."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray

from models.embedding import Vector
from models.scene_caption import CaptionReading
from models.scene_clip_encoder import SceneClip
from models.scene_clip_training.captions import asks_for, say
from models.scene_clip_training.scenes import Studio
from models.scene_clip_training.specs import EDITS

QUANTILES = (1, 5, 50, 95, 99)
AMONG = 500
PAIRS = 200
_PAINTED = 512  # pixels a side, as the embedded profile draws by default
_SMALL = 160
_UNSEEN_WORDS = "other words around"  # the one edit that no picture shows


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """How often the right one of `among` is the first, or among the first five; every share from 0 to 1."""

    among: int
    image_of_text: tuple[float, float]
    text_of_image: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Similarities of pairs of scenes of one kind: of their pictures, and of their captions."""

    images: NDArray[np.float64]
    texts: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    seen: Retrieval
    unseen: Retrieval
    pairs: dict[str, Pairs]
    mirrored: NDArray[np.float64]
    sizes: NDArray[np.float64]
    matched: NDArray[np.float64]
    mismatched: NDArray[np.float64]


def measure(clip: SceneClip, *, seed: int, among: int = AMONG, pairs: int = PAIRS) -> Measures:
    """All figures of the card; equal seeds draw equal scenes, and none of the training's."""
    seen, unseen = Studio(), Studio(held_out=True)
    images, texts = _embed_scenes(clip, seen, among, seed)
    matched = _dots(images, texts)
    mismatched = _dots(images, np.roll(texts, 1, axis=0))
    mirrored, sizes = _other_looks(clip, seen, pairs, seed + 1)
    return Measures(
        seen=_retrieve(images, texts),
        unseen=_retrieve(*_embed_scenes(clip, unseen, among, seed + 2)),
        pairs=_compare(clip, seen, pairs, seed + 3),
        mirrored=mirrored,
        sizes=sizes,
        matched=matched,
        mismatched=mismatched,
    )


def reach(pairs: Pairs, image_threshold: float, text_threshold: float) -> tuple[float, float, float]:
    """The shares of pairs that reach the image threshold, the text threshold, and both."""
    images, texts = pairs.images >= image_threshold, pairs.texts >= text_threshold
    return float(images.mean()), float(texts.mean()), float((images & texts).mean())


def _embed_scenes(clip: SceneClip, studio: Studio, count: int, seed: int) -> tuple[Vector, Vector]:
    """Vectors of shape (count, dims) of scenes with at least one thing, and of their captions."""
    rng = Generator(PCG64(seed))
    images: list[Vector] = []
    texts: list[Vector] = []
    while len(images) < count:
        spec, caption, reading = studio.draw_spec(rng)
        if spec.things:
            images.append(_look(clip, studio, reading, rng))
            texts.append(clip.embed_text(caption))
    return np.stack(images), np.stack(texts)


def _look(clip: SceneClip, studio: Studio, reading: CaptionReading, rng: Generator) -> Vector:
    canvas = studio.render(reading, int(rng.integers(2**62)), _PAINTED)
    return clip.embed_picture(np.asarray(canvas, dtype=np.uint8))


def _dots(left: Vector, right: Vector) -> NDArray[np.float64]:
    dots: NDArray[np.float64] = np.einsum("ij,ij->i", left.astype(np.float64), right.astype(np.float64))
    return dots


def _retrieve(images: Vector, texts: Vector) -> Retrieval:
    scores = texts @ images.T
    return Retrieval(among=len(images), image_of_text=_found(scores), text_of_image=_found(scores.T))


def _found(scores: Vector) -> tuple[float, float]:
    rank = np.sum(scores > np.diag(scores)[:, None], axis=1)
    return float((rank < 1).mean()), float((rank < 5).mean())


def _compare(clip: SceneClip, studio: Studio, count: int, seed: int) -> dict[str, Pairs]:
    """Each scene against the same again, against itself with each edit, and against the scene before."""
    images: defaultdict[str, list[float]] = defaultdict(list)
    texts: defaultdict[str, list[float]] = defaultdict(list)
    rng = Generator(PCG64(seed))
    last: tuple[Vector, Vector] | None = None
    for _ in range(count):
        spec, _, _ = studio.draw_spec(rng)
        voice = int(rng.integers(2**62))
        said = say(spec, studio.lexicon, Generator(PCG64(voice)))
        if not spec.things or said is None:
            continue
        own = _look(clip, studio, said[1], rng), clip.embed_text(said[0])
        paraphrase = studio.paraphrase(spec, said[1], rng) or said[0]
        others = {"the same, said and drawn again": (_look(clip, studio, said[1], rng), clip.embed_text(paraphrase))}
        for kind in EDITS:
            edited = studio.maker.edit(spec, kind, rng)
            again = say(edited, studio.lexicon, Generator(PCG64(voice))) if edited else None
            if again and (kind == _UNSEEN_WORDS or asks_for(again[1]) != asks_for(said[1])):
                others[kind] = _look(clip, studio, again[1], rng), clip.embed_text(again[0])
        if last:
            others["another scene"] = last
        for kind, (image, text) in others.items():
            images[kind].append(float(own[0] @ image))
            texts[kind].append(float(own[1] @ text))
        last = own
    return {kind: Pairs(images=np.array(images[kind]), texts=np.array(texts[kind])) for kind in images}


def _other_looks(clip: SceneClip, studio: Studio, count: int, seed: int) -> tuple[NDArray[np.float64], ...]:
    """Similarities of pictures to their mirror images, and to the same scenes painted small."""
    rng = Generator(PCG64(seed))
    mirrored, sizes = [], []
    for _ in range(count):
        _, _, reading = studio.draw_spec(rng)
        drawn = int(rng.integers(2**62))
        large = np.asarray(studio.render(reading, drawn, _PAINTED), dtype=np.uint8)
        small = np.asarray(studio.render(reading, drawn, _SMALL), dtype=np.uint8)
        own = clip.embed_picture(large)
        mirrored.append(float(own @ clip.embed_picture(np.ascontiguousarray(large[:, ::-1]))))
        sizes.append(float(own @ clip.embed_picture(small)))
    return np.array(mirrored), np.array(sizes)


def visible_edits(measures: Measures) -> Pairs:
    """All pairs that differ in something that can be seen."""
    kinds = [kind for kind in EDITS if kind in measures.pairs and kind != _UNSEEN_WORDS]
    return Pairs(
        images=np.concatenate([measures.pairs[kind].images for kind in kinds]),
        texts=np.concatenate([measures.pairs[kind].texts for kind in kinds]),
    )
