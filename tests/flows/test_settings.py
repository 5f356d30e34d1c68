"""interlake.toml: every profile is whole, every mistake is one sentence, and what a place changes is no sample."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from flows.asked import ENCODERS, PROFILES
from flows.lakes import choose_encoder
from flows.pinning import repository_of
from flows.recipe import write_recipe
from flows.settings import FILE, THRESHOLDS, OpenClipSettings, Settings, SettingsError, default_settings, parse_settings
from flows.settings_file import change_settings
from models.identity import ModelIdentity
from models.scene_clip_encoder import IMAGE_THRESHOLD, TEXT_THRESHOLD

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WHO = {
    role: ModelIdentity(name=role, revision="1", licence="Apache-2.0")
    for role in ("writer", "critic", "painter", "viewer", "encoder")
}


def parse(profile: str, changes: Mapping[str, str] | None = None) -> Settings:
    text = default_settings(profile)
    for old, new in (changes or {}).items():
        assert old in text
        text = text.replace(old, new, 1)
    return parse_settings(text, Path(FILE))


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_whole(profile: str) -> None:
    settings = parse(profile)
    assert settings.generation.turns == 2
    assert {"embedded": 0, "mixed": 2, "vllm": 5, "fake": 0}[profile] == len(settings.chosen())


MISTAKES = {
    "no such backend": ({'backend = "diffusers"': 'backend = "flux"'}, "backend' is 'flux', not one of"),
    "no backend": ({'backend = "open_clip"\n': ""}, "'selection.encoder.backend' is missing"),
    "a key of another backend": ({'dtype = "bfloat16"\n': 'dtypo = "bfloat16"\n'}, "generation.painter.dtypo"),
    "steps forgotten": ({"steps = 9\n": ""}, "'generation.painter.steps' is missing"),
    "a branch for a revision": ({'revision = "unpinned"': 'revision = "main"'}, "commit of 40 hex digits"),
    "no address": ({'"http://127.0.0.1:8000/v1"': '"localhost"'}, "looks like http://127.0.0.1:8000/v1"),
    "a password in an address": ({"http://127.0.0.1:8000": "http://me:it@127.0.0.1:8000"}, "without user or password"),
    "a server for nobody": ({'[servers."Qwen/Qwen2.5-VL-7B-Instruct"]': '[servers."Qwen/x"]'}, "belongs to no model"),
    "a place for nobody": ({'[local."timm/ViT-B-16-SigLIP"]': '[local."timm/x"]'}, "belongs to no model"),
    "a tag without architecture": (
        {'model = "timm/ViT-B-16-SigLIP"': 'model = "timm/ViT-B-16-SigLIP"\npretrained = "laion2b"'},
        "no architecture",
    ),
    "a key for the name of its variable": (
        {'dialect = "vllm"': 'api_key_env = "sk-me:it"\ndialect = "vllm"'},
        "the name of an environment variable is letters",
    ),
    "a card of a server that keeps it": (
        {'dialect = "vllm"': 'card = "0"\ndialect = "llama.cpp"'}, "none but a server of vLLM gives one back",
    ),
    "a card of an encoder": (
        {'[local."timm/ViT-B-16-SigLIP"]': '[local."timm/ViT-B-16-SigLIP"]\ncard = "0"'}, "an encoder gives none back",
    ),
    "too little context": (
        {'backend = "server"': 'backend = "vllm"\ncontext = 100'}, "generation.writer.context' is 100",
    ),
    "an unknown dialect": ({'dialect = "vllm"': 'dialect = "sglang"'}, "dialect' is 'sglang'"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_that_names_the_key(mistake: str) -> None:
    changes, said = MISTAKES[mistake]
    with pytest.raises(SettingsError) as caught:
        parse("vllm", changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "me:it" not in str(caught.value), "no error shows a password"
    assert str(caught.value).startswith(f"{FILE}: ")


def test_a_chat_model_of_vllm_in_process_has_a_place_and_no_server() -> None:
    of_writer_and_critic = {
        'backend = "server"': 'backend = "vllm"',
        'asked when the deterministic checks find nothing; "checks": nobody is asked\nbackend = "server"':
            'asked\nbackend = "vllm"',
        '[servers."Qwen/Qwen2.5-7B-Instruct"]':
            '[local."Qwen/Qwen2.5-7B-Instruct"]\nbatch = 64\npython = "/opt/python"\n#',
        'urls = ["http://127.0.0.1:8000/v1"]': "#",
        "at_once = 64": "#",
        "timeout = 300": "#",
        'dialect = "vllm"': "#",
    }  # fmt: skip
    settings = parse("vllm", of_writer_and_critic)
    assert settings.generation.writer.backend == settings.generation.critic.backend == "vllm"
    place = settings.local["Qwen/Qwen2.5-7B-Instruct"]
    assert (place.batch, place.python, place.memory) == (64, "/opt/python", None)
    elsewhere = parse("vllm", {**of_writer_and_critic, "batch = 64": "batch = 8", "/opt/python": "/usr/bin/python"})
    assert elsewhere.generation == settings.generation


def test_a_model_without_a_server_is_told_how_to_name_one() -> None:
    text = default_settings("mixed")
    without = text[: text.index("[servers.")]
    with pytest.raises(SettingsError, match=r'add \[servers\."Qwen/Qwen2.5-7B-Instruct"\]'):
        parse_settings(without, Path(FILE))


JUDGED = """
[judge]
timeout = {waits}
[[judge.judges]]
name = "sharp"
backend = "server"
model = "judges/eyes"
licence = "MIT"
[servers."judges/eyes"]
urls = ["http://127.0.0.1:8001/v1"]
timeout = 60
"""


@pytest.mark.parametrize("waits", ["60", "90.5"])
def test_a_server_that_gives_up_no_later_than_its_judge_is_one_sentence_and_replays_do_not_mind(waits: str) -> None:
    text = default_settings("fake")
    text = text[: text.index("[[judge.judges]]")] if "[[judge.judges]]" in text else text
    with pytest.raises(SettingsError) as caught:
        parse_settings(text + JUDGED.format(waits=waits), Path(FILE))
    assert str(caught.value) == (
        f'{FILE}: [servers."judges/eyes"] has a timeout of 60 seconds, and its judge sharp waits for {waits}: '
        "make it longer than [judge] timeout"
    )
    assert Settings.model_validate(tomllib.loads(text + JUDGED.format(waits=waits))).judge.timeout == float(waits)
    assert parse_settings(text + JUDGED.format(waits="59"), Path(FILE)).judge.timeout == 59


def test_the_scene_viewer_goes_with_the_painter_whose_scenes_it_reads() -> None:
    with pytest.raises(SettingsError, match="'scene' reads what the painter 'openmoji' drew"):
        parse("embedded", {'backend = "openmoji"': 'backend = "fake"'})


def test_where_a_model_runs_and_what_it_is_licensed_under_changes_no_sample() -> None:
    here = parse("vllm")
    there = parse(
        "vllm",
        {
            "http://127.0.0.1:8000/v1": "http://10.0.0.7:9000/v1",
            "timeout = 300": "timeout = 30",
            'device = "cuda"         #': 'device = "cuda:1"       #',
            "batch = 1               #": "batch = 8               #",
            'licence = "Apache-2.0"': 'licence = "MIT"',
            'revision = "unpinned"': f'revision = "{COMMIT}"',
        },
    )
    assert write_recipe(here, WHO) == write_recipe(there, WHO)
    other = parse("vllm", {'dtype = "bfloat16"': 'dtype = "float32"'})
    assert write_recipe(here, WHO).generation_id != write_recipe(other, WHO).generation_id
    pinned = WHO | {"writer": ModelIdentity(name="writer", revision=COMMIT, licence="Apache-2.0")}
    assert write_recipe(here, WHO).generation_id != write_recipe(here, pinned).generation_id


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_encoder_is_chosen_with_its_thresholds_and_the_rest_of_the_file_stays(tmp_path: Path, encoder: str) -> None:
    file = tmp_path / FILE
    file.write_text(
        default_settings("vllm").replace('[local."timm/ViT-B-16-SigLIP"]\ndevice = "cuda"\nbatch = 1\n', "")
    )
    before = file.read_text()
    choose_encoder(tmp_path, encoder)
    settings = parse_settings(file.read_text(), file)
    assert settings.selection.encoder.model_dump() == {"backend": encoder}
    assert (settings.selection.duplicates.image, settings.selection.duplicates.text) == THRESHOLDS[encoder]
    assert file.read_text().count("#") == before.count("#")


def test_a_change_that_would_not_be_good_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / FILE
    file.write_text(default_settings("fake"))
    with pytest.raises(SettingsError, match="image"):
        change_settings(file, {"selection.duplicates": {"image": 7.0}})
    assert file.read_text() == default_settings("fake")
    assert list(tmp_path.iterdir()) == [file]


def test_the_thresholds_of_our_own_clip_are_those_of_its_card() -> None:
    assert THRESHOLDS["scene_clip"] == (IMAGE_THRESHOLD, TEXT_THRESHOLD)
    duplicates = parse("embedded").selection.duplicates
    assert (duplicates.image, duplicates.text) == THRESHOLDS["scene_clip"]


def test_a_model_without_a_tag_is_its_own_repository() -> None:
    assert repository_of(OpenClipSettings(backend="open_clip", model="timm/x")) == "timm/x"
