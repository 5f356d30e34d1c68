"""The small CLIP gives equal bytes for equal input, finds pictures by captions, and refuses damaged files."""

import asyncio
import hashlib
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.drawing import DrawRequest
from models.embedding import EmbedRequest, Vector
from models.errors import TerminalError
from models.openmoji_painter import OpenmojiPainter
from models.picture import ALGORITHMIC, Picture
from models.scene_clip_encoder import (
    DIMS,
    FILES,
    FOLDER,
    IMAGE_THRESHOLD,
    MANIFEST,
    TEXT_THRESHOLD,
    SceneClip,
    SceneClipEncoder,
)

CAPTIONS = (
    "A red apple and two yellow bananas on a wooden table",
    "A black cat sleeping on a chair in the kitchen",
    "Three penguins on snow",
    "A sailboat on the sea at sunset",
    "A brown horse in a green field",
    "An owl in a forest at night",
    "A rocket and a planet in space",
    "Five red mushrooms in the woods",
    "A blue car on a street in the city",
    "A camel in the desert under the sun",
    "A crab and a palm tree on the beach",
    "Two dogs playing with a ball in a park",
    "A castle on a hill at dusk",
    "An octopus and a fish underwater",
    "A birthday cake on a table",
    "A snowman in winter at night",
)
PAINTER = OpenmojiPainter()
ENCODER = SceneClipEncoder()


def paint(caption: str, seed: int, side: int = 512) -> Picture:
    identity = PAINTER.identity
    request = DrawRequest(
        model=identity.name, revision=identity.revision, caption=caption,
        width=side, height=side, steps=0, guidance=0.0, seed=seed,
    )  # fmt: skip
    return asyncio.run(PAINTER.draw(request)).picture


def request_of(subject: Picture | str) -> EmbedRequest:
    return EmbedRequest(model=ENCODER.identity.name, revision=ENCODER.identity.revision, subject=subject)


def embed(subject: Picture | str) -> Vector:
    return asyncio.run(ENCODER.embed(request_of(subject))).vector


async def embed_all(subjects: list[Picture | str]) -> list[bytes]:
    embeddings = await asyncio.gather(*(ENCODER.embed(request_of(subject)) for subject in subjects))
    return [embedding.vector.tobytes() for embedding in embeddings]


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    return [paint(caption, seed) for seed, caption in enumerate(CAPTIONS)]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    shutil.copytree(FOLDER, folder)
    return folder


def test_vectors_of_pictures_and_texts_are_of_unit_norm(pictures: list[Picture]) -> None:
    subjects: list[Picture | str] = [*pictures[:4], *CAPTIONS[:4], "", "Ω ≠ 漢字"]
    for subject in subjects:
        vector = embed(subject)
        assert vector.shape == (DIMS,)
        assert vector.dtype == np.float32
        assert abs(float(np.sum(vector.astype(np.float64) ** 2)) - 1) < 1e-6


def test_bytes_do_not_depend_on_order_or_on_what_else_is_asked(pictures: list[Picture]) -> None:
    subjects: list[Picture | str] = [*pictures, *CAPTIONS]
    alone = [embed(subject).tobytes() for subject in subjects]
    assert asyncio.run(embed_all(subjects)) == alone
    shuffled = random.Random(5).sample(range(len(subjects)), len(subjects))
    assert asyncio.run(embed_all([subjects[place] for place in shuffled])) == [alone[place] for place in shuffled]


