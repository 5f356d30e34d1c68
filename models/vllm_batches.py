"""Chats with vLLM in a process of its own, a batch at a time, each batch equal to the last bit when it is asked again.

vLLM's tokens depend on which requests are computed together, so each reply tells its company: the size of the batch,
its place, and the first digits of all keys in order. With these, the same batch can be asked again (`gather`). What the
process does to keep a batch exact stands at the top of `models.vllm_child`.

The interpreter of that process may be another one than ours: vLLM pins a torch of its own.

| what happens | what the caller gets |
|---|---|
| no such interpreter, none with vLLM, weights that cannot be loaded, too little memory | TerminalError |
| the process dies, or says what is no answer, while it answers | TransientError; the next batch starts it again |
| a prompt exceeds the context | ContentError `prompt_too_long`; the others of the batch are answered |
| vLLM refuses a request for another reason, such as a schema that it does not know | RefusedRequest (a TerminalError) |
| a reply without a word | ContentError `empty_reply` |
"""

import asyncio
import base64
import logging
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Literal, TypeAlias

from models.chat import ChatReply, ChatRequest, ImagePart, Message
from models.child_process import ChildProcess, GoneError, UnwantedError
from models.company import companies_of
from models.errors import ContentError, RefusedRequest, TerminalError, TransientError
from models.identity import Json, ModelIdentity
from models.refusal import refuse_another_model, refuse_logprobs
from models.request_batches import RequestBatches
from models.weights import Weights

CHILD = Path(__file__).with_name("vllm_child.py")
MOST_TOGETHER = 256
"""Requests that one batch may hold: the seats of the engine, which are the same whatever the batch."""

ENVIRONMENT: Mapping[str, str] = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine is in the child itself: nothing but a batch drives it
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONHASHSEED": "0",
}
Dtype: TypeAlias = Literal["float32", "bfloat16", "float16"]
logger = logging.getLogger("interlake.models.vllm_batches")


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmSite:
    """How the engine is run. `python` is the interpreter that has vLLM, ours where it is None.

    `memory` is the share of the device's memory that it may take, of the machine's on a CPU, vLLM's own choice where it
    is None; `sleeps` whether it can give that back and live on (on a GPU), or must end for it.
    """

    python: Path | None = None
    device: str = "cpu"
    memory: float | None = None
    batch: int = 1
    window: float = 0.05
    sleeps: bool = False
    script: Path = CHILD

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= MOST_TOGETHER:
            raise ValueError(f"batch must be 1 to {MOST_TOGETHER}, not {self.batch}")


class VllmBatches:
    """A `ChatModel`. Use as an async context manager, or `open` and `close` it, in one event loop.

    The revision of its identity is that of the weights, the number format and the context in tokens: a longer prompt is
    refused, and a reply that would exceed it is cut. The fingerprint is there once it is open.
    """

    def __init__(self, weights: Weights, *, dtype: Dtype, context: int, site: VllmSite) -> None:
        self._identity = ModelIdentity(
            name=weights.name,
            revision=f"{weights.revision}/{dtype}/context-{context}",
            licence=weights.licence,
            weights_sha256=weights.sha256,
        )
        self._desk = Desk(weights, dtype, context, site)
        self._window = site.window
        self._batch = site.batch
        self._thread: ThreadPoolExecutor | None = None
        self._batches: RequestBatches[ChatRequest, ChatReply] | None = None

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    @property
    def at_once(self) -> int:
        """Twice the batch, so that the next one gathers while one is answered."""
        return 2 * self._batch

    async def __aenter__(self) -> "VllmBatches":
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Start the process and load the weights; TerminalError when that cannot be."""
        if self._thread is not None:
            return
        thread = ThreadPoolExecutor(1, thread_name_prefix="vllm-batches")
        self._desk.closing.clear()
        loop = asyncio.get_running_loop()
        try:
            facts = await loop.run_in_executor(thread, self._desk.start)
        except BaseException:
            self._desk.closing.set()
            await asyncio.shield(loop.run_in_executor(thread, self._desk.end))
            thread.shutdown()
            raise
        told = {"batch": str(self._batch), "window": str(self._window)}
        self._identity = replace(self._identity, fingerprint={**facts, **told})
        self._thread = thread
        self._batches = RequestBatches(
            lambda asked, abandoned: loop.run_in_executor(thread, self._desk.answer, asked, abandoned),
            kind=lambda _: None,
            size=lambda: self._batch,
            window=self._window,
        )

    async def close(self) -> None:
        """End the process, whatever it is at; `open` starts it anew."""
        thread, batches = self._thread, self._batches
        self._thread = self._batches = None
        if thread is None or batches is None:
            return
        batches.refuse_all(lambda: TransientError(f"{self._identity.name} was closed before it answered"))
        self._desk.closing.set()
        await asyncio.get_running_loop().run_in_executor(thread, self._desk.end)
        thread.shutdown()

    def gather(self, batch: int) -> None:
        """Answer so many together from here on; ValueError for more than one batch holds."""
        if not 1 <= batch <= MOST_TOGETHER:
            raise ValueError(f"batch must be 1 to {MOST_TOGETHER}, not {batch}")
        self._batch = batch

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The reply, and in `backend` the company it was answered in. Errors: see the table above.

        TerminalError for another model.
        """
        refuse_another_model(request.model, request.revision, self._identity)
        refuse_logprobs(request.top_logprobs, self._identity)
        if self._batches is None:
            raise TerminalError(f"{self._identity.name} is not open; call open(), or use it in `async with`")
        return await self._batches.ask(request)

    async def sleep(self) -> None:
        """Give the device's memory back until `wake`; nothing may be asked meanwhile."""
        await self._put(asleep=True)

    async def wake(self) -> None:
        """Take the device's memory again."""
        await self._put(asleep=False)

    async def _put(self, *, asleep: bool) -> None:
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._desk.put, asleep)


