"""Recorded calls asked again: what is identical, what drifted and how, what is impossible and why. Writes nothing."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.asked import BuildOptions
from flows.errors import UserError
from flows.regenerate.casting import settings_here
from flows.regenerate.choosing import RegenerateOptions
from flows.regenerate.comparing import Drift, FactDrift, PixelDrift, TextDrift, VectorDrift
from flows.regenerate.environments import OtherFact, differing_facts, grouped
from flows.regenerate.regenerating import regenerate_lake_at
from flows.regenerate.report import Outcome, Regeneration
from flows.settings import FILE, Settings, parse_settings, read_settings
from flows.studio import Cast, Studio
from models.chat import ChatModel, ChatReply, ChatRequest
from models.drawing import Drawing, DrawRequest, TextToImage
from models.embedding import Embedding, EmbedRequest, Encoder
from models.errors import ContentError, TerminalError, TransientError
from models.fake_server import FakeServer
from models.fakes import FakeChat, FakeEncoder, FakePainter
from models.identity import ModelIdentity
from models.picture import ALGORITHMIC, Picture
from storage.canonical import Json
from storage.errors import NoSuchThing
from storage.lake import Lake
from storage.records import CallRow
from tests.flows.casts import Troupe, fake_lake, grow
from tests.flows.test_reembed import OtherEncoder, move
from tests.flows.test_server_build import SECRET, served_lake

SMALL = BuildOptions(new_topics=1, samples_per_topic=2, turns=1)
PICTURE = Picture.from_pixels(np.zeros((64, 64, 3), dtype=np.uint8), source=ALGORITHMIC, marks={})


class OwnModels(Studio):
    """Models of a test's own in place of those that the settings name; for builds, and to ask again."""

    def __init__(self, settings: Settings, cast: Cast) -> None:
        super().__init__(settings)
        self._cast = cast

    async def writer(self) -> ChatModel:
        return self._cast.writer

    async def critic(self) -> ChatModel | None:
        return self._cast.critic

    async def viewer(self) -> ChatModel:
        return self._cast.viewer

    async def painter(self) -> TextToImage:
        return self._cast.painter

    async def encoder(self) -> Encoder:
        return self._cast.encoder


def own(
    *, chat: ChatModel | None = None, painter: TextToImage | None = None, encoder: Encoder | None = None
) -> Callable[[Settings], OwnModels]:
    """A studio with these models; stand-ins for the others."""
    chat = chat or FakeChat()
    cast = Cast(
        writer=chat, critic=chat, painter=painter or FakePainter(), viewer=chat, encoder=encoder or FakeEncoder()
    )
    return lambda settings: OwnModels(settings, cast)


class DriftingChat(FakeChat):
    """Says something else where it is asked with this seed."""

    def __init__(self, seed: int, text: str) -> None:
        super().__init__()
        self._seed = seed
        self._text = text

    async def chat(self, request: ChatRequest) -> ChatReply:
        reply = await super().chat(request)
        return replace(reply, text=self._text, completion_tokens=99) if request.seed == self._seed else reply


class RenamedChat(FakeChat):
    def __init__(self, identity: ModelIdentity) -> None:
        super().__init__()
        self._identity = identity


