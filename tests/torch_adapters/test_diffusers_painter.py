"""The painter over real pipelines of diffusers, tiny ones with random weights; the contract first."""

import asyncio
import inspect
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline, QwenImagePipeline

from models.diffusers_painter import DiffusersPainter, PipelineSite
from models.diffusers_pipeline import Dtype, Pipeline, call_arguments, load_pipeline
from models.drawing import Drawing, DrawRequest
from models.errors import ContentError, ModelError, TerminalError, TransientError
from models.weights import Weights
from tests.models.contract import *  # noqa: F403  the checks themselves
from tests.models.contract import SUBJECTS, Case, draw_case
from tests.torch_adapters.tiny_pipelines import TINY_PIPELINES, contracted_painter, make_tiny_stable_diffusion

ALONE = PipelineSite(device="cpu", offload="none", batch=1, window=0.0)
FOURS = PipelineSite(device="cpu", offload="none", batch=4, window=5.0)
NAMES = sorted(TINY_PIPELINES)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in TINY_PIPELINES.items()}


@pytest.fixture(params=[*NAMES, "contracted"])
def case(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Case:
    name: str = request.param
    if name == "contracted":
        return draw_case("diffusers painter", contracted_painter, steps=2)
    return draw_case(f"diffusers painter of {name}", lambda: painter_of(folders[name]), steps=2)


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    assert not [each.name for each in threading.enumerate() if each.name.startswith("diffusers-painter")]


@pytest.mark.parametrize("name", NAMES)
def test_four_together_are_the_pictures_drawn_alone_each_with_its_own_caption_and_seed(
    name: str, folders: dict[str, Path]
) -> None:
    requests = [request_for(subject, seed=seed) for seed, subject in enumerate(SUBJECTS[:4], start=11)]
    together = draw_all(painter_of(folders[name], FOURS), requests)
    alone = draw_all(painter_of(folders[name]), requests)
    for place, (one, other, request) in enumerate(zip(together, alone, requests, strict=True)):
        assert farthest(one, other) <= 2
        keys = [each.key()[:16] for each in requests]
        assert one.backend == {"batch": 4, "place": place, "keys": keys, "seeds": [11, 12, 13, 14]}
        assert other.backend == {"batch": 1, "place": 0, "keys": keys[place : place + 1], "seeds": [request.seed]}
        assert one.picture.marks()["Description"] == request.caption
    assert farthest(together[0], together[1]) > 2


def test_drawn_alone_bytes_repeat_in_another_process(folders: dict[str, Path]) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.torch_adapters.test_diffusers_painter import *\n"
        "print(draw_all(painter_of(Path(sys.argv[1])), [request_for(SUBJECTS[0])])[0].picture.sha256)"
    )
    command = [sys.executable, "-c", code, str(folders["flux"])]
    there = subprocess.run(command, check=True, capture_output=True, text=True)
    here = draw_all(painter_of(folders["flux"]), [request_for(subject) for subject in SUBJECTS])
    assert there.stdout.strip() == here[0].picture.sha256


def test_requests_of_unlike_sizes_are_never_drawn_together(folders: dict[str, Path]) -> None:
    site = PipelineSite(device="cpu", offload="none", batch=2, window=5.0)
    requests = [request_for("A cat", seed=seed, width=64 if seed % 2 else 128, height=64) for seed in (1, 2, 3, 4)]
    drawings = draw_all(painter_of(folders["flux"], site), requests)
    assert [each.picture.width for each in drawings] == [64, 128, 64, 128]
    assert [each.backend["seeds"] for each in drawings] == [[1, 3], [2, 4], [1, 3], [2, 4]]


def test_a_picture_tells_who_made_it_and_the_fingerprint_where(folders: dict[str, Path]) -> None:
    async def draw() -> tuple[DiffusersPainter, Drawing]:
        async with painter_of(folders["pixart"]) as painter:
            return painter, await painter.draw(request_for("A cat"))

    painter, drawing = asyncio.run(draw())
    assert drawing.licence == "Apache-2.0"
    assert drawing.picture.marks()["Software"] == "interlake diffusers painter, tiny sha256:0/float32"
    assert "trainedAlgorithmicMedia" in drawing.picture.marks()["XML:com.adobe.xmp"]
    told = painter.identity.fingerprint
    assert (told["pipeline"], told["scheduler"]) == ("PixArtSigmaPipeline", "DDIMScheduler")
    assert (told["device"], told["offload"], told["torch"]) == ("cpu", "none", torch.__version__)


