"""Chats that were answered in batches, by a process of its own, are asked in the same batches again.

The process is real, and is opened as the settings say; what answers in it is the stand-in that ships.
"""

import asyncio
import sys
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from flows.checking import check_models
from flows.errors import UserError
from flows.regenerate.choosing import RegenerateOptions
from flows.regenerate.regenerating import regenerate_lake_at
from flows.regenerate.report import Regeneration
from flows.settings import FILE, read_settings
from flows.studio import Studio
from models import fake_vllm_child as fake
from models.vllm_batches import CHILD
from storage.lake import Lake
from storage.records import CallRow
from tests.flows.casts import fake_lake, grow
from tests.models.vllm_children import diary

SIX = BuildOptions(new_topics=3, samples_per_topic=2, turns=1)


def weights(folder: Path) -> Path:
    """What a folder must have to be loaded: here no tensors at all. Each reply will depend on its company."""
    folder.mkdir()
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (folder / fake.COMPANY).touch()
    return folder


def interpreter(folder: Path) -> Path:
    """An interpreter that runs the stand-in in place of the script that it is given."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\ntest "$2" = "{CHILD}" && exec "{sys.executable}" -P "{fake.__file__}"\n')
    path.chmod(0o755)
    return path


def batched_lake(place: Path, *, batch: int, card: str = "") -> Lake:
    """A lake whose writer and critic are one model that answers in batches."""
    chat = '"vllm"\nmodel = "own-chat"\nlicence = "Apache-2.0"\ncontext = 2048'
    local = (
        f'[local."own-chat"]\nfolder = "{weights(place / "weights")}"\npython = "{interpreter(place)}"\n'
        f"batch = {batch}\nwindow = 0.05\n{card}"
    )
    return fake_lake(
        place / "lake",
        settings={
            '[generation.writer]\nbackend = "fake"': f"[generation.writer]\nbackend = {chat}",
            'nobody is asked\nbackend = "fake"': f"nobody is asked\nbackend = {chat}",
            "[run] ": f"{local}\n\n[run] ",
            "batch_size = 8": "batch_size = 6",
        },
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of six samples, with its weights and its interpreter. Nobody writes into it."""
    path = tmp_path_factory.mktemp("batched")
    lake = batched_lake(path, batch=4)
    grow(lake.path, SIX, Studio)
    return path


def chats(lake: Lake) -> list[CallRow]:
    return [row for row in lake.rows(CallRow, lake.version()) if row.backend and '"keys"' in row.backend]


def regenerate(lake: Lake) -> Regeneration:
    return regenerate_lake_at(lake.path, RegenerateOptions())


def test_every_chat_is_identical_when_its_batches_are_asked_again(place: Path) -> None:
    lake = Lake.open(place / "lake")
    together = [row for row in chats(lake) if '"batch":1' not in str(row.backend)]
    assert len(together) > 6, "some were answered together, and each reply depends on with whom"
    found = regenerate(lake)
    assert found.is_identical and not found.outcomes()
    (model,) = (each for each in found.models if each.name == "own-chat")
    assert model.total() == len(chats(lake)) and model.problem is None


def test_a_process_that_cannot_be_started_makes_its_chats_impossible(place: Path) -> None:
    lake = Lake.open(place / "lake")
    (place / "weights" / fake.REFUSE).touch()
    try:
        found = regenerate(lake)
    finally:
        (place / "weights" / fake.REFUSE).unlink()
    (model,) = (each for each in found.models if each.name == "own-chat")
    assert model.problem and "the weights are refused" in model.problem


def test_models_check_asks_it_and_tells_what_would_be_recorded(place: Path) -> None:
    writer, critic, *_ = check_models(place / "lake")
    assert (writer.problem, critic.problem) == (None, None)
    assert writer.identity and writer.identity == critic.identity
    assert writer.identity.revision.endswith("/bfloat16/context-2048")
    assert writer.identity.fingerprint["batch"] == "4"


def test_writer_and_critic_are_one_process(place: Path) -> None:
    before = len(diary(place / "weights"))

    async def open_both() -> None:
        studio = Studio(read_settings(place / "lake" / FILE))
        assert await studio.writer() is await studio.critic()
        await studio.close()

    asyncio.run(open_both())
    assert len(diary(place / "weights")) == before + 1


def test_a_shared_card_changes_no_reply_and_is_given_back(tmp_path: Path) -> None:
    lake = batched_lake(tmp_path, batch=4, card='card = "0"')
    grow(lake.path, SIX, Studio)
    assert regenerate(lake).is_identical


def test_a_batch_beyond_the_engine_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    lake = batched_lake(tmp_path, batch=257)
    with pytest.raises(UserError, match=r"'generation.writer.backend' is 'vllm'.*batch must be 1 to 256, not 257"):
        grow(lake.path, SIX, Studio)