def lake_of(
    path: Path,
    studio: Callable[[Settings], Any] | None = None,
    *,
    settings: Mapping[str, str] | None = None,
    options: BuildOptions = SMALL,
) -> Lake:
    lake = fake_lake(path, settings=settings)
    grow(path, options, studio)
    return lake


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two samples of one turn, made by stand-ins that can be asked again. Nobody writes into it."""
    return lake_of(tmp_path_factory.mktemp("lake") / "lake")


def rows_of(lake: Lake) -> list[CallRow]:
    return list(lake.rows(CallRow, lake.version()))


def a_row(lake: Lake, purpose: str) -> CallRow:
    return next(row for row in rows_of(lake) if row.purpose == purpose)


def regenerate(lake: Lake, studio: Callable[[Settings], Studio] = Studio, **options: Any) -> Regeneration:
    at_once = options.pop("at_once", None)
    return regenerate_lake_at(lake.path, RegenerateOptions(**options), at_once=at_once, studio=studio)


def only(found: Regeneration) -> tuple[Outcome, Drift]:
    """The one call that drifted, and how."""
    (outcome,) = found.outcomes()
    assert outcome.verdict == "drifted"
    return outcome, outcome.drifts[0]


def totals(found: Regeneration) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for model in found.models:
        for by_verdict in model.counts.values():
            counts.update(by_verdict)
    return dict(counts)


# Identical


def test_models_that_are_as_they_were_answer_as_they_did(lake: Lake) -> None:
    found = regenerate(lake)
    assert found.is_identical and found.outcomes() == []
    by_purpose = {purpose: sum(counts.values()) for model in found.models for purpose, counts in model.counts.items()}
    assert by_purpose == Counter(row.purpose for row in rows_of(lake))
    assert totals(found) == {"identical": len(rows_of(lake))}
    assert sorted(model.name for model in found.models) == ["fake-chat", "fake-encoder", "fake-painter"]


def test_the_environment_of_now_is_the_one_of_then(lake: Lake) -> None:
    assert regenerate(lake).environments == ()


# Drifted


def test_another_reply_is_told_by_its_first_other_token_and_what_else_differs(lake: Lake) -> None:
    row = a_row(lake, "draft")
    said = json.loads(row.response)["text"]
    assert row.seed is not None
    outcome, drift = only(regenerate(lake, own(chat=DriftingChat(row.seed, said.replace("A ", "The ", 1)))))
    assert outcome.call_id == row.call_id
    assert isinstance(drift, TextDrift)
    assert (drift.was, drift.now) == ("A", "The")
    assert outcome.drifts[1] == FactDrift(name="tokens written", was=row.completion_tokens, now=99)
    first = next(outcome.lines())
    assert first == f"DRIFTED call {row.call_id}, sample {row.sample_id}, turn 1, {row.stage}, round 0, draft"


def test_another_picture_is_told_by_its_pixels(lake: Lake) -> None:
    class Painter(FakePainter):
        async def draw(self, request: DrawRequest) -> Drawing:
            drawing = await super().draw(request)
            pixels = drawing.picture.pixels().copy()
            if request.seed == row.seed:
                pixels[5, 7] ^= 1
            return replace(drawing, picture=Picture.from_pixels(pixels, source=ALGORITHMIC, marks=_marks(drawing)))

    row = a_row(lake, "draw")
    outcome, drift = only(regenerate(lake, own(painter=Painter())))
    assert outcome.call_id == row.call_id
    assert drift == PixelDrift(differing=1, of=64 * 64, largest=(1, 1, 1), mean=(1 / 4096,) * 3)


def _marks(drawing: Drawing) -> dict[str, str]:
    return {name: text for name, text in drawing.picture.marks().items() if name != "XML:com.adobe.xmp"}


def test_pictures_whose_files_alone_differ_are_told_apart(lake: Lake) -> None:
    class Painter(FakePainter):
        async def draw(self, request: DrawRequest) -> Drawing:
            drawing = await super().draw(request)
            pixels = drawing.picture.pixels()
            return replace(drawing, picture=Picture.from_pixels(pixels, source=ALGORITHMIC, marks={"Software": "2"}))

    found = regenerate(lake, own(painter=Painter()))
    drawn = [row for row in rows_of(lake) if row.purpose == "draw"]
    assert [outcome.drifts for outcome in found.outcomes()] == [
        (PixelDrift(differing=0, of=4096, largest=(0, 0, 0), mean=(0, 0, 0)),)
    ] * len(drawn)


def test_another_vector_is_told_by_its_cosine(lake: Lake) -> None:
    class Other(FakeEncoder):
        async def embed(self, request: EmbedRequest) -> Embedding:
            embedding = await super().embed(request)
            if request.key() != row.request_key:
                return embedding
            return Embedding(vector=np.roll(embedding.vector, 1))

    row = a_row(lake, "embed_text")
    outcome, drift = only(regenerate(lake, own(encoder=Other())))
    assert outcome.call_id == row.call_id
    assert isinstance(drift, VectorDrift)
    assert -1 <= drift.cosine < 0.9


def test_another_licence_of_a_picture_is_a_drift(lake: Lake) -> None:
    class Painter(FakePainter):
        async def draw(self, request: DrawRequest) -> Drawing:
            return replace(await super().draw(request), licence="MIT")

    found = regenerate(lake, own(painter=Painter()), limit=None)
    assert {drift for outcome in found.outcomes() for drift in outcome.drifts} == {
        FactDrift(name="licence", was="CC0-1.0", now="MIT")
    }


# Refusals


def test_a_refusal_that_is_repeated_is_identical(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", Troupe(painter_fails=_refuse_some))
    assert any(row.error for row in rows_of(lake))
    assert regenerate(lake, own(painter=FakePainter(failures=_refuse_some))).is_identical


def _refuse_some(request: DrawRequest) -> Exception | None:
    return ContentError("blank_picture", "all one colour") if request.seed % 2 else None


def test_a_refusal_that_is_none_now_and_one_with_other_words_have_drifted(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", Troupe(painter_fails=_refuse_some))
    refused = [row for row in rows_of(lake) if row.error]
    found = regenerate(lake)
    assert {outcome.call_id for outcome in found.outcomes()} == {row.call_id for row in refused}
    assert {drift for outcome in found.outcomes() for drift in outcome.drifts} == {
        FactDrift(name="the answer", was="refused as blank_picture: all one colour", now="a picture")
    }
    words = FakePainter(failures=lambda request: ContentError("blank_picture", "grey") if request.seed % 2 else None)
    assert {drift for outcome in regenerate(lake, own(painter=words)).outcomes() for drift in outcome.drifts} == {
        FactDrift(name="message", was="all one colour", now="grey")
    }


# Impossible


def test_a_model_that_is_gone_makes_its_calls_impossible_and_the_others_go_on(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", own(chat=FakeChat(name="gone-chat")))
    found = regenerate(lake)
    problems = {model.name: model.problem for model in found.models}
    assert problems.keys() == {"gone-chat", "fake-painter", "fake-encoder"}
    assert "open fake-chat 1 here, and gone-chat 1 was asked" in str(problems["gone-chat"])
    assert problems["fake-painter"] is None and problems["fake-encoder"] is None
    chats = sum(row.purpose in ("draft", "critique", "rewrite") for row in rows_of(lake))
    assert totals(found) == {"impossible": chats, "identical": len(rows_of(lake)) - chats}
    assert not found.is_identical


def test_another_revision_is_another_model(lake: Lake) -> None:
    chat = RenamedChat(ModelIdentity(name="fake-chat", revision="2", licence="Apache-2.0"))
    (problem,) = [model.problem for model in regenerate(lake, own(chat=chat)).models if model.name == "fake-chat"]
    assert "open fake-chat 2 here, and fake-chat 1 was asked" in str(problem)


def test_a_model_that_cannot_be_opened_says_why(lake: Lake) -> None:
    class Closed(OwnModels):
        async def painter(self) -> TextToImage:
            raise UserError("setting 'generation.painter.backend' is 'fake', which cannot be used here: no brushes")

    cast = Cast(writer=FakeChat(), critic=FakeChat(), painter=FakePainter(), viewer=FakeChat(), encoder=FakeEncoder())
    found = regenerate(lake, lambda settings: Closed(settings, cast))
    (painter,) = [model for model in found.models if model.problem]
    assert (painter.name, painter.total("impossible")) == ("fake-painter", painter.total())
    assert "no brushes" in str(painter.problem)
    assert list(painter.lines())[-1] == f"  not asked: {painter.problem}"


def test_one_request_that_nobody_can_answer_any_more_leaves_the_others_alone(lake: Lake) -> None:
    row = a_row(lake, "critique")
    chat = FakeChat(failures=lambda request: TerminalError("no such thing") if request.seed == row.seed else None)
    (outcome,) = regenerate(lake, own(chat=chat)).outcomes()
    assert (outcome.call_id, outcome.verdict) == (row.call_id, "impossible")
    assert outcome.reason == "TerminalError: no such thing"


def test_damage_makes_the_calls_of_its_package_impossible(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", settings={"batch_size = 8": "batch_size = 1"})
    first, second = sorted(lake.packages.glob("*-build-*"))
    (first / "images.pack").unlink()
    found = regenerate(lake)
    assert found.outcomes()
    assert {outcome.verdict for outcome in found.outcomes()} == {"impossible"}
    assert all("images.pack" in str(outcome.reason) for outcome in found.outcomes())
    assert {outcome.version for outcome in found.outcomes()} == {int(first.name[:6])}
    assert second.exists() and totals(found)["identical"] > 0


# Transient errors


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.recorder.FIRST_WAIT_SECONDS", 0.001)


@pytest.mark.usefixtures("_quick")
def test_a_request_is_repeated_after_transient_errors(lake: Lake) -> None:
    tries: Counter[str] = Counter()

    def fail_twice(request: ChatRequest) -> Exception | None:
        tries[request.key()] += 1
        return TransientError("busy") if tries[request.key()] < 3 else None

    assert regenerate(lake, own(chat=FakeChat(failures=fail_twice))).is_identical
    assert set(tries.values()) == {3}


@pytest.mark.usefixtures("_quick")
def test_a_model_that_stays_away_is_given_up_once_and_not_asked_again(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", settings={"patience = 300": "patience = 0"})
    asked: list[str] = []

    def fail(request: ChatRequest) -> Exception | None:
        asked.append(request.key())
        return TransientError("connection refused")

    found = regenerate(lake, own(chat=FakeChat(failures=fail)), at_once=1)
    gone = [outcome for outcome in found.outcomes() if outcome.verdict == "impossible"]
    assert {outcome.reason for outcome in gone} == {"fake-chat does not answer: connection refused"}
    assert len(asked) < len(gone), "most were not asked any more"
    assert {model.name for model in found.models if model.total("identical")} == {"fake-painter", "fake-encoder"}


# What is meant


def test_versions_runs_samples_and_single_calls_can_be_chosen(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake")
    between = lake.version().number
    grow(lake.path, SMALL)
    rows = rows_of(lake)
    earlier = {row.call_id for row in lake.rows(CallRow, lake.version(between))}
    run_ids = list(dict.fromkeys(row.run_id for row in rows))
    assert len(run_ids) == 2 and 0 < len(earlier) < len(rows)
    one = rows[-1]

    def counted(**options: Any) -> int:
        found = regenerate(lake, **options)
        assert found.is_identical
        return sum(totals(found).values())

    assert counted(version=between) == len(earlier)
    assert counted(since=between) == len(rows) - len(earlier)
    assert counted(run=run_ids[1][:8]) == sum(row.run_id == run_ids[1] for row in rows)
    assert counted(sample=one.sample_id[:8]) == sum(row.sample_id == one.sample_id for row in rows)
    assert counted(call=one.call_id) == 1
    assert counted(since=between, sample=one.sample_id, limit=3) == 3


def test_a_limit_takes_the_same_calls_every_time(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", settings={"batch_size = 8": "batch_size = 1"})
    other = own(chat=FakeChat(script=lambda _: "other"), painter=FakePainter(failures=lambda _: ContentError("a", "b")))
    chosen = [
        {outcome.call_id for outcome in regenerate(lake, other, limit=limit).outcomes()} for limit in (8, 8, 10_000)
    ]
    smallest = set(sorted(row.call_id for row in rows_of(lake))[:8])
    assert chosen[0] == chosen[1] == smallest & chosen[2]
    assert chosen[0]


@pytest.mark.parametrize("options", [{"sample": "ffff"}, {"call": "xyz"}, {"run": "abcd"}, {"version": 99}])
def test_what_is_not_there_cannot_be_meant(lake: Lake, options: dict[str, Any]) -> None:
    with pytest.raises(NoSuchThing):
        regenerate(lake, **options)


def test_nothing_comes_after_the_last_version(lake: Lake) -> None:
    with pytest.raises(UserError, match="there is no version after"):
        regenerate(lake, since=lake.version().number)


# Who is asked, and how many at a time


def test_a_model_is_asked_as_in_whatever_role_a_run_had_it(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", Troupe(encoder=OtherEncoder()))
    move(lake, FakeEncoder())
    found = {model.name: model for model in regenerate(lake).models}
    assert found["other-encoder"].total("impossible") == found["other-encoder"].total() > 0
    assert found["fake-encoder"].total("identical") == found["fake-encoder"].total() > 0
    assert all(purpose.startswith("reembed_") for purpose in found["fake-encoder"].counts)


@pytest.mark.parametrize("at_once", [1, 3])
def test_no_more_are_asked_at_once_than_was_said(lake: Lake, at_once: int) -> None:
    most: list[int] = []
    chat = FakeChat(latency=0.001, failures=lambda _: most.append(chat.active + 1))
    assert regenerate(lake, own(chat=chat), at_once=at_once).is_identical
    assert max(most) == at_once


def test_places_are_those_of_now_and_where_nobody_says_those_of_then(tmp_path: Path) -> None:
    text = (fake_lake(tmp_path / "lake").path / FILE).read_text()
    served = 'backend = "server"\nmodel = "a"\nrevision = "as-served"\nlicence = "MIT"\n'
    encoder = 'backend = "open_clip"\nmodel = "c"\n'

    def settings(url: str, local: str) -> Settings:
        head, _, tail = text.partition('[generation.writer]\nbackend = "fake"\n')
        tail = tail.replace('backend = "fake"\n\n[selection.dup', f"{encoder}\n[selection.dup")
        places = f'[servers.a]\nurls = ["{url}"]\n[local.c]\n{local}\n'
        return parse_settings(f"{head}[generation.writer]\n{served}{tail}{places}", Path(FILE))

    then = settings("http://old:1/v1", 'device = "cuda"\nbatch = 16\nfolder = "/old"')
    now = settings("http://new:1/v1", "batch = 4")
    here = settings_here(then, now)
    assert here.servers["a"].urls == ("http://new:1/v1",)
    assert here.local["c"].model_dump() == now.local["c"].model_dump() | {"batch": 1, "window": 60.0}
    assert here.generation == then.generation
    elsewhere = settings_here(then, read_settings(tmp_path / "lake" / FILE))
    assert elsewhere.servers["a"].urls == ("http://old:1/v1",)
    assert (elsewhere.local["c"].device, elsewhere.local["c"].folder) == ("cuda", "/old")


def test_what_is_not_as_it_was_then_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as then:
        then.setenv("OMP_NUM_THREADS", "3")
        lake = lake_of(tmp_path / "lake")

    class Other(FakeEncoder):
        @property
        def identity(self) -> ModelIdentity:
            return replace(super().identity, fingerprint={"kernels": "AVX2"})

    (other,) = regenerate(lake, own(encoder=Other())).environments
    run_id = rows_of(lake)[0].run_id
    assert other.run_ids == (run_id,)
    assert other.lines(None) == [
        f"then (run {run_id[:8]}) and now:",
        "  models.fake-encoder 1.kernels was not there, is AVX2",
        "  threads.OMP_NUM_THREADS was 3, is not there",
    ]
    assert other.lines(1)[-1] == "  … and 1 more, with --all"


def test_kinds_of_facts_that_one_side_does_not_tell_are_left_out() -> None:
    then: dict[str, Json] = {"python": "3.11", "threads": {"A": "1"}, "torch": {"threads": 2}, "cpus": 2}
    now: dict[str, Json] = {"python": "3.11", "threads": {"B": "1"}, "builds": {"zlib": "1.3"}}
    assert [fact.line() for fact in differing_facts(then, now)] == [
        "threads.A was 1, is not there",
        "threads.B was not there, is 1",
    ]
    assert differing_facts(then, then) == ()


def test_runs_with_the_same_differences_are_told_together() -> None:
    one, other = (OtherFact(name=name, was=1, now=2) for name in "ab")
    found = grouped([("1" * 32, (one,)), ("2" * 32, ()), ("3" * 32, (one, other)), ("4" * 32, (one,))])
    assert [environment.run_ids for environment in found] == [("1" * 32, "4" * 32), ("3" * 32,)]
    assert found[0].lines(None) == ["then (run 11111111, 44444444) and now:", "  a was 1, is 2"]


def test_a_server_is_asked_where_it_is_now_and_one_that_is_gone_makes_its_calls_impossible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLAKE_TEST_KEY", SECRET)
    with FakeServer() as server:
        lake = served_lake(tmp_path / "lake", server.url)
        grow(lake.path, SMALL, Studio)
        was = server.url
    file = lake.path / FILE
    with FakeServer() as server:
        file.write_text(file.read_text().replace(was, server.url))
        assert regenerate(lake).is_identical
    chats = [model for model in regenerate(lake).models if model.problem]
    assert [(chat.name, chat.revision) for chat in chats] == [("fake-chat", "as-served")]
    assert "cannot be reached" in str(chats[0].problem)