class Desk:
    """The process and what it is asked, for one thread. Once `closing` is set, nothing is waited for any more."""

    def __init__(self, weights: Weights, dtype: Dtype, context: int, site: VllmSite) -> None:
        self._weights = weights
        self._site = site
        self._load: Mapping[str, Json] = {
            "folder": str(weights.folder),
            "dtype": dtype,
            "context": context,
            "device": site.device,
            "memory": site.memory,
            "sleeps": site.sleeps,
        }
        self.closing = Event()
        self._child: ChildProcess | None = None
        self._number = 0
        self._is_asleep = False

    def start(self) -> Mapping[str, str]:
        """Start the process; returns its facts, or raises TerminalError."""
        child = self._child = self._launch()
        try:
            child.tell({"load": self._load})
            heard = child.hear(self.closing)
        except GoneError as error:
            self.end()
            raise TerminalError(f"vLLM did not load {self._weights.name}: {error}; {self._way_out()}") from error
        match heard:
            case {"ready": {**facts}}:
                return {str(name): str(fact) for name, fact in facts.items()}
        self.end()
        why = heard.get("refused", heard)
        raise TerminalError(f"vLLM did not load {self._weights.name}: {why}; {self._way_out()}")

    def answer(self, requests: Sequence[ChatRequest], abandoned: Event) -> list[ChatReply | Exception]:
        """An answer for each request; TransientError when the process is gone, which is started again the next time."""
        if self._child is None:
            logger.warning("vLLM is started again for %s", self._weights.name)
            self.start()
        assert self._child is not None
        try:
            answers = self._exchange(self._child, [_wire(request) for request in requests], abandoned)
        except GoneError as error:
            self.end()
            raise TransientError(f"vLLM's process for {self._weights.name} is gone: {error}") from error
        companies = companies_of(requests)
        return [_read(answer, company) for answer, company in zip(answers, companies, strict=True)]

    def put(self, asleep: bool) -> None:  # noqa: FBT001 - called by an executor, which passes no names
        """Let the engine sleep, or wake it; one that cannot sleep ends, and is started again."""
        if asleep and not self._site.sleeps:
            self.end()
        elif not asleep and self._child is None:
            self.start()
        elif self._child is not None and asleep != self._is_asleep:
            self._tell_to_sleep(self._child, asleep=asleep)

    def _tell_to_sleep(self, child: ChildProcess, *, asleep: bool) -> None:
        try:
            child.tell({"sleep": asleep})
            child.hear(self.closing)
        except GoneError as error:
            self.end()
            raise TransientError(f"vLLM's process for {self._weights.name} is gone: {error}") from error
        self._is_asleep = asleep

    def end(self) -> None:
        child, self._child = self._child, None
        self._is_asleep = False
        if child is not None:
            child.end()

    def _exchange(
        self, child: ChildProcess, requests: Sequence[Json], abandoned: Event
    ) -> Sequence[Mapping[str, Json]]:
        self._number += 1
        child.tell({"answer": requests, "number": self._number})
        try:
            heard = child.hear(abandoned)
        except UnwantedError:
            if not self.closing.is_set():
                child.tell({"stop": self._number})
                child.hear(self.closing)
            raise
        match heard:
            case {"answers": [*answers]} if len(answers) == len(requests):
                return [answer if isinstance(answer, Mapping) else {} for answer in answers]
        raise GoneError(f"it answered with {sorted(heard)} where {len(requests)} answers were due")

    def _launch(self) -> ChildProcess:
        python = self._site.python.expanduser() if self._site.python else Path(sys.executable)
        environment = dict(ENVIRONMENT)
        kind, _, number = self._site.device.partition(":")
        if kind == "cuda" and number:
            environment["CUDA_VISIBLE_DEVICES"] = number
        try:
            return ChildProcess([python, "-P", self._site.script], environment)
        except OSError as error:
            raise TerminalError(f"{python} cannot be run ({error.strerror}); {self._way_out()}") from error

    def _way_out(self) -> str:
        return (
            f'in the settings under [local."{self._weights.name}"], python names the interpreter of an environment '
            "with vLLM, device and memory where and in how much it computes"
        )


def _wire(request: ChatRequest) -> Json:
    return {
        "messages": [_message(message) for message in request.messages],
        "sampling": request.sampling.canonical(),
        "schema": request.schema,
        "seed": request.seed,
    }


def _message(message: Message) -> Json:
    parts: list[Json] = [
        {"png": base64.b64encode(part.data()).decode()} if isinstance(part, ImagePart) else {"text": part.text}
        for part in message.parts
    ]
    return {"role": message.role, "parts": parts}


def _read(answer: Mapping[str, Json], company: Mapping[str, Json]) -> ChatReply | Exception:
    match answer:
        case {"error": "prompt_too_long", "message": message}:
            return ContentError("prompt_too_long", f"vLLM refused the prompt: {message}")
        case {"error": _, "message": message}:
            return RefusedRequest(f"vLLM cannot answer such a request: {message}", said=f"vLLM refused it: {message}")
        case {"text": "", "finish_reason": "stop" | "length"}:
            return ContentError("empty_reply", "vLLM replied without a word", backend=company)
        case {
            "text": str(text),
            "finish_reason": "stop" | "length" as finish,
            "prompt_tokens": int(prompt),
            "completion_tokens": int(completion),
        }:
            return ChatReply(
                text=text, finish_reason=finish, prompt_tokens=prompt, completion_tokens=completion, backend=company
            )
    return TransientError(f"vLLM broke its reply off: {answer.get('finish_reason')}")
