"""What is kept of a run's surroundings: all that may shape its results, and nothing that says whose they are."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from flows.environment import describe_environment, hash_sources, source_sha256
from storage.canonical import Json, canonical_text
from storage.query import query
from tests.flows.casts import fake_lake, grow

ROOT = Path(__file__).parents[2]
DESCRIBE = """\
import json, sys
from flows.environment import describe_environment
described = describe_environment()
json.dump({"described": described, "torch": "torch" in sys.modules}, sys.stdout)
"""


def described_elsewhere(**variables: str) -> tuple[Mapping[str, Json], bool]:
    """What another process with these variables describes, and whether it loaded torch for it."""
    done = subprocess.run(
        [sys.executable, "-c", DESCRIBE],
        cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    told = json.loads(done.stdout)
    return told["described"], told["torch"]


def texts(value: Json) -> Iterator[str]:
    """All strings in a JSON value, names and values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield name
            yield from texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from texts(each)


def test_each_run_keeps_its_environment_once_as_canonical_json(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    for _ in range(2):
        grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1, turns=1))
    kept = query(lake, "SELECT environment FROM runs")["environment"].to_list()
    assert kept == [canonical_text(describe_environment())] * 2
    environment = json.loads(kept[0])
    assert environment["interlake"] == {"version": "0.1.0", "source_sha256": source_sha256()}
    assert environment["machine"]["usable_cpus"] >= 1
    assert {"numpy", "pillow", "duckdb", "lancedb", "xllamacpp", "onnxruntime"} <= set(environment["libraries"])


def test_what_is_not_installed_and_not_set_is_left_out() -> None:
    described, _ = described_elsewhere(OMP_NUM_THREADS="3")
    assert described["threads"] == {"OMP_NUM_THREADS": "3"}
    assert isinstance(described["libraries"], Mapping)
    assert all(described["libraries"].values())


def test_it_names_no_host_user_folder_or_secret() -> None:
    planted = {
        "HOSTNAME": "planted-host", "USER": "planted-user", "LOGNAME": "planted-user", "HF_TOKEN": "planted-token",
        "INTERLAKE_TEST_KEY": "planted-key", "OPENBLAS_CORETYPE": "/planted/folder", "MKL_CBWR": "x" * 500,
    }  # fmt: skip
    described, _ = described_elsewhere(**planted)
    assert described["threads"] == {"OPENBLAS_CORETYPE": "set, not shown", "MKL_CBWR": "set, not shown"}
    found = [text for text in texts(described) if "planted" in text or "/" in text or os.uname().nodename in text]
    assert found == []


def test_torch_is_not_loaded_to_be_described(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("")
    described, loaded = described_elsewhere(PYTHONPATH=str(tmp_path))
    assert not loaded
    assert "torch" not in described


def write_sources(root: Path) -> Path:
    for name in ("flows/build.py", "flows/topics/catalogue.csv", "models/clip/weights.safetensors", "dedup/decide.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_the_same_sources_have_the_same_hash_wherever_they_lie(tmp_path: Path) -> None:
    one, other = write_sources(tmp_path / "one"), write_sources(tmp_path / "two" / "other")
    before = hash_sources(one)
    (other / "flows" / "__pycache__").mkdir()
    (other / "flows" / "__pycache__" / "build.cpython-311.pyc").write_bytes(b"compiled")
    (other / "flows" / "CARD.md").write_text("words")
    (other / "tests").mkdir()
    (other / "tests" / "test_build.py").write_text("assert True")
    assert hash_sources(other) == before


@pytest.mark.parametrize("name", ["flows/build.py", "flows/topics/catalogue.csv", "models/clip/weights.safetensors"])
def test_another_byte_or_another_name_is_another_hash(tmp_path: Path, name: str) -> None:
    root = write_sources(tmp_path)
    file = root / name
    before = hash_sources(root)
    file.write_text(f"{name} ")
    changed = hash_sources(root)
    file.write_text(name)
    assert hash_sources(root) == before
    file.rename(file.with_stem("another"))
    assert len({before, changed, hash_sources(root)}) == 3
