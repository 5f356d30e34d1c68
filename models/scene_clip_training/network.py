"""The architecture, an open_clip one from a configuration, and how texts of few tokens go through it quickly."""

from typing import Any

import torch
from open_clip.model import CLIP
from torch.nn import functional

from models.scene_clip_training.scenes import SIDE
from models.scene_clip_training.vocabulary import CONTEXT, EOS, PAD, TOKENS

DIMS = 256
MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": DIMS,
    "vision_cfg": {"image_size": SIDE, "patch_size": 12, "width": 192, "layers": 4, "head_width": 64},
    "text_cfg": {
        "context_length": CONTEXT,
        "vocab_size": TOKENS,
        "hf_tokenizer_name": "tokenizer.json",
        "tokenizer_kwargs": {"clean": "whitespace"},
        "width": 128,
        "heads": 2,
        "layers": 2,
        "pool_type": "eos",
        "pad_id": PAD,
        "eos_id": EOS,
    },
}
PREPROCESS_CONFIG: dict[str, Any] = {
    "size": SIDE,
    "mode": "RGB",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "squash",
}


def new_network(seed: int) -> Any:
    """The untrained open_clip model."""
    torch.manual_seed(seed)
    return CLIP(embed_dim=DIMS, vision_cfg=MODEL_CONFIG["vision_cfg"], text_cfg=MODEL_CONFIG["text_cfg"])


def encode_tokens(network: Any, tokens: Any) -> Any:
    """Unit vectors of texts; unlike open_clip's own way, tokens of shape (texts, n) may be shorter than the context."""
    length = tokens.shape[1]
    features = network.token_embedding(tokens) + network.positional_embedding[:length]
    features = network.ln_final(network.transformer(features, attn_mask=network.attn_mask[:length, :length]))
    ends = (tokens == EOS).int().argmax(dim=1)
    return functional.normalize(features[torch.arange(len(tokens)), ends] @ network.text_projection, dim=-1)
