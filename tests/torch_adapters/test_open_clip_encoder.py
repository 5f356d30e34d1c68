"""The open_clip adapter over a tiny real model: the contract, agreement with open_clip itself, batches, cut texts."""

import asyncio
import json
import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from models.embedding import Embedding, EmbedRequest, Vector
from models.errors import ContentError, TerminalError
from models.open_clip_encoder import OpenClipEncoder, compute_features, load_clip, repository_of_tag, unit_vector
from models.picture import Picture
from models.weights import Weights, WeightsSource, find_weights
from tests.models.contract import *  # noqa: F403  the checks themselves
from tests.models.contract import SUBJECTS, Case, embed_case, picture_like
from tests.torch_adapters.tiny_open_clip import (
    CONTEXT,
    DIMS,
    MODEL,
    PREPROCESSING,
    contracted_encoder,
    tiny_encoder,
    tiny_weights,
    write_tiny_clip,
)  # fmt: skip

ROOT = Path(__file__).parents[2]
PICTURES = [picture_like(subject) for subject in SUBJECTS]
CASES = [
    embed_case("open_clip of texts", contracted_encoder, pictures=False),
    embed_case("open_clip of pictures", contracted_encoder, pictures=True),
    embed_case("open_clip of texts in bfloat16", lambda: tiny_encoder(dtype="bfloat16"), pictures=False),
]

WATCHED = """
import asyncio, sys
from pathlib import Path
import open_clip, safetensors, torchvision, transformers  # what they do when imported is not ours
from models.embedding import EmbedRequest
from models.open_clip_encoder import OpenClipEncoder
from models.weights import Weights

seen = []
ALARMS = ("pickle.find_class", "socket.connect", "socket.getaddrinfo", "exec.unpickle")
sys.addaudithook(lambda event, args: seen.append((event, args)) if event in ALARMS else None)

async def embed() -> None:
    weights = Weights(name="w", revision="1", folder=Path(sys.argv[1]), sha256="0", licence="MIT")
    async with OpenClipEncoder(
        weights=weights, architecture=None, dtype="float32", device="cpu", batch=1, window=0
    ) as encoder:
        await encoder.embed(EmbedRequest(model="w", revision="1/float32", subject="A cat"))

asyncio.run(embed())
print(seen)
"""


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


def ask(encoder: OpenClipEncoder, subject: Picture | str) -> EmbedRequest:
    return EmbedRequest(model=encoder.identity.name, revision=encoder.identity.revision, subject=subject)


def embed_all(encoder: OpenClipEncoder, subjects: Sequence[Picture | str]) -> list[Vector]:
    """All subjects, asked at the same time."""

    async def run() -> list[Vector]:
        async with encoder:
            return [
                each.vector for each in await asyncio.gather(*(encoder.embed(ask(encoder, each)) for each in subjects))
            ]

    return asyncio.run(run())


def embed_by_open_clip(name: str, checkpoint: Path | None, subjects: Sequence[Picture | str]) -> list[Vector]:
    """The same by open_clip's own functions, as its README has it."""
    model, _, preprocess = open_clip.create_model_and_transforms(name, pretrained=checkpoint and str(checkpoint))
    tokenize = open_clip.get_tokenizer(name)
    vectors = []
    with torch.no_grad():
        for subject in subjects:
            features = (
                model.eval().encode_text(tokenize([subject]), normalize=True)
                if isinstance(subject, str)
                else model.eval().encode_image(preprocess(Image.fromarray(subject.pixels()))[None], normalize=True)
            )
            vectors.append(features[0].numpy())
    return vectors


# What comes out


def test_a_local_folder_gives_what_open_clip_itself_gives() -> None:
    subjects: list[Picture | str] = [*SUBJECTS, *PICTURES]
    expected = embed_by_open_clip(f"local-dir:{tiny_weights().folder}", None, subjects)
    assert np.allclose(embed_all(tiny_encoder(), subjects), expected, atol=1e-5, rtol=0)


