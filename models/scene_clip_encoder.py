"""Embeds pictures and captions in one space by the project's own small CLIP; runs by ONNX Runtime, without torch.

It knows drawings of the procedural painter, not photographs: see `models/scene_clip/CARD.md`.
"""

import asyncio
import hashlib
import html
import importlib
import platform
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.embedding import Embedding, EmbedRequest, Vector
from models.errors import TerminalError
from models.fingerprint import versions_of
from models.identity import ModelIdentity
from models.picture import Picture
from models.refusal import refuse_another_model

FOLDER = Path(__file__).parent / "scene_clip"
MANIFEST = "SHA256SUMS"
WEIGHTS = "open_clip_model.safetensors"
FILES = ("open_clip_config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json", "image.onnx", "text.onnx")

# Two pictures, or two captions, at or above these cosines are the same again; measured in the card.
IMAGE_THRESHOLD = 0.94
TEXT_THRESHOLD = 0.95

DIMS = 256
SIDE = 96  # pixels of the picture that the model sees
EOS = 1  # the token that ends a text
_REVISION = "1"
_LICENCE = "Apache-2.0"
_THREADS = 1
_NEEDED = "install the embedded profile"


class SceneClip:
    """The model itself: equal input gives equal bytes, from any thread.

    Opening checks every file against the manifest: TerminalError for a missing or damaged one.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        for name, sha256 in _read_manifest(folder).items():
            _check_file(folder / name, sha256)
        self._image = _open_session(folder / "image.onnx")
        self._text = _open_session(folder / "text.onnx")
        self._tokenizer = _import("tokenizers").Tokenizer.from_file(str(folder / "tokenizer.json"))

    def embed_picture(self, pixels: NDArray[np.uint8]) -> Vector:
        """Float32 of shape (DIMS,), unit norm, of RGB pixels of any size; they are squeezed into a square."""
        small = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        return _unit(self._image.run(None, {"pixels": np.asarray(small, dtype=np.uint8)})[0])

    def embed_text(self, text: str) -> Vector:
        """Float32 of shape (DIMS,), unit norm; what comes after the first 76 tokens of a text is not read."""
        return _unit(self._text.run(None, {"tokens": np.array(self.tokens_of(text), dtype=np.int64)})[0])

    def tokens_of(self, text: str) -> list[int]:
        """The tokens that the model reads, at most 77 with the end mark; HTML entities count as what they stand for."""
        tokens: list[int] = self._tokenizer.encode(html.unescape(html.unescape(text))).ids
        return tokens[: tokens.index(EOS) + 1]


class SceneClipEncoder:
    """An `Encoder` whose picture and text vectors can be compared; opens its files when it is first asked."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._identity = identity_of(folder)
        self._clip: SceneClip | None = None
        self._lock = Lock()

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    @property
    def at_once(self) -> int:
        return 2

    @property
    def dims(self) -> int:
        return DIMS

    async def embed(self, request: EmbedRequest) -> Embedding:
        """The vector of a picture or a text; TerminalError for another model or damaged files."""
        refuse_another_model(request.model, request.revision, self._identity)
        return Embedding(vector=await asyncio.to_thread(self._embed, request.subject))

    def _embed(self, subject: Picture | str) -> Vector:
        clip = self._opened()
        return clip.embed_text(subject) if isinstance(subject, str) else clip.embed_picture(subject.pixels())

    def _opened(self) -> SceneClip:
        with self._lock:
            if self._clip is None:
                self._clip = SceneClip(self._folder)
            return self._clip


def identity_of(folder: Path = FOLDER) -> ModelIdentity:
    """Who the model in `folder` is, by its manifest; TerminalError where that is missing."""
    weights = _read_manifest(folder)[WEIGHTS]
    return ModelIdentity(
        name="scene-clip",
        revision=f"{_REVISION}+{weights[:12]}",
        licence=_LICENCE,
        weights_sha256=weights,
        fingerprint={
            **versions_of("onnxruntime", "tokenizers", "numpy", "pillow"),
            "machine": platform.machine(),
            "device": "cpu",
            "threads": str(_THREADS),
            "precision": "float32 with weights of float16",
        },
    )


def _read_manifest(folder: Path) -> dict[str, str]:
    """Hashes by file name, as `sha256sum` writes them."""
    try:
        lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise TerminalError(f"the scene CLIP has no {MANIFEST} in {folder}; restore the folder") from error
    listed = {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}
    if missing := set(FILES) - set(listed):
        raise TerminalError(f"{folder / MANIFEST} does not list {', '.join(sorted(missing))}; restore the folder")
    return listed


def _check_file(path: Path, sha256: str) -> None:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise TerminalError(f"the scene CLIP lacks {path}; restore the folder") from error
    if found != sha256:
        raise TerminalError(f"{path} is damaged: its sha256 is {found[:12]}, not {sha256[:12]}; restore the folder")


def _open_session(path: Path) -> Any:
    """One thread and no memory arena: the sums are always made in the same order, and little memory is held."""
    runtime = _import("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = _THREADS
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _import(name: str) -> Any:
    """A package of the embedded profile; it is imported only when a model is opened, so that this module loads fast."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise TerminalError(f"the scene CLIP needs the package {name}; {_NEEDED}") from error


def _unit(values: Any) -> Vector:
    """Length 1 to float32's last place, whatever the graph's own division left."""
    wide = np.asarray(values, dtype=np.float64)
    unit: Vector = (wide / np.sqrt(np.sum(wide * wide))).astype(np.float32)
    return unit
