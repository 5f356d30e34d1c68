"""Models that have nothing to say but what was recorded: whoever asks them anything else learns that nobody did."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from flows.judge.seating import Bench, judge_of, seat_bench
from flows.recipe import judges_named_in
from flows.replay.past import PastRun
from flows.studio import Cast
from models.chat import ChatReply, ChatRequest
from models.drawing import Drawing, DrawRequest
from models.embedding import Embedding, EmbedRequest
from models.identity import ModelIdentity
from storage.canonical import Json


class NeverRecordedError(Exception):
    """A request that nobody recorded an answer to; `request` in canonical form."""

    def __init__(self, request: Json) -> None:
        super().__init__("this was never asked when the sample was made")
        self.request = request


@dataclass(frozen=True, slots=True)
class RecordedModel:
    """A model of any kind, of which there are recordings alone; the recorder finds them before it asks here."""

    identity: ModelIdentity
    at_once: int = 1
    dims: int = 0

    async def chat(self, request: ChatRequest) -> ChatReply:
        _refuse(request.canonical())

    async def draw(self, request: DrawRequest) -> Drawing:
        _refuse(request.canonical())

    async def embed(self, request: EmbedRequest) -> Embedding:
        _refuse(request.canonical())


def _refuse(request: Json) -> NoReturn:
    raise NeverRecordedError(request)


def recorded_bench(run: PastRun) -> Bench:
    """The judges of a run that is over, of the edition that judged then."""
    models = {name: RecordedModel(identity) for role, identity in run.roles.items() if (name := judge_of(role))}
    return seat_bench(run.settings.judge, models, judges_named_in(run.recipe))


def recorded_cast(roles: Mapping[str, ModelIdentity]) -> Cast:
    """The models of a run that is over, by role; KeyError when one is missing that every run has."""
    return Cast(
        writer=RecordedModel(roles["writer"]),
        critic=RecordedModel(roles["critic"]) if "critic" in roles else None,
        painter=RecordedModel(roles["painter"]),
        viewer=RecordedModel(roles["viewer"]),
        encoder=RecordedModel(roles["encoder"]),
    )
