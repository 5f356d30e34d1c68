"""Writes a trained network as the folder that open_clip and the embedded encoder both read; the manifest comes last."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer

from models.scene_clip_encoder import FILES, MANIFEST
from models.scene_clip_training.graphs import WEIGHTS_FILE, write_graphs
from models.scene_clip_training.network import MODEL_CONFIG, PREPROCESS_CONFIG
from models.scene_clip_training.training import TrainingPlan
from models.scene_clip_training.vocabulary import save_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """What the weights were made with; all of it follows from the arguments of the training."""

    seed: int
    families: int
    steps: int
    batch: int
    rate: float
    parameters: int


def facts_of(network: Any, plan: TrainingPlan, families: int) -> TrainingFacts:
    return TrainingFacts(
        seed=plan.seed,
        families=families,
        steps=plan.steps,
        batch=2 * plan.families,
        rate=plan.rate,
        parameters=sum(each.numel() for each in network.parameters()),
    )


def read_facts(folder: Path) -> TrainingFacts:
    """How the weights in a folder were trained, as they say themselves."""
    with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
        return TrainingFacts(**json.loads(file.metadata()["training"]))


def export(network: Any, tokenizer: Tokenizer, folder: Path, *, trained: TrainingFacts) -> None:
    """Write weights (float16) with how they were trained, configuration, tokenizer, graphs and, last, all hashes."""
    folder.mkdir(parents=True, exist_ok=True)
    halves = {name: value.detach().to(torch.float16).contiguous() for name, value in network.state_dict().items()}
    told = {"training": json.dumps(asdict(trained))}  # one entry: safetensors keeps no order among several
    save_file(halves, folder / WEIGHTS_FILE, metadata=told)
    (folder / WEIGHTS_FILE).chmod(0o644)  # safetensors lets nobody else read what it writes
    config = {"model_cfg": MODEL_CONFIG, "preprocess_cfg": PREPROCESS_CONFIG}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_tokenizer(tokenizer, folder)
    write_graphs(folder)
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in FILES]
    (folder / MANIFEST).write_text("".join(lines), encoding="utf-8")
