"""The words of the protocol: request bodies as they are sent, and what answers mean, without a server."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from models.chat import ChatRequest, ImagePart, Message, Sampling, TextPart
from models.errors import ContentError, TerminalError, TransientError
from models.identity import Json
from models.picture import ALGORITHMIC, Picture
from models.secret import Secret
from models.server_wire import (
    LONGEST_WISH,
    RANDOM_SEED,
    Dialect,
    Response,
    Server,
    read_models,
    read_refusal,
    read_reply,
    read_retry_after,
    request_body,
)

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
SERVER = Server(url="http://host/v1", secret=Secret("sk-secret"))
PICTURE = Picture.from_pixels(np.zeros((2, 2, 3), dtype=np.uint8), source=ALGORITHMIC, marks={})
SCHEMA: Json = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
REQUEST = ChatRequest(
    model="org/model",
    revision="as-served",
    messages=(Message.of("system", "You see."), Message("user", (ImagePart(PICTURE), TextPart("What is it?")))),
    sampling=Sampling(temperature=0.7, top_p=0.9, top_k=0, min_p=0.05, repeat_penalty=1.1, max_tokens=48),
    schema=SCHEMA,
    seed=2**53 - 1,
)
PLAIN = replace(REQUEST.sampling, min_p=0.0, repeat_penalty=1.0)

BODY = """{
  "model": "org/model",
  "messages": [
    {"role": "system", "content": "You see."},
    {"role": "user", "content": [
      {"type": "image_url", "image_url": {"url": "data:image/png;base64,PICTURE"}},
      {"type": "text", "text": "What is it?"}
    ]}
  ],
  "temperature": 0.7,
  "top_p": 0.9,
  "max_tokens": 48,
  "n": 1,
  "stream": false,
  "seed": 9007199254740991,
  "top_k": -1,
  "min_p": 0.05,
  "repetition_penalty": 1.1,
  "response_format": {"type": "json_schema", "json_schema": {
    "name": "reply",
    "schema": {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]},
    "strict": true
  }}
}"""


def test_a_request_to_vllm_looks_like_this() -> None:
    body = request_body(REQUEST, "vllm")
    url = body["messages"][1]["content"][0]["image_url"]["url"]  # type: ignore[call-overload, index]
    assert body == json.loads(BODY.replace("data:image/png;base64,PICTURE", str(url)))
    assert str(url).startswith("data:image/png;base64,iVBOR")


def test_each_dialect_is_told_what_it_knows() -> None:
    def extras(dialect: Dialect, sampling: Sampling) -> dict[str, Json]:
        body = request_body(replace(REQUEST, sampling=sampling, schema=None), dialect)
        common = {"model", "messages", "temperature", "top_p", "max_tokens", "n", "stream"}
        return {name: value for name, value in body.items() if name not in common}

    some = replace(REQUEST.sampling, top_k=40)
    seed = REQUEST.seed
    assert extras("vllm", some) == {"seed": seed, "top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1}
    assert extras("openai", PLAIN) == {"seed": seed}
    assert extras("llama.cpp", REQUEST.sampling) == {
        "seed": seed % RANDOM_SEED,
        "top_k": 0,
        "min_p": 0.05,
        "repeat_penalty": 1.1,
    }


@pytest.mark.parametrize(("name", "value"), [("top_k", 40), ("min_p", 0.1), ("repeat_penalty", 1.2)])
def test_what_openai_cannot_be_told_is_refused_by_name(name: str, value: float) -> None:
    sampling = replace(PLAIN, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(TerminalError, match=f"{name} is {value}, .*set {name} to"):
        request_body(replace(REQUEST, sampling=sampling), "openai")


def test_llama_cpp_is_never_given_the_seed_that_means_any() -> None:
    for seed in (RANDOM_SEED - 1, RANDOM_SEED, RANDOM_SEED + 1):
        sent = request_body(replace(REQUEST, seed=seed), "llama.cpp")["seed"]
        assert isinstance(sent, int)
        assert 0 <= sent < RANDOM_SEED


@pytest.mark.parametrize(
    "error",
    [
        '{"error": {"code": "context_length_exceeded", "message": "Too much."}}',
        '{"error": {"type": "exceed_context_size_error", "message": "request (9 tokens) ..."}}',
        '{"error": {"param": "input_tokens", "message": "Prompt length (9) fills it."}}',
        '{"error": {"message": "The decoder prompt (length 9) is longer than the maximum model length of 8."}}',
        '{"object": "error", "message": "This model\'s maximum context length is 8 tokens."}',
        '{"error": "the request exceeds the available context size"}',
    ],
)
def test_a_prompt_too_long_is_known_by_the_words_of_every_server(error: str) -> None:
    found = read_refusal(Response(status=400, headers={}, body=error.encode()), now=NOW, server=SERVER)
    assert isinstance(found, ContentError)
    assert found.reason == "prompt_too_long"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "no \\n such\\u0000 ke\\ud800y sk-secret"}}', "no such\x00 ke?y ***"),
        (b'{"detail": [{"msg": "Field required"}]}', "Field required"),
        (b"<html>\xff</html>", "<html>\ufffd</html>"),
        (b"", "nothing"),
    ],
)
def test_the_servers_words_are_found_wherever_they_are(body: bytes, words: str) -> None:
    found = read_refusal(Response(status=418, headers={}, body=body), now=NOW, server=SERVER)
    assert isinstance(found, TerminalError)
    assert words in str(found)
    assert "sk-secret" not in str(found) + repr(SERVER)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "999999999"}, LONGEST_WISH),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Fri, 20 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Fri, 20 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 20 Nov 2026 09:00:30 GMT", "date": "Fri, 20 Nov 2026 09:00:00 GMT"}, 30.0),
    ],
)
def test_a_wish_to_be_left_alone_is_seconds_or_a_date_by_the_servers_clock(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert read_retry_after(headers, NOW) == seconds


def test_all_names_of_a_model_are_known_and_those_of_others_are_not() -> None:
    cards = [
        {"id": "big", "root": "org/big", "max_model_len": 4096},
        {"id": "alias", "root": "org/big"},
        {"id": "adapter", "root": "lora/path", "parent": "org/big"},
        {"id": "small.gguf", "aliases": ["small"]},
        {"object": "model"},
        7,
    ]
    models = read_models(json.dumps({"object": "list", "data": cards}).encode(), server=SERVER)
    assert sorted(models) == ["adapter", "alias", "big", "small", "small.gguf"]
    assert models["big"].names == models["alias"].names == {"big", "alias", "org/big"}
    assert models["big"].max_model_len == 4096
    assert models["adapter"].names == {"adapter", "lora/path"}
    assert models["small"].names == {"small", "small.gguf"}
    with pytest.raises(TransientError, match="unknown way"):
        read_models(b"[]", server=SERVER)


def test_blanks_around_a_reply_are_well_and_a_server_that_does_not_count_gives_zero() -> None:
    choice = '{"message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}'
    body = f'\n \n{{"model": "m", "choices": [{choice}]}}\n'.encode()
    reply = read_reply(body, names=frozenset({"m"}), server=SERVER)
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("Yes.", 0, 0)
    assert reply.backend == {"model": "m"}


@pytest.mark.parametrize("count", ["-1", "true", "1e3", '"7"', str(10**30)])
def test_a_count_of_tokens_that_cannot_be_is_none(count: str) -> None:
    choice = '{"message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}'
    body = f'{{"model": "m", "choices": [{choice}], "usage": {{"prompt_tokens": {count}, "completion_tokens": 3}}}}'
    reply = read_reply(body.encode(), names=frozenset({"m"}), server=SERVER)
    assert (reply.prompt_tokens, reply.completion_tokens) == (0, 3)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[" * 100_000, b'{"model": "m", "choices": []}', b'{"model": "m", "choices": [{"text": "a"}]}',
     b'{"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}', b'{"error": {"message": "oh"}}'],
)  # fmt: skip
def test_what_is_no_reply_is_transient_whatever_it_is(body: bytes) -> None:
    with pytest.raises(TransientError, match="no chat reply"):
        read_reply(body, names=frozenset({"m"}), server=SERVER)
