"""Vectors by open_clip: any of its architectures over safetensors in a folder, on GPU or CPU. Opens no network."""

import asyncio
import importlib.metadata
import json
import logging
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path
from threading import Thread
from types import ModuleType, TracebackType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.arrivals import Arrivals
from models.company import companies_of
from models.embedding import Embedding, EmbedRequest, Vector
from models.errors import ContentError, TerminalError
from models.fingerprint import versions_of
from models.identity import ModelIdentity
from models.picture import Picture
from models.refusal import refuse_another_model
from models.torch_device import describe_device
from models.weights import Weights

CONFIG = "open_clip_config.json"
CHECKPOINTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")
"""The checkpoint of a folder that holds several, the first that is there: open_clip's own order."""

WAY_OUT = "install it with: pip install 'interlake[torch]'"
LIBRARIES = ("torchvision", "timm", "transformers", "tokenizers", "safetensors", "ftfy", "regex", "numpy", "pillow")
_log = logging.getLogger(__name__)

Floats: TypeAlias = NDArray[np.float64]
Dtype: TypeAlias = Literal["float32", "bfloat16"]
Subject: TypeAlias = Any  # a text, or a picture as the model wants it: a tensor of shape (3, height, width)


@dataclass(slots=True, kw_only=True)
class Asked:
    """A request on the worker's desk, and its subject as the model takes it."""

    request: EmbedRequest
    subject: Subject
    future: "Future[Embedding]" = field(default_factory=Future)

    @property
    def is_text(self) -> bool:
        return isinstance(self.subject, str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A loaded model. `preprocess` makes a tensor of a PIL image, `tokenize` one of a list of texts."""

    model: Any
    preprocess: Callable[[Image.Image], Any]
    tokenize: Callable[[list[str]], Any]
    dims: int
    facts: Mapping[str, str]


class OpenClipEncoder:
    """An `Encoder`. Use as an async context manager, or `open` and `close` it; `dims` is known while it is open.

    `architecture` is one of open_clip's names, for a folder with a checkpoint alone; it is then preprocessed by
    open_clip's defaults (shortest edge, bicubic, OpenAI's mean and deviation). With None, the folder's own
    open_clip_config.json says all that. `device` is torch's word (`cpu`, `cuda`, `cuda:1`). `bfloat16` is for the
    towers alone (autocast): vectors are brought to unit norm in float64 and are float32 in either case.

    Requests that come within `window` seconds of the first one are computed together, up to `batch` texts and as many
    pictures. With `batch` 1 a request has the same bytes always, on the same machine. In a batch the last bits depend
    on the company. Measured on a CPU, ViT-B-32 of random weights: in batches of 8 and 32 no float32 number differs by
    more than 2.1e-7 from the same asked alone, and no vector keeps its bytes; bfloat16 in batches of 8 has the same
    bytes as alone, and is within 5.1e-5 (1 - cosine) of float32, but is no faster there: it is meant for GPUs.

    A text longer than the model's context (`context_length` of the fingerprint, 77 tokens with most) is cut by
    open_clip's tokenizer, which keeps the end token: texts that begin alike for so long have one and the same vector.
    """

    def __init__(
        self, *, weights: Weights, architecture: str | None, dtype: Dtype, device: str, batch: int, window: float
    ) -> None:
        if batch < 1 or window < 0:
            raise ValueError(f"batch is at least 1 and window at least 0 seconds, not {batch} and {window}")
        self._weights = weights
        self._architecture = architecture
        self._dtype: Dtype = dtype
        self._device = device
        self._batch = self._most = batch
        self._window = window
        self._clip: Clip | None = None
        self._worker: Thread | None = None
        self._desk: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        self._arrivals = Arrivals()

    @property
    def identity(self) -> ModelIdentity:
        """Who it is; the fingerprint is complete once it is open."""
        return ModelIdentity(
            name=self._weights.name,
            revision=f"{self._weights.revision}/{self._dtype}",
            licence=self._weights.licence,
            weights_sha256=self._weights.sha256,
            fingerprint={**self._clip.facts, **self._way()} if self._clip else {},
        )

    @property
    def at_once(self) -> int:
        return 2 * self._batch  # a batch of texts and one of pictures

    @property
    def dims(self) -> int:
        return self._opened().dims

    async def __aenter__(self) -> "OpenClipEncoder":
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Load the weights; TerminalError when open_clip is missing or cannot load them on this device."""
        if self._clip is None:
            self._clip = await asyncio.to_thread(load_clip, self._weights.folder, self._architecture, self._device)
            self._worker = Thread(target=self._serve, args=(self._clip,), name="open-clip")
            self._worker.start()

    async def close(self) -> None:
        """Answer what lies on the desk, then end the worker and let go of the model."""
        worker, self._worker, self._clip = self._worker, None, None
        if worker is not None:
            self._desk.put(None)
            await asyncio.to_thread(worker.join)

    def gather(self, batch: int) -> None:
        """Compute so many together from here on; out of memory halves it again."""
        self._batch = batch

    async def embed(self, request: EmbedRequest) -> Embedding:
        """The vector of a picture or a text, and in `backend` the batch it was computed in, unless it was alone.

        Within a batch, requests stand in the order in which they were asked. ContentError `unfit_vector` where it is
        not finite or has no length; TerminalError for another model, or when memory does not even hold one.
        """
        refuse_another_model(request.model, request.revision, self.identity)
        clip, subject = self._opened(), request.subject
        with self._arrivals.next() as arrival:
            seen = await asyncio.to_thread(see, clip, subject) if isinstance(subject, Picture) else subject
            await arrival.turn()
            asked = Asked(request=request, subject=seen)
            self._opened()  # it may have been closed meanwhile: nobody would come to the desk any more
            self._desk.put(asked)
        return await asyncio.wrap_future(asked.future)

    def _way(self) -> dict[str, str]:
        """How it computes here."""
        return {"precision": self._dtype, "batch": str(self._most), "window": f"{self._window:g}"}

    def _opened(self) -> Clip:
        if self._clip is None:
            raise ValueError("the encoder is not open: use it as an async context manager, or await its open()")
        return self._clip

    def _serve(self, clip: Clip) -> None:
        """The worker's whole life: gather, compute, answer, until None lies on the desk."""
        is_open = True
        while is_open:
            asked, is_open = gather(self._desk, lambda: self._batch, self._window)
            self._answer(clip, [each for each in asked if each.is_text])
            self._answer(clip, [each for each in asked if not each.is_text])

    def _answer(self, clip: Clip, waiting: Sequence[Asked]) -> None:
        """Answer requests of one kind. Out of memory halves the batch, for good."""
        while waiting:
            part = waiting[: self._batch]
            try:
                features = compute_features(clip, [each.subject for each in part], self._device, self._dtype)
                answer_each(part, features)
            except MemoryError:
                if len(part) > 1:
                    self._batch = len(part) // 2
                    _log.warning("out of memory on %s with %d at once, now %d", self._device, len(part), self._batch)
                    continue
                part[0].future.set_exception(_no_room(self._weights.name, self._device))
            except Exception as error:
                for each in part:
                    each.future.set_exception(TerminalError(f"open_clip fails on {self._device}: {error}"))
            waiting = waiting[len(part) :]


