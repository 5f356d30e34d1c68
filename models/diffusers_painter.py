"""Draws captions by any text-to-image pipeline of diffusers, from a folder of weights; torch is imported when opened.

The same request gives the same bytes only where all of this is the same: weights, versions, device, and **the batch
that it was drawn in**. Kernels choose their order of summing by the size of the batch, and a batch of four was measured
to differ from the same four drawn alone by 1/255 in a few pixels; so every drawing records its batch, and with
`batch=1` a request is always drawn alone and repeats.

A seed sets a CPU generator of each picture's own. Torch takes any seed but keeps its lowest 32 bits only.

What a pipeline does with a caption longer than it can read is its own: CLIP's text encoder drops what is beyond 77
tokens (two of them marks), T5's what is beyond 256 to 512. Nothing is raised; keep captions short.
"""

import asyncio
import gc
import inspect
import logging
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from models.company import companies_of
from models.diffusers_pipeline import (
    Dtype,
    Pipeline,
    PipelineSite,
    call_arguments,
    fingerprint_of,
    first_line,
    lacks_memory,
    load_pipeline,
    nearest_sizes,
    read_pixels,
)
from models.drawing import Drawing, DrawRequest
from models.errors import ModelError, TerminalError, TransientError
from models.identity import Json, ModelIdentity
from models.picture import TRAINED_ALGORITHMIC, Picture
from models.refusal import refuse_another_model
from models.request_batches import RequestBatches
from models.weights import Weights

__all__ = ["DiffusersPainter", "PipelineSite"]

LARGEST_SEED = 2**64 - 1
logger = logging.getLogger("interlake.models.diffusers_painter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The pixels of one picture, and what is told of its drawing."""

    pixels: NDArray[np.uint8]
    backend: Mapping[str, Json]


class AbandonedError(Exception):
    """Raised inside a pipeline, between two steps, when nobody waits for its pictures any more."""


class DiffusersPainter:
    """A `TextToImage`. Use as an async context manager, or `open` and `close` it, in one event loop.

    The revision of its identity is that of the weights and the number format; the fingerprint is there once it is open.
    All that torch does, it does on one thread of the painter's own, for pipelines bear no second one; pictures are
    encoded on others. `load` makes the pipeline.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        dtype: Dtype = "float32",
        site: PipelineSite,
        load: Callable[[Path, Dtype, PipelineSite], Pipeline] = load_pipeline,
    ) -> None:
        self._identity = ModelIdentity(
            name=weights.name,
            revision=f"{weights.revision}/{dtype}",
            licence=weights.licence,
            weights_sha256=weights.sha256,
        )
        self._easel = Easel(weights.folder, dtype, site, load)
        self._window = site.window
        self._thread: ThreadPoolExecutor | None = None
        self._batches: RequestBatches[DrawRequest, Drawn] | None = None

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    @property
    def at_once(self) -> int:
        """Twice the batch, so that the next one gathers while one is drawn."""
        return 2 * self._easel.batch

    async def __aenter__(self) -> "DiffusersPainter":
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Load the pipeline; TerminalError when its files, a library or the device is missing."""
        if self._thread is not None:
            return
        thread = ThreadPoolExecutor(1, thread_name_prefix="diffusers-painter")
        loop = asyncio.get_running_loop()
        try:
            fingerprint = await loop.run_in_executor(thread, self._easel.set_up)
        except BaseException as error:
            thread.shutdown(wait=isinstance(error, Exception))  # a load that is cancelled still runs to its end
            raise
        self._identity = replace(self._identity, fingerprint=fingerprint)
        self._thread = thread
        self._batches = RequestBatches(
            lambda asked, abandoned: loop.run_in_executor(thread, self._easel.draw, asked, abandoned),
            kind=lambda request: (request.width, request.height, request.steps, request.guidance),
            size=lambda: self._easel.batch,
            window=self._window,
        )

    async def close(self) -> None:
        """Stop what is drawn at its next step, free the memory and end the thread; `open` loads anew."""
        thread, batches = self._thread, self._batches
        self._thread = self._batches = None
        if thread is None or batches is None:
            return
        batches.refuse_all(lambda: TransientError("the painter was closed before it drew this; ask again once open"))
        await asyncio.get_running_loop().run_in_executor(thread, self._easel.take_down)
        thread.shutdown()

    async def sleep(self) -> None:
        """Give all memory back until `wake`; nothing may be asked meanwhile. Also when it sleeps already."""
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._easel.take_down)

    async def wake(self) -> None:
        """Load the pipeline again if it sleeps; TerminalError as for `open`."""
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._easel.set_up_again)

    def gather(self, batch: int) -> None:
        """Draw so many together from here on; out of memory halves it again."""
        self._easel.batch = batch

    async def draw(self, request: DrawRequest) -> Drawing:
        """The caption as a picture, and in `backend` the batch it was drawn in: its size, place, keys and seeds.

        ContentError `blank_picture` for one that is of one colour or not a number, `flagged_picture` for one that the
        pipeline's own safety checker withheld. TransientError when closed meanwhile. TerminalError for another model,
        fewer steps than 1, a size that the pipeline cannot draw, a lack of memory even for one picture, and for
        whatever else the pipeline raises. ValueError for a seed that torch does not take.
        """
        refuse_another_model(request.model, request.revision, self._identity)
        self._check(request)
        if self._batches is None:
            raise TerminalError(
                f"the painter of {self._identity.name} is not open; call open(), or use it in `async with`"
            )
        drawn = await self._batches.ask(request)
        picture = await asyncio.to_thread(Picture.from_pixels, drawn.pixels, source=TRAINED_ALGORITHMIC, marks={
            "Software": f"interlake diffusers painter, {self._identity.name} {self._identity.revision}",
            "Copyright": f"Licence of the model: {self._identity.licence}",
            "Description": request.caption,
        })  # fmt: skip
        return Drawing(picture=picture, licence=self._identity.licence, backend=drawn.backend)

    def _check(self, request: DrawRequest) -> None:
        if request.steps < 1:
            raise TerminalError(f"{self._identity.name} draws in 1 step or more: set `steps`, which is {request.steps}")
        if not 0 <= request.seed <= LARGEST_SEED:
            raise ValueError(f"a seed is 0 to {LARGEST_SEED}, not {request.seed}")


