"""open_clip loads the folder of the small CLIP and agrees with what runs without torch; training makes one."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from models.scene_clip_encoder import FOLDER, SceneClip
from models.scene_clip_training.dataset import Dataset, load_dataset, make_dataset, save_dataset
from models.scene_clip_training.drawings import is_held_out, list_subjects
from models.scene_clip_training.export import export, facts_of, read_facts
from models.scene_clip_training.scenes import Studio
from models.scene_clip_training.training import TrainingPlan, order_batches, train
from models.scene_clip_training.vocabulary import train_tokenizer

TEXTS = (
    "A red apple and two yellow bananas on a wooden table",
    "THE  Picture shows “three” owls\n at night &amp; a ﬁsh",
    "",
    "Freedom of thought, 漢字 and café",
    "word " * 200,
    "A cat<eos> and a dog",
)


def agreement(folder: Path) -> float:
    """The largest difference in any number of any vector."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    clip = SceneClip(folder)
    rng = np.random.Generator(np.random.PCG64(1))
    pictures = [
        rng.integers(0, 256, size=shape, dtype=np.uint8) for shape in ((512, 512, 3), (96, 96, 3), (200, 320, 3))
    ]
    with torch.no_grad():
        model.eval()
        seen = [model.encode_image(preprocess(Image.fromarray(each))[None], normalize=True)[0] for each in pictures]
        read = [model.encode_text(tokenizer([each]), normalize=True)[0] for each in TEXTS]
    ours = [*map(clip.embed_picture, pictures), *map(clip.embed_text, TEXTS)]
    return max(float(np.abs(their.numpy() - own).max()) for their, own in zip([*seen, *read], ours, strict=True))


def test_open_clip_and_onnx_runtime_agree() -> None:
    assert agreement(FOLDER) < 1e-4


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset(12, seed=3)


def test_a_few_steps_of_training_export_a_folder_that_both_can_load(dataset: Dataset, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(caption for family in dataset.captions for scene in family for caption in scene)
    plan = TrainingPlan(seed=1, steps=3, families=4)
    first, second = train(dataset, tokenizer, plan), train(dataset, tokenizer, plan)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    facts = facts_of(first, plan, len(dataset))
    export(first, tokenizer, tmp_path / "clip", trained=facts)
    assert read_facts(tmp_path / "clip") == facts
    assert agreement(tmp_path / "clip") < 1e-4


def test_equal_seeds_draw_equal_scenes_and_keep_on_disk(dataset: Dataset, tmp_path: Path) -> None:
    again = make_dataset(12, seed=3)
    assert again.captions == dataset.captions
    assert np.array_equal(again.pixels, dataset.pixels)
    save_dataset(dataset, tmp_path / "scenes")
    kept = load_dataset(tmp_path / "scenes")
    assert kept.captions == dataset.captions
    assert np.array_equal(kept.pixels, dataset.pixels)


def test_every_family_comes_once_before_any_comes_again_and_half_the_batches_share_a_backdrop() -> None:
    backdrops = np.arange(320) % 4
    plan = TrainingPlan(seed=1, steps=40, families=16)
    order = order_batches(backdrops, plan, np.random.Generator(np.random.PCG64(1)))
    assert sorted(order.reshape(-1)) == sorted([*range(320), *range(320)])
    shared = [len(set(backdrops[batch])) <= 2 for batch in order]
    assert sum(shared) == 24  # three of five blocks of eight


def test_training_never_sees_the_drawings_that_are_held_out() -> None:
    subjects = list_subjects(Studio().lexicon)
    held = [each for each in subjects if is_held_out(each.drawing.codepoint)]
    assert 0.08 < len(held) / len(subjects) < 0.14
    for studio, expected in ((Studio(), False), (Studio(held_out=True), True)):
        rng = np.random.Generator(np.random.PCG64(4))
        for _ in range(30):
            spec, _, reading = studio.draw_spec(rng)
            assert all(is_held_out(each.drawing.codepoint) is expected for each in reading.wanted)
            assert len(reading.wanted) == len(spec.things)


def test_the_command_says_how_it_is_used() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "models.scene_clip_training", "--help"], capture_output=True, check=True, text=True
    )
    assert "--quick" in said.stdout
