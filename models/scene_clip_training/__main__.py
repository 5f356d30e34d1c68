"""Trains, exports and measures: `python -m models.scene_clip_training --out models/scene_clip`."""

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import torch

from models.scene_clip_encoder import SceneClip
from models.scene_clip_training.card import write_card
from models.scene_clip_training.dataset import Dataset, load_dataset, make_dataset, save_dataset
from models.scene_clip_training.evaluation import AMONG, PAIRS, measure
from models.scene_clip_training.export import export, facts_of, read_facts
from models.scene_clip_training.training import TrainingPlan, train
from models.scene_clip_training.vocabulary import train_tokenizer

_PLAN = TrainingPlan(seed=1, steps=1200)
_FAMILIES = 18_000
_MEASURED = 2  # the seed of the scenes that are measured on
_THREADS = 2
_QUICK = {"families": 200, "steps": 10, "among": 50, "pairs": 10}


def main() -> None:
    """Everything from the scenes to the card."""
    asked = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(_THREADS)
    if not asked.card_only:
        _train(asked)
    among, pairs = (_QUICK["among"], _QUICK["pairs"]) if asked.quick else (AMONG, PAIRS)
    measures = measure(SceneClip(asked.out), seed=_MEASURED, among=among, pairs=pairs)
    (asked.out / "CARD.md").write_text(write_card(measures, read_facts(asked.out)), encoding="utf-8")


def _train(asked: argparse.Namespace) -> None:
    plan = replace(_PLAN, steps=_QUICK["steps"]) if asked.quick else _PLAN
    dataset = _scenes(asked.scenes, _QUICK["families"] if asked.quick else _FAMILIES)
    tokenizer = train_tokenizer(caption for family in dataset.captions for scene in family for caption in scene)
    network = train(dataset, tokenizer, plan)
    export(network, tokenizer, asked.out, trained=facts_of(network, plan, len(dataset)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m models.scene_clip_training", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--quick", action="store_true", help="a few steps only, to try it out")
    parser.add_argument("--card-only", action="store_true", help="train nothing: measure the folder, write its card")
    parser.add_argument("--scenes", type=Path, help="keep the rendered scenes in this folder, or take them from it")
    return parser.parse_args()


def _scenes(kept: Path | None, families: int) -> Dataset:
    if kept is not None and kept.exists():
        return load_dataset(kept)
    dataset = make_dataset(families, _PLAN.seed)
    if kept is not None:
        save_dataset(dataset, kept)
    return dataset


if __name__ == "__main__":
    main()
