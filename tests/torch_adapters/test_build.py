"""A build with models of one's own: texts and critiques over HTTP, pictures by diffusers, vectors by open_clip."""

import json
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from flows.checking import check_models
from flows.lakes import make_lake
from flows.reembedding import open_reembedding
from flows.settings import FILE
from flows.studio import Studio
from models.fake_server import FakeServer
from storage.history import publish
from storage.kept_rows import kept_vectors
from storage.lake import Lake
from storage.query import query
from storage.turns_table import read_turns, rebuild
from tests.flows.casts import grow
from tests.flows.test_build import assert_conserved
from tests.torch_adapters.tiny_open_clip import write_tiny_clip
from tests.torch_adapters.tiny_pipelines import make_tiny_pixart

SIX = BuildOptions(new_topics=3, samples_per_topic=2, turns=1)
SETTINGS = """\
[generation.rounds]
question = 1
answer = 1
image = 1
[generation.writer]
backend = "server"
model = "fake-chat"
revision = "as-served"
licence = "Apache-2.0"
[generation.critic]
backend = "checks"
[generation.painter]
backend = "diffusers"
model = "tiny-pixart"
dtype = "float32"
licence = "CC0-1.0"
steps = 2
guidance = 4.5
width = 64
height = 64
[generation.viewer]
backend = "server"
model = "fake-chat"
revision = "as-served"
licence = "Apache-2.0"
[selection.encoder]
backend = "open_clip"
model = "tiny-clip"
[selection.duplicates]
image = 0.9999999
text = 0.9999999
[servers.fake-chat]
urls = ["{url}"]
[local.tiny-pixart]
folder = "{painter}"
[local.tiny-clip]
folder = "{encoder}"
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("models")
    return make_tiny_pixart(root / "pixart"), write_tiny_clip(root / "clip")


def own_lake(path: Path, server: FakeServer, folders: tuple[Path, Path]) -> Lake:
    lake = make_lake(path, profile="fake", seed=4)
    (path / FILE).write_text(SETTINGS.format(url=server.url, painter=folders[0], encoder=folders[1]))
    return lake


def test_six_samples_of_ones_own_models_make_a_healthy_lake(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    with FakeServer() as server:
        lake = own_lake(tmp_path / "lake", server, folders)
        run = grow(lake.path, SIX, Studio)
        twin = own_lake(tmp_path / "twin", server, folders)
        grow(twin.path, SIX, Studio)
    assert run.counts() == {"planned": 6, "kept": 6, "rejected": 0, "duplicate": 0, "failed": 0, "open": 0}
    assert_conserved(lake)
    head = lake.version()
    assert head.sha256 == twin.version().sha256
    for sample_id in query(lake, "SELECT sample_id FROM samples")["sample_id"]:
        (turn,) = read_turns(lake, head, sample_id)
        assert turn.image.startswith(b"\x89PNG")
        assert turn.licence == "CC0-1.0"
    assert len(list(kept_vectors(lake, head))) == 6
    models = query(lake, "SELECT role, name, revision, weights_sha256, licence, fingerprint FROM models").to_dicts()
    known = {row["role"]: row for row in models}
    assert known.keys() == {"writer", "painter", "viewer", "encoder"}
    for role in ("painter", "encoder"):
        assert len(known[role]["weights_sha256"]) == 64
        assert known[role]["revision"].startswith("sha256:")
        assert "torch" in json.loads(known[role]["fingerprint"])
    rebuild(lake, head)
    publish(lake, head)
    assert_conserved(lake)


def test_each_model_tells_what_would_be_recorded(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    with FakeServer() as server:
        lake = own_lake(tmp_path / "lake", server, folders)
        found = check_models(lake.path)
    assert [(checked.role, checked.problem) for checked in found] == [
        (role, None) for role in ("writer", "painter", "viewer", "encoder")
    ]
    assert all(checked.identity and checked.answer for checked in found)
    assert lake.version().number == 1


def test_a_lake_of_stand_ins_moves_to_open_clip(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    lake = make_lake(tmp_path / "lake", profile="fake", seed=4)
    file = lake.path / FILE
    file.write_text(file.read_text().replace("= 512", "= 64"))
    grow(lake.path, SIX, Studio)
    text = file.read_text().replace(
        '[selection.encoder]     # what is kept; none of it enters an id\nbackend = "fake"',
        '[selection.encoder]\nbackend = "open_clip"\nmodel = "tiny-clip"',
    )
    file.write_text(f'{text}[local.tiny-clip]\nfolder = "{folders[1]}"\nbatch = 4\n')
    with open_reembedding(lake.path) as move:
        assert move is not None
        for number in range(len(move.batches)):
            move.embed(number)
        moved = move.settle()
    assert (moved.encoder, moved.turns, moved.kept + moved.duplicate) == ("tiny-clip", 6, 6)
    assert_conserved(lake)
