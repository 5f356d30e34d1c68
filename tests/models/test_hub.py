"""Looking up and fetching by the real client, from a hub on this machine; what a model card says."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.errors import TerminalError
from models.hub import licence_of, read_card
from tests.models.fake_hub import COMMIT, Client, FakeHub, Repository, serve_hub

pytest.importorskip("huggingface_hub", reason="comes with the extras 'embedded' and 'torch'")

FILES = {
    "config.json": b"{}",
    "model.safetensors": b"\x02\0\0\0\0\0\0\0{}",
    "pytorch_model.bin": b"a pickle",
    "modeling.py": b"raise SystemExit",
    "README.md": b"---\nlicense: mit\n---\n",
    "text/vocab.txt": b"a\nb\n",
}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    repositories = {
        "owner/clip": Repository(commit=COMMIT, files=FILES, card={"license": "apache-2.0"}),
        "owner/gated": Repository(commit=COMMIT, files=FILES, gated=True),
    }
    with serve_hub(repositories) as served:
        yield served


@pytest.fixture
def client(hub: FakeHub, tmp_path: Path) -> Client:
    return Client(home=tmp_path, url=hub.url)


def test_a_repository_is_looked_up_with_its_commit_its_licence_and_its_files(client: Client) -> None:
    look = "[getattr(hub.look_up('owner/clip'), name) for name in ('repository', 'revision', 'licence', 'files')]"
    found = json.loads(client.ask(f"__import__('json').dumps({look})"))
    assert found == ["owner/clip", COMMIT, "Apache-2.0", sorted(FILES)]


def test_a_card_without_a_licence_is_looked_up_as_none(client: Client) -> None:
    assert client.ask("hub.look_up('owner/gated').licence") == "None"


def test_only_weights_settings_and_papers_are_fetched(client: Client, hub: FakeHub) -> None:
    folder = client.fetch()
    fetched = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert fetched == {path: data for path, data in FILES.items() if not path.endswith((".bin", ".py"))}
    assert not any(path.endswith((".bin", ".py")) for path in hub.asked)


def test_what_was_fetched_once_needs_no_hub_any_more(client: Client, hub: FakeHub) -> None:
    first = client.fetch()
    asked = len(hub.asked)
    assert client.fetch() == client.fetch(HF_HUB_OFFLINE="1") == first
    assert hub.asked[asked:] == []


def test_a_copy_with_a_hole_is_filled_up_from_the_hub_and_refused_without_it(client: Client) -> None:
    folder = client.fetch()
    (folder / "config.json").unlink()
    with pytest.raises(TerminalError, match="not all of it is in the hub's cache, and HF_HUB_OFFLINE"):
        client.fetch(HF_HUB_OFFLINE="1")
    assert (client.fetch() / "config.json").read_bytes() == b"{}"


def test_offline_and_not_cached_is_told(client: Client, hub: FakeHub) -> None:
    with pytest.raises(TerminalError, match=f"owner/clip at {COMMIT}: .*HF_HUB_OFFLINE keeps the hub out of reach"):
        client.fetch(HF_HUB_OFFLINE="1")
    with pytest.raises(TerminalError, match=r"owner/clip: .*HF_HUB_OFFLINE"):
        client.ask("hub.look_up('owner/clip')", HF_HUB_OFFLINE="1")
    assert hub.asked == []


def test_a_hub_that_is_not_there_cannot_be_reached(tmp_path: Path) -> None:
    nobody = Client(home=tmp_path, url="http://127.0.0.1:9")
    with pytest.raises(TerminalError, match=r"owner/clip: the hub cannot be reached \(Connect"):
        nobody.ask("hub.look_up('owner/clip')")
    with pytest.raises(TerminalError, match=r"owner/clip at \w+: the hub cannot be reached \(Connect"):
        nobody.fetch()


@pytest.mark.parametrize(
    ("repository", "revision", "message"),
    [
        ("owner/none", COMMIT, "the hub has no such repository"),
        ("owner/clip", COMMIT[::-1], "the hub has no such commit"),
        ("owner/gated", COMMIT, "its owner lets in only who asked on its page"),
        ("not a name", COMMIT, "not the name of a repository"),
    ],
)
def test_what_the_hub_does_not_give_is_told_in_one_sentence(
    client: Client, repository: str, revision: str, message: str
) -> None:
    with pytest.raises(TerminalError, match=message) as caught:
        client.fetch(repository, revision)
    assert "\n" not in str(caught.value)


def test_the_users_token_reaches_the_hub_and_no_message(client: Client, hub: FakeHub) -> None:
    done = client.run("hub.fetch('owner/gated', '" + COMMIT + "')", HF_TOKEN="hf_secret")
    assert done.returncode == 1
    assert "Bearer hf_secret" in hub.tokens
    assert "hf_secret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ({"license": "apache-2.0"}, "Apache-2.0"),
        ({"license": "cc-by-4.0"}, "CC-BY-4.0"),
        ({"license": "MIT"}, "MIT"),
        ({"license": "openrail++"}, "LicenseRef-openrail"),
        ({"license": "other", "license_name": "flux 1 dev (non-commercial)"}, "LicenseRef-flux-1-dev-non-commercial"),
        ({"license": "gpl-3.0"}, "GPL-3.0-only"),
        ({"license": ["mit", "cc-by-4.0"]}, "MIT AND CC-BY-4.0"),
        ({"license": "other"}, None),
        ({"license": "unknown"}, None),
        ({"license": []}, None),
        ({}, None),
    ],
)
def test_the_licence_of_a_card_is_told_as_spdx(card: dict[str, object], licence: str | None) -> None:
    assert licence_of(card) == licence


@pytest.mark.parametrize(
    ("text", "card"),
    [
        ("---\nlicense: mit\ntags:\n- clip\n---\n# A model\n", {"license": "mit", "tags": ["clip"]}),
        ("---\r\nlicense: mit\r\n---\r\nText", {"license": "mit"}),
        ("# A model\n---\nlicense: mit\n---\n", {}),
        ("---\nlicense: [mit\n---\n", {}),
        ("---\njust words\n---\n", {}),
        ("---\nlicense: !!python/object/apply:os.getcwd []\n---\n", {}),
        ("", {}),
    ],
)
def test_only_what_stands_at_the_head_of_a_card_is_read(tmp_path: Path, text: str, card: dict[str, object]) -> None:
    path = tmp_path / "README.md"
    assert read_card(path) == {}
    path.write_bytes(text.encode())
    assert read_card(path) == card
