"""What a server tells of itself: version, precision, parallelism, switches. Reads answers, sends nothing.

A configuration may hold keys, tokens and paths, so only what is listed here is taken from it, and only short, plain
words, numbers and switches. Who does not answer, or answers otherwise, told nothing: that is no error.

Looked up in November 2026: vLLM 0.32 tells its version at /version and, when it was started with
VLLM_SERVER_DEV_MODE=1, its whole configuration at /server_info; llama.cpp tells of build and slots at /props.
"""

import hashlib
import json
from collections.abc import Mapping

from models.identity import Json
from models.server_wire import Dialect, Server

TEMPLATE = "chat_template_sha256"

_SERVER_INFO = "/server_info?config_format=json"

PAGES: Mapping[Dialect, tuple[str, ...]] = {
    "vllm": ("/version", _SERVER_INFO),
    "llama.cpp": ("/props",),
    "openai": ("/version",),
}
"""Where a server of a dialect may tell of itself, beside /v1."""

FACTS: Mapping[str, Mapping[str, str]] = {
    "/version": {"server": "version"},
    _SERVER_INFO: {
        "dtype": "vllm_config.model_config.dtype",
        "quantization": "vllm_config.model_config.quantization",
        "model_revision": "vllm_config.model_config.revision",
        "max_model_len": "vllm_config.model_config.max_model_len",
        "server_seed": "vllm_config.model_config.seed",
        "enforce_eager": "vllm_config.model_config.enforce_eager",
        "generation_config": "vllm_config.model_config.generation_config",
        "cascade_attention_off": "vllm_config.model_config.disable_cascade_attn",
        "kv_cache_dtype": "vllm_config.cache_config.cache_dtype",
        "block_size": "vllm_config.cache_config.block_size",
        "prefix_caching": "vllm_config.cache_config.enable_prefix_caching",
        "tensor_parallel_size": "vllm_config.parallel_config.tensor_parallel_size",
        "pipeline_parallel_size": "vllm_config.parallel_config.pipeline_parallel_size",
        "data_parallel_size": "vllm_config.parallel_config.data_parallel_size",
        "max_num_seqs": "vllm_config.scheduler_config.max_num_seqs",
        "max_num_batched_tokens": "vllm_config.scheduler_config.max_num_batched_tokens",
        "chunked_prefill": "vllm_config.scheduler_config.enable_chunked_prefill",
        "async_scheduling": "vllm_config.scheduler_config.async_scheduling",
        "attention_backend": "vllm_config.attention_config.backend",
        "flash_attention": "vllm_config.attention_config.flash_attn_version",
        "compilation_mode": "vllm_config.compilation_config.mode",
        "cudagraph_mode": "vllm_config.compilation_config.cudagraph_mode",
        "structured_outputs": "vllm_config.structured_outputs_config.backend",
        "speculation": "vllm_config.speculative_config.method",
        "load_format": "vllm_config.load_config.load_format",
        "device": "vllm_config.device_config.device",
        "batch_invariant": "vllm_env.VLLM_BATCH_INVARIANT",
        "float32_matmul": "vllm_env.VLLM_FLOAT32_MATMUL_PRECISION",
        "threads": "vllm_env.VLLM_CPU_OMP_THREADS_BIND",
        "torch": "system_env.torch_version",
        "cuda": "system_env.cuda_runtime_version",
        "cudnn": "system_env.cudnn_version",
        "driver": "system_env.nvidia_driver_version",
        "gpus": "system_env.nvidia_gpu_models",
    },
    "/props": {
        "build": "build_info",
        "quantization": "model_ftype",
        "total_slots": "total_slots",
        "n_ctx": "default_generation_settings.n_ctx",
        "vision": "modalities.vision",
        TEMPLATE: "chat_template",
    },
}
"""What is taken of each page: the name under which it is kept, and the path to where it stands."""


def read_facts(page: str, body: bytes, server: Server) -> dict[str, str]:
    """What the answer of a page tells; a page that is something else tells nothing."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    found = {name: _plain(name, _find(told, path), server) for name, path in FACTS[page].items()}
    return {name: fact for name, fact in found.items() if fact is not None}


def plain_name(name: str) -> str:
    """A model's name as a server gives it; of a folder on its disk the last part alone."""
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2] if name[:1] in ("/", "\\", "~") else name


def _find(told: Json, path: str) -> Json:
    """What stands at a path; an object where nothing does, which is no fact."""
    for name in path.split("."):
        if not isinstance(told, Mapping) or name not in told:
            return {}
        told = told[name]
    return told


def _plain(name: str, value: Json, server: Server) -> str | None:
    """A value as it is kept, on one line; None for what is no fact: an object, a list, a path."""
    if value is None or isinstance(value, bool | int | float):
        return "none" if value is None else json.dumps(value)
    if not isinstance(value, str):
        return None
    if name == TEMPLATE:
        return hashlib.sha256(value.encode(errors="replace")).hexdigest()
    return None if {"/", "\\"} & set(value) else server.quote(value)