@pytest.mark.parametrize("name", NAMES)
def test_a_drawing_that_nobody_waits_for_stops_at_its_next_step(name: str, folders: dict[str, Path]) -> None:
    async def cancel_midway() -> int:
        pipeline = Watched(load_pipeline(folders[name], "float32", ALONE))
        async with painter_of(folders[name], load=pipeline.load) as painter:
            asking = asyncio.create_task(painter.draw(request_for("A cat", steps=50)))
            assert await asyncio.to_thread(pipeline.stepped.wait, 60)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            pipeline.go_on.set()
            await painter.draw(request_for("A dog", steps=1))
        return pipeline.steps[0]

    assert asyncio.run(cancel_midway()) <= 2


def test_closing_answers_those_that_wait_and_the_painter_opens_again(folders: dict[str, Path]) -> None:
    async def close_midway() -> Drawing:
        pipeline = Watched(load_pipeline(folders["flux"], "float32", ALONE))
        painter = painter_of(folders["flux"], load=pipeline.load)
        await painter.open()
        asking = [asyncio.create_task(painter.draw(request_for("A cat", steps=50))) for _ in range(3)]
        assert await asyncio.to_thread(pipeline.stepped.wait, 60)
        pipeline.go_on.set()
        await painter.close()
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(answer) for answer in answers] == [TransientError] * 3
        with pytest.raises(TerminalError, match="not open"):
            await painter.draw(request_for("A cat"))
        async with painter:
            return await painter.draw(request_for("A cat"))

    assert asyncio.run(close_midway()).picture.width == 128


def test_out_of_memory_halves_the_batch_says_so_and_answers_all_once(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    cramped = Cramped(load_pipeline(folders["flux"], "float32", ALONE), room=1)
    painter = painter_of(folders["flux"], FOURS, load=cramped.load)
    requests = [request_for(subject, seed=seed) for seed, subject in enumerate(SUBJECTS[:4])]
    with caplog.at_level(logging.WARNING, "interlake.models.diffusers_painter"):
        drawings = draw_all(painter, requests)
    assert cramped.asked == [4, 2, 1, 1, 1, 1]
    assert painter.at_once == 2
    assert [each.backend["seeds"] for each in drawings] == [[0], [1], [2], [3]]
    assert [each.picture.sha256 for each in drawings] == [
        each.picture.sha256 for each in draw_all(painter_of(folders["flux"]), requests)
    ]
    first, second = (record.getMessage() for record in caplog.records)
    assert "4 pictures of 128x96" in first
    assert first.endswith("from here on 2")
    assert second.endswith("from here on 1")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA: no room"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_too_little_memory_for_one_picture_is_terminal_and_names_the_ways_out(
    error: Exception, folders: dict[str, Path]
) -> None:
    cramped = Cramped(load_pipeline(folders["flux"], "float32", ALONE), room=0, error=error)
    [answer] = try_all(painter_of(folders["flux"], load=cramped.load), [request_for("A cat")])
    assert isinstance(answer, TerminalError)
    assert answer.__cause__ is error
    assert all(word in str(answer) for word in ("128x96", "offload", "smaller", "bfloat16"))


@pytest.mark.parametrize(("value", "said"), [(0.0, "one colour"), (0.7, "one colour"), (np.nan, "not a number")])
def test_a_blank_picture_is_the_error_of_its_request_alone(value: float, said: str, folders: dict[str, Path]) -> None:
    blotted = Blotted(load_pipeline(folders["flux"], "float32", ALONE), place=1, value=value)
    site = PipelineSite(device="cpu", offload="none", batch=3, window=5.0)
    requests = [request_for(subject) for subject in SUBJECTS[:3]]
    answers = try_all(painter_of(folders["flux"], site, load=blotted.load), requests)
    assert isinstance(answers[1], ContentError)
    assert answers[1].reason == "blank_picture"
    assert said in str(answers[1])
    assert [type(answers[0]), type(answers[2])] == [Drawing, Drawing]