def test_an_architecture_and_a_checkpoint_give_what_open_clip_itself_gives(tmp_path: Path) -> None:
    configs, folder = tmp_path / "configs", write_tiny_clip(tmp_path / "weights")
    configs.mkdir()
    (configs / "tiny-for-tests.json").write_text(json.dumps(MODEL))
    open_clip.add_model_config(configs / "tiny-for-tests.json")
    (folder / "open_clip_config.json").unlink()
    weights = find_weights(WeightsSource(name="tiny", revision=None, folder=folder, licence=None))
    subjects: list[Picture | str] = [*SUBJECTS, *PICTURES]
    vectors = embed_all(tiny_encoder(weights=weights, architecture="tiny-for-tests"), subjects)
    expected = embed_by_open_clip("tiny-for-tests", folder / "open_clip_model.safetensors", subjects)
    assert np.allclose(vectors, expected, atol=1e-5, rtol=0)


def test_a_batch_keeps_the_order_and_moves_no_vector_by_more_than_is_documented() -> None:
    subjects = [each for pair in zip(SUBJECTS, PICTURES, strict=True) for each in pair] * 3
    alone = embed_all(tiny_encoder(), subjects)
    together = embed_all(tiny_encoder(batch=4, window=0.05), subjects)
    assert float(np.abs(np.array(alone) - np.array(together)).max()) < 1e-5
    assert len({vector.tobytes() for vector in alone}) == 2 * len(SUBJECTS)
    in_halves = embed_all(tiny_encoder(batch=4, window=0.05, dtype="bfloat16"), subjects)
    cosines = np.sum(np.array(alone) * np.array(in_halves), axis=1)
    assert float(cosines.min()) > 0.999


def test_requests_within_the_window_are_computed_together() -> None:
    sizes: list[int] = []
    encoder = tiny_encoder(batch=4, window=5)

    async def run() -> None:
        async with encoder:
            note_sizes(encoder, sizes)
            await asyncio.gather(*(encoder.embed(ask(encoder, picture)) for picture in PICTURES[:4]))

    asyncio.run(run())
    assert sizes == [4]


def note_sizes(encoder: OpenClipEncoder, sizes: list[int]) -> None:
    assert encoder._clip is not None
    encoder._clip.model.visual.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))


def test_texts_that_are_alike_for_the_whole_context_have_one_vector() -> None:
    words = ["cat", "dog", "boat", "tree", "house", "moon", "star", "fish", "bird", "lamp"]
    assert len(words) == CONTEXT - 2, "each is one token, and two tokens mark the ends"
    full, longer, other, shorter = embed_all(
        tiny_encoder(),
        [" ".join(words), " ".join([*words, "chair"]), " ".join([*words[:-1], "chair"]), " ".join(words[:-1])],
    )
    assert longer.tobytes() == full.tobytes()
    assert np.abs(other - full).max() > 1e-3
    assert np.abs(shorter - full).max() > 1e-3


def test_an_empty_text_and_a_picture_of_one_pixel_have_vectors_too() -> None:
    dot = Picture.from_pixels(np.zeros((1, 1, 3), dtype=np.uint8), source="algorithmicMedia", marks={})
    assert [vector.shape for vector in embed_all(tiny_encoder(), ["", "🦭" * 500, dot])] == [(DIMS,)] * 3


@pytest.mark.parametrize("row", [[0.0, 0.0], [1.0, float("nan")], [float("inf"), 1.0]])
def test_a_row_without_direction_is_unfit(row: list[float]) -> None:
    with pytest.raises(ContentError) as caught:
        unit_vector(np.array(row))
    assert caught.value.reason == "unfit_vector"


def test_one_broken_row_fails_its_own_request_alone() -> None:
    encoder = tiny_encoder(batch=4, window=0.05)

    async def run() -> list[object]:
        async with encoder:
            assert encoder._clip is not None
            encoder._clip.model.visual.register_forward_hook(lambda _, __, made: break_row(made, 1))
            requests = (encoder.embed(ask(encoder, picture)) for picture in PICTURES[:4])
            return list(await asyncio.gather(*requests, return_exceptions=True))

    outcomes = asyncio.run(run())
    assert sum(isinstance(outcome, ContentError) for outcome in outcomes) == 1


def break_row(features: torch.Tensor, row: int) -> torch.Tensor:
    return features.index_fill(0, torch.tensor([row]), float("nan"))


# Who it is


