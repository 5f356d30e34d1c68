"""`interlake similar`: what is near to a sample, a text and a picture, exactly, and what is told of bad input."""

import io
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dedup.similarity import cosine
from flows.asked import BuildOptions
from flows.lakes import choose_encoder, make_lake
from flows.similar import similar_to_sample
from flows.soundness import check_soundness
from flows.topics.catalogue import TopicEntry
from models.chat import ChatRequest, TextPart
from models.fakes import FakeChat, minimal_json
from models.openmoji_painter import OpenmojiPainter
from models.scene_clip_encoder import SceneClipEncoder
from storage.kept_rows import KeptVectors, kept_vectors
from storage.lake import Lake
from storage.query import query
from tests.flows.casts import Troupe, fake_lake, grow, maintain
from tests.flows.conftest import Interlake
from tests.flows.eventful_lake import HalfBlindEncoder

GROWN = BuildOptions(new_topics=4, samples_per_topic=2, turns=2)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Eight kept samples of two turns, unlike each other; nobody changes it."""
    lake = fake_lake(tmp_path_factory.mktemp("similar") / "lake")
    grow(lake.path, GROWN)
    return lake


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Made with an encoder that sees the same in all pictures and in half of the captions, so that some repeat."""
    lake = fake_lake(tmp_path_factory.mktemp("blind") / "lake")
    grow(lake.path, GROWN, Troupe(encoder=HalfBlindEncoder()))
    return lake


def vectors(lake: Lake) -> list[KeptVectors]:
    return list(kept_vectors(lake, lake.version()))


def answer(interlake: Interlake, *words: str | int | Path) -> dict[str, Any]:
    code, out, err = interlake("similar", *words, "--json")
    assert (code, err) == (0, "")
    told: dict[str, Any] = json.loads(out)
    return told


@pytest.mark.parametrize("by", ["image", "text"])
def test_the_neighbours_of_a_sample_are_the_nearest_turns_by_exact_cosines(
    interlake: Interlake, lake: Lake, by: str
) -> None:
    turns = vectors(lake)
    own = [turn for turn in turns if turn.sample_id == turns[0].sample_id]
    told = answer(interlake, "--lake", lake.path, own[0].sample_id, "--by", by, "-n", 5)
    assert [asked["turn"] for asked in told["asked"]] == [1, 2]
    for asked, mine in zip(told["asked"], own, strict=True):
        others = [turn for turn in turns if turn.sample_id != mine.sample_id]
        expected = sorted(
            (-cosine(getattr(mine, by), getattr(turn, by)), turn.version, turn.sample_id, turn.turn) for turn in others
        )[:5]
        found = [
            (-near["similarity"], near["version"], near["sample_id"], near["turn"]) for near in asked["neighbours"]
        ]
        assert found == expected


def test_one_turn_can_be_chosen_and_what_is_printed_names_similarity_sample_topic_and_question(
    interlake: Interlake, lake: Lake
) -> None:
    sample_id = vectors(lake)[0].sample_id
    code, out, err = interlake("similar", "--lake", lake.path, sample_id[:12], "--turn", 2, "--limit", 3)
    assert (code, err) == (0, "")
    head, columns, _, *rows = [line for line in out.splitlines() if line.strip()]
    assert head == f"nearest pictures in version {lake.version().number} to turn 2 of sample {sample_id}"
    assert columns.split() == ["similarity", "sample", "turn", "topic", "question"]
    (near,) = answer(interlake, "--lake", lake.path, sample_id, "--turn", 2, "--limit", 3)["asked"]
    assert len(rows) == 3
    for row, each in zip(rows, near["neighbours"], strict=True):
        assert row.split()[:3] == [f"{each['similarity']:.4f}", each["sample_id"][:8], str(each["turn"])]
        assert each["topic"] in row


def test_a_dropped_sample_has_neighbours_as_well(interlake: Interlake, blind: Lake) -> None:
    dropped = query(blind, "SELECT sample_id FROM samples WHERE outcome = 'duplicate' ORDER BY 1")["sample_id"][0]
    told = answer(interlake, "--lake", blind.path, dropped)
    kept = {turn.sample_id for turn in vectors(blind)}
    assert [asked["turn"] for asked in told["asked"]] == [1, 2]
    for asked in told["asked"]:
        assert {near["similarity"] for near in asked["neighbours"]} == {1.0}
        assert {near["sample_id"] for near in asked["neighbours"]} <= kept


def test_turns_that_are_equally_near_come_by_version_sample_and_turn(blind: Lake) -> None:
    found = similar_to_sample(blind, vectors(blind)[0].sample_id, turn=1, number=None, by="image", limit=4)
    order = [(near.version, near.sample_id, near.turn) for near in found.asked[0].neighbours]
    shown = query(
        blind,
        "SELECT max(turns.version) OVER (PARTITION BY sample_id) AS version, sample_id, turn FROM turns "
        f"JOIN samples USING (sample_id) WHERE outcome = 'kept' AND sample_id <> '{vectors(blind)[0].sample_id}' "
        "ORDER BY ALL LIMIT 4",
    )
    assert order == shown.rows()


def test_a_caption_and_a_picture_of_the_lake_find_themselves(interlake: Interlake, lake: Lake, tmp_path: Path) -> None:
    row = query(lake, "SELECT * FROM turns ORDER BY sample_id, turn").row(3, named=True)
    file = tmp_path / "picture.png"
    file.write_bytes(lake.picture(row["image_sha256"], lake.version()))
    for words in (["--text", row["caption"], "--by", "text"], ["--image", file]):
        told = answer(interlake, "--lake", lake.path, *words)
        first = told["asked"][0]["neighbours"][0]
        assert (first["sample_id"], first["turn"], first["similarity"]) == (row["sample_id"], row["turn"], 1.0)
        assert len(told["asked"][0]["neighbours"]) == 10


def test_an_old_version_is_searched_as_it_was(interlake: Interlake, tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=2, turns=1))
    old = lake.version().number
    (first, second) = vectors(lake)
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=2, turns=1))
    told = answer(interlake, "--lake", lake.path, first.sample_id, "--version", old)
    assert told["version"] == old
    assert [near["sample_id"] for near in told["asked"][0]["neighbours"]] == [second.sample_id]
    later = vectors(lake)[-1].sample_id
    code, _, err = interlake("similar", "--lake", lake.path, later, "--version", old)
    assert (code, err.count("\n")) == (2, 1)
    assert f"has no vectors in version {old}" in err


def test_nothing_is_written_into_the_lake_by_asking(interlake: Interlake, lake: Lake) -> None:
    query(lake, "SELECT 1")
    before = {path: path.stat().st_mtime_ns for path in lake.path.rglob("*") if path.is_file()}
    answer(interlake, "--lake", lake.path, "--text", "an owl")
    assert {path: path.stat().st_mtime_ns for path in lake.path.rglob("*") if path.is_file()} == before


def test_a_maintained_lake_with_an_index_answers_the_same_and_grows_on(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    grow(lake.path, GROWN)
    sample_id = vectors(lake)[0].sample_id

    def ask() -> object:
        return similar_to_sample(lake, sample_id, turn=None, number=None, by="image", limit=5)

    before = ask()
    done = maintain(lake, index_from=10)
    assert (done.rows_indexed, done.table_rewritten) == (16, True)
    assert ask() == before
    assert check_soundness(lake.path).is_sound
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=2, turns=1))
    assert len(vectors(lake)) == 18
    assert check_soundness(lake.path).is_sound


# Bad input


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return fake_lake(tmp_path_factory.mktemp("empty") / "lake")