def repository_of_tag(architecture: str, tag: str) -> str:
    """The hub repository that holds open_clip's pretrained weights of a tag, to be pinned like any other.

    TerminalError for a tag that is not known, or whose weights open_clip has as a pickle alone.
    """
    open_clip = _import_open_clip()
    known = open_clip.list_pretrained_tags_by_model(architecture)
    if not known:
        raise _unknown_architecture(open_clip, architecture)
    settings = open_clip.get_pretrained_cfg(architecture, tag)
    if not settings:
        raise TerminalError(f"open_clip has no weights {tag!r} of {architecture}, but: {', '.join(known)}")
    repository, _, file = str(settings.get("hf_hub") or "").rpartition("/")
    # In the place of a .bin or .pth, and of no file at all, open_clip itself looks for a .safetensors first.
    if not repository or Path(file).suffix not in {"", ".safetensors", ".bin", ".pth"}:
        raise TerminalError(
            f"open_clip has {tag!r} of {architecture} as a pickle alone, which is not loaded: take another"
        )
    return repository


def load_clip(folder: Path, architecture: str | None, device: str) -> Clip:
    """The model of a folder, on its device and in float32; TerminalError where it cannot be loaded as it is."""
    open_clip = _import_open_clip()
    checkpoint = find_checkpoint(folder)
    if architecture is None and not (folder / CONFIG).is_file():
        raise TerminalError(f"{folder} has no {CONFIG}: name the architecture in the settings, one of open_clip's")
    name = architecture or f"local-dir:{folder}"
    try:
        config = open_clip.get_model_config(name)
        if config is None:
            raise _unknown_architecture(open_clip, name)
        refuse_reaching_out(config, architecture)
        model = open_clip.create_model(
            name,
            pretrained=str(checkpoint) if architecture else None,
            device=device,
            pretrained_text=False,
            require_pretrained=True,
            weights_only=True,
        ).eval()
        # A tokeniser of transformers must be told to stay in the folder; open_clip's own knows nothing else.
        local = {"local_files_only": True, "trust_remote_code": False}
        tokenize = open_clip.get_tokenizer(name, **(local if config["text_cfg"].get("hf_tokenizer_name") else {}))
    except (ImportError, OSError, RuntimeError, AssertionError, ValueError, KeyError, TypeError) as error:
        raise TerminalError(f"open_clip cannot load {checkpoint} as {name} on {device}: {error}") from error
    preprocessing = open_clip.transform.PreprocessCfg(**model.visual.preprocess_cfg)
    facts = {
        **versions_of(*LIBRARIES),
        "open_clip": importlib.metadata.version("open_clip_torch"),
        **describe_device(device),
        "architecture": architecture or CONFIG,
        "checkpoint": checkpoint.name,
        "context_length": str(tokenize.context_length),
        "preprocessing": json.dumps(asdict(preprocessing), sort_keys=True),
    }
    return Clip(
        model=model,
        preprocess=open_clip.transform.image_transform_v2(preprocessing, is_train=False),
        tokenize=tokenize,
        dims=config["embed_dim"],
        facts=facts,
    )


