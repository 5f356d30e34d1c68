"""The tables [servers.*] and [local.*] of interlake.toml: where a model is, how it runs; no id depends on it."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from flows.section import Name, Section


def _check_url(url: str) -> str:
    if not re.fullmatch(r"https?://[^/@\s]+(/[^@\s]*)?", url):
        raise ValueError("a server's address looks like http://127.0.0.1:8000/v1, without user or password")
    return url.rstrip("/")


def _check_variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("the name of an environment variable is letters, digits and underscores; the key is its value")
    return name


Url = Annotated[str, AfterValidator(_check_url)]
Variable = Annotated[str, AfterValidator(_check_variable)]


class ServerSettings(Section):
    """Where a served model is, and what it bears. `timeout` is seconds for a whole reply, `at_once` for each address.

    The key is read from the environment variable that `api_key_env` names, and recorded nowhere. Of models that name
    one `card` (any word) a single one computes at a time, and gives its memory back before the next one does.
    """

    urls: Annotated[tuple[Url, ...], Field(min_length=1, strict=False)]
    at_once: Annotated[int, Field(ge=1, le=4096)] = 64
    timeout: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    api_key_env: Variable | None = None
    card: Name | None = None
    dialect: Literal["vllm", "llama.cpp", "openai"] = "vllm"


class LocalSettings(Section):
    """How a model is run on this machine. With `batch` over 1, requests of `window` seconds share a pass.

    `python` and `memory` are for the backend vllm: the interpreter that has it, and its share of the memory.
    """

    folder: Name | None = None
    device: Name = "cpu"
    card: Name | None = None
    python: Name | None = None
    memory: Annotated[float | None, Field(gt=0, le=1)] = None
    offload: Literal["none", "model", "sequential"] = "none"
    batch: Annotated[int, Field(ge=1, le=1024)] = 1
    window: Annotated[float, Field(ge=0, le=10)] = 0.05
