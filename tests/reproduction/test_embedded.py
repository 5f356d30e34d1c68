"""A lake of the embedded models: replayed without them, and asked again of them in another process."""

import json
import re
import shutil
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from flows.build import build_lake
from flows.lakes import make_lake
from flows.settings import FILE
from flows.studio import Studio
from storage.lake import Lake
from storage.records import CallRow
from tests.flows.casts import grow
from tests.flows.test_models_cli import interlake
from tests.reproduction.bare_process import run_bare

ONE = BuildOptions(new_topics=1, samples_per_topic=1, turns=1)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """One sample by SmolLM2, our drawings and our CLIP; few rounds, to stay short."""
    lake = make_lake(tmp_path_factory.mktemp("embedded") / "lake", profile="embedded", seed=2)
    file = lake.path / FILE
    text = file.read_text().replace("question = 3", "question = 0").replace("answer = 3", "answer = 0")
    file.write_text(text.replace("image = 3", "image = 1"))
    grow(lake.path, ONE, Studio)
    return lake


def test_a_copy_is_replayed_where_neither_models_nor_a_network_are(embedded: Lake, tmp_path: Path) -> None:
    shutil.copytree(embedded.path, tmp_path / "copy")
    done = run_bare("replay", "--lake", tmp_path / "copy")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    version = embedded.version(3).sha256
    said = rf"version 3, build: 1 sample, \d+ calls \(1 kept\): identical, sha256 {version[:16]}"
    assert re.match(said, done.stdout)


def test_another_process_hears_the_same_from_the_embedded_models_whoever_else_asks(embedded: Lake) -> None:
    """The calls of one sample are made one after another; they are asked again two at a time."""
    calls = list(embedded.rows(CallRow, embedded.version()))
    assert {call.purpose for call in calls} >= {"draft", "draw", "critique", "embed_image", "embed_text"}
    code, out, err = interlake("regenerate", "--lake", embedded.path, "--at-once", 2, "--json")
    told = json.loads(out)
    assert (code, err, told["environments"]) == (0, "", [])
    counted = [counts for model in told["models"] for counts in model["counts"].values()]
    assert sum(counts["identical"] for counts in counted) == len(calls)


@pytest.mark.usefixtures("prefect_server")
def test_the_embedded_profile_builds_for_real_and_repeats_itself(tmp_path: Path) -> None:
    chains = set()
    for name in ("one", "two"):
        lake = make_lake(tmp_path / name, profile="embedded", seed=5)
        file = lake.path / "interlake.toml"
        text = file.read_text().replace("question = 3", "question = 0").replace("answer = 3", "answer = 0")
        file.write_text(text.replace("image = 3", "image = 1"))
        counts = build_lake(lake=str(lake.path), new_topics=1, samples_per_topic=1, turns=1)
        assert counts["planned"] == counts["kept"] + counts["failed"] == 1
        chains.add(lake.version().sha256)
    assert len(chains) == 1, "the same seed and settings make the same lake, picture for picture"
