"""Requests made again from their recorded form, so that a model can be asked the very same. Reads no lake."""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from models.chat import ChatRequest, ImagePart, Message, Part, Sampling, TextPart
from models.drawing import DrawRequest
from models.embedding import EmbedRequest
from models.picture import Picture

Request: TypeAlias = ChatRequest | DrawRequest | EmbedRequest
Pictures: TypeAlias = Mapping[str, Picture]
"""By their sha256."""


class NotAskable(Exception):
    """A request that cannot be asked as it was; the message says why."""


def pictures_in(request: str) -> set[str]:
    """The sha256 of each picture that a recorded request names."""
    told = json.loads(request)
    parts = [part for message in told.get("messages", ()) for part in message["parts"]]
    return {part["image_sha256"] for part in (told, *parts) if "image_sha256" in part}


def rebuild(request: str, request_key: str, pictures: Pictures) -> Request:
    """The request whose canonical form was recorded; NotAskable unless it has the very same key again."""
    told = json.loads(request)
    try:
        made = _BUILDERS[told["kind"]](told, pictures)
    except (KeyError, TypeError, ValueError) as error:
        raise NotAskable(f"cannot be asked as it was: this interlake has no such request ({error!r})") from error
    if made.key() != request_key:
        raise NotAskable(
            f"cannot be asked as it was: made again, its key is {made.key()[:16]}, and {request_key[:16]} is recorded"
        )
    return made


def _chat(told: Mapping[str, Any], pictures: Pictures) -> ChatRequest:
    sampling = told["sampling"]
    floats = {name: float(sampling[name]) for name in ("temperature", "top_p", "min_p", "repeat_penalty")}
    return ChatRequest(
        model=told["model"],
        revision=told["revision"],
        messages=tuple(
            Message(message["role"], tuple(_part(part, pictures) for part in message["parts"]))
            for message in told["messages"]
        ),
        sampling=Sampling(**{**sampling, **floats}),
        schema=told["schema"],
        seed=told["seed"],
        top_logprobs=told.get("top_logprobs"),
    )


def _part(told: Mapping[str, Any], pictures: Pictures) -> Part:
    if "text" in told:
        return TextPart(told["text"])
    return ImagePart(pictures[told["image_sha256"]], bare=bool(told.get("bare", False)))


def _draw(told: Mapping[str, Any], _: Pictures) -> DrawRequest:
    values = {name: value for name, value in told.items() if name != "kind"}
    return DrawRequest(**{**values, "guidance": float(told["guidance"])})


def _embed(told: Mapping[str, Any], pictures: Pictures) -> EmbedRequest:
    subject = told["text"] if "text" in told else pictures[told["image_sha256"]]
    return EmbedRequest(model=told["model"], revision=told["revision"], subject=subject)


_BUILDERS: Mapping[str, Callable[[Mapping[str, Any], Pictures], Request]] = {
    "chat": _chat,
    "draw": _draw,
    "embed": _embed,
}
