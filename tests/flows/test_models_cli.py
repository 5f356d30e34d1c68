"""`interlake models` as a user meets it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from flows.settings import FILE, read_settings
from models.fake_server import FakeServer
from tests.flows.test_server_build import SECRET, served_lake
from tests.models.fake_hub import COMMIT, Repository, serve_hub

ROOT = Path(__file__).parents[2]
Said = tuple[int, str, str]

REPOSITORIES = {
    "Qwen/Qwen2.5-7B-Instruct": Repository(commit=COMMIT, files={}, card={"license": "apache-2.0"}),
    "Qwen/Qwen2.5-VL-7B-Instruct": Repository(commit=COMMIT, files={}, card={"license": "apache-2.0"}),
    "Tongyi-MAI/Z-Image-Turbo": Repository(commit=COMMIT, files={}, card={"license": "apache-2.0"}),
    "timm/ViT-B-16-SigLIP": Repository(commit=COMMIT, files={}, card={"license": "mit"}),
}


def interlake(*words: object, environment: Mapping[str, str] | None = None) -> Said:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "interlake"), *map(str, words)],
        cwd=ROOT, env={**os.environ, **(environment or {})}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_pinning_writes_commits_and_licences_and_keeps_what_is_pinned(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    assert interlake("init", "--lake", lake, "--profile", "vllm")[0] == 0
    before = (lake / FILE).read_text()
    with serve_hub(REPOSITORIES) as hub:
        there = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hub"), "NO_PROXY": "127.0.0.1"}
        code, out, err = interlake("models", "pin", "--lake", lake, environment=there)
        assert (code, err) == (0, "")
        assert f"[generation.painter] Tongyi-MAI/Z-Image-Turbo {COMMIT} (Apache-2.0)" in out
        again = interlake("models", "pin", "--lake", lake, environment=there)
    assert again == (0, "nothing to pin: no model of a hub is without a commit\n", "")
    settings = read_settings(lake / FILE)
    assert {model.revision for model in settings.chosen().values()} == {COMMIT}
    assert settings.chosen()["selection.encoder"].licence == "MIT"
    assert (lake / FILE).read_text().count("#") == before.count("#")


def test_a_model_that_the_hub_does_not_know_leaves_the_settings_alone(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    interlake("init", "--lake", lake, "--profile", "vllm")
    before = (lake / FILE).read_text()
    known = {name: repository for name, repository in REPOSITORIES.items() if not name.startswith("Tongyi")}
    with serve_hub(known) as hub:
        there = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hub"), "NO_PROXY": "127.0.0.1"}
        code, _, err = interlake("models", "pin", "--lake", lake, environment=there)
    assert code == 2
    assert "[generation.painter] Tongyi-MAI/Z-Image-Turbo" in err
    assert len(err.splitlines()) == 1
    assert (lake / FILE).read_text() == before


def test_check_tells_of_each_role_what_would_be_recorded_or_what_is_wrong(tmp_path: Path) -> None:
    with FakeServer(api_key=SECRET) as server:
        lake = served_lake(tmp_path / "lake", server.url)
        code, out, _ = interlake(
            "models", "check", "--lake", lake.path, "--json", environment={"INTERLAKE_TEST_KEY": SECRET}
        )
        found = {each["role"]: each for each in json.loads(out)}
        assert code == 0
        assert list(found) == ["writer", "critic", "painter", "viewer", "encoder"]
        assert found["writer"]["recorded"]["revision"] == "as-served"
        assert SECRET not in out
        code, out, _ = interlake("models", "check", "--lake", lake.path, environment={"INTERLAKE_TEST_KEY": "wrong"})
    assert code == 1
    assert out.count("PROBLEM") == 2
    assert "painter: fake-painter 1" in out
    assert lake.version().number == 1
