"""Lakes for the gallery to show: stand-ins that write hostile texts, repeats, questions, failures, verdicts."""

import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from flows.asked import BuildOptions
from flows.settings import Settings
from flows.studio import Cast
from flows.topics.catalogue import TopicEntry
from models.chat import ChatRequest
from models.drawing import DrawRequest
from models.errors import ContentError
from models.fakes import FakeChat, FakePainter
from models.minimal_json import minimal_json
from storage.lake import Lake
from tests.flows.casts import GradedEncoder, fake_lake, grow
from tests.flows.test_judge_lake import judge

HOSTILE = (
    "<script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "\"><svg onload='window.hacked=1'>",
    "'-alert(1)-' {{ 7*7 }} ${7*7} javascript:alert(1)",
    "</title></textarea><iframe srcdoc='<script>parent.hacked=1</script>'>",
    "\u202egnp.exe a mark of direction and \u200b no width",
)
"""What a model or a list of topics may say, each to be shown as text and no more."""

NOUNS = ("heron", "lantern", "bridge", "teapot", "glacier", "violin", "harbour", "cactus", "tram", "kite")


def speak(request: ChatRequest) -> str:
    """Replies as a small model would write them, now and then with something hostile in them."""
    key = request.key()
    lot = int(key[:8], 16)
    reply = minimal_json(request.schema, key)
    assert isinstance(reply, dict)
    noun, other = NOUNS[lot % 10], NOUNS[lot // 10 % 10]
    said = {
        "question": f"What would a picture of the {noun} beside a {other} show in the evening light?",
        "answer": f"It shows the {noun} in warm light, a {other} behind it, and long shadows over the quiet ground. ",
        "caption": f"A {noun} beside a {other} in low evening light, seen from the side, with long shadows.",
        "suggestion": f"Name the colour of the {noun}, and say where the {other} stands.",
    }
    attack = HOSTILE[lot // 100 % len(HOSTILE)]
    for name, text in said.items():
        if reply.get(name) is not None:
            reply[name] = f"{text} {attack}." if name != "question" and lot % 3 == 0 else text.strip()
    return json.dumps(reply)


class Company:
    """A studio of stand-ins; `fails` may refuse a drawing."""

    def __init__(self, fails: Callable[[DrawRequest], Exception | None] = lambda _: None) -> None:
        self._fails = fails

    def __call__(self, _: Settings) -> "Company":
        return self

    async def __aenter__(self) -> Cast:
        chat = FakeChat(script=speak)
        return Cast(
            writer=chat,
            critic=chat,
            painter=FakePainter(failures=self._fails),
            viewer=FakeChat(script=speak),
            encoder=GradedEncoder(),
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def make_lake(path: Path, *, topics: int, turns: int, batch: int = 8, image: float = 0.75, text: float = 0.6) -> Lake:
    """A lake of so many topics, two samples each, and some more that failed; drafts are judged, pairs asked about."""
    settings = {
        "image = 0.95": f"image = {image}",
        "text = 0.85": f"text = {text}",
        "batch_size = 8 ": f"batch_size = {batch} ",
        "question = 3": "question = 1",
        "image = 3": "image = 2",
    }
    lake = fake_lake(path, settings=settings, topics=list(_topics(topics + 2)))
    asked = BuildOptions(new_topics=topics, samples_per_topic=2, turns=turns, review=True, review_near=0.1)
    grow(path, asked, Company())
    drawn: list[str] = []

    def fail(request: DrawRequest) -> Exception | None:
        drawn.append(request.key())
        return ContentError("blank_picture", f"all one colour {HOSTILE[0]}") if len(drawn) > 1 else None

    grow(path, BuildOptions(new_topics=2, samples_per_topic=1, turns=turns), Company(fail))
    return lake


def judged(lake: Lake) -> Lake:
    """The same lake, with verdicts on its drafts."""
    judge(lake, rounds=True)
    return lake


def _topics(count: int) -> list[TopicEntry]:
    domains = ("Animals", "Crafts", HOSTILE[0], "Places", "Tools & machines")
    return [
        TopicEntry(
            domain=domains[number % 5],
            category=f"group {number % 3} {HOSTILE[1] if number % 5 == 2 else ''}".strip(),
            name=f"{NOUNS[number % 10]} no. {number} {HOSTILE[number % 6] if number % 4 == 0 else ''}".strip(),
        )
        for number in range(count)
    ]
