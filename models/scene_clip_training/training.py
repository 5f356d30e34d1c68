"""Trains the network: a contrast of pictures with captions, and a lighter one of captions with their paraphrases."""

import logging
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import PCG64, Generator
from tokenizers import Tokenizer
from torch.nn import functional

from models.scene_caption import read_caption
from models.scene_clip_training.dataset import Dataset
from models.scene_clip_training.network import encode_tokens, new_network
from models.scene_clip_training.scenes import CAPTIONS, SIDE
from models.scene_clip_training.vocabulary import CONTEXT, EOS, PAD
from models.scene_drawings import drawing_codes, drawing_folder
from models.scene_lexicon import Lexicon
from models.scene_place import choose_backdrop

_LOG = logging.getLogger(__name__)
_SHIFT = 3  # pixels that a training picture may be moved by
_TEXT_SHARE = 0.3  # of the loss; keeps in a text's vector what no picture shows
_TEXT_SCALE = 20.0
_WARM_UP = 0.06
_BLOCK = 8  # batches
_WEIGHT_DECAY = 0.1
_MAX_SCALE = math.log(100)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """How long and how fast; a batch holds `families` scenes and as many twins with one change."""

    seed: int
    steps: int
    families: int = 64
    rate: float = 1e-3


def train(dataset: Dataset, tokenizer: Tokenizer, plan: TrainingPlan) -> Any:
    """The trained open_clip model; equal arguments on equal machines give equal weights."""
    network = new_network(plan.seed)
    network.train()
    optimizer = torch.optim.AdamW(_groups(network), lr=plan.rate, betas=(0.9, 0.98), eps=1e-6)
    tokens = tokenize(dataset, tokenizer)
    rng = Generator(PCG64(plan.seed))
    order = order_batches(backdrops_of(dataset), plan, rng)
    started = time.monotonic()
    for step in range(plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * _share_of_rate(step, plan.steps)
        chosen = np.sort(order[step])
        loss = _loss(network, _pictures(dataset, chosen, rng), *_texts(tokens, chosen, rng))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            network.logit_scale.clamp_(0, _MAX_SCALE)
        if step % 25 == 0 or step == plan.steps - 1:
            _LOG.info(
                "step %d of %d, loss %.3f, %.0f s", step, plan.steps, float(loss.detach()), time.monotonic() - started
            )
    return network.eval()


def tokenize(dataset: Dataset, tokenizer: Tokenizer) -> Any:
    """All captions as int16 of shape (families, 2, CAPTIONS, CONTEXT), filled up with PAD."""
    flat = [caption for family in dataset.captions for member in family for caption in member]
    tokens = np.full((len(flat), CONTEXT), PAD, dtype=np.int16)
    for row, encoding in zip(tokens, tokenizer.encode_batch(flat), strict=True):
        row[: len(encoding.ids)] = encoding.ids
    return tokens.reshape(len(dataset), 2, CAPTIONS, CONTEXT)


def _groups(network: Any) -> list[dict[str, Any]]:
    """Matrices shrink, biases, norms and the scale do not."""
    matrices = [each for each in network.parameters() if each.ndim > 1]
    others = [each for each in network.parameters() if each.ndim <= 1]
    return [{"params": matrices, "weight_decay": _WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]


def _share_of_rate(step: int, steps: int) -> float:
    warm = max(1, round(_WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def backdrops_of(dataset: Dataset) -> Any:
    """A number for the place and light of each family's first scene, as the painter reads its caption."""
    lexicon = Lexicon(drawing_codes(drawing_folder()))
    backdrops = [choose_backdrop(read_caption(family[0][0], lexicon)) for family in dataset.captions]
    names = sorted({f"{each.ground} {each.light}" for each in backdrops})
    return np.array([names.index(f"{each.ground} {each.light}") for each in backdrops])


def order_batches(backdrops: Any, plan: TrainingPlan, rng: Generator) -> Any:
    """Which families each step sees, shape (steps, families): every one once before any comes again.

    In every second block of batches those with like backdrops come together: place and light, which are easily
    seen, then tell few of a batch's scenes apart, and the things on them must be learnt.
    """
    needed = plan.steps * plan.families
    rounds = [rng.permutation(len(backdrops)) for _ in range(-(-needed // len(backdrops)))]
    order = np.concatenate(rounds)[:needed].reshape(plan.steps, plan.families)
    for start in range(0, plan.steps, 2 * _BLOCK):
        block = order[start : start + _BLOCK].reshape(-1)
        alike = block[np.argsort(backdrops[block], kind="stable")].reshape(-1, plan.families)
        order[start : start + _BLOCK] = alike[rng.permutation(len(alike))]
    return order


def _pictures(dataset: Dataset, chosen: Any, rng: Generator) -> Any:
    """Float32 of shape (scenes, 3, SIDE, SIDE), slightly moved, brightened and darkened."""
    pixels = np.asarray(dataset.pixels[chosen]).reshape(-1, SIDE, SIDE, 3)
    padded = np.pad(pixels, ((0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT), (0, 0)), mode="edge")
    moved = np.empty_like(pixels)
    for index, (down, across) in enumerate(rng.integers(2 * _SHIFT + 1, size=(len(pixels), 2))):
        moved[index] = padded[index, down : down + SIDE, across : across + SIDE]
    gains = rng.uniform(0.9, 1.1, size=(len(pixels), 1, 1, 3)).astype(np.float32)
    values = moved.astype(np.float32) * (gains * np.float32(2 / 255)) - np.float32(1)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2)))


def _texts(tokens: Any, chosen: Any, rng: Generator) -> tuple[Any, Any]:
    """Two different captions of each chosen scene, as short as the longest of them allows."""
    rows = tokens[chosen].reshape(-1, CAPTIONS, CONTEXT)
    first = rng.integers(CAPTIONS, size=len(rows))
    second = (first + rng.integers(1, CAPTIONS, size=len(rows))) % CAPTIONS
    both = np.stack([rows[np.arange(len(rows)), first], rows[np.arange(len(rows)), second]])
    longest = int((both == EOS).argmax(axis=2).max()) + 1
    one, other = torch.from_numpy(both[:, :, :longest].astype(np.int64))
    return one, other


def _loss(network: Any, pictures: Any, captions: Any, paraphrases: Any) -> Any:
    images = network.encode_image(pictures, normalize=True)
    half = len(captions) // 2  # paraphrases of half the batch teach enough, and cost half
    both = encode_tokens(network, torch.cat([captions, paraphrases[:half]]))
    texts, others = both[: len(captions)], both[len(captions) :]
    matched = _contrast(images, texts, network.logit_scale.exp())
    return matched + _TEXT_SHARE * _contrast(texts[:half], others, _TEXT_SCALE)


def _contrast(left: Any, right: Any, scale: Any) -> Any:
    logits = scale * left @ right.T
    own = torch.arange(len(left))
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2