BAD = {
    "nothing": ([], "give one thing to compare"),
    "two things": (["abcd", "--text", "owls"], "give one thing to compare"),
    "a turn of a text": (["--text", "owls", "--turn", "1"], "--turn chooses a turn of SAMPLE"),
    "no sample": (["ffffffffffff"], "no sample's id begins with ffffffffffff"),
    "no id": (["owls"], "'owls' is not a sample id"),
    "an empty text": (["--text", "  \n"], "the text is empty"),
    "a version to come": (["--text", "owls", "--version", "999"], "999"),
    "no neighbours": (["--text", "owls", "-n", "0"], "0 is not in the range"),
    "a version without turns": (["--text", "owls", "--version", "1"], "version 1 of "),
    "no file": (["--image", "not-there.png"], "not-there.png: No such file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told_in_one_sentence(interlake: Interlake, lake: Lake, name: str) -> None:
    words, told = BAD[name]
    code, out, err = interlake("similar", "--lake", lake.path, *words)
    assert (code, out) == (2, "")
    assert told in err.splitlines()[-1]


def test_a_turn_that_a_sample_has_not_is_told_with_those_it_has(interlake: Interlake, lake: Lake) -> None:
    code, _, err = interlake("similar", "--lake", lake.path, vectors(lake)[0].sample_id, "--turn", 3)
    assert (code, err.count("\n")) == (2, 1)
    assert "has no turn 3, it has turns 1 to 2" in err


def test_an_empty_lake_has_nothing_to_be_compared_with(interlake: Interlake, empty: Lake) -> None:
    code, _, err = interlake("similar", "--lake", empty.path, "--text", "owls")
    assert (code, err.count("\n")) == (2, 1)
    assert "has no kept turn to be compared with" in err


@pytest.mark.parametrize("data", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n" + bytes(64)], ids=len)
def test_a_file_that_is_no_picture_is_named(interlake: Interlake, lake: Lake, tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "words.png"
    file.write_bytes(data)
    code, _, err = interlake("similar", "--lake", lake.path, "--image", file)
    assert (code, err.count("\n")) == (2, 1)
    assert "words.png: it is no picture that can be read" in err


def test_another_encoder_in_the_settings_is_named_with_what_to_do(interlake: Interlake, tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=2, turns=1))
    choose_encoder(lake.path, "descriptor")
    code, _, err = interlake("similar", "--lake", lake.path, "--text", "owls", "--by", "text")
    assert (code, err.count("\n")) == (2, 1)
    assert "names descriptor 1" in err
    assert "reembed" in err
    code, _, err = interlake("similar", "--lake", lake.path, "--text", "owls")
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot compare a text with a picture; add --by text" in err
    assert answer(interlake, "--lake", lake.path, vectors(lake)[0].sample_id)["asked"][0]["neighbours"]


# The embedded encoder

CAPTIONS = {
    "apples": "A red apple on a table.",
    "dogs": "A dog in a meadow.",
    "sailing": "A sailboat on the sea.",
    "guitars": "A guitar on a table.",
    "cars": "A red car on a road.",
    "trees": "A tree in a meadow.",
}


ASKED = {
    "apples": "fruit",
    "dogs": "a dog",
    "sailing": "a sailboat",
    "guitars": "a guitar on a table",
    "cars": "a car that drives on a road",
    "trees": "a tree",
}


def script(request: ChatRequest) -> str:
    """A caption by the topic that the prompt names, and else what stand-ins say."""
    asked = " ".join(part.text for part in request.messages[-1].parts if isinstance(part, TextPart))
    reply = minimal_json(request.schema, request.key())
    assert isinstance(reply, dict)
    if "suggestion" in reply:
        return json.dumps({"suggestion": None})
    if "caption" in reply:
        reply["caption"] = next(
            caption for topic, caption in CAPTIONS.items() if f"Topic: {topic}\n" in asked or caption in asked
        )
    return json.dumps(reply)


class Draughtsman(Troupe):
    """Scripted texts, with the pictures and vectors of the embedded profile."""

    async def __aenter__(self) -> Any:
        from flows.studio import Cast

        chat = FakeChat(script=script)
        return Cast(writer=chat, critic=None, painter=OpenmojiPainter(), viewer=chat, encoder=SceneClipEncoder())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    topics = [TopicEntry(name=name, category="", domain="") for name in CAPTIONS]
    lake = make_lake(tmp_path_factory.mktemp("drawn") / "lake", profile="embedded", seed=1, topics=topics)
    grow(lake.path, BuildOptions(new_topics=len(topics), samples_per_topic=1, turns=1), Draughtsman())
    return lake


@pytest.mark.parametrize("topic", ASKED)
def test_a_text_about_a_topic_brings_its_pictures_near_the_top_without_a_network(
    interlake: Interlake, drawn: Lake, monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    told = answer(interlake, "--lake", drawn.path, "--text", ASKED[topic], "-n", 2)
    assert topic in [near["topic"] for near in told["asked"][0]["neighbours"]]


def test_a_photograph_of_another_kind_and_size_can_be_asked_about(
    interlake: Interlake, drawn: Lake, tmp_path: Path
) -> None:
    joined = "SELECT name, image_sha256 FROM turns JOIN samples USING (sample_id) JOIN topics USING (topic_id)"
    row = query(drawn, f"{joined} ORDER BY name").row(0, named=True)
    data = drawn.picture(row["image_sha256"], drawn.version())
    file = tmp_path / "copy.jpg"
    with Image.open(io.BytesIO(data)) as image:
        image.resize((2500, 2500)).save(file, quality=80)
    first = answer(interlake, "--lake", drawn.path, "--image", file)["asked"][0]["neighbours"][0]
    assert first["topic"] == row["name"]
    assert 0.9 < first["similarity"] <= 1.0