def test_what_is_recorded_names_all_that_shapes_a_vector() -> None:
    async def run() -> OpenClipEncoder:
        encoder = tiny_encoder(dtype="bfloat16")
        async with encoder:
            identity = encoder.identity
            assert encoder.dims == DIMS
        assert identity.revision == f"{tiny_weights().revision}/bfloat16"
        assert (identity.licence, identity.weights_sha256) == ("Apache-2.0", tiny_weights().sha256)
        facts = identity.fingerprint
        assert facts.keys() > {"open_clip", "torch", "torchvision", "architecture", "device", "checkpoint"}
        assert facts["context_length"] == str(CONTEXT)
        assert PREPROCESSING.items() <= json.loads(facts["preprocessing"]).items()
        return encoder

    with pytest.raises(ValueError, match="not open"):
        _ = asyncio.run(run()).dims


# Memory, cancellation, threads


def refuse_more_than(encoder: OpenClipEncoder, most: int) -> None:
    """Let the image tower run out of memory with more than so many pictures, in torch's own words."""

    def refuse(_: torch.nn.Module, given: tuple[torch.Tensor]) -> None:
        if len(given[0]) > most:
            raise torch.OutOfMemoryError("out of memory")

    assert encoder._clip is not None
    encoder._clip.model.visual.register_forward_pre_hook(refuse)


def test_out_of_memory_halves_the_batch_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    encoder = tiny_encoder(batch=8, window=0.05)

    async def run() -> list[Vector]:
        async with encoder:
            refuse_more_than(encoder, 2)
            requests = (encoder.embed(ask(encoder, picture)) for picture in [*PICTURES, *PICTURES[:3]])
            return [each.vector for each in await asyncio.gather(*requests)]

    with caplog.at_level(logging.WARNING, "models.open_clip_encoder"):
        vectors = asyncio.run(run())
    assert np.allclose(vectors, embed_all(tiny_encoder(), [*PICTURES, *PICTURES[:3]]), atol=1e-5)
    assert encoder.at_once == 2 * 2
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory on cpu with 8 at once, now 4",
        "out of memory on cpu with 4 at once, now 2",
    ]


def test_too_little_memory_for_one_is_terminal_and_shows_ways_out() -> None:
    encoder = tiny_encoder()

    async def run() -> None:
        async with encoder:
            refuse_more_than(encoder, 0)
            await encoder.embed(ask(encoder, PICTURES[0]))

    with pytest.raises(TerminalError, match="smaller model"):
        asyncio.run(run())


def test_any_other_failure_reaches_those_who_wait() -> None:
    encoder = tiny_encoder()

    async def run() -> None:
        async with encoder:
            assert encoder._clip is not None
            encoder._clip.model.visual.register_forward_pre_hook(lambda *_: 1 / 0)
            await encoder.embed(ask(encoder, PICTURES[0]))

    with pytest.raises(TerminalError, match="division by zero"):
        asyncio.run(run())


def test_closing_answers_what_was_asked_and_ends_the_thread() -> None:
    async def run() -> None:
        encoder = tiny_encoder(batch=4, window=5)
        await encoder.open()
        pending = asyncio.create_task(encoder.embed(ask(encoder, "A cat")))
        await asyncio.sleep(0)
        await encoder.close()
        assert (await pending).vector.shape == (DIMS,)
        with pytest.raises(ValueError, match="not open"):
            await encoder.embed(ask(encoder, "A cat"))

    asyncio.run(run())
    assert not [thread for thread in threading.enumerate() if thread.name == "open-clip"]


def test_a_picture_asked_during_the_close_is_answered_or_refused_but_never_left_waiting() -> None:
    async def run() -> None:
        encoder = tiny_encoder()
        await encoder.open()
        pending = asyncio.create_task(encoder.embed(ask(encoder, PICTURES[0])))
        await asyncio.sleep(0)
        closing = asyncio.create_task(encoder.close())
        outcome, _ = await asyncio.wait_for(asyncio.gather(pending, closing, return_exceptions=True), 60)
        assert isinstance(outcome, ValueError | Embedding)

    asyncio.run(run())


# What is refused


def test_without_open_clip_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(TerminalError, match=r"pip install 'interlake\[torch\]'"):
        asyncio.run(tiny_encoder().open())


