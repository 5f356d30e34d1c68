"""A judge's model whose server refuses one request: that is about the content, and leaves a null verdict, not a ruin.

Whether it is, is looked at and not guessed: a server that answers other requests of the kind refuses this content; one
that refuses a plain one too has the wrong settings, and its error passes through. Knows no rubric and no lake.
"""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import numpy as np

from flows.cards import turn_of
from models.chat import ChatModel, ChatReply, ChatRequest, ImagePart, Message, Part, TextPart
from models.errors import ContentError, RefusedRequest
from models.identity import ModelIdentity
from models.picture import ALGORITHMIC, Picture

REFUSED = "refused_request"
"""Reason of a verdict whose request the judge's server did not take; its own words are in the evidence."""
PLAIN_SIDE = 64


class Lenient:
    """A chat model whose refusals of single requests are ContentErrors, once it has taken another one like it.

    The first refusal of a run is followed by a plain request in the same form (as many pictures, grey ones; the same
    schema and sampling), which is not recorded. TerminalError as the model gave it when that is refused as well.
    """

    def __init__(self, model: ChatModel) -> None:
        self._model = model
        self._takes: set[bool] = set()

    @property
    def identity(self) -> ModelIdentity:
        return self._model.identity

    @property
    def at_once(self) -> int:
        return self._model.at_once

    def turn(self) -> AbstractAsyncContextManager[None]:
        """The model's turn on a card that it may share."""
        return turn_of(self._model)

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The reply; ContentError REFUSED for a request that the model refuses while it takes others."""
        kind = _has_pictures(request)
        try:
            reply = await self._model.chat(request)
        except RefusedRequest as error:
            if kind not in self._takes and not await self._takes_plain(request):
                raise
            self._takes.add(kind)
            raise ContentError(REFUSED, error.said) from error
        self._takes.add(kind)
        return reply

    async def _takes_plain(self, request: ChatRequest) -> bool:
        """Whether the model takes a request of this form with nothing in it."""
        try:
            await self._model.chat(plain_request(request))
        except RefusedRequest:
            return False
        except ContentError:
            return True
        return True


def plain_request(request: ChatRequest) -> ChatRequest:
    """The same request with a grey square in place of each picture, and a word in place of each text."""
    messages = tuple(Message(message.role, tuple(_plain_parts(message))) for message in request.messages)
    return replace(request, messages=messages)


def _plain_parts(message: Message) -> Iterator[Part]:
    for part in message.parts:
        if isinstance(part, TextPart):
            yield TextPart("Reply.")
        else:
            pixels = np.full((PLAIN_SIDE, PLAIN_SIDE, 3), 128, dtype=np.uint8)
            yield ImagePart(Picture.from_pixels(pixels, source=ALGORITHMIC, marks={}))


def _has_pictures(request: ChatRequest) -> bool:
    return any(isinstance(part, ImagePart) for message in request.messages for part in message.parts)
