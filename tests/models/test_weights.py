"""Weights are found only where they are pinned, whole, without code, and under a known licence."""

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from models.errors import TerminalError
from models.identity import canonical_sha256
from models.weights import Weights, WeightsSource, find_weights
from tests.models.fake_hub import COMMIT, Client, Repository, serve_hub

CARD = "---\nlicense: apache-2.0\n---\n# A model\n"


def tensors(values: bytes = b"\0\1\2\3", metadata: str = "") -> bytes:
    """A safetensors file by the format's own description: length of the header, header, values."""
    entry = {"dtype": "U8", "shape": [len(values)], "data_offsets": [0, len(values)]}
    header = json.dumps({"__metadata__": {"note": metadata}, "weight": entry}).encode()
    return len(header).to_bytes(8, "little") + header + values


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "interlake" / "weights.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as diffusers has it, with one component."""
    made = tmp_path / "model"
    (made / "unet").mkdir(parents=True)
    (made / "README.md").write_text(CARD)
    (made / "model_index.json").write_text(
        json.dumps({"_class_name": "SanaPipeline", "unet": ["diffusers", "UNet"], "safety_checker": [None, None]})
    )
    (made / "unet" / "config.json").write_text("{}")
    (made / "unet" / "model.safetensors").write_bytes(tensors())
    (made / "vocab.txt").write_text("a\nb\n")
    return made


def source_of(folder: Path, *, licence: str | None = None, revision: str | None = None) -> WeightsSource:
    return WeightsSource(name="mine", revision=revision, folder=folder, licence=licence)


def find(folder: Path) -> Weights:
    return find_weights(source_of(folder))


# Where they are


def test_a_folder_is_taken_with_its_hash_for_a_revision(folder: Path) -> None:
    found = find(folder)
    assert (found.name, found.folder, found.licence) == ("mine", folder, "Apache-2.0")
    assert found.revision == f"sha256:{found.sha256}"


def test_the_hash_is_over_the_sorted_paths_and_hashes_of_what_shapes_the_model(folder: Path) -> None:
    shaping = ["model_index.json", "unet/config.json", "unet/model.safetensors", "vocab.txt"]
    hashes = [[path, hashlib.sha256((folder / path).read_bytes()).hexdigest()] for path in shaping]
    assert find(folder).sha256 == canonical_sha256(hashes)


def test_a_copy_of_a_repository_keeps_its_commit(folder: Path) -> None:
    assert find_weights(source_of(folder, revision=COMMIT)).revision == COMMIT


@pytest.mark.parametrize("revision", [None, "main", COMMIT[:7], COMMIT.upper(), COMMIT + "\n"])
def test_a_repository_without_a_full_commit_is_not_pinned(revision: str | None) -> None:
    with pytest.raises(TerminalError, match=r"owner/clip .*not pinned: run 'interlake models pin'"):
        find_weights(WeightsSource(name="owner/clip", revision=revision, folder=None, licence=None))


def test_a_folder_that_is_not_there_is_terminal(tmp_path: Path) -> None:
    with pytest.raises(TerminalError, match="there is no folder"):
        find(tmp_path / "none")


def find_on_hub(client: Client, **environment: str) -> str:
    source = f"WeightsSource(name='owner/clip', revision={COMMIT!r}, folder=None, licence=None)"
    weights = "__import__('models.weights').weights"
    expression = f"repr((lambda w: w.find_weights(w.{source}))({weights}))"
    return client.ask(expression, **environment)