def find_checkpoint(folder: Path) -> Path:
    """The checkpoint of a folder; TerminalError when there is none, or several and none bears a known name."""
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    chosen = found if len(found) == 1 else [name for name in CHECKPOINTS if name in found]
    if not chosen:
        raise TerminalError(
            f"{folder} must hold one .safetensors file, or {CHECKPOINTS[0]}; it has {', '.join(found) or 'none'}"
        )
    return folder / chosen[0]


def refuse_reaching_out(config: Mapping[str, Any], architecture: str | None) -> None:
    """TerminalError for a configuration that open_clip would complete from a hub, past every pin."""
    text, vision = config["text_cfg"], config["vision_cfg"]
    reason = None
    if text.get("hf_model_name"):
        reason = f"its text tower is described on the hub alone ({text['hf_model_name']})"
    elif architecture is not None and (text.get("hf_tokenizer_name") or "siglip" in architecture.lower()):
        reason = f"its tokeniser would be fetched from the hub: use a folder with {CONFIG} and the tokeniser's files"
    elif ":" in str(vision.get("timm_model_name")):
        reason = f"its image tower is described elsewhere ({vision['timm_model_name']})"
    if reason:
        raise TerminalError(f"{architecture or CONFIG} is not loaded: {reason}")


def see(clip: Clip, picture: Picture) -> Any:
    """The picture as the model wants it: a tensor of shape (3, height, width)."""
    return clip.preprocess(Image.fromarray(picture.pixels()))


def gather(
    desk: "queue.SimpleQueue[Asked | None]", batch: Callable[[], int], window: float
) -> tuple[list[Asked], bool]:
    """The next requests: those within `window` seconds of the first, until one kind fills a batch. False: no more come.

    Those who no longer wait are passed over.
    """
    asked: list[Asked] = []
    until = 0.0
    while max(sum(each.is_text for each in asked), sum(not each.is_text for each in asked)) < batch():
        try:
            each = desk.get(timeout=max(0.0, until - time.monotonic()) if asked else None)
        except queue.Empty:
            break
        if each is None:
            return asked, False
        if each.future.set_running_or_notify_cancel():
            until = until or time.monotonic() + window
            asked.append(each)
    return asked, True


def compute_features(clip: Clip, subjects: list[Subject], device: str, dtype: Dtype) -> Floats:
    """Texts, or pictures, as float64 of shape (subjects, dims), of any length; MemoryError when there is too little."""
    import torch  # noqa: PLC0415 - loaded with open_clip, when the encoder is opened

    try:
        with (
            torch.inference_mode(),
            torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=dtype == "bfloat16"),
        ):
            if isinstance(subjects[0], str):
                features = clip.model.encode_text(clip.tokenize(subjects).to(device))
            else:
                features = clip.model.encode_image(torch.stack(subjects).to(device))
            return np.asarray(features.float().cpu().numpy(), dtype=np.float64)
    except torch.OutOfMemoryError as error:
        raise MemoryError(str(error)) from None  # None: the trace would keep what was allocated
    except RuntimeError as error:
        if "allocate memory" in str(error) or "not enough memory" in str(error):
            raise MemoryError(str(error)) from None
        raise


def unit_vector(row: Floats) -> Vector:
    """Float32 of unit norm; ContentError where the row is not finite or has no length."""
    length = float(np.linalg.norm(row))
    if not (np.isfinite(length) and length > 0):
        raise ContentError("unfit_vector", f"the model gives a vector of length {length}, which has no direction")
    return (row / length).astype(np.float32)


def answer_each(part: Sequence[Asked], features: Floats) -> None:
    """Give each request the vector of its row, or the error that it ends in."""
    companies = companies_of([each.request for each in part]) if len(part) > 1 else [{}]
    for each, row, company in zip(part, features, companies, strict=True):
        try:
            each.future.set_result(Embedding(vector=unit_vector(row), backend=company))
        except ContentError as error:
            each.future.set_exception(error)


def _no_room(name: str, device: str) -> TerminalError:
    return TerminalError(
        f"{device} has not memory enough for {name} with one picture or text at a time: "
        "free memory there, choose a smaller model, bfloat16, or another device"
    )


def _unknown_architecture(open_clip: ModuleType, name: str) -> TerminalError:
    near = ", ".join(get_close_matches(name, open_clip.list_models(), n=5, cutoff=0.3))
    return TerminalError(f"open_clip knows no architecture {name!r}; near it are: {near or 'none'}")


def _import_open_clip() -> ModuleType:
    try:
        import open_clip  # noqa: PLC0415 - brings torch along, loaded when the encoder is opened
    except ImportError as error:
        raise TerminalError(f"open_clip cannot be imported ({error}); {WAY_OUT}") from error
    imported: ModuleType = open_clip
    return imported
