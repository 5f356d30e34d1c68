"""Chats in batches with the stand-in for vLLM's process, for the suites."""

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from models import fake_vllm_child
from models.chat import ChatRequest, Message
from models.identity import Json
from models.vllm_batches import VllmBatches, VllmSite
from models.weights import Weights
from tests.models.contract import SAMPLING

NAME = "fake-vllm"
REVISION = "1/bfloat16/context-2048"


def fake_vllm(
    folder: Path,
    *,
    batch: int = 1,
    window: float = 0.05,
    script: Path | None = None,
    python: Path | None = None,
    sleeps: bool = False,
) -> VllmBatches:
    return VllmBatches(
        Weights(name=NAME, revision="1", folder=folder, sha256="0" * 64, licence="Apache-2.0"),
        dtype="bfloat16",
        context=2048,
        site=VllmSite(
            sleeps=sleeps,
            python=python,
            batch=batch,
            window=window,
            script=script or Path(str(fake_vllm_child.__file__)),
        ),
    )


@asynccontextmanager
async def contracted_batches() -> AsyncIterator[VllmBatches]:
    """One with a folder of its own, for the contract."""
    with tempfile.TemporaryDirectory() as folder:
        async with fake_vllm(Path(folder), batch=3) as chat:
            yield chat


def asked(text: str, *, seed: int = 1, schema: Json = None) -> ChatRequest:
    return ChatRequest(
        model=NAME,
        revision=REVISION,
        messages=(Message.of("user", text),),
        sampling=SAMPLING,
        schema=schema,
        seed=seed,
    )


def diary(folder: Path) -> Sequence[str]:
    """What the process wrote down, a line each."""
    path = folder / fake_vllm_child.DIARY
    return path.read_text().splitlines() if path.exists() else []