class Easel:
    """A pipeline and what is drawn with it; all but `batch` is for the painter's thread only.

    `batch` is how many pictures are drawn together; it halves, for good or until somebody sets it, whenever memory does
    not suffice.
    """

    def __init__(
        self, folder: Path, dtype: Dtype, site: PipelineSite, load: Callable[[Path, Dtype, PipelineSite], Pipeline]
    ) -> None:
        self.batch = site.batch
        self._folder = folder
        self._dtype = dtype
        self._site = site
        self._load = load
        self._pipeline: Pipeline | None = None
        self._accepted: Mapping[str, inspect.Parameter] = {}

    def set_up(self) -> Mapping[str, str]:
        """Load the pipeline and tell what it and its surroundings are; TerminalError when that fails."""
        self._pipeline = self._load(self._folder, self._dtype, self._site)
        self._accepted = inspect.signature(self._pipeline).parameters
        return fingerprint_of(self._pipeline, self._dtype, self._site)

    def set_up_again(self) -> None:
        """Load the pipeline where it was taken down."""
        if self._pipeline is None:
            self.set_up()

    def take_down(self) -> None:
        self._pipeline = None
        self._free()

    def draw(self, requests: Sequence[DrawRequest], abandoned: Event) -> list[Drawn | Exception]:
        """An answer for each request, in parts as large as memory allows; AbandonedError once nobody waits."""
        answers: list[Drawn | Exception] = []
        while len(answers) < len(requests):
            part = requests[len(answers) : len(answers) + self.batch]
            try:
                answers += self._draw_together(part, abandoned)
            except Exception as error:
                traceback.clear_frames(error.__traceback__)  # they hold tensors of what failed
                self._free()
                if isinstance(error, AbandonedError):
                    raise
                if not lacks_memory(error):
                    answers += [self._explain(request, error) for request in part]
                elif len(part) == 1:
                    answers.append(self._tell_too_large(part[0], error))
                else:
                    self._halve(len(part), part[0], error)
        return answers

    def _draw_together(self, requests: Sequence[DrawRequest], abandoned: Event) -> list[Drawn | Exception]:
        import torch  # noqa: PLC0415 - takes seconds, and is needed only where something is drawn

        def stop_if_abandoned() -> None:
            if abandoned.is_set():
                raise AbandonedError

        assert self._pipeline is not None
        stop_if_abandoned()
        generators = [torch.Generator("cpu").manual_seed(request.seed) for request in requests]
        made = self._pipeline(**call_arguments(self._accepted, requests, generators, stop_if_abandoned))
        flags = getattr(made, "nsfw_content_detected", None) or [False] * len(requests)
        seeds = [request.seed for request in requests]
        answers: list[Drawn | Exception] = []
        drawn = zip(requests, made.images, flags, companies_of(requests), strict=True)
        for request, image, flagged, company in drawn:
            try:
                pixels = read_pixels(request, np.asarray(image), flagged=flagged)
                answers.append(Drawn(pixels=pixels, backend={**company, "seeds": seeds}))
            except ModelError as error:
                answers.append(error)
        return answers

    def _explain(self, request: DrawRequest, error: Exception) -> TerminalError:
        name = type(self._pipeline).__name__
        grain = re.search(r"divisible by (\d+)", str(error))
        if grain is not None:
            message = (
                f"{name} cannot draw {request.width}x{request.height}: use {nearest_sizes(request, int(grain[1]))}"
            )
        else:
            message = f"{name} failed: {first_line(error)}"
        return caused_by(error, TerminalError(message))

    def _tell_too_large(self, request: DrawRequest, error: Exception) -> TerminalError:
        return caused_by(error, TerminalError(
            f"{self._site.device} has too little memory for one picture of {request.width}x{request.height} in "
            f"{self._dtype} with offload {self._site.offload} ({first_line(error)}): set offload to model or "
            "sequential, draw smaller pictures, or load the weights as bfloat16"
        ))  # fmt: skip

    def _halve(self, failed: int, request: DrawRequest, error: Exception) -> None:
        self.batch = failed // 2
        logger.warning(
            "%s has too little memory for %d pictures of %dx%d at a time (%s); from here on %d",
            self._site.device, failed, request.width, request.height, first_line(error), self.batch,
        )  # fmt: skip

    def _free(self) -> None:
        """Give back what a failed or ended drawing still holds of memory, on the device too."""
        import torch  # noqa: PLC0415 - as above

        if self._pipeline is not None:
            self._pipeline.maybe_free_model_hooks()
        gc.collect()
        if self._site.device.startswith("cuda"):
            torch.cuda.empty_cache()
        elif self._site.device.startswith("mps"):
            torch.mps.empty_cache()


def caused_by(cause: Exception, error: TerminalError) -> TerminalError:
    """The error with its cause, for one that is handed on rather than raised here."""
    error.__cause__ = cause
    return error
