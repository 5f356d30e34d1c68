"""Judging a lake: verdicts come incrementally, nothing is asked twice, samples stay, and all of it replays."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from flows.errors import UserError
from flows.judge import judging as judging_module
from flows.judge import seating
from flows.judge.findings import read_findings
from flows.judge.judging import LOCK, Judged, JudgeOptions, open_judging
from flows.regenerate.rebuilding import pictures_in
from flows.replay.replaying import ReplayOptions, replay_lake_at
from flows.settings import Settings
from flows.studio import Studio
from models.chat import ChatModel, ChatRequest, ImagePart
from models.errors import RefusedRequest, TerminalError
from models.fakes import FakeChat
from storage.errors import LakeBusy
from storage.lake import Lake
from storage.lock import hold
from storage.query import query
from storage.records import CallRow, RunStartRow, SampleRow, TurnRow, VerdictRow
from tests.flows.casts import assert_fsck_finds_nothing, fake_lake, grow
from tests.flows.conftest import Interlake

GROWN = BuildOptions(new_topics=2, samples_per_topic=2, turns=2)
SECOND = '[[judge.judges]]\nname = "second"\nbackend = "fake"\n'


@dataclass(slots=True)
class Chamber:
    """A studio that has nothing but judges; `asked` are the keys of all requests, `say` may write a reply."""

    fails: Callable[[ChatRequest], Exception | None] = lambda _: None
    say: Callable[[ChatRequest], str] | None = None
    name: str = "stand-in-judge"
    asked: list[str] = field(default_factory=list)

    def __call__(self, _: Settings) -> "Chamber":
        return self

    async def judge(self, number: int) -> ChatModel:  # noqa: ARG002
        return FakeChat(script=self.say, failures=self._note, name=self.name)

    async def close(self) -> None:
        pass

    def _note(self, request: ChatRequest) -> Exception | None:
        error = self.fails(request)
        if error is None:
            self.asked.append(request.key())
        return error


def judge(lake: Lake, chamber: Chamber | None = None, **options: int | str | bool) -> Judged:
    with open_judging(lake.path, JudgeOptions(**options), studio=chamber or Chamber()) as found:  # type: ignore[arg-type]
        for number in range(len(found.batches)):
            found.judge(number)
        return found.came_to()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = fake_lake(tmp_path / "lake")
    grow(lake.path, GROWN)
    return lake


def assert_replays(lake: Lake) -> None:
    report = replay_lake_at(lake.path, ReplayOptions())
    assert report.is_identical, report.differences
    verdicts = [each for each in report.versions if each.what == "verdicts"]
    assert verdicts
    assert all(each.made_sha256 == lake.version(each.version).sha256 for each in verdicts)


def test_kept_turns_get_verdicts_of_every_repeat_and_samples_stay_as_they_are(lake: Lake) -> None:
    before = list(lake.rows(SampleRow, lake.version())), list(lake.rows(TurnRow, lake.version()))
    judged = judge(lake, repeats=3)
    assert (judged.samples, judged.judged, judged.verdicts, judged.unknown) == (4, 4, 24, 0)
    assert (list(lake.rows(SampleRow, lake.version())), list(lake.rows(TurnRow, lake.version()))) == before
    rows = list(lake.rows(VerdictRow, lake.version()))
    assert {row.repeat for row in rows} == {0, 1, 2}
    assert {value for row in rows for value in (row.tcc, row.icc, row.iq, row.its)} <= {0, 1, 2, 3, 4, 5}
    assert len({(row.tcc, row.icc, row.iq, row.its) for row in rows}) > 6, "other seeds say other things"
    told = query(lake, "SELECT count(*), count(tcc), count(round), min(judge) FROM verdicts").rows()
    assert told == [(24, 24, 0, "stand-in")]
    assert_fsck_finds_nothing(lake)
    assert_replays(lake)


def test_a_second_run_judges_only_what_is_new(lake: Lake) -> None:
    judge(lake)
    head = lake.version()
    again = judge(lake, chamber := Chamber())
    assert (again.verdicts, again.version, chamber.asked, lake.version()) == (0, None, [], head)
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1, turns=2))
    more = judge(lake, chamber)
    assert (more.judged, more.verdicts, len(chamber.asked)) == (1, 2, 2)
    assert judge(lake, chamber, repeats=2).verdicts == 10, "one more for each turn"
    assert len(chamber.asked) == 12
    assert_fsck_finds_nothing(lake)


def test_another_judge_and_another_setup_judge_beside_the_first(lake: Lake) -> None:
    judge(lake)
    file = lake.path / "interlake.toml"
    file.write_text(file.read_text() + SECOND)
    assert judge(lake, judge="second").verdicts == 8
    file.write_text(file.read_text().replace(SECOND, SECOND + "[judge.judges.sampling]\ntemperature = 1.0\n"))
    assert judge(lake).verdicts == 8, "who is asked in another way is asked anew"
    found = read_findings(lake, lake.version())
    assert [(each.judge, each.verdicts) for each in found] == [("second", 8), ("second", 8), ("stand-in", 8)]
    assert_replays(lake)


def test_what_an_earlier_edition_of_judges_said_replays_and_the_newest_one_judges_beside_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = lake.path / "interlake.toml"
    settings.write_text(settings.read_text() + "[judge.floors]\niq = 0\n")
    with monkeypatch.context() as before:
        before.setattr(seating, "EDITIONS", ("1",))
        judge(lake, rounds=True)
        grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1, turns=1), Studio)
    old = [row for row in lake.rows(CallRow, lake.version()) if row.stage == "judge"]
    assert old and not any('"bare"' in row.request for row in old)
    assert_replays(lake)
    judge(lake)
    assert len({row.judge_sha256 for row in lake.rows(VerdictRow, lake.version())}) == 2
    seen = [row for row in lake.rows(CallRow, lake.version()) if '"bare":true' in row.request]
    assert len(seen) == 9, "a call for each kept turn"
    assert {name for row in seen for name in pictures_in(row.request)} <= {
        row.image_sha256 for row in lake.rows(TurnRow, lake.version())
    }, "calls name pictures as the lake has them"
    assert_fsck_finds_nothing(lake)
    assert_replays(lake)


def test_an_older_version_and_so_many_samples_can_be_judged(lake: Lake) -> None:
    older = lake.version().number
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1, turns=1))
    assert judge(lake, limit=1).judged == 1
    assert judge(lake, version=older).judged == 3
    assert judge(lake).judged == 1


def test_a_run_that_was_interrupted_goes_on_and_asks_nothing_twice(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging_module, "SAMPLES_PER_BATCH", 2)
    seen: list[str] = []

    def give_up(request: ChatRequest) -> Exception | None:
        seen.append(request.key())
        return TerminalError("the card fell out of the machine") if len(seen) > 6 else None

    first = Chamber(fails=give_up)
    with pytest.raises(TerminalError, match="fell out"):
        judge(lake, first)
    assert len(list(lake.rows(VerdictRow, lake.version()))) == 4
    assert_fsck_finds_nothing(lake)
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1, turns=1))  # tidies up; the spool stays
    second = Chamber()
    assert judge(lake, second).verdicts == 5
    assert not set(first.asked) & set(second.asked)
    assert len(first.asked) + len(second.asked) == 9
    calls = [row for row in lake.rows(CallRow, lake.version()) if row.stage == "judge"]
    assert len(calls) == len({row.call_id for row in calls}) == 9
    assert list(lake.runs.iterdir()) == []
    assert_fsck_finds_nothing(lake)
    assert_replays(lake)


def test_nonsense_leaves_nulls_that_are_counted_and_the_raw_reply(lake: Lake) -> None:
    judged = judge(lake, Chamber(say=lambda _: '{"tcc": 5, "icc": 5, "iq": 5, "its": 9}'))
    assert (judged.verdicts, judged.unknown) == (8, 32)
    (found,) = read_findings(lake, lake.version())
    assert [(each.mean, each.known, each.unknown) for each in found.scores] == [(None, 0, {"out_of_range": 8})] * 4
    calls = [row for row in lake.rows(CallRow, lake.version()) if row.stage == "judge"]
    assert {json.loads(row.response)["text"] for row in calls} == {'{"tcc": 5, "icc": 5, "iq": 5, "its": 9}'}
    assert query(lake, "SELECT avg(tcc), count(*) FROM verdicts").rows() == [(None, 8)]
    assert_replays(lake)


def has_picture_of(turn: TurnRow) -> Callable[[ChatRequest], Exception | None]:
    """A server that takes all but one picture."""

    def refuse(request: ChatRequest) -> Exception | None:
        shown = [part.picture.sha256 for part in request.messages[1].parts if isinstance(part, ImagePart)]
        refusal = RefusedRequest("http://judge answered 400", said="answered 400: aspect ratio above 200")
        return refusal if turn.image_sha256 in shown[-1:] else None

    return refuse


def test_one_picture_that_the_server_refuses_is_a_counted_null_with_its_words_and_stops_nobody(lake: Lake) -> None:
    turn = next(iter(lake.rows(TurnRow, lake.version())))
    judged = judge(lake, Chamber(fails=has_picture_of(turn)))
    rows = [row for row in lake.rows(VerdictRow, lake.version()) if row.tcc is None]
    assert (judged.verdicts, judged.unknown, [row.turn for row in rows]) == (8, 4, [turn.turn])
    assert set(json.loads(rows[0].unknown).values()) == {"refused_request"}
    assert json.loads(rows[0].evidence) == {"refused": "answered 400: aspect ratio above 200"}
    (call,) = [row for row in lake.rows(CallRow, lake.version()) if row.error is not None]
    assert (call.error, "above 200" in call.response) == ("refused_request", True)
    (found,) = read_findings(lake, lake.version())
    assert [each.unknown for each in found.scores] == [{"refused_request": 1}] * 4
    assert_fsck_finds_nothing(lake)
    assert_replays(lake)


def test_a_server_that_refuses_whatever_it_is_sent_stops_the_run(lake: Lake) -> None:
    with pytest.raises(RefusedRequest, match="no such parameter"):
        judge(lake, Chamber(fails=lambda _: RefusedRequest("answered 400: no such parameter", said="400")))
    assert list(lake.rows(VerdictRow, lake.version())) == []
    assert judge(lake).unknown == 0, "and nothing of it was recorded as an answer"


def test_a_judge_of_the_generators_family_is_warned_of(lake: Lake) -> None:
    assert judge(lake).warnings == ()
    warnings = judge(lake, Chamber(name="fake-vision-7b"), repeats=2).warnings
    assert warnings
    assert all(
        "of one family" in warning and ("fake-chat" in warning or "fake-painter" in warning) for warning in warnings
    )


def test_a_lake_without_judges_says_what_to_do_and_stays_as_it_is(lake: Lake) -> None:
    file = lake.path / "interlake.toml"
    head = lake.version()
    with pytest.raises(UserError, match="no judge nobody: its settings name stand-in"):
        judge(lake, judge="nobody")
    file.write_text(file.read_text().partition("[[judge.judges]]")[0])
    with pytest.raises(UserError, match="names no judge: add"):
        judge(lake)
    assert lake.version() == head


def test_two_runs_at_once_are_one_too_many(lake: Lake) -> None:
    with hold(lake.path / LOCK, purpose="judges", timeout=0), pytest.raises(LakeBusy):
        judge(lake)
    assert [row.kind for row in lake.rows(RunStartRow, lake.version())] == ["build"]


@pytest.mark.usefixtures("prefect_server")
def test_the_command_judges_and_reports(lake: Lake, interlake: Interlake) -> None:
    assert interlake("judge", "report", "--lake", lake.path)[1].startswith("no verdicts yet")
    code, out, err = interlake("judge", "run", "--lake", lake.path, "--repeats", 2)
    assert (code, out.startswith("4 samples judged of 4 kept: 16 verdicts, 0 scores unknown")) == (0, True), out + err
    (found,) = json.loads(interlake("judge", "report", "--lake", lake.path, "--json")[1])
    assert (found["judge"], found["turns"], found["repeats"]) == ("stand-in", 8, 2)
    assert all(score["spread"] is not None and 0 <= score["mean"] <= 5 for score in found["scores"])
    assert "stand-in" in interlake("judge", "report", "--lake", lake.path)[1]
    assert interlake("judge", "run", "--lake", lake.path, "--judge", "nobody")[0] == 2