def test_importing_the_module_loads_neither_torch_nor_open_clip() -> None:
    program = "import sys, models.open_clip_encoder; print({'torch', 'open_clip'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_loading_unpickles_nothing_and_reaches_no_network() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(tiny_weights().folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "[]", done.stderr


def copy_of(tmp_path: Path, **text_cfg: str) -> Weights:
    folder = shutil.copytree(tiny_weights().folder, tmp_path / "copy")
    config = {"model_cfg": MODEL | {"text_cfg": {**MODEL["text_cfg"], **text_cfg}}}  # type: ignore[dict-item]
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return replace(tiny_weights(), folder=folder)


def test_a_text_tower_that_only_the_hub_describes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TerminalError, match="roberta-base"):
        asyncio.run(tiny_encoder(weights=copy_of(tmp_path, hf_model_name="roberta-base")).open())


def test_a_tokeniser_is_looked_for_in_the_folder_alone(tmp_path: Path) -> None:
    with pytest.raises(TerminalError, match=str(tmp_path)):
        asyncio.run(tiny_encoder(weights=copy_of(tmp_path, hf_tokenizer_name="bert-base-uncased")).open())


@pytest.mark.parametrize(
    ("architecture", "message"),
    [("ViT-B-33", "ViT-B-32"), ("ViT-B-16-SigLIP", "tokeniser would be fetched"), ("ViT-B-32", "cannot load")],
)
def test_an_architecture_that_does_not_fit_is_refused(architecture: str, message: str) -> None:
    with pytest.raises(TerminalError, match=message):
        asyncio.run(tiny_encoder(architecture=architecture).open())


def test_a_folder_without_configuration_needs_an_architecture(tmp_path: Path) -> None:
    weights = copy_of(tmp_path)
    (weights.folder / "open_clip_config.json").unlink()
    with pytest.raises(TerminalError, match="name the architecture"):
        asyncio.run(tiny_encoder(weights=weights).open())


def test_of_several_checkpoints_one_must_have_a_known_name(tmp_path: Path) -> None:
    weights = copy_of(tmp_path)
    shutil.copy(weights.folder / "open_clip_model.safetensors", weights.folder / "another.safetensors")
    assert load_clip(weights.folder, None, "cpu").facts["checkpoint"] == "open_clip_model.safetensors"
    (weights.folder / "open_clip_model.safetensors").rename(weights.folder / "third.safetensors")
    with pytest.raises(TerminalError, match=r"another\.safetensors, third\.safetensors"):
        load_clip(weights.folder, None, "cpu")


def test_a_device_that_is_not_there_is_terminal() -> None:
    with pytest.raises(TerminalError, match="nowhere"):
        load_clip(tiny_weights().folder, None, "nowhere")


def test_a_tag_is_mapped_to_the_repository_that_open_clip_itself_takes() -> None:
    assert repository_of_tag("ViT-B-32", "laion2b_s34b_b79k") == "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
    assert repository_of_tag("ViT-B-32", "openai") == "timm/vit_base_patch32_clip_224.openai"
    assert repository_of_tag("ViTamin-B", "datacomp1b") == "jienengchen/ViTamin-B"


def test_unknown_tags_and_architectures_are_refused_with_those_that_are_known() -> None:
    with pytest.raises(TerminalError, match="laion2b_s34b_b79k"):
        repository_of_tag("ViT-B-32", "laion9b")
    with pytest.raises(TerminalError, match="ViT-B-32"):
        repository_of_tag("ViT-B-33", "openai")


@pytest.mark.parametrize(
    "place", [{"url": "https://example.org/clip.pt", "hf_hub": ""}, {"hf_hub": "owner/clip/weights.pt"}]
)
def test_a_tag_that_is_a_pickle_alone_is_refused(monkeypatch: pytest.MonkeyPatch, place: dict[str, str]) -> None:
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED["ViT-B-32"], "old", place)
    with pytest.raises(TerminalError, match="pickle"):
        repository_of_tag("ViT-B-32", "old")


def test_features_come_in_float64_of_the_models_own_length() -> None:
    features = compute_features(load_clip(tiny_weights().folder, None, "cpu"), ["A cat", "A dog"], "cpu", "float32")
    assert features.shape == (2, DIMS)
    assert features.dtype == np.float64