def test_another_process_gives_the_same_bytes(pictures: list[Picture], tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(pictures[0].data)
    code = (
        "import sys; from pathlib import Path; from models.picture import Picture\n"
        "from models.scene_clip_encoder import SceneClip; clip = SceneClip()\n"
        f"picture = Picture.from_bytes(Path({str(path)!r}).read_bytes())\n"
        f"vectors = clip.embed_picture(picture.pixels()), clip.embed_text({CAPTIONS[0]!r})\n"
        "sys.stdout.buffer.write(b''.join(vector.tobytes() for vector in vectors))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert said.stdout == embed(pictures[0]).tobytes() + embed(CAPTIONS[0]).tobytes()
    assert said.stderr == b""


def test_captions_find_their_pictures_among_all(pictures: list[Picture]) -> None:
    images = np.stack([embed(picture) for picture in pictures])
    texts = np.stack([embed(caption) for caption in CAPTIONS])
    found = (texts @ images.T).argmax(axis=1) == np.arange(len(CAPTIONS))
    named = (images @ texts.T).argmax(axis=1) == np.arange(len(CAPTIONS))
    assert found.sum() >= 11  # chance is one
    assert named.sum() >= 11


def test_the_thresholds_part_the_same_again_from_another_scene(pictures: list[Picture]) -> None:
    images = np.stack([embed(picture) for picture in pictures])
    again = np.stack([embed(paint(caption, 100 + place)) for place, caption in enumerate(CAPTIONS)])
    assert (np.sum(images * again, axis=1) >= IMAGE_THRESHOLD).sum() >= 12
    texts = np.stack([embed(caption) for caption in CAPTIONS])
    others = ~np.eye(len(CAPTIONS), dtype=bool)
    assert (images @ images.T)[others].max() < IMAGE_THRESHOLD
    assert (texts @ texts.T)[others].max() < TEXT_THRESHOLD


def test_a_caption_said_again_with_other_spelling_is_the_same() -> None:
    assert embed("A RED  apple on\na table").tobytes() == embed("A red apple on a table").tobytes()
    assert embed("Bread &amp; butter").tobytes() == embed("Bread & butter").tobytes()
    assert embed("The cat\u2019s \u201cball\u201d").tobytes() == embed('The cat\'s "ball"').tobytes()


def test_what_lies_beyond_the_context_is_not_read() -> None:
    clip = SceneClip()
    long = " ".join(CAPTIONS * 3)
    assert len(clip.tokens_of(long)) == 77
    assert clip.embed_text(long).tobytes() == clip.embed_text(f"{long} and a whale").tobytes()
    assert clip.embed_text(f"A whale. {long}").tobytes() != clip.embed_text(long).tobytes()


def test_a_mark_of_the_tokenizer_in_a_text_ends_it() -> None:
    assert embed("A cat<eos> and a dog").tobytes() == embed("A cat").tobytes()


def test_pictures_of_any_size_and_shape_are_embedded() -> None:
    square, wide = paint(CAPTIONS[0], 0), paint(CAPTIONS[0], 0, side=192)
    assert float(embed(square) @ embed(wide)) > 0.97
    narrow = Picture.from_pixels(np.zeros((200, 3, 3), dtype=np.uint8), source=ALGORITHMIC, marks={})
    assert embed(narrow).shape == (DIMS,)


def test_its_revision_follows_from_its_weights() -> None:
    weights = hashlib.sha256((FOLDER / "open_clip_model.safetensors").read_bytes()).hexdigest()
    assert ENCODER.identity.weights_sha256 == weights
    assert ENCODER.identity.revision == f"1+{weights[:12]}"


def test_the_folder_stays_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 20_000_000


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_or_missing_file_is_refused(copy: Path, name: str) -> None:
    encoder = SceneClipEncoder(copy)
    request = EmbedRequest(model="scene-clip", revision=encoder.identity.revision, subject="A cat")
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(TerminalError, match="damaged"):
        asyncio.run(encoder.embed(request))
    (copy / name).unlink()
    with pytest.raises(TerminalError, match=name):
        asyncio.run(encoder.embed(request))


def test_a_folder_without_its_manifest_is_refused(copy: Path) -> None:
    (copy / MANIFEST).write_text("", encoding="utf-8")
    with pytest.raises(TerminalError, match="does not list"):
        SceneClipEncoder(copy)
    (copy / MANIFEST).unlink()
    with pytest.raises(TerminalError, match=MANIFEST):
        SceneClipEncoder(copy)


def test_another_revision_is_refused() -> None:
    with pytest.raises(TerminalError, match="scene-clip"):
        asyncio.run(ENCODER.embed(EmbedRequest(model="scene-clip", revision="0", subject="A cat")))


def test_its_runtime_is_loaded_only_when_it_is_asked() -> None:
    code = (
        "import sys; from models.scene_clip_encoder import SceneClipEncoder; SceneClipEncoder()\n"
        "print([name for name in ('onnxruntime', 'tokenizers', 'torch') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert said.stdout.strip() == "[]"
