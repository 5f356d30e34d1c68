"""A very small open_clip model, its weights drawn from a seed: real architecture, real files, no meaning."""

import atexit
import json
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import open_clip
import torch
from safetensors.torch import save_file  # type: ignore[import-not-found, unused-ignore]

from models.open_clip_encoder import Dtype, OpenClipEncoder
from models.weights import Weights, WeightsSource, find_weights

CONTEXT = 12  # tokens, the two that mark the ends among them
DIMS = 16
MODEL = {
    "embed_dim": DIMS,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": CONTEXT, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
PREPROCESSING = {"mean": [0.5, 0.4, 0.3], "std": [0.3, 0.2, 0.25], "interpolation": "bicubic", "resize_mode": "squash"}


def write_checkpoint(path: Path, model: "open_clip.CLIP") -> None:
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)


def make_model(**config: object) -> "open_clip.CLIP":
    """A model of seeded random weights, larger than open_clip begins with, so that unlike things differ clearly."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.CLIP(**config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.normal_(std=0.2)
    return model.eval()


def write_tiny_clip(folder: Path) -> Path:
    """A folder as `local-dir:` wants it: open_clip_config.json and open_clip_model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"model_cfg": MODEL, "preprocess_cfg": PREPROCESSING}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\nSeeded noise.\n")
    write_checkpoint(folder / "open_clip_model.safetensors", make_model(**MODEL))
    return folder


@cache
def tiny_weights() -> Weights:
    """The weights of a tiny model, written once a test run."""
    folder = write_tiny_clip(Path(mkdtemp(prefix="tiny-open-clip-")))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return find_weights(WeightsSource(name="tiny-clip", revision=None, folder=folder, licence=None))


def tiny_encoder(
    *, weights: Weights | None = None, architecture: str | None = None, dtype: Dtype = "float32", batch: int = 1,
    window: float = 0.0,
) -> OpenClipEncoder:  # fmt: skip
    return OpenClipEncoder(
        weights=weights or tiny_weights(), architecture=architecture, dtype=dtype, device="cpu", batch=batch,
        window=window,
    )  # fmt: skip


def contracted_encoder() -> OpenClipEncoder:
    """The encoder as the contract of all adapters asks it: one request at a time, for bytes that repeat."""
    return tiny_encoder()
