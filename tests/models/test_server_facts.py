"""What servers tell of themselves: real answers of vLLM and llama.cpp, and answers that hold what nobody may keep."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import xllamacpp

from models.errors import TerminalError
from models.fake_server import FakeServer
from models.identity import Json
from models.llama_chat import find_weights
from models.secret import Secret
from models.server_chat import ServerChat, ServerSource
from models.server_facts import FACTS, PAGES, plain_name, read_facts
from models.server_wire import Server
from tests.models.servers import source_of

KEY = "sk-planted-0123456789"
SERVER = Server(url="http://host/v1", secret=Secret(KEY))
INFO = PAGES["vllm"][1]
# Of vLLM 0.32.0 on a CPU, started with VLLM_SERVER_DEV_MODE=1; shortened, and its folders are named otherwise.
TOLD_BY_VLLM = (Path(__file__).parent / "vllm_server_info.json").read_bytes()


def fingerprint(source: ServerSource) -> Mapping[str, str]:
    async def run() -> Mapping[str, str]:
        async with ServerChat(source) as chat:
            return chat.identity.fingerprint

    return asyncio.run(run())


def test_of_vllms_configuration_what_shapes_replies_is_kept() -> None:
    assert read_facts(INFO, TOLD_BY_VLLM, SERVER) == {
        "dtype": "torch.bfloat16",
        "quantization": "none",
        "model_revision": "none",
        "max_model_len": "512",
        "server_seed": "0",
        "enforce_eager": "true",
        "generation_config": "vllm",
        "cascade_attention_off": "true",
        "kv_cache_dtype": "auto",
        "block_size": "128",
        "prefix_caching": "true",
        "tensor_parallel_size": "1",
        "pipeline_parallel_size": "1",
        "data_parallel_size": "1",
        "max_num_seqs": "128",
        "max_num_batched_tokens": "2048",
        "chunked_prefill": "true",
        "async_scheduling": "false",
        "attention_backend": "none",
        "flash_attention": "none",
        "compilation_mode": "0",
        "cudagraph_mode": "0",
        "structured_outputs": "auto",
        "load_format": "dummy",
        "device": "cpu",
        "batch_invariant": "false",
        "float32_matmul": "highest",
        "threads": "0-1",
        "torch": "2.13.0+cpu",
        "cuda": "13.0.88",
        "cudnn": "none",
        "driver": "none",
        "gpus": "none",
    }


def test_keys_tokens_variables_and_paths_of_a_configuration_are_not_kept() -> None:
    told = json.loads(TOLD_BY_VLLM)
    told["vllm_config"]["model_config"] |= {"hf_token": "hf_planted", "dtype": KEY, "generation_config": "/home/ada"}
    told["vllm_config"]["attention_config"]["backend"] = {"hf_token": "hf_planted"}
    told["vllm_env"] |= {"VLLM_API_KEY": KEY, "VLLM_CPU_OMP_THREADS_BIND": "x" * 100_000}
    told["system_env"]["env_vars"] = f"HF_TOKEN=hf_planted\nVLLM_API_KEY={KEY}"
    facts = read_facts(INFO, json.dumps(told).encode(), SERVER)
    assert facts["dtype"] == "***"
    assert not {"generation_config", "attention_backend"} & set(facts)
    assert len(facts["threads"]) < 400
    kept = json.dumps(facts)
    assert not any(word in kept for word in (KEY, "planted", "ada", "somebody", "/"))


@pytest.mark.parametrize("page", FACTS)
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b'"words"', b'{"vllm_config": "dtype=..."}', b"[" * 9999]
)
def test_a_page_that_is_something_else_tells_nothing(page: str, body: bytes) -> None:
    assert read_facts(page, body, SERVER) == {}


def test_of_a_folder_only_the_name_is_kept() -> None:
    assert plain_name("/home/ada/models/Qwen2.5-7B/") == plain_name("C:\\models\\Qwen2.5-7B"[2:]) == "Qwen2.5-7B"
    assert plain_name("Qwen/Qwen2.5-7B-Instruct") == "Qwen/Qwen2.5-7B-Instruct"


@contextmanager
def llama_server() -> Iterator[str]:
    """A real server of llama.cpp over the embedded model, that wants a key; its address."""
    params: Any = xllamacpp.CommonParams()
    params.model.path = str(find_weights())
    params.model_alias = {"fake-chat"}
    params.verbosity = -1
    params.n_ctx, params.n_parallel = 512, 2
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.api_keys = [KEY]
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"


def test_a_real_server_of_llama_cpp_tells_build_slots_and_quantisation() -> None:
    with llama_server() as url:
        told = fingerprint(source_of(url, api_key=KEY, dialect="llama.cpp"))
        with pytest.raises(TerminalError, match="wants another key"):
            fingerprint(source_of(url, api_key="sk-wrong", dialect="llama.cpp"))
    assert told["quantization"] == "Q4_1"
    assert (told["total_slots"], told["n_ctx"], told["vision"]) == ("2", "256", "false")
    assert told["build"]
    assert len(told["chat_template_sha256"]) == 64
    assert not any("/" in fact for fact in told.values())


def test_what_replicas_tell_otherwise_is_all_kept() -> None:
    pages: list[dict[str, Json]] = [{"/version": {"version": version}} for version in ("0.31.0", "0.32.0")]
    with FakeServer(pages=pages[0]) as one, FakeServer(pages=pages[1]) as other:
        assert fingerprint(source_of(one.url, other.url))["server"] == "0.31.0, 0.32.0"


@pytest.mark.parametrize("page", [{}, {"/version": {"version": "1"}, "/server_info": {"vllm_config": "x" * 9_000_000}}])
def test_a_server_that_does_not_tell_can_be_used(page: dict[str, Json]) -> None:
    with FakeServer(pages=page) as server:
        told = fingerprint(source_of(server.url))
    assert "dtype" not in told
    assert told["max_model_len"] == "32768"