def test_a_pinned_repository_is_fetched_once_and_then_found_offline(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    files = {"README.md": CARD.encode(), "model.safetensors": tensors(), "extra.bin": b"never fetched"}
    with serve_hub({"owner/clip": Repository(commit=COMMIT, files=files)}) as hub:
        client = Client(home=tmp_path, url=hub.url)
        found = find_on_hub(client)
    digest = canonical_sha256([["model.safetensors", hashlib.sha256(tensors()).hexdigest()]])
    assert f"revision='{COMMIT}'" in found
    assert f"sha256='{digest}', licence='Apache-2.0'" in found
    assert find_on_hub(client, HF_HUB_OFFLINE="1") == find_on_hub(client) == found


def test_what_is_missing_offline_is_told_with_both_ways_out(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    client = Client(home=tmp_path, url="http://127.0.0.1:9")
    for environment, reason in (({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE"), ({}, "cannot be reached")):
        with pytest.raises(TerminalError) as caught:
            find_on_hub(client, **environment)
        for word in (f"owner/clip at {COMMIT}", reason, "Fetch it where a hub can be reached", '[local."owner/clip"]'):
            assert word in str(caught.value)


# What is refused


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("unet/modeling.py", "is a program"),
        ("unet/__pycache__/modeling.cpython-311.pyc", "is a program"),
        ("kernel.so", "is a program"),
        ("pytorch_model.bin", "a pickle or archive"),
        ("unet/WEIGHTS.PT", "a pickle or archive"),
        ("model.pth", "a pickle or archive"),
        ("model.ckpt", "a pickle or archive"),
        ("vocab.pkl", "a pickle or archive"),
        ("vocab.pickle", "a pickle or archive"),
        ("mean.npy", "a pickle or archive"),
        ("flax_model.msgpack", "not known to hold no code"),
        ("tf_model.h5", "not known to hold no code"),
        ("model.onnx", "not known to hold no code"),
        (".hidden/model.bin", "a pickle or archive"),
    ],
)
def test_files_that_may_carry_code_are_refused_by_name(folder: Path, path: str, reason: str) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(b"anything")
    with pytest.raises(TerminalError, match=reason) as caught:
        find(folder)
    assert path in str(caught.value)


def test_papers_pictures_and_what_git_keeps_are_let_be(folder: Path) -> None:
    before = find(folder)
    (folder / ".git" / "hooks").mkdir(parents=True)
    (folder / ".git" / "hooks" / "commit.sample.sh").write_text("exit 0")
    for path in ("LICENSE", "LICENSE.txt", "NOTICE.txt", "README.txt", "teaser.png", ".gitattributes"):
        (folder / path).write_text("text")
    assert find(folder) == before


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.json").write_text("{}")
    (folder / "linked.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(TerminalError, match=r"linked\.json, a link that leads out of the folder"):
        find(folder)


def test_a_linked_folder_and_a_link_to_nothing_are_refused(folder: Path) -> None:
    (folder / "again").symlink_to(folder / "unet", target_is_directory=True)
    with pytest.raises(TerminalError, match="again, a link to a folder, or to nothing"):
        find(folder)
    (folder / "again").unlink()
    (folder / "gone.json").symlink_to(folder / "nothing.json")
    with pytest.raises(TerminalError, match=r"gone\.json, a link to a folder, or to nothing"):
        find(folder)


def test_links_to_the_blobs_of_a_hubs_cache_are_fine_and_to_another_repository_are_not(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "models--a--b" / "blobs", tmp_path / "models--a--b" / "snapshots" / COMMIT
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (blobs / "f00").write_bytes(tensors())
    (snapshot / "model.safetensors").symlink_to("../../blobs/f00")
    (snapshot / "README.md").write_text(CARD)
    assert find(snapshot).licence == "Apache-2.0"
    (tmp_path / "models--c--d" / "blobs").mkdir(parents=True)
    (tmp_path / "models--c--d" / "blobs" / "f00").write_bytes(tensors())
    (snapshot / "other.safetensors").symlink_to("../../../models--c--d/blobs/f00")
    with pytest.raises(TerminalError, match="leads out"):
        find(snapshot)


def test_the_folder_itself_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    assert find(tmp_path / "link") == find(folder)


@pytest.mark.parametrize(
    ("path", "settings", "reason"),
    [
        ("unet/config.json", {"auto_map": {"AutoModel": "modeling.Mine"}}, "asks for code"),
        ("unet/config.json", {"text_config": [{"auto_map": {"AutoModel": "a/b--modeling.Mine"}}]}, "asks for code"),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["t.T", None]}}, "asks for code"),
        ("open_clip_config.json", {"text_cfg": {"tokenizer_kwargs": {"trust_remote_code": True}}}, "asks for code"),
        ("model_index.json", {"_class_name": "SanaPipeline", "custom_pipeline": "mine"}, "asks for code"),
        ("model_index.json", {"_class_name": ["mine", "MyPipeline"]}, "by its class alone"),
        ("model_index.json", {"_class_name": "SanaPipeline", "unet": ["my_unet", "Mine"]}, "from the module my_unet"),
        ("model_index.json", {"_class_name": "SanaPipeline", "unet": ["subprocess", "Popen"]}, "module subprocess"),
        ("unet/config.json", [], "holds no settings"),
        ("m.safetensors.index.json", {"weight_map": {"w": "model-2.safetensors"}}, r"not there: model-2\.safetensors"),
    ],
)
def test_settings_that_ask_for_code_or_lack_weights_are_refused(
    folder: Path, path: str, settings: object, reason: str
) -> None:
    (folder / path).write_text(json.dumps(settings))
    with pytest.raises(TerminalError, match=reason) as caught:
        find(folder)
    assert path in str(caught.value)


def test_settings_that_ask_for_no_code_are_fine(folder: Path) -> None:
    (folder / "unet" / "config.json").write_text('{"auto_map": null, "trust_remote_code": false}')
    (folder / "unet" / "m.safetensors.index.json").write_text('{"weight_map": {"w": "model.safetensors"}}')
    assert find(folder).licence == "Apache-2.0"


def test_damaged_settings_are_refused(folder: Path) -> None:
    (folder / "unet" / "config.json").write_text("{")
    with pytest.raises(TerminalError, match=r"config\.json is no JSON"):
        find(folder)


def test_a_folder_without_safetensors_is_refused(folder: Path) -> None:
    (folder / "unet" / "model.safetensors").unlink()
    with pytest.raises(TerminalError, match=r"no weights as \.safetensors"):
        find(folder)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04\x95 a pickle in disguise",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
        tensors()[:-1],
        tensors() + b"more",
        (2).to_bytes(8, "little") + b"[]",
        (8).to_bytes(8, "little") + b'{"a": 1}',
        (10**12).to_bytes(8, "little") + b"{}",
    ],
)
def test_what_is_no_whole_safetensors_file_is_refused(folder: Path, data: bytes) -> None:
    (folder / "unet" / "model.safetensors").write_bytes(data)
    with pytest.raises(TerminalError, match="no whole safetensors file"):
        find(folder)


# The licence


def test_the_settings_overrule_the_card(folder: Path) -> None:
    assert find_weights(source_of(folder, licence="MIT")).licence == "MIT"


@pytest.mark.parametrize("card", ["", "---\nlicense: other\n---\n", "---\ntags: [a]\n---\n"])
def test_weights_of_an_unknown_licence_are_refused(folder: Path, card: str) -> None:
    (folder / "README.md").write_text(card)
    with pytest.raises(TerminalError, match="say it in the settings as 'licence'"):
        find(folder)


# The cache of hashes


def test_a_file_is_hashed_once(folder: Path, cache: Path) -> None:
    before = find(folder)
    written = cache.stat().st_mtime_ns
    known = json.loads(cache.read_bytes())
    assert set(known) == {str(path) for path in folder.rglob("*") if path.is_file() and path.name != "README.md"}
    known[str(folder / "vocab.txt")][-1] = "the hash from before"
    cache.write_text(json.dumps(known))
    os.utime(cache, ns=(written, written))
    assert find(folder).sha256 != before.sha256, "what the cache says is believed"
    assert cache.stat().st_mtime_ns == written, "and not written again"


def touch(path: Path) -> None:
    path.write_text("c\nd\n")


def swap_keeping_times(path: Path) -> None:
    before = path.stat()
    path.write_text("c\nd\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [touch, swap_keeping_times])
def test_a_changed_file_is_noticed(folder: Path, change: Callable[[Path], None]) -> None:
    before = find(folder)
    change(folder / "vocab.txt")
    after = find(folder)
    assert after.sha256 != before.sha256
    assert after.revision == f"sha256:{after.sha256}"


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"/a": 1}', "\x00\xff"])
def test_a_damaged_cache_is_made_anew(folder: Path, cache: Path, damage: str) -> None:
    before = find(folder)
    cache.write_text(damage)
    assert find(folder) == before
    assert str(folder / "vocab.txt") in json.loads(cache.read_bytes())


def test_damaged_entries_are_hashed_anew(folder: Path, cache: Path) -> None:
    before = find(folder)
    cache.write_text(json.dumps({path: [1, "x"] for path in json.loads(cache.read_bytes())}))
    assert find(folder) == before


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(folder: Path, cache: Path) -> None:
    cache.parent.parent.mkdir(parents=True)
    cache.parent.write_text("a file where the folder should be")
    assert find(folder) == find(folder)


def test_two_at_once_find_the_same(folder: Path, cache: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")

    async def both() -> list[Weights]:
        sources = [source_of(each) for each in (folder, copy) * 8]
        return await asyncio.gather(*(asyncio.to_thread(find_weights, source) for source in sources))

    found = asyncio.run(both())
    assert {replace(each, folder=folder) for each in found} == {found[0]}
    assert json.loads(cache.read_bytes())
    assert [path.name for path in cache.parent.iterdir()] == ["weights.json"]


def test_nothing_in_the_folder_is_written(folder: Path) -> None:
    def states() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}

    before = states()
    find(folder)
    assert states() == before
