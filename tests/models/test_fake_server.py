"""The server that ships: it speaks the protocol, does what it is told, and is gone at once when it ends."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping

import httpx
import jsonschema
import pytest

from models.fake_behaviour import Answer, Behaviour, Half, Never, Status
from models.fake_server import FakeServer, read_request
from models.fakes import FakeChat
from models.identity import Json
from models.server_wire import request_body
from tests.models.servers import ask, behave_in_turn, settled, until

SCHEMA: Mapping[str, Json] = {
    "type": "object",
    "properties": {"kind": {"enum": ["a", "b"]}, "answer": {"type": "string", "maxLength": 12}},
    "required": ["kind", "answer"],
    "additionalProperties": False,
}


def post(url: str, body: object) -> httpx.Response:
    with httpx.Client(trust_env=False) as client:
        return client.post(f"{url}/chat/completions", json=body, timeout=30)


def test_replies_follow_from_the_request_and_satisfy_its_schema() -> None:
    with FakeServer() as server:
        bodies = [request_body(ask("Hello", seed=seed, schema=SCHEMA), "vllm") for seed in (1, 1, 2)]
        answers = [post(server.url, body).json() for body in bodies]
        asked = server.asked
    texts = [answer["choices"][0]["message"]["content"] for answer in answers]
    assert texts[0] == texts[1] != texts[2]
    for text in texts:
        jsonschema.validate(json.loads(text), SCHEMA)
    assert texts[0] == asyncio.run(FakeChat().chat(read_request(bodies[0], FakeChat()))).text
    assert answers[0]["usage"]["total_tokens"] == sum(
        answers[0]["usage"][name] for name in ("prompt_tokens", "completion_tokens")
    )
    assert asked[0].key == asked[1].key != asked[2].key
    assert asked[0].body == bodies[0]


def test_it_tells_its_models_and_its_version() -> None:
    with FakeServer(brain=FakeChat(name="small")) as server, httpx.Client(trust_env=False) as client:
        (card,) = client.get(f"{server.url}/models").json()["data"]
        version = client.get(server.url.replace("/v1", "/version")).json()
    assert (card["id"], card["root"], card["max_model_len"]) == ("small", "small", 32768)
    assert version == {"version": "interlake-fake-1"}


@pytest.mark.parametrize(
    "body", [None, [], {}, {"model": "fake-chat", "messages": [{"role": "user"}], "max_tokens": 1}]
)
def test_what_is_no_request_is_a_400(body: object) -> None:
    with FakeServer() as server:
        assert post(server.url, body).status_code == 400
        assert not server.asked


def test_another_model_and_another_key_are_refused() -> None:
    body = request_body(ask("Hello"), "vllm")
    with FakeServer(api_key="sk-right") as server:
        assert post(server.url, body).status_code == 401
    with FakeServer() as server:
        answer = post(server.url, {**body, "model": "gpt"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, "The model `gpt` does not exist.")


def test_a_picture_from_elsewhere_is_refused() -> None:
    part: Json = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
    body = {**request_body(ask("Hello"), "vllm"), "messages": [{"role": "user", "content": [part]}]}
    with FakeServer() as server:
        assert post(server.url, body).status_code == 400


def test_the_log_tells_how_each_request_ended() -> None:
    behaviours: list[Behaviour] = [Answer(after=0.01), Status(500), Half()]
    with FakeServer(behave=behave_in_turn(*behaviours)) as server:
        body = request_body(ask("Hello"), "vllm")
        assert post(server.url, body).status_code == 200
        assert post(server.url, body).status_code == 500
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
            post(server.url, body)
        asyncio.run(settled(server))
        assert [asked.outcome for asked in server.asked] == ["answered", "spoilt", "spoilt"]


def test_it_ends_at_once_with_requests_pending_and_leaves_no_thread() -> None:
    before = threading.active_count()
    errors: list[Exception] = []

    def wait_for_nothing(url: str) -> None:
        try:
            post(url, request_body(ask("Hello"), "vllm"))
        except httpx.TransportError as error:
            errors.append(error)

    with FakeServer(behave=lambda _number, _body: Never()) as server:
        clients = [threading.Thread(target=wait_for_nothing, args=(server.url,)) for _ in range(3)]
        for client in clients:
            client.start()
        asyncio.run(until(lambda: len(server.asked) == 3))
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 5
    for client in clients:
        client.join()
    assert len(errors) == 3
    assert [asked.outcome for asked in server.asked] == ["left"] * 3
    assert threading.active_count() == before


def test_it_runs_in_a_process_of_its_own() -> None:
    command = [sys.executable, "-W", "error", "-m", "models.fake_server", "--port", "0", "--model", "mine"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        answer = post(url, {**request_body(ask("Hello"), "vllm"), "model": "mine"})
        process.terminate()
        _, noise = process.communicate(timeout=30)
    assert answer.json()["model"] == "mine"
    assert noise == ""


def test_a_client_that_leaves_in_the_middle_of_its_request_makes_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    with FakeServer() as server:
        address = httpx.URL(server.url)
        with socket.create_connection((address.host, address.port)) as client:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: here\r\ncontent-length: 100\r\n\r\n{")
        assert post(server.url, request_body(ask("Hello"), "vllm")).status_code == 200
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []
