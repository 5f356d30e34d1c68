"""Content that models and users should not give: it costs its slot at most, and is only ever text, pixels, numbers."""

import asyncio
import json
import os
import pty
import re
import subprocess
import sys
import unicodedata
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import lancedb
import numpy as np
import pytest
from numpy.typing import NDArray

from flows.asked import BuildOptions
from flows.errors import UserError
from flows.lakes import add_topics
from flows.newcomers import Choices
from flows.recorder import Address, Answer, Asked, Recorder
from flows.seir.asking import draw_request
from flows.seir.replies import BadReply, QuestionReply, parse_reply
from flows.settings import DrawnPictures
from flows.studio import Cast
from flows.topics.catalogue import TopicEntry
from models.chat import ChatReply, ChatRequest, TextPart
from models.drawing import Drawing, DrawRequest
from models.embedding import Embedding, EmbedRequest
from models.errors import ContentError, TerminalError
from models.fakes import FakeChat, FakeEncoder, FakePainter
from models.picture import ALGORITHMIC, Picture
from storage.query import query
from storage.records import CallRow, DecisionRow, TopicRow, TurnRow
from storage.spool import RecordedCall
from tests.flows.casts import Troupe, assert_fsck_finds_nothing, fake_lake, grow
from tests.flows.test_build import assert_conserved
from tests.flows.test_cli import read_terminal
from tests.models.test_picture import REFUSED

OWLS = [TopicEntry(name="owls", category="", domain="")]
ONE = BuildOptions(new_topics=1, samples_per_topic=2, turns=1)


class OtherBytesPainter(FakePainter):
    """Draws as its kin, and then hands over what `spoil` makes of the bytes."""

    def __init__(self, spoil: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self._spoil = spoil

    async def draw(self, request: DrawRequest) -> Drawing:
        drawing = await super().draw(request)
        return replace(drawing, picture=replace(drawing.picture, data=self._spoil(drawing.picture.data)))


class SmallPainter(FakePainter):
    """Draws half of what was asked for."""

    async def draw(self, request: DrawRequest) -> Drawing:
        drawing = await super().draw(request)
        half = drawing.picture.pixels()[: request.height // 2]
        return replace(drawing, picture=Picture.from_pixels(half, source=ALGORITHMIC, marks={}))


class SickEncoder(FakeEncoder):
    """Its vectors cannot be compared."""

    def __init__(self, vector: NDArray[np.generic]) -> None:
        super().__init__()
        self._vector = vector

    async def embed(self, request: EmbedRequest) -> Embedding:
        await super().embed(request)
        return Embedding(vector=self._vector)  # type: ignore[arg-type]


class RawChat(FakeChat):
    """Says the same whatever it is asked."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    async def chat(self, request: ChatRequest) -> ChatReply:
        return replace(await super().chat(request), text=self._text)


class Company(Troupe):
    """A troupe in which one member is another."""

    def __init__(self, **members: object) -> None:
        super().__init__()
        self.members = members

    async def __aenter__(self) -> Cast:
        return replace(await super().__aenter__(), **self.members)  # type: ignore[arg-type]


class ShortTape:
    """Finds nothing and keeps everything."""

    def __init__(self) -> None:
        self.kept: list[RecordedCall] = []

    def find(self, at: Address, request_key: str) -> RecordedCall | None:  # noqa: ARG002
        return None

    async def keep(self, call: RecordedCall) -> None:
        self.kept.append(call)


AT = Address(sample_id="5a", turn=1, stage="image", round=0, purpose="test", attempt=0)


def recorded(ask: Callable[[Recorder], Awaitable[object]]) -> CallRow:
    """The call as which something is recorded that raises a ContentError."""

    async def let_through(model: Asked, send: Callable[[], Awaitable[Answer]]) -> Answer:  # noqa: ARG001
        return await send()

    async def run() -> None:
        with pytest.raises(ContentError):
            await ask(Recorder(tape=tape, desk=let_through, run_id="r", patience=0))

    tape = ShortTape()
    asyncio.run(run())
    (call,) = tape.kept
    assert not call.attachments
    return call.row


def drawn_by(painter: FakePainter) -> str | None:
    """The reason for which what it draws is refused."""
    settings = DrawnPictures(backend="fake", width=64, height=64)
    return recorded(lambda recorder: recorder.draw(painter, AT, draw_request(painter, settings, "An owl.", 1))).error


OTHER = Picture.from_pixels(np.zeros((64, 64, 3), dtype=np.uint8), source=ALGORITHMIC, marks={}).data


@pytest.mark.parametrize("name", REFUSED)
def test_bytes_that_are_no_picture_are_refused(name: str) -> None:
    assert drawn_by(OtherBytesPainter(lambda _: REFUSED[name][0])) == "broken_picture"


def test_a_picture_is_the_one_that_was_asked_for_and_nothing_more() -> None:
    assert drawn_by(OtherBytesPainter(lambda data: data + b"<?php")) == "broken_picture"
    assert drawn_by(OtherBytesPainter(lambda _: OTHER)) == "broken_picture", "whole, but not what its hash says"
    assert drawn_by(SmallPainter()) == "wrong_size"


def vector(first: float, rest: float = 0.0, dims: int = 32, kind: str = "<f4") -> NDArray[np.generic]:
    values = np.full(dims, rest, dtype=kind)
    values[0] = first
    return values


UNFIT = {
    "NaN": vector(np.nan),
    "a NaN among numbers": vector(1.0, np.nan),
    "infinity": vector(np.inf),
    "less than infinity": vector(-np.inf),
    "both infinities": vector(-np.inf, np.inf),
    "nothing": vector(0.0),
    "next to nothing": vector(1e-42, 1e-42),
    "too much": vector(3e38, 3e38),
    "a little too much": vector(1.002),
    "another length": vector(1.0, dims=16),
    "no length": vector(1.0, dims=1)[:0],
    "another shape": vector(1.0).reshape(1, 32),
    "doubles": vector(1.0, kind="<f8"),
    "halves": vector(1.0, kind="<f2"),
    "the other byte order": vector(1.0, kind=">f4"),
    "whole numbers": vector(1.0, kind="<i8"),
    "words": vector(1.0, kind="<U3"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_vector_that_cannot_be_compared_is_refused(name: str) -> None:
    encoder = SickEncoder(UNFIT[name])
    request = EmbedRequest(model=encoder.identity.name, revision=encoder.identity.revision, subject="An owl.")
    assert recorded(lambda recorder: recorder.embed(encoder, AT, request)).error == "unfit_vector"


def said(text: str) -> Callable[[], Company]:
    return lambda: Company(writer=RawChat(text))


def asked(text: str) -> Callable[[], Company]:
    return said(json.dumps({"question": text}))


SICK: dict[str, tuple[Callable[[], Company], str]] = {
    "a picture that ends in the middle": (
        lambda: Company(painter=OtherBytesPainter(lambda data: data[:-40])),
        "broken_picture",
    ),
    "a picture that is a bomb": (
        lambda: Company(painter=OtherBytesPainter(lambda _: REFUSED["a bomb"][0])),
        "broken_picture",
    ),
    "a picture of another size": (lambda: Company(painter=SmallPainter()), "wrong_size"),
    "a vector of NaN": (lambda: Company(encoder=SickEncoder(UNFIT["NaN"])), "unfit_vector"),
    "a vector of another length": (lambda: Company(encoder=SickEncoder(UNFIT["another length"])), "unfit_vector"),
    "a lone surrogate": (said('{"question": "\ud800"}'), "unsafe_text"),
    "a surrogate in JSON": (asked("What is \ud800?"), "unsafe_text"),
    "a NUL": (asked("What is \0?"), "unsafe_text"),
    "brackets without end": (said("[" * 100_000), "not_json"),
    "half a sentence": (asked("What is the"), "cut_sentence"),
    "far too many letters": (asked("%s?" % ("y" * 2_000_000)), "wrong_shape"),
}


@pytest.mark.parametrize("name", SICK)
def test_unusable_content_costs_its_slot_and_a_retry_with_healthy_models_makes_it(tmp_path: Path, name: str) -> None:
    make, reason = SICK[name]
    lake = fake_lake(tmp_path / "lake", topics=OWLS)
    run = grow(lake.path, ONE, make())
    assert run.counts()["failed"] == run.counts()["planned"] == 2
    failed = list(lake.rows(DecisionRow, lake.version()))
    assert {row.reason for row in failed} == {reason}
    assert all(json.loads(row.evidence)["attempts"] for row in failed)
    again = grow(lake.path, BuildOptions(new_topics=0, samples_per_topic=1, turns=1, retry_failed=True))
    assert again.counts()["kept"] == 2
    ids = [row.call_id for row in lake.rows(CallRow, lake.version())]
    assert len(ids) == len(set(ids)), "no call is in the lake twice"
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)


UNUSABLE = {
    "What is \x1b[2J?": "unsafe_text",
    "What is \x9b2J?": "unsafe_text",
    "What is \x7f?": "unsafe_text",
    "What is\r\nthat?": "unsafe_text",
    "What is \udfff?": "unsafe_text",
    "why " * 60 + "?": "too_long",
}


@pytest.mark.parametrize("text", UNUSABLE)
def test_replies_that_are_no_texts_are_told_apart(text: str) -> None:
    with pytest.raises(BadReply) as refused:
        parse_reply(QuestionReply, json.dumps({"question": text}), "stop")
    assert refused.value.reason == UNUSABLE[text]


@pytest.mark.parametrize("text", ["", "Sure! Here you are:", '{"question": NaN}', '"What?"', '{"question": ["What?"]}'])
def test_replies_of_another_shape_are_told_apart(text: str) -> None:
    with pytest.raises(BadReply) as refused:
        parse_reply(QuestionReply, text, "stop")
    assert refused.value.reason in ("not_json", "wrong_shape")


HOSTILE = {
    "quotes": """He said "it's 'fine'", didn't he""",
    "SQL": "'; DROP TABLE samples; --",
    "more SQL": "x' OR sample_id LIKE '%",
    "Markdown": "[x](javascript:alert(1)) | **b** | `c` # h",
    "HTML": "<script>alert(1)</script> &amp; <b>",
    "a path": "../../etc/passwd",
    "another path": "C:\\windows\\..\\NUL",
    "places for values": "{topic} {0} %s %(x)s \\N{BELL} ${HOME}",
    "a console's markup": "[bold red]x[/] [/bold] :smile:",
    "a formula": "=cmd|' /C calc'!A0",
    "JSON": '", "answer": null} // {"a":1}',
    "nothing": "null",
    "not a number": "NaN",
    "many marks": "z" + "\u0351\u0352\u0357" * 5,
    "a private character": "\ue000 \U0010ffff \ufffe",
}
UNSEEN = {
    "right to left": "abc \u202egnp.exe\u202c \u2067x\u2069",
    "no width": "a\u200bb\u200d\ufeffc \U0001f468\u200d\U0001f469",
    "lines": "a\nb\tc\u2028d\u2029e",
}
"""What topics may not have, and replies may."""


def test_hostile_topics_and_replies_are_only_text(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake", topics=[TopicEntry(name=name, category="", domain="") for name in UNSEEN])
    file = tmp_path / "topics.txt"
    file.write_text("\n".join(HOSTILE.values()), encoding="utf-8")
    assert set(add_topics(lake.path, file, Choices(category="<i>'", domain="../", keep_alike=True)).new) == set(
        HOSTILE.values()
    )
    words = {text: text for text in HOSTILE.values()} | UNSEEN

    def speak(request: ChatRequest) -> str:
        heard = "\n".join(part.text for told in request.messages for part in told.parts if isinstance(part, TextPart))
        text = max((text for topic, text in words.items() if topic in heard or text in heard), key=len)
        assert isinstance(request.schema, dict)
        return json.dumps(dict.fromkeys(request.schema["properties"], f"{text}."))

    chat = FakeChat(script=speak)
    run = grow(
        lake.path,
        BuildOptions(new_topics=len(words), samples_per_topic=1, turns=1),
        Company(writer=chat, critic=chat, viewer=chat),
    )
    assert run.counts()["kept"] == len(words)
    wanted = {slot.sample_id: f"{words[slot.topic]}." for slot in run.plan.slots}
    assert set(wanted.values()) == {f"{text}." for text in words.values()}
    packed = {row.sample_id: (row.question, row.answer, row.caption) for row in lake.rows(TurnRow, lake.version())}
    assert packed == {sample_id: (text, text, text) for sample_id, text in wanted.items()}
    asked = query(lake, "SELECT sample_id, question, answer, caption FROM turns").rows()
    assert {row[0]: row[1:] for row in asked} == packed
    table = lancedb.connect(lake.path / "lance").open_table("turns")
    shown = table.search().select(["sample_id", "question", "answer", "caption", "topic"]).limit(100).to_list()
    assert {row["sample_id"]: (row["question"], row["answer"], row["caption"]) for row in shown} == packed
    assert {row["topic"] for row in shown} == set(words)
    critiques = {text for (text,) in query(lake, "SELECT DISTINCT critique FROM iterations").rows() if text}
    assert set(wanted.values()) & critiques, "what critics say is kept as it is, too"
    assert {row.name for row in lake.rows(TopicRow, lake.version())} == set(words)
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)
    told = [slot.sample_id for slot in run.plan.slots if slot.topic in (*UNSEEN, HOSTILE["a console's markup"])]
    _assert_printed_safely(lake.path, told, tmp_path / "pictures")


READ = """
import sys
from flows.cli.main import main
lake, pictures, *samples = sys.argv[1:]
commands = [["status"], ["versions"], ["topics", "list"], ["topics", "coverage"], ["plan"]]
commands += [["sql", "SELECT * FROM turns"], ["sql", "--json", "SELECT * FROM topics"]]
commands += [["sql", "--format", "csv", "SELECT * FROM iterations"]]
commands += [["show", sample, "--pictures", pictures] for sample in samples] + [["show", "--json", samples[0]]]
for command in commands:
    sys.argv = ["interlake", *command, "--lake", lake]
    main()
print("all read")
"""


def _assert_printed_safely(lake: Path, samples: list[str], pictures: Path) -> None:
    """Every command that reads prints to a terminal nothing that steers it, and names files by ids alone."""
    ours, theirs = pty.openpty()
    words = [sys.executable, "-c", READ, str(lake), str(pictures), *samples]
    environment = {**os.environ, "TERM": "dumb", "COLUMNS": "200"}
    with subprocess.Popen(words, stdout=theirs, stderr=theirs, env=environment) as child:
        os.close(theirs)
        out = b"".join(iter(lambda: read_terminal(ours), b"")).decode()
    os.close(ours)
    assert child.returncode == 0, out[-2000:]
    assert out.splitlines()[-1] == "all read"
    assert {c for c in out if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} <= {"\r", "\n"}
    assert "\\u202egnp.exe" in out
    names = {path.name for path in pictures.iterdir()}
    assert len(names) >= len(samples)
    assert all(re.fullmatch(r"[0-9a-f]{8}-turn1-round\d\.png", name) for name in names)


@pytest.mark.parametrize("text", ["a\0b", "a\x1b[2J", "\ud800", "a\nb", UNSEEN["right to left"], UNSEEN["no width"]])
def test_topics_that_could_steer_who_reads_them_are_refused_with_a_reason(tmp_path: Path, text: str) -> None:
    lake = fake_lake(tmp_path / "lake", topics=OWLS)
    before = lake.version()
    file = tmp_path / "topics.json"
    file.write_text(json.dumps([text]))
    with pytest.raises(UserError, match=r"item 1: the topic has .* as its character \d+; remove it\.") as refused:
        add_topics(lake.path, file)
    assert str(refused.value).isprintable()
    assert lake.version() == before


def test_what_a_backend_says_when_it_ends_a_run_is_only_text(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    words = "down\0 \x1b[2J \u202e <b> '; -- \ud800"
    with pytest.raises(TerminalError):
        grow(lake.path, ONE, Troupe(writer_fails=lambda _: TerminalError(words)))
    told = query(lake, "SELECT reason FROM runs")["reason"].to_list()
    assert told == ["TerminalError: " + words.replace("\ud800", "\\ud800")]
    assert grow(lake.path, ONE).counts()["kept"] == 2
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)
