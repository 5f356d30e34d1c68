"""`interlake regenerate` as a user meets it: lines, JSON, exit codes; the lake's files stay as they are."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from models.chat import ChatRequest
from models.fakes import FakeChat
from storage.lake import Lake
from tests.flows.conftest import Interlake
from tests.reproduction.test_regenerate import lake_of, own, rows_of


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two samples of one turn, made by stand-ins that can be asked again. Nobody writes into it."""
    return lake_of(tmp_path_factory.mktemp("lake") / "lake")


def snapshot(lake: Lake) -> Mapping[str, tuple[int, bytes]]:
    files = (path for path in lake.path.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_the_command_says_what_came_of_each_model_and_writes_nothing(interlake: Interlake, lake: Lake) -> None:
    before = snapshot(lake)
    code, out, err = interlake("regenerate", "--lake", lake.path)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    count = sum(row.purpose == "draw" for row in rows_of(lake))
    assert f"fake-painter 1, draw: {count} calls: {count} identical" in lines
    assert lines[-1].startswith(f"{len(rows_of(lake))} calls asked again in ")
    assert lines[-1].endswith(": all identical")
    assert snapshot(lake) == before


def said_otherwise(request: ChatRequest) -> str:
    """A reply as no stand-in gives it."""
    assert isinstance(request.schema, dict)
    fields = {"question": "What is it?", "answer": "It is red.", "caption": "A red thing.", "suggestion": None}
    return json.dumps({name: fields[name] for name in request.schema["properties"]}, indent=1)


def test_the_command_shows_twenty_calls_or_all_and_ends_with_1(interlake: Interlake, tmp_path: Path) -> None:
    three = BuildOptions(new_topics=3, samples_per_topic=1, turns=1)
    lake = lake_of(tmp_path / "lake", own(chat=FakeChat(script=said_otherwise)), options=three)
    before = snapshot(lake)
    chats = [row.call_id for row in rows_of(lake) if row.prompt_tokens is not None]
    code, out, _ = interlake("regenerate", "--lake", lake.path)
    assert code == 1
    shown = [line.split()[2].rstrip(",") for line in out.splitlines() if line.startswith("DRIFTED")]
    assert (len(shown), len(set(shown) & set(chats))) == (20, 20)
    assert f"… and {len(chats) - 20} more, with --all" in out.splitlines()
    code, out, _ = interlake("regenerate", "--lake", lake.path, "--all")
    assert (code, out.count("\nDRIFTED")) == (1, len(chats))
    assert out.splitlines()[-1].endswith(f"{len(rows_of(lake)) - len(chats)} identical, {len(chats)} drifted")
    assert snapshot(lake) == before


def test_json_has_all_that_is_not_identical(interlake: Interlake, tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", own(chat=FakeChat(script=said_otherwise)))
    code, out, _ = interlake("regenerate", "--lake", lake.path, "--json")
    told = json.loads(out)
    assert (code, told["identical"], told["version"]) == (1, False, lake.version().number)
    chats = {row.call_id: row for row in rows_of(lake) if row.prompt_tokens is not None}
    (chat,) = [model for model in told["models"] if model["name"] == "fake-chat"]
    assert {outcome["call_id"] for outcome in chat["outcomes"]} == set(chats)
    assert sum(counts["drifted"] for counts in chat["counts"].values()) == len(chats)
    for outcome in chat["outcomes"]:
        assert outcome["verdict"] == "drifted"
        assert {"TextDrift"} <= {drift["kind"] for drift in outcome["drifts"]}


def test_a_call_that_is_not_there_is_bad_input(interlake: Interlake, lake: Lake) -> None:
    code, out, err = interlake("regenerate", "--lake", lake.path, "--call", "0" * 32)
    assert (code, out) == (2, "")
    assert "no call's id begins with" in err
