"""Makes the scenes that the CLIP learns from and is measured on, captions and pictures; equal seeds, equal scenes."""

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray
from PIL import Image

from models.openmoji_painter import draw_placement
from models.scene_backdrop import paint_backdrop
from models.scene_caption import CaptionReading
from models.scene_clip_training.captions import say, say_again
from models.scene_clip_training.drawings import is_held_out, list_subjects, list_words
from models.scene_clip_training.specs import EDITS, SceneSpec, SpecMaker
from models.scene_layout import lay_out
from models.scene_lexicon import Lexicon
from models.scene_sprites import BUCKETS, SpriteBox

Pixels = NDArray[np.uint8]

SIDE = 96  # pixels of the encoder's input
RENDERED = (128, 160, 192)  # sides that scenes are painted at, before they are scaled to SIDE
CAPTIONS = 4  # of a training scene, all with the same meaning
PROCESSES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A picture, uint8 of shape (SIDE, SIDE, 3), and its captions, the first the one it was drawn from."""

    pixels: Pixels
    captions: tuple[str, ...]


class Studio:
    """Draws scenes of the drawings that training sees (or, `held_out`, of those that it never sees)."""

    def __init__(self, *, held_out: bool = False) -> None:
        self._sprites = _KeptSprites()
        self.lexicon = Lexicon(self._sprites.codes())
        chosen = [each for each in list_subjects(self.lexicon) if is_held_out(each.drawing.codepoint) == held_out]
        self.maker = SpecMaker(chosen, list_words(self.lexicon))

    def draw_spec(self, rng: Generator) -> tuple[SceneSpec, str, CaptionReading]:
        """A random scene with its first caption, which the painter understands."""
        while True:
            spec = self.maker.draw(rng)
            said = say(spec, self.lexicon, rng)
            if said:
                return spec, *said

    def paraphrase(self, spec: SceneSpec, reading: CaptionReading, rng: Generator) -> str | None:
        return say_again(spec, reading, self.lexicon, rng)

    def edit(self, spec: SceneSpec, kind: str, rng: Generator) -> tuple[SceneSpec, str, CaptionReading] | None:
        """The scene with one change, said anew; None where that kind of change does not apply."""
        edited = self.maker.edit(spec, kind, rng)
        said = say(edited, self.lexicon, rng) if edited else None
        return (edited, *said) if edited and said else None

    def render(self, reading: CaptionReading, seed: int, side: int) -> Image.Image:
        """What the painter draws for `reading` and `seed`, as a square of `side` pixels."""
        rng = Generator(PCG64(seed))
        backdrop, placements = lay_out(reading, self._sprites.aspect, 1.0, 1.0, rng)
        canvas = paint_backdrop(backdrop, side, side, rng)
        for placement in placements:
            draw_placement(canvas, placement, side, self._sprites, backdrop)
        return canvas

    def family(self, seed: int) -> tuple[Sample, Sample]:
        """A scene and the same with one small change, for training: two neighbours that must be told apart."""
        rng = Generator(PCG64(seed))
        while True:
            scene = self.draw_spec(rng)
            twin = self.edit(scene[0], EDITS[int(rng.integers(len(EDITS)))], rng)
            if twin:
                return self._sample(scene, rng), self._sample(twin, rng)

    def _sample(self, scene: tuple[SceneSpec, str, CaptionReading], rng: Generator) -> Sample:
        spec, caption, reading = scene
        others = [self.paraphrase(spec, reading, rng) or caption for _ in range(CAPTIONS - 1)]
        side = RENDERED[int(rng.integers(len(RENDERED)))]
        canvas = self.render(reading, int(rng.integers(2**62)), side)
        return Sample(pixels=shrink(canvas), captions=(caption, *others))


def shrink(image: Image.Image) -> Pixels:
    """The picture as the encoder sees it, uint8 of shape (SIDE, SIDE, 3)."""
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.uint8)


def make_families(count: int, seed: int, *, held_out: bool = False) -> Iterator[tuple[Sample, Sample]]:
    """`count` families of scenes, rendered by `PROCESSES` processes, in an order that does not depend on them."""
    context = multiprocessing.get_context("spawn")
    seeds = [int(each) for each in Generator(PCG64(seed)).integers(2**62, size=count)]
    with context.Pool(PROCESSES) as pool:
        work = partial(_families_of, held_out=held_out)
        for families in pool.imap(work, [seeds[start : start + 64] for start in range(0, count, 64)]):
            yield from families


def _families_of(seeds: Sequence[int], *, held_out: bool) -> list[tuple[Sample, Sample]]:
    studio = _studio(held_out=held_out)
    return [studio.family(seed) for seed in seeds]


_STUDIOS: dict[bool, Studio] = {}  # one for each process of the pool


def _studio(*, held_out: bool) -> Studio:
    if held_out not in _STUDIOS:
        _STUDIOS[held_out] = Studio(held_out=held_out)
    return _STUDIOS[held_out]


class _KeptSprites(SpriteBox):
    """Keeps every sprite that it has made, all of the smallest size: training needs all drawings again and again."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[tuple[str, tuple[str, ...]], Image.Image] = {}
        self._known_fills: dict[str, list[tuple[str, ...]]] = {}

    def sprite(self, codepoint: str, colours: tuple[str, ...], pixels: int) -> Image.Image:  # noqa: ARG002 - one size does
        key = (codepoint, colours)
        if key not in self._made:
            self._made[key] = self._render(codepoint, colours, BUCKETS[0])
        return self._made[key]

    def _fills(self, codepoint: str) -> list[tuple[str, ...]]:
        if codepoint not in self._known_fills:
            self._known_fills[codepoint] = super()._fills(codepoint)
        return self._known_fills[codepoint]
