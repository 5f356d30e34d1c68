"""Loads and calls the text-to-image pipelines of diffusers; knows what differs from class to class, and no batches."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from models.drawing import DrawRequest
from models.errors import ContentError, TerminalError
from models.fingerprint import versions_of
from models.torch_device import describe_device

Dtype: TypeAlias = Literal["float32", "bfloat16", "float16"]
Offload: TypeAlias = Literal["none", "model", "sequential"]

LIBRARIES = ("diffusers", "transformers", "accelerate", "tokenizers", "safetensors", "numpy", "pillow")
WAY_OUT = "install what it needs with: pip install 'interlake[torch]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSite:
    """How a pipeline is run here; none of it enters ids.

    `device` is torch's word for it ("cpu", "cuda", "cuda:1", "mps"); `offload` keeps the parts that are not computing
    in main memory, whole models ("model") or layer by layer ("sequential", the smallest and slowest). `batch` pictures
    at most are drawn together, of requests that come within `window` seconds; 1 draws each alone, and bytes repeat.
    """

    device: str
    offload: Offload
    batch: int
    window: float

    def __post_init__(self) -> None:
        if self.batch < 1 or self.window < 0:
            raise ValueError(f"batch must be at least 1 and window at least 0, not {self.batch} and {self.window}")


class Pipeline(Protocol):
    """The part of a diffusers pipeline that is used; what a call accepts differs from class to class."""

    scheduler: Any

    def __call__(self, **arguments: Any) -> Any: ...

    def maybe_free_model_hooks(self) -> None: ...


def load_pipeline(folder: Path, dtype: Dtype, site: PipelineSite) -> Pipeline:
    """The pipeline of a folder, quiet and on its device, from safetensors alone; TerminalError when that fails."""
    if not (folder / "model_index.json").is_file():
        raise TerminalError(f"{folder} holds no diffusers pipeline (no model_index.json); name a folder that has one")
    try:
        import diffusers  # noqa: PLC0415 - takes seconds, and is an extra
        import torch  # noqa: PLC0415
        import transformers  # noqa: PLC0415
    except ImportError as error:
        raise TerminalError(f"diffusers cannot be imported ({first_line(error)}); {WAY_OUT}") from error
    for library in (diffusers, transformers):  # silenced for the whole process: they know no other way
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    try:
        pipeline = diffusers.AutoPipelineForText2Image.from_pretrained(
            folder, dtype=getattr(torch, dtype), use_safetensors=True, local_files_only=True
        )
        pipeline.set_progress_bar_config(disable=True)
        if site.offload == "none":
            pipeline.to(site.device)
        elif site.offload == "model":
            pipeline.enable_model_cpu_offload(device=site.device)
        else:
            pipeline.enable_sequential_cpu_offload(device=site.device)
    except Exception as error:
        raise TerminalError(
            f"cannot load the pipeline in {folder} on device {site.device} as {dtype} with offload {site.offload}: "
            f"{first_line(error)}"
        ) from error
    return cast(Pipeline, pipeline)


def fingerprint_of(pipeline: Pipeline, dtype: Dtype, site: PipelineSite) -> Mapping[str, str]:
    """What a picture depends on besides weights and request."""
    return {
        **versions_of(*LIBRARIES),
        **describe_device(site.device),
        "pipeline": type(pipeline).__name__,
        "scheduler": type(pipeline.scheduler).__name__,
        "precision": dtype,
        "offload": site.offload,
        "batch": str(site.batch),
        "window": f"{site.window:g}",
    }


def call_arguments(
    accepted: Mapping[str, inspect.Parameter],
    requests: Sequence[DrawRequest],
    generators: Sequence[object],
    on_step: Callable[[], None],
) -> dict[str, Any]:
    """What a pipeline is called with to draw `requests`, which differ in captions and seeds only: what it `accepted`.

    `on_step` is called after each step where the pipeline knows callbacks, and may raise.
    """
    first = requests[0]
    offered: dict[str, Any] = {
        "prompt": [request.caption for request in requests],
        "width": first.width,
        "height": first.height,
        "num_inference_steps": first.steps,
        "guidance_scale": first.guidance,
        "generator": list(generators),
        "output_type": "np",  # where a picture that is not a number still shows as such
        "clean_caption": False,  # true would clean only where two more packages happen to be installed
    }
    if "callback_on_step_end" in accepted:
        offered["callback_on_step_end"] = _watch(on_step)
    else:
        offered |= {"callback": lambda *_: on_step(), "callback_steps": 1}
    if "true_cfg_scale" in accepted and (
        "guidance_scale" not in accepted or accepted["guidance_scale"].default is None
    ):
        # Qwen-Image: guided by what the picture is not, in a second pass, and only where that is given.
        offered |= {"true_cfg_scale": first.guidance}
        offered |= {"negative_prompt": [" "] * len(requests)} if first.guidance > 1 else {}
    return {name: value for name, value in offered.items() if name in accepted}


def read_pixels(request: DrawRequest, image: NDArray[np.floating[Any]], *, flagged: bool) -> NDArray[np.uint8]:
    """The picture of a request as uint8, from values of 0 to 1 of shape (height, width, 3).

    ContentError when it is no picture; TerminalError when it is of another size, which no seed mends.
    """
    if flagged:
        raise ContentError("flagged_picture", f"the safety checker withheld the picture of {request.caption!r}")
    height, width = image.shape[:2]
    if (width, height) != (request.width, request.height):
        raise TerminalError(
            f"the pipeline drew {width}x{height} when asked for {request.width}x{request.height}: ask for "
            f"{width}x{height}, or another size that it need not round"
        )
    if not np.isfinite(image).all():
        raise ContentError("blank_picture", f"the picture of {request.caption!r} is not a number in places")
    pixels = (image * 255).round().astype(np.uint8)
    if (pixels == pixels[0, 0]).all():
        raise ContentError("blank_picture", f"the picture of {request.caption!r} is of one colour, {pixels[0, 0]}")
    return pixels


def nearest_sizes(request: DrawRequest, grain: int) -> str:
    """The sizes in multiples of `grain` just below and just above that of the request, as words."""
    smaller = [max(grain, side // grain * grain) for side in (request.width, request.height)]
    larger = [-(-side // grain) * grain for side in (request.width, request.height)]
    return f"{smaller[0]}x{smaller[1]} or {larger[0]}x{larger[1]} (multiples of {grain})"


def lacks_memory(error: BaseException) -> bool:
    """Whether this is torch's way to say that memory ran out, on any device; also where it came of such an error."""
    if isinstance(error, MemoryError) or any(each.__name__ == "OutOfMemoryError" for each in type(error).__mro__):
        return True
    if isinstance(error, RuntimeError) and re.search("out of memory|can't allocate memory", str(error)):
        return True
    return error.__context__ is not None and lacks_memory(error.__context__)


def first_line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _watch(on_step: Callable[[], None]) -> Callable[[object, int, object, dict[str, Any]], dict[str, Any]]:
    def call_back(_pipeline: object, _step: int, _time: object, tensors: dict[str, Any]) -> dict[str, Any]:
        on_step()
        return tensors

    return call_back
