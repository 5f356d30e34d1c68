"""Asking the writer for the lake itself: addresses and seeds from the inquiry's id, attempts, a reply or none.

Knows no lake and not what is asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import ValidationError

from flows.recorder import Address, Recorder
from flows.seir.asking import chat_request, sampling_of
from flows.seir.replies import BadReply, Reply
from flows.settings import GenerationSettings
from models.chat import ChatModel, ChatReply, Message
from models.errors import ContentError
from storage.canonical import derive_id, derive_seed

R = TypeVar("R", bound=Reply)

INQUIRY = "inquiry"
"""Kind of the packages that hold an inquiry: its calls and what came of them."""
NO_TURN = 0
"""Turn of calls that belong to no dialogue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard(Generic[R]):
    """A reply that can be used, and the call that brought it."""

    reply: R
    call_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ear:
    """Asks the writer for one inquiry, through a recorder; a reply that cannot be used is asked for again."""

    writer: ChatModel
    recorder: Recorder
    settings: GenerationSettings
    inquiry_id: str

    async def ask(
        self, messages: Sequence[Message], reply: type[R], *, stage: str, number: int, max_tokens: int
    ) -> Heard[R] | None:
        """The first reply that fits to question `number` of a stage, or None after all attempts of the settings.

        TransientError and TerminalError pass through.
        """
        sampling = sampling_of(self.settings.writer, max_tokens)
        for attempt in range(self.settings.attempts):
            seed = derive_seed(self.inquiry_id, NO_TURN, stage, number, stage, attempt)
            at = Address(
                sample_id=self.inquiry_id, turn=NO_TURN, stage=stage, round=number, purpose=stage, attempt=attempt
            )
            request = chat_request(self.writer, messages, sampling, reply, seed)
            try:
                heard = await self.recorder.chat(self.writer, at, request)
                return Heard(reply=_read(reply, heard), call_id=at.call_id())
            except (BadReply, ContentError):
                continue
        return None


def _read(shape: type[R], heard: ChatReply) -> R:
    """A reply of that shape, whatever its texts say; BadReply."""
    if heard.finish_reason == "length":
        raise BadReply("cut", f"the reply ran out of tokens after {len(heard.text)} characters")
    try:
        return shape.model_validate_json(heard.text)
    except ValidationError as error:
        raise BadReply("wrong_shape", f"the reply does not fit {shape.__name__}: {error.errors()[0]['msg']}") from error


def inquiry_id_of(kind: str, seed: int, about: str, number: int) -> str:
    """The id of the `number`-th inquiry of a kind about something, in a lake of this seed."""
    return derive_id("inquiry", kind, seed, about, number)
