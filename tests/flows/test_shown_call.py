"""Calls as a person reads them: stable lines of requests and responses, and `interlake call`."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.asked import BuildOptions
from flows.shown_call import request_lines, response_lines
from models.chat import ChatRequest, ImagePart, Message, Sampling, TextPart
from models.drawing import DrawRequest
from models.embedding import EmbedRequest
from models.errors import ContentError
from models.picture import ALGORITHMIC, Picture
from storage.canonical import Json, canonical_text
from storage.lake import Lake
from storage.query import query
from storage.records import CallRow, VectorRow
from tests.flows.casts import Troupe, fake_lake, grow, maintain
from tests.flows.conftest import Interlake

SAMPLING = Sampling(temperature=0.7, top_p=1.0, top_k=0, min_p=0, repeat_penalty=1.1, max_tokens=160)
PICTURE = Picture.from_pixels(np.zeros((8, 8, 3), dtype=np.uint8), source=ALGORITHMIC, marks={})


def chat(*messages: Message, schema: Json = None) -> Json:
    return ChatRequest(
        model="writer", revision="abc", messages=messages, sampling=SAMPLING, schema=schema, seed=7
    ).canonical()


def test_a_chat_is_one_fact_a_line_in_a_fixed_order() -> None:
    looked = Message("user", (TextPart("Look:\nwhat is it?"), ImagePart(PICTURE)))
    assert request_lines(chat(Message.of("system", "Be brief."), looked, schema={"type": "object"})) == [
        "kind: chat",
        "model: writer",
        "revision: abc",
        "seed: 7",
        "sampling.max_tokens: 160",
        "sampling.min_p: 0",
        "sampling.repeat_penalty: 1.1",
        "sampling.temperature: 0.7",
        "sampling.top_k: 0",
        "sampling.top_p: 1",
        "message 1 system:",
        "  Be brief.",
        "message 2 user:",
        "  Look:",
        "  what is it?",
        f"  [picture {PICTURE.sha256}]",
        'schema: {"type":"object"}',
    ]


def test_drawings_and_embeddings_have_their_own_facts() -> None:
    drawn = DrawRequest(
        model="painter", revision="1", caption="an owl", width=64, height=32, steps=4, guidance=0.5, seed=3
    )
    assert request_lines(drawn.canonical()) == [
        "kind: draw",
        "model: painter",
        "revision: 1",
        "seed: 3",
        "caption: an owl",
        "guidance: 0.5",
        "height: 32",
        "steps: 4",
        "width: 64",
    ]
    seen = EmbedRequest(model="encoder", revision="1", subject=PICTURE).canonical()
    assert request_lines(seen)[-1] == f"image_sha256: {PICTURE.sha256}"
    read = EmbedRequest(model="encoder", revision="1", subject="two\nlines").canonical()
    assert request_lines(read)[-3:] == ["text:", "  two", "  lines"]


def test_a_request_has_the_same_lines_before_and_after_it_was_recorded() -> None:
    asked = chat(Message.of("user", "an owl"))
    assert request_lines(json.loads(canonical_text(asked))) == request_lines(asked)


def test_a_reply_that_is_json_is_laid_out_and_any_other_is_left_as_it_is() -> None:
    assert response_lines({"text": '{"a":"é","s":null}', "finish_reason": "stop"}) == [
        "finish reason: stop",
        "reply:",
        "  {",
        '    "a": "é",',
        '    "s": null',
        "  }",
    ]
    assert response_lines({"text": '{"a": "cut', "finish_reason": "length"})[-1] == '  {"a": "cut'
    assert response_lines({"message": "all one colour"}) == ["message: all one colour"]
    assert response_lines({}) == []


@pytest.mark.parametrize("text", ["[" * 100_000, "NaN", "12"])
def test_a_hostile_reply_is_shown_as_it_came(text: str) -> None:
    assert response_lines({"text": text, "finish_reason": "stop"})[-1] == f"  {text}"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """One sample of one turn, whose first drawing was blank."""
    lake = fake_lake(tmp_path_factory.mktemp("lake") / "lake")
    drawn: list[str] = []

    def fail_once(request: DrawRequest) -> Exception | None:
        drawn.append(request.key())
        return ContentError("blank_picture", "all one colour") if len(drawn) == 1 else None

    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1, turns=1), Troupe(painter_fails=fail_once))
    return lake


def first_call(lake: Lake, where: str) -> dict[str, Any]:
    found = query(lake, f"SELECT * FROM calls WHERE {where} ORDER BY turn, round, attempt LIMIT 1")
    return found.row(0, named=True)


def body(lake: Lake, call_id: str) -> CallRow:
    (row,) = [row for row in lake.rows(CallRow, lake.version()) if row.call_id == call_id]
    return row


def test_a_call_is_shown_with_its_place_its_request_and_its_reply(interlake: Interlake, lake: Lake) -> None:
    row = first_call(lake, "purpose = 'draft' AND stage = 'answer'")
    code, out, _ = interlake("call", "--lake", lake.path, row["call_id"][:6])
    assert code == 0
    recorded = body(lake, row["call_id"])
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0] == f"call {row['call_id']}"
    assert f"sample {row['sample_id']}: " in out
    assert "turn 1, answer, round 0, draft, attempt 0" in lines
    assert f"build {row['run_id'][:8]}, version {row['version']}, " in out
    assert "asked of fake-chat (as critic, viewer, writer), licence Apache-2.0" in lines
    shown = [line.removeprefix("  ") for line in out.splitlines()]
    asked = shown[shown.index("asked") + 1 : shown.index("answered")]
    assert asked == request_lines(json.loads(recorded.request))
    assert f"tokens: {row['prompt_tokens']} read, {row['completion_tokens']} written" in lines
    assert "finish reason: stop" in lines
    reply = "\n".join(shown[shown.index("reply:") + 1 :])
    assert json.loads(reply) == json.loads(json.loads(recorded.response)["text"])


def test_json_has_all_that_was_recorded(interlake: Interlake, lake: Lake) -> None:
    row = first_call(lake, "stage = 'question'")
    _, out, _ = interlake("call", "--lake", lake.path, row["call_id"], "--json")
    told, recorded = json.loads(out), body(lake, row["call_id"])
    assert told["request"] == json.loads(recorded.request)
    assert told["response"] == json.loads(recorded.response)
    assert {name: told[name] for name in ("call_id", "key", "seed", "tries", "seconds", "version")} == {
        name: row[name] for name in ("call_id", "key", "seed", "tries", "seconds", "version")
    }


def test_a_vector_is_shown_by_its_first_numbers_and_told_whole(interlake: Interlake, lake: Lake) -> None:
    row = first_call(lake, "purpose = 'embed_text'")
    (vector,) = [each for each in lake.rows(VectorRow, lake.version()) if each.vector_sha256 == row["vector_sha256"]]
    numbers = np.frombuffer(vector.vector, dtype="<f4")
    _, out, _ = interlake("call", "--lake", lake.path, row["call_id"])
    first = ", ".join(f"{number:.4f}" for number in numbers[:6])
    assert f"  vector: 32 numbers: {first}, …\n" in out
    _, out, _ = interlake("call", "--lake", lake.path, row["call_id"], "--json")
    assert json.loads(out)["vector"] == numbers.tolist()


def test_the_picture_that_came_back_is_written_to_a_file(interlake: Interlake, lake: Lake, tmp_path: Path) -> None:
    row = first_call(lake, "image_sha256 IS NOT NULL")
    code, out, _ = interlake("call", "--lake", lake.path, row["call_id"], "--picture", tmp_path / "it.png")
    assert code == 0
    assert (tmp_path / "it.png").read_bytes() == lake.picture(row["image_sha256"], lake.version())
    assert f"written to {tmp_path / 'it.png'}" in out


def test_a_picture_is_refused_where_none_came(interlake: Interlake, lake: Lake, tmp_path: Path) -> None:
    row = first_call(lake, "error = 'blank_picture'")
    code, out, err = interlake("call", "--lake", lake.path, row["call_id"], "--picture", tmp_path / "it.png")
    assert (code, out) == (2, "")
    assert "brought no picture" in err
    assert not (tmp_path / "it.png").exists()


def test_a_call_without_a_usable_answer_says_so(interlake: Interlake, lake: Lake) -> None:
    row = first_call(lake, "error = 'blank_picture'")
    _, out, _ = interlake("call", "--lake", lake.path, row["call_id"])
    assert "  no usable answer: blank_picture\n" in out
    assert "  message: all one colour\n" in out


@pytest.mark.parametrize(
    ("prefix", "message"),
    [("abc", "at least its first 4"), ("x'; --", "is not a call id"), ("0" * 32, "no committed call's id begins with")],
)
def test_an_id_that_names_no_call_is_bad_input(interlake: Interlake, lake: Lake, prefix: str, message: str) -> None:
    code, out, err = interlake("call", "--lake", lake.path, prefix)
    assert (code, out) == (2, "")
    assert message in err


def test_calls_are_found_in_compact_folders_too(interlake: Interlake, lake: Lake, tmp_path: Path) -> None:
    row = first_call(lake, "image_sha256 IS NOT NULL")
    before = interlake("call", "--lake", lake.path, row["call_id"])
    copy = Lake(path=tmp_path / "copy", seed=lake.seed)
    shutil.copytree(lake.path, copy.path)
    maintain(copy, days=0)
    assert not [*copy.packages.iterdir()]
    assert interlake("call", "--lake", copy.path, row["call_id"]) == before
