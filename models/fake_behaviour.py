"""All that the fake server can be told to do with a request, and the bodies that it sends. Opens no socket."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from starlette.responses import JSONResponse, Response

from models.chat import ChatReply, ChatRequest
from models.identity import Json
from models.server_tokens import write_tokens

VERSION = "interlake-fake-1"


@dataclass(frozen=True, slots=True)
class Answer:
    """The model's reply, `after` seconds, with a fingerprint and headers of its own."""

    after: float = 0.0
    fingerprint: str = VERSION
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Say:
    """These words instead of the model's."""

    content: str | None
    refusal: str | None = None
    finish_reason: str | None = "stop"


@dataclass(frozen=True, slots=True)
class Status:
    """An error of this status; `error` is what its body says."""

    code: int
    retry_after: str | None = None
    error: str | Mapping[str, Json] = "as you asked"


@dataclass(frozen=True, slots=True)
class Never:
    """Nothing, until the client leaves."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection is closed without a word."""


@dataclass(frozen=True, slots=True)
class Half:
    """A reply whose length is declared, and half of it."""


@dataclass(frozen=True, slots=True)
class Whitespace:
    """Blanks until max_tokens, as a model does that cannot bring itself to close its JSON."""


@dataclass(frozen=True, slots=True)
class NoJson:
    """200 with what is not JSON."""


@dataclass(frozen=True, slots=True)
class WrongShape:
    """200 with JSON that is no reply."""


@dataclass(frozen=True, slots=True)
class OtherModel:
    """The reply, in the name of another model."""

    name: str


@dataclass(frozen=True, slots=True)
class Huge:
    """A body of so many bytes, its length declared or not."""

    size: int
    declared: bool


Spoken: TypeAlias = Say | Status | Whitespace | NoJson | WrongShape | OtherModel
Behaviour: TypeAlias = Spoken | Answer | Never | Drop | Half | Huge


def say(behaviour: Spoken, request: ChatRequest) -> Response:
    """The response that a behaviour of mere words gives to a request."""
    match behaviour:
        case Status():
            return refuse(behaviour)
        case NoJson():
            return Response(b"<html>It works!</html>", media_type="text/html")
        case WrongShape():
            return JSONResponse({"object": "chat.completion", "answer": 42})
        case OtherModel(name):
            return JSONResponse(completion(request, _reply("I am another.")) | {"model": name})
        case Whitespace():
            most = request.sampling.max_tokens
            reply = ChatReply(text=" " * most, finish_reason="length", prompt_tokens=1, completion_tokens=most)
            return JSONResponse(completion(request, reply))
        case Say(content, refusal, finish):
            message: Json = {"role": "assistant", "content": content, "refusal": refusal}
            choice: Json = {"index": 0, "message": message, "finish_reason": finish}
            return JSONResponse(completion(request, _reply("")) | {"choices": [choice]})


def completion(request: ChatRequest, reply: ChatReply, fingerprint: str = VERSION) -> dict[str, Json]:
    """The body in which a reply is sent."""
    message: Json = {"role": "assistant", "content": reply.text, "refusal": None}
    told = None if reply.tokens is None else write_tokens(reply.tokens)
    choice: Json = {"index": 0, "message": message, "finish_reason": reply.finish_reason, "logprobs": told}
    return {
        "id": f"chatcmpl-{request.key()[:16]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request.model,
        "choices": [choice],
        "usage": {
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "total_tokens": reply.prompt_tokens + reply.completion_tokens,
        },
        "system_fingerprint": fingerprint,
    }


def refuse(status: Status) -> Response:
    """An error, worded as OpenAI and vLLM do."""
    error = {"message": status.error} if isinstance(status.error, str) else status.error
    headers = {} if status.retry_after is None else {"retry-after": status.retry_after}
    return JSONResponse({"error": {**error, "code": error.get("code", status.code)}}, status.code, headers)


def _reply(text: str) -> ChatReply:
    return ChatReply(text=text, finish_reason="stop", prompt_tokens=1, completion_tokens=len(text.split()))
