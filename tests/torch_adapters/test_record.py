"""What the torch adapters tell for the record: what they compute with, and in which company an answer was computed."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from flows.environment import describe_environment
from models.embedding import Embedding, EmbedRequest
from models.picture import ALGORITHMIC, Picture
from storage.canonical import canonical_text
from tests.models.contract import SUBJECTS, picture_like
from tests.torch_adapters.test_diffusers_painter import ALONE, painter_of
from tests.torch_adapters.test_open_clip_encoder import ask
from tests.torch_adapters.tiny_open_clip import tiny_encoder
from tests.torch_adapters.tiny_pipelines import make_tiny_pixart

PICTURES = [picture_like(subject) for subject in SUBJECTS]
COMPUTES_WITH = {"device": "cpu", "torch": torch.__version__, "float32_matmul": "highest", "deterministic": "false"}


def embed_together(
    subjects: Sequence[Picture | str], *, batch: int, window: float = 5.0
) -> tuple[list[EmbedRequest], list[Embedding]]:
    """The requests for all subjects, asked at the same time, and what came."""

    async def run() -> tuple[list[EmbedRequest], list[Embedding]]:
        async with tiny_encoder(batch=batch, window=window) as encoder:
            requests = [ask(encoder, subject) for subject in subjects]
            return requests, list(await asyncio.gather(*map(encoder.embed, requests)))

    return asyncio.run(run())


def test_a_vector_tells_with_which_requests_it_was_computed() -> None:
    requests, found = embed_together(SUBJECTS[:4], batch=4)
    keys = {request.key()[:16] for request in requests}
    for request, embedding in zip(requests, found, strict=True):
        company = json.loads(canonical_text(dict(embedding.backend)))
        assert company["batch"] == 4
        assert set(company["keys"]) == keys
        assert company["keys"][company["place"]] == request.key()[:16]
    assert {embedding.backend["place"] for embedding in found} == {0, 1, 2, 3}


def test_pictures_stand_in_a_batch_in_the_order_in_which_they_were_asked() -> None:
    large = Picture.from_pixels(np.full((2048, 2048, 3), 7, dtype=np.uint8), source=ALGORITHMIC, marks={})
    requests, found = embed_together([large, *PICTURES[:3]], batch=4)
    keys = [request.key()[:16] for request in requests]
    assert [(each.backend["place"], each.backend["keys"]) for each in found] == [(place, keys) for place in range(4)]


def test_a_batch_is_as_large_as_it_was_last_told_to_be() -> None:
    async def run() -> list[object]:
        sizes: list[object] = []
        async with tiny_encoder(batch=1, window=60.0) as encoder:
            for size in (1, 3, 2):
                encoder.gather(size)
                requests = [ask(encoder, subject) for subject in SUBJECTS[:size]]
                sizes += [each.backend.get("batch", 1) for each in await asyncio.gather(*map(encoder.embed, requests))]
        return sizes

    assert asyncio.run(asyncio.wait_for(run(), 50)) == [1, 3, 3, 3, 2, 2]


def test_a_vector_that_was_computed_alone_tells_nothing() -> None:
    for batch in (1, 4):
        _, found = embed_together(["A cat", PICTURES[0]], batch=batch, window=0.05)
        assert [embedding.backend for embedding in found] == [{}, {}], "a text and a picture are no company"


def test_an_encoder_tells_libraries_device_threads_and_precision() -> None:
    async def run() -> dict[str, str]:
        async with tiny_encoder(batch=4, window=0.05, dtype="bfloat16") as encoder:
            return dict(encoder.identity.fingerprint)

    told = asyncio.run(run())
    libraries = ("torchvision", "transformers", "tokenizers", "safetensors", "numpy", "pillow")
    assert {name: told[name] for name in libraries} == {name: version(name) for name in libraries}
    assert told.items() >= (COMPUTES_WITH | {"precision": "bfloat16", "batch": "4", "window": "0.05"}).items()
    assert (told["threads"], told["kernels"]) == (
        str(torch.get_num_threads()),
        torch.backends.cpu.get_cpu_capability(),
    )


def test_a_painter_tells_libraries_device_threads_and_precision(tmp_path: Path) -> None:
    async def run() -> dict[str, str]:
        site = replace(ALONE, batch=3, window=0.5)
        async with painter_of(make_tiny_pixart(tmp_path / "pixart"), site) as painter:
            return dict(painter.identity.fingerprint)

    told = asyncio.run(run())
    libraries = ("diffusers", "transformers", "accelerate", "safetensors", "numpy", "pillow")
    assert {name: told[name] for name in libraries} == {name: version(name) for name in libraries}
    assert told.items() >= (COMPUTES_WITH | {"precision": "float32", "batch": "3", "window": "0.5"}).items()
    assert (told["threads"], told["offload"]) == (str(torch.get_num_threads()), "none")


def test_the_environment_of_a_process_with_torch_tells_of_it() -> None:
    described = describe_environment()["torch"]
    assert isinstance(described, dict)
    assert json.loads(canonical_text(described)) == described
    assert described["version"] == torch.__version__
    assert described["threads"] == torch.get_num_threads()
    assert described["cpu_kernels"] == torch.backends.cpu.get_cpu_capability()
    if not torch.cuda.is_initialized():
        assert (described["devices"], described["driver"]) == ([], None)
