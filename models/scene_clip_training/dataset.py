"""The training scenes as arrays, and on disk so that a second training need not render them again."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.scene_clip_training.scenes import CAPTIONS, SIDE, Pixels, make_families


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Families of two scenes: `pixels` is uint8 of shape (families, 2, SIDE, SIDE, 3), captions by family, scene."""

    pixels: Pixels
    captions: list[list[list[str]]]

    def __len__(self) -> int:
        return len(self.captions)


def make_dataset(families: int, seed: int) -> Dataset:
    """Render training scenes; equal arguments give equal bytes."""
    pixels = np.empty((families, 2, SIDE, SIDE, 3), dtype=np.uint8)
    captions: list[list[list[str]]] = []
    for index, family in enumerate(make_families(families, seed)):
        for member, sample in enumerate(family):
            assert len(sample.captions) == CAPTIONS
            pixels[index, member] = sample.pixels
        captions.append([list(sample.captions) for sample in family])
    return Dataset(pixels=pixels, captions=captions)


def save_dataset(dataset: Dataset, folder: Path) -> None:
    """Write the arrays to a new folder."""
    folder.mkdir(parents=True)
    np.save(folder / "pixels.npy", dataset.pixels)
    (folder / "captions.json").write_text(json.dumps(dataset.captions), encoding="utf-8")


def load_dataset(folder: Path) -> Dataset:
    """What `save_dataset` wrote; pixels are mapped, not read."""
    captions = json.loads((folder / "captions.json").read_text(encoding="utf-8"))
    return Dataset(pixels=np.load(folder / "pixels.npy", mmap_mode="r"), captions=captions)