def test_weights_that_give_no_numbers_give_a_blank_picture(folders: dict[str, Path]) -> None:
    def load(folder: Path, dtype: Dtype, site: PipelineSite) -> Pipeline:
        pipeline: Any = load_pipeline(folder, dtype, site)
        torch.nn.init.constant_(pipeline.vae.decoder.conv_out.bias, torch.nan)
        made: Pipeline = pipeline
        return made

    [answer] = try_all(painter_of(folders["stable diffusion"], load=load), [request_for("A cat")])
    assert isinstance(answer, ContentError)
    assert answer.reason == "blank_picture"


def test_a_picture_that_the_safety_checker_withholds_is_flagged(tmp_path: Path) -> None:
    painter = painter_of(make_tiny_stable_diffusion(tmp_path, flags_all=True))
    [answer] = try_all(painter, [request_for("A cat")])
    assert isinstance(answer, ContentError)
    assert answer.reason == "flagged_picture"


@pytest.mark.parametrize(
    ("name", "ways_out"),
    [("flux", ("96x80",)), ("stable diffusion", ("96x88 or 104x96", "multiples of 8"))],
)
def test_a_size_that_cannot_be_drawn_is_terminal_and_names_one_that_can(
    name: str, ways_out: Sequence[str], folders: dict[str, Path]
) -> None:
    [answer] = try_all(painter_of(folders[name]), [request_for("A cat", width=100, height=90)])
    assert isinstance(answer, TerminalError)
    assert all(words in str(answer) for words in ("100x90", *ways_out))


def test_fewer_steps_than_one_are_refused_by_the_name_of_the_setting(folders: dict[str, Path]) -> None:
    [answer] = try_all(painter_of(folders["flux"]), [request_for("A cat", steps=0)])
    assert isinstance(answer, TerminalError)
    assert "`steps`" in str(answer)


def test_any_other_error_of_the_pipeline_is_terminal_with_its_first_line(folders: dict[str, Path]) -> None:
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied\nand much more")
    broken = Cramped(load_pipeline(folders["flux"], "float32", ALONE), room=0, error=error)
    [answer] = try_all(painter_of(folders["flux"], load=broken.load), [request_for("A cat")])
    assert isinstance(answer, TerminalError)
    assert str(answer).endswith("RuntimeError: mat1 and mat2 shapes cannot be multiplied")
    assert answer.__cause__ is error


def test_clip_reads_77_tokens_and_drops_the_rest(folders: dict[str, Path]) -> None:
    read = "a" * 75  # a token each; two more mark beginning and end
    captions = [read + "bcd", read + "xyz", "b" + read]
    same, as_this, other = draw_all(
        painter_of(folders["stable diffusion"]), [request_for(caption, guidance=7.0) for caption in captions]
    )
    assert same.picture.pixel_sha256 == as_this.picture.pixel_sha256
    assert same.picture.pixel_sha256 != other.picture.pixel_sha256


def test_seeds_up_to_two_to_the_53_are_taken_and_torch_keeps_their_lowest_32_bits(folders: dict[str, Path]) -> None:
    requests = [request_for("A cat", seed=seed) for seed in (1, 2**32 + 1, 2**53 - 1)]
    one, as_one, other = draw_all(painter_of(folders["flux"]), requests)
    assert one.picture.pixel_sha256 == as_one.picture.pixel_sha256 != other.picture.pixel_sha256


def test_guidance_goes_where_the_pipeline_means_it() -> None:
    requests = [request_for("A cat", guidance=4.0), request_for("A dog", guidance=4.0)]
    qwen, flux = (
        call_arguments(inspect.signature(each.__call__).parameters, requests, [], lambda: None)
        for each in (QwenImagePipeline, FluxPipeline)
    )
    assert (qwen["true_cfg_scale"], qwen["negative_prompt"]) == (4.0, [" ", " "])
    assert flux["guidance_scale"] == 4.0
    assert "true_cfg_scale" not in flux


def test_other_number_formats_and_offload_draw_too_and_the_format_is_in_the_revision(folders: dict[str, Path]) -> None:
    site = PipelineSite(device="cpu", offload="model", batch=1, window=0.0)
    painter = painter_of(folders["flux"], site, dtype="bfloat16")
    assert painter.identity.revision == "sha256:0/bfloat16"
    requests = [request_for("A cat", revision=painter.identity.revision) for _ in range(2)]
    first, again = draw_all(painter, requests)
    assert first.picture.sha256 == again.picture.sha256


def test_a_folder_without_a_pipeline_is_terminal(tmp_path: Path) -> None:
    with pytest.raises(TerminalError, match=r"model_index\.json"):
        draw_all(painter_of(tmp_path), [])


