"""Whole builds with texts and critiques of pictures from real servers of vLLM, one of which is killed midway."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import jsonschema
import pytest

from flows.progress import Progress, read_progress
from flows.seir.replies import AnswerReply, CaptionReply, Critique, QuestionReply, schema_of
from models.identity import Json
from storage.lake import Lake
from storage.query import query
from storage.records import CallRow
from tests.flows.test_build import assert_conserved
from tests.vllm_server.lakes import (
    COMMAND,
    ENVIRONMENT,
    FOUR,
    SECONDS,
    asked_of,
    committed_calls,
    make_served_lake,
    move_servers_away,
    recorded_calls,
    run,
)
from tests.vllm_server.servers import CHAT, VIEWER, VllmServer

TWO = ("--new-topics", "1", "--samples-per-topic", "2", "--turns", "1")
KILLED_AFTER = 5  # answers of the chat model: the samples are begun by then, and none of them is done
SHAPES = (QuestionReply, AnswerReply, CaptionReply, Critique)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, chat_server: VllmServer, view_server: VllmServer) -> Path:
    """A lake with four samples."""
    path = make_served_lake(tmp_path_factory.mktemp("built") / "lake", chat_server, view_server)
    run("build", "--lake", path, *FOUR)
    return path


def test_four_samples_are_decided_and_some_are_kept(built: Path) -> None:
    lake = Lake.open(built)
    assert_conserved(lake)
    ((state, planned, kept, duplicate, open_),) = query(
        lake, "SELECT state, planned, kept, duplicate, open FROM runs"
    ).rows()
    assert (state, planned, open_) == ("finished", 4, 0)
    assert kept > 0
    assert duplicate < planned
    undecided = query(
        lake, "SELECT sample_id FROM samples WHERE outcome != 'kept' AND (reason IS NULL OR stage IS NULL)"
    )
    assert undecided.is_empty()


def test_each_call_tells_its_seed_its_schema_and_its_picture(built: Path) -> None:
    calls = committed_calls(built)
    texts, views = asked_of(calls, CHAT.name), asked_of(calls, VIEWER.name)
    assert texts
    assert views
    schemas = [schema_of(shape) for shape in SHAPES]
    for row in (*texts, *views):
        request = json.loads(row.request)
        assert row.seed == request["seed"]
        assert request["schema"] in schemas
        assert row.tries == 1
        assert (row.prompt_tokens or 0) > 50
        assert 0 < (row.completion_tokens or 0) <= request["sampling"]["max_tokens"]
    assert len({row.seed for row in texts}) > 4
    assert all("image_sha256" in row.request for row in views)
    assert not any("image_sha256" in row.request for row in texts)


def test_what_vllm_was_told_to_answer_in_a_shape_has_that_shape(built: Path) -> None:
    seen = [whole_reply(row) for row in committed_calls(built) if '"kind":"chat"' in row.request]
    whole = [each for each in seen if each is not None]
    for reply, schema in whole:
        jsonschema.validate(reply, schema)
    assert any(schema == schema_of(Critique) for _, schema in whole)
    assert len(whole) > len(seen) / 2, "hardly any reply ran out of tokens"
    viewed = [whole_reply(row) for row in asked_of(committed_calls(built), VIEWER.name)]
    assert any(viewed), "a random model closes its JSON at times"


def whole_reply(row: CallRow) -> tuple[Json, Mapping[str, Json]] | None:
    """A reply and the schema it was asked for; None for one that ran out of tokens."""
    response, schema = json.loads(row.response), json.loads(row.request)["schema"]
    return (json.loads(response["text"]), schema) if response.get("finish_reason") == "stop" else None


def test_the_servers_facts_are_recorded(built: Path) -> None:
    rows = query(Lake.open(built), "SELECT name, fingerprint->>'server' AS server FROM models ORDER BY name").rows()
    assert ("smollm2", "0.32.0") in rows
    assert ("tiny-viewer", "0.32.0") in rows


def test_a_replay_is_exact_and_asks_no_server(built: Path, servers: list[VllmServer]) -> None:
    before = [server.count_answers() for server in servers]
    move_servers_away(built, *servers)
    run("replay", "--lake", built)
    run("fsck", "--lake", built)
    assert [server.count_answers() for server in servers] == before


def test_a_chat_server_that_is_killed_and_comes_back_is_waited_for_and_asked_nothing_twice(
    tmp_path: Path, chat_server: VllmServer, view_server: VllmServer
) -> None:
    path = make_served_lake(tmp_path / "lake", chat_server, view_server)
    answers_before, views_before = chat_server.count_answers(), view_server.count_answers()
    with building(path, tmp_path / "said") as (build, now):
        wait_while(build, lambda: len(asked_of([*recorded_calls(path).values()], CHAT.name)) < KILLED_AFTER)
        first_life = chat_server.count_answers() - answers_before
        chat_server.kill()
        wait_while(build, lambda: CHAT.name not in now().waiting)
        heard = {row.call_id for row in asked_of([*recorded_calls(path).values()], CHAT.name)}
        assert len(heard) >= KILLED_AFTER
        assert abs(len(heard) - first_life) <= CHAT.seats, "but for those in flight, what it answered was heard"
        chat_server.start()
        chat_server.wait_until_healthy()
        assert build.wait(SECONDS) == 0
    assert_went_on(path, heard, chat_server, view_server, views_before)
    said = (tmp_path / "said").read_text()
    assert said.count("smollm2 has given no answer for") == 1
    assert said.count("smollm2 answers again, after") == 1


def assert_went_on(
    path: Path, heard: set[str], chat_server: VllmServer, view_server: VllmServer, views_before: int
) -> None:
    """The build is finished, and the second life of the server answered just what the first one had not."""
    lake = Lake.open(path)
    assert_conserved(lake)
    assert query(lake, "SELECT state, planned, open FROM runs").rows() == [("finished", 2, 0)]
    calls = committed_calls(path)
    assert len({row.call_id for row in calls}) == len(calls)
    texts, views = asked_of(calls, CHAT.name), asked_of(calls, VIEWER.name)
    again = [row for row in texts if row.call_id not in heard]
    assert heard <= {row.call_id for row in texts}
    assert again
    assert chat_server.count_answers() == len(again)
    assert view_server.count_answers() - views_before == len(views)
    assert sum(row.tries for row in texts) > len(texts), "those in flight were sent again"
    assert {row.tries for row in texts if row.call_id in heard} == {1}
    run("replay", "--lake", path)
    run("fsck", "--lake", path)


@contextmanager
def building(path: Path, said: Path) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], Progress]]]:
    """A build that goes on meanwhile, and how far it is; killed in the end if it still runs."""
    with said.open("wb") as out:
        build = subprocess.Popen(
            [COMMAND, "build", "--lake", path, *TWO],
            env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield build, lambda: progress_of(path)
    finally:
        build.kill()
        build.wait()


def progress_of(path: Path) -> Progress:
    """The progress of the only run; that of one with nothing to do before it has begun."""
    found = [read_progress(folder) for folder in (path / "runs").iterdir()]
    return next((each for each in found if each), Progress(run_id="", note="", planned=0, batches=0))


def wait_while(build: subprocess.Popen[bytes], holds: Callable[[], bool]) -> None:
    """Look until something holds no longer; the build must not end before."""
    deadline = time.monotonic() + SECONDS
    while holds():
        assert build.poll() is None, "the build ended too early"
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.2)
