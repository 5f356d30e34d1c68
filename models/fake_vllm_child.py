"""A stand-in for `models.vllm_child`: the same lines, answered without vLLM, and mischief when it is told to.

Files in the folder of the weights, by their names, are what it is told to do; those of `once` are taken away first.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from json import dumps
from pathlib import Path
from typing import Any, BinaryIO

from models.minimal_json import minimal_json
from models.vllm_child import RefusedError, Stop, serve, take_stdout

LONGEST_PROMPT = 1000
"""Words."""

COMPANY = "every reply depends on its company"
REFUSE = "refuse to load"
DIE = "die once"
GARBAGE = "say garbage once"
HANG = "hang once"
DIARY = "diary"
"""Written rather than told: a line for each time that it was started, hung, or was put to sleep."""


class FakeEngine:
    """An `Engine` whose replies follow from the requests."""

    def __init__(self, load: Mapping[str, Any], answers: BinaryIO) -> None:
        self._answers = answers
        self._folder = Path(load["folder"])
        print("this is not for whoever reads the answers")  # noqa: T201 - as vLLM does
        self._note(f"started {os.getpid()}")
        if (self._folder / REFUSE).exists():
            raise RefusedError("the weights are refused,\nas they asked for")

    def facts(self) -> Mapping[str, str]:
        return {"vllm": "none", "device": "cpu"}

    def answer(self, requests: Sequence[Mapping[str, Any]], stop: Stop) -> list[Mapping[str, Any]]:
        if self._is_told(DIE):
            print("the last words", file=sys.stderr, flush=True)  # noqa: T201 - for whoever is told of the end
            os._exit(7)
        if self._is_told(GARBAGE):
            self._answers.write(b"Loading weights: 100%\n")
        if self._is_told(HANG):
            self._note("hangs")
            while not stop.is_set():
                time.sleep(0.01)
            self._note("stopped")
        company = "".join(map(_key, requests)) if (self._folder / COMPANY).exists() else ""
        return [_reply(request, company) for request in requests]

    def sleep(self, *, asleep: bool) -> None:
        self._note("asleep" if asleep else "awake")

    def _is_told(self, what: str) -> bool:
        """Whether to do something once."""
        try:
            (self._folder / what).unlink()
        except FileNotFoundError:
            return False
        return True

    def _note(self, what: str) -> None:
        with (self._folder / DIARY).open("a") as notes:
            notes.write(f"{what}\n")


def _key(request: Mapping[str, Any]) -> str:
    return sha256(dumps(request, sort_keys=True).encode()).hexdigest()


def _reply(request: Mapping[str, Any], company: str) -> Mapping[str, Any]:
    words = [
        word for message in request["messages"] for part in message["parts"] for word in part.get("text", "").split()
    ]
    if len(words) > LONGEST_PROMPT:
        return {"error": "prompt_too_long", "message": f"{len(words)} words"}
    key = sha256((_key(request) + company).encode()).hexdigest()
    schema = request["schema"] if request["schema"] is not None else {"type": "string"}
    value = minimal_json(schema, key)
    text = value if isinstance(value, str) else dumps(value, sort_keys=True)
    return {
        "text": text,
        "finish_reason": "stop",
        "prompt_tokens": len(words),
        "completion_tokens": len(text.split()),
    }


if __name__ == "__main__":
    stdout = take_stdout()
    serve(lambda load: FakeEngine(load, stdout), stdout)