def test_a_device_that_is_not_there_is_terminal_and_named(folders: dict[str, Path]) -> None:
    site = PipelineSite(device="cuda:77", offload="none", batch=1, window=0.0)
    with pytest.raises(TerminalError, match="cuda:77"):
        draw_all(painter_of(folders["flux"], site), [])


def test_missing_libraries_are_terminal_and_the_extra_is_named(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(TerminalError, match=r"pip install 'interlake\[torch\]'"):
        draw_all(painter_of(folders["flux"]), [])


def test_importing_the_painter_imports_neither_torch_nor_diffusers() -> None:
    code = "import sys, models.diffusers_painter; sys.exit(bool({'torch', 'diffusers'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


class Stand:
    """A real pipeline behind a call that a test has a hand in; it shows the same signature."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self.scheduler = pipeline.scheduler

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._pipeline.__call__)

    def maybe_free_model_hooks(self) -> None:
        self._pipeline.maybe_free_model_hooks()

    def load(self, _folder: Path, _dtype: Dtype, _site: PipelineSite) -> Pipeline:
        return self

    def __call__(self, **arguments: Any) -> Any:
        return self._pipeline(**arguments)


class Cramped(Stand):
    """Raises `error` when asked for more pictures at a time than there is room for."""

    def __init__(self, pipeline: Any, *, room: int, error: Exception | None = None) -> None:
        super().__init__(pipeline)
        self.asked: list[int] = []
        self._room = room
        self._error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    def __call__(self, **arguments: Any) -> Any:
        self.asked.append(len(arguments["prompt"]))
        if len(arguments["prompt"]) > self._room:
            raise self._error
        return super().__call__(**arguments)


class Blotted(Stand):
    """Paints one picture of each batch over with a value."""

    def __init__(self, pipeline: Any, *, place: int, value: float) -> None:
        super().__init__(pipeline)
        self._place = place
        self._value = value

    def __call__(self, **arguments: Any) -> Any:
        made = super().__call__(**arguments)
        made.images[self._place] = self._value
        return made


class Watched(Stand):
    """Counts the steps of each call; after the very first step it waits to be told to go on."""

    def __init__(self, pipeline: Any) -> None:
        super().__init__(pipeline)
        self.steps: list[int] = []
        self.stepped = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, **arguments: Any) -> Any:
        name = "callback_on_step_end" if "callback_on_step_end" in arguments else "callback"
        call_back = arguments[name]
        self.steps.append(0)

        def count(*told: Any) -> Any:
            self.steps[-1] += 1
            self.stepped.set()
            assert self.go_on.wait(60)
            return call_back(*told)

        return super().__call__(**(arguments | {name: count}))


def painter_of(folder: Path, site: PipelineSite = ALONE, **options: Any) -> DiffusersPainter:
    weights = Weights(name="tiny", revision="sha256:0", folder=folder, sha256="0", licence="Apache-2.0")
    return DiffusersPainter(weights, site=site, **options)


def request_for(caption: str, **changes: Any) -> DrawRequest:
    usual: dict[str, Any] = {"model": "tiny", "revision": "sha256:0/float32", "caption": caption, "seed": 7}
    usual |= {"width": 128, "height": 96, "steps": 2, "guidance": 0.0}
    return DrawRequest(**(usual | changes))


def try_all(painter: DiffusersPainter, requests: Sequence[DrawRequest]) -> list[Drawing | ModelError]:
    """What comes of requests that are made at the same time."""

    async def run() -> list[Drawing | BaseException]:
        async with painter:
            return await asyncio.gather(*map(painter.draw, requests), return_exceptions=True)

    answers: list[Drawing | ModelError] = []
    for answer in asyncio.run(run()):
        assert isinstance(answer, Drawing | ModelError), answer
        answers.append(answer)
    return answers


def draw_all(painter: DiffusersPainter, requests: Sequence[DrawRequest]) -> list[Drawing]:
    drawings: list[Drawing] = []
    for answer in try_all(painter, requests):
        assert isinstance(answer, Drawing), answer
        drawings.append(answer)
    return drawings


def farthest(one: Drawing, other: Drawing) -> int:
    """The largest difference between two pictures, in steps of 1/255."""
    return int(np.abs(one.picture.pixels().astype(int) - other.picture.pixels().astype(int)).max())
