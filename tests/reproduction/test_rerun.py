"""A rerun: another recipe over old slots, recorded answers reused, old samples beside the new ones until retired."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from flows.errors import UserError
from flows.replay.replaying import Replaying, ReplayOptions
from flows.rerunning.choosing import Choice
from flows.rerunning.opening import Rerun, open_rerun, preview_rerun
from flows.standing import read_status
from flows.studio import Cast
from models.chat import ChatRequest
from models.drawing import Drawing, DrawRequest
from models.errors import ContentError, TerminalError
from models.fakes import FakePainter
from models.identity import ModelIdentity
from storage.errors import NoSuchThing
from storage.lake import Lake
from storage.query import query
from storage.records import CallRow, ClaimRow, DecisionRow, SampleRow
from tests.flows.casts import Troupe, assert_fsck_finds_nothing, fake_lake, grow
from tests.flows.conftest import Interlake
from tests.flows.old_lake import SameEncoder
from tests.flows.test_build import assert_conserved

ONE_TURN = BuildOptions(new_topics=2, samples_per_topic=2, turns=1)
ALL = Choice(everything=True)


class OtherPainter(FakePainter):
    """Draws as the stand-in does, under another name and so with other pictures."""

    def __init__(self) -> None:
        super().__init__()
        self._identity = ModelIdentity(name="other-painter", revision="1", licence="CC0-1.0")

    async def draw(self, request: DrawRequest) -> Drawing:
        return await super().draw(request)


@dataclass(slots=True)
class Repainted(Troupe):
    """The same cast with another painter."""

    async def __aenter__(self) -> Cast:
        return replace(await Troupe.__aenter__(self), painter=OtherPainter())


@dataclass(slots=True)
class Made:
    """What a rerun came to."""

    rerun: Rerun
    retired: int = 0
    slots: Sequence[str] = field(default_factory=list)


@contextmanager
def opened(lake: Lake, choice: Choice, troupe: Troupe) -> Iterator[Rerun]:
    with open_rerun(lake.path, choice, studio=troupe) as rerun:
        yield rerun


def rerun(lake: Lake, choice: Choice = ALL, troupe: Troupe | None = None, *, retire: bool = False) -> Made:
    """Rerun as the flow does, batch after batch, without Prefect."""
    with opened(lake, choice, troupe or Troupe()) as again:
        for number in range(len(again.run.batches)):
            again.run.make(number)
            again.run.commit(number)
        return Made(again, again.retire() if retire else 0, [slot.slot_id for slot in again.run.plan.slots])


def change(lake: Lake, old: str, new: str) -> None:
    settings = lake.path / "interlake.toml"
    text = settings.read_text()
    assert old in text
    settings.write_text(text.replace(old, new))


def outcomes(lake: Lake) -> dict[str, tuple[str, str | None]]:
    frame = query(lake, "SELECT sample_id, outcome, reason FROM samples")
    return {sample_id: (outcome, reason) for sample_id, outcome, reason in frame.iter_rows()}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = fake_lake(tmp_path / "lake", settings={"batch_size = 8": "batch_size = 3"})
    grow(lake.path, ONE_TURN)
    change(lake, "turns = 2", "turns = 1")
    return lake


def test_with_another_painter_texts_are_reused_and_pictures_are_new(lake: Lake) -> None:
    before = list(lake.rows(CallRow, lake.version()))
    texts = {row.request_key for row in before if row.stage in ("question", "answer")}
    troupe = Repainted()
    made = rerun(lake, troupe=troupe)
    new = [row for row in lake.rows(CallRow, lake.version()) if row.run_id == made.rerun.run.shop.run_id]
    assert not texts & set(troupe.asked), "no question and no answer is asked for again"
    ours = {slot.sample_id for slot in made.rerun.run.plan.slots}
    reused = [row for row in lake.rows(CallRow, lake.version()) if row.sample_id in ours and row not in new]
    assert {row.request_key for row in reused} >= texts
    drawn = {row.image_sha256 for row in new if row.purpose == "draw"}
    assert drawn
    assert not drawn & {row.image_sha256 for row in before}
    assert set(made.slots) == {row.slot_id for row in lake.rows(ClaimRow, lake.version())}


def test_it_says_beforehand_how_many_calls_are_reused_and_how_many_are_new(lake: Lake) -> None:
    run = next(iter(Lake.open(lake.path).rows(SampleRow, lake.version()))).run_id
    preview = preview_rerun(lake.path, ALL, studio=Repainted())
    version = lake.version().number
    made = rerun(lake, troupe=Repainted())
    assert made.rerun.forecast == preview.forecast
    ours = {slot.sample_id for slot in made.rerun.run.plan.slots}
    calls = [row for row in lake.rows(CallRow, lake.version()) if row.sample_id in ours]
    reused = [row for row in calls if row.run_id == run]
    told = preview.forecast
    assert told.reused <= len(reused)
    assert told.fewest <= len(calls) - len(reused) <= told.most
    assert lake.version(version).number == version


def test_with_fewer_rounds_everything_is_reused_where_the_last_draft_is_the_same(lake: Lake) -> None:
    change(lake, "question = 3", "question = 10")
    change(lake, "answer = 3", "answer = 10")
    change(lake, "image = 3", "image = 10")
    satisfied = query(lake, "SELECT sample_id FROM iterations GROUP BY ALL HAVING bool_or(stopped = 'rounds_spent')")
    spent = set(satisfied["sample_id"])
    told = preview_rerun(lake.path, ALL, studio=Troupe()).forecast
    assert told.whole == 4 - len(spent), "who never ran out of rounds asks nothing new"


def test_old_samples_stay_kept_beside_the_new_ones_and_are_no_duplicates_of_each_other(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1, turns=1), Troupe(encoder=SameEncoder()))
    change(lake, "image = 3", "image = 1")
    change(lake, "turns = 2", "turns = 1")
    rerun(lake, troupe=Troupe(encoder=SameEncoder()))
    assert [outcome for outcome, _ in outcomes(lake).values()] == ["kept", "kept"]
    assert_fsck_finds_nothing(lake)
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1, turns=1), Troupe(encoder=SameEncoder()))
    assert sorted(outcome for outcome, _ in outcomes(lake).values()) == ["duplicate", "kept", "kept"]
    assert_conserved(lake)


def test_retirement_rejects_old_samples_whose_slot_has_a_kept_new_one(lake: Lake) -> None:
    old = set(outcomes(lake))
    change(lake, "image = 3", "image = 1")
    made = rerun(lake, retire=True)
    assert made.retired == 4
    now = outcomes(lake)
    assert {now[name] for name in old} == {("rejected", "superseded")}
    assert {now[name] for name in now.keys() - old} == {("kept", None)}
    decisions = [row for row in lake.rows(DecisionRow, lake.version()) if row.kind == "rerun"]
    assert {row.sample_id for row in decisions} == old
    assert all(row.evidence.removeprefix('{"sample_id":"').removesuffix('"}') in now.keys() - old for row in decisions)
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)
    replaying = Replaying(lake.path, ReplayOptions())
    assert replaying.report([replaying.replay(number) for number in replaying.numbers]).is_identical


def test_retirement_can_come_later_and_comes_once(lake: Lake) -> None:
    change(lake, "image = 3", "image = 1")
    assert rerun(lake).retired == 0
    later = rerun(lake, retire=True)
    assert (later.slots, later.retired) == ([], 4)
    version = lake.version().number
    assert rerun(lake, retire=True).retired == 0
    assert lake.version().number == version, "where nothing is to be retired no version is made"
    assert_fsck_finds_nothing(lake)


def test_an_interrupted_rerun_goes_on_and_asks_nothing_twice(lake: Lake) -> None:
    change(lake, "question = 3", "question = 2")
    change(lake, "answer = 3", "answer = 2")
    asked: list[str] = []

    def stop(request: ChatRequest) -> Exception | None:
        asked.append(request.key())
        return TerminalError("the server went away") if len(asked) > 2 else None

    with pytest.raises(TerminalError):
        rerun(lake, troupe=Repainted(writer_fails=stop))
    again = Repainted()
    made = rerun(lake, troupe=again)
    assert len(made.slots) == 4
    assert not set(again.asked) & set(asked[:2])
    assert preview_rerun(lake.path, ALL, studio=Repainted()).plan.slots == ()
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)


def test_slots_are_chosen_by_sample_topic_run_and_outcome(lake: Lake) -> None:
    change(lake, "image = 3", "image = 1")
    rows = query(lake, "SELECT sample_id, run_id, name, slot_id FROM samples JOIN topics USING (topic_id)").to_dicts()
    first = rows[0]

    def chosen(choice: Choice) -> set[str]:
        return {slot.slot_id for slot in preview_rerun(lake.path, choice, studio=Troupe()).plan.slots}

    everything = {row["slot_id"] for row in rows}
    theirs = {row["slot_id"] for row in rows if row["name"] == first["name"]}
    assert chosen(ALL) == everything
    assert chosen(Choice(runs=(first["run_id"][:8],))) == everything
    assert chosen(Choice(samples=(first["sample_id"][:8],))) == {first["slot_id"]}
    assert chosen(Choice(topics=(first["name"].upper(),))) == theirs
    assert chosen(Choice(topics=(first["name"],), outcomes=("kept",))) == theirs
    with pytest.raises(UserError, match="no slot of the lake"):
        chosen(Choice(outcomes=("failed",)))
    with pytest.raises(UserError, match="has no topic 'nowhere'"):
        chosen(Choice(topics=("nowhere",)))
    with pytest.raises(NoSuchThing, match="no sample's id"):
        chosen(Choice(samples=("ffffffff",)))


def test_the_command_wants_to_be_told_which_slots(interlake: Interlake, lake: Lake) -> None:
    version = lake.version().number
    code, _, err = interlake("rerun", "--lake", lake.path)
    assert (code, err.count("\n")) == (2, 1)
    assert "say which slots to make again" in err
    code, out, _ = interlake("rerun", "--lake", lake.path, "--all", "--dry-run")
    assert code == 0
    assert "made by the present recipe already" in out
    change(lake, "image = 3", "image = 1")
    code, out, _ = interlake("rerun", "--lake", lake.path, "--all", "--dry-run")
    assert code == 0
    assert "4 slots again by another recipe" in out
    assert "taken from the record" in out
    assert lake.version().number == version


def stopped_rerun(lake: Lake, choice: Choice = ALL) -> None:
    """A rerun whose backend is gone before the first answer: its slots stay claimed and open."""
    with pytest.raises(TerminalError):
        rerun(lake, choice, Troupe(writer_fails=lambda _: TerminalError("gone")))


def replayed(lake: Lake) -> bool:
    replaying = Replaying(lake.path, ReplayOptions())
    return replaying.report([replaying.replay(number) for number in replaying.numbers]).is_identical


def test_who_goes_back_to_the_recipe_before_an_interrupted_rerun_has_his_samples_again(lake: Lake) -> None:
    change(lake, "question = 3", "question = 0")
    stopped_rerun(lake)
    change(lake, "question = 0", "question = 3")
    run = grow(lake.path, BuildOptions(new_topics=0, samples_per_topic=1, turns=1))
    assert (run.plan.slots, len(run.plan.abandoned)) == ((), 4)
    assert read_status(lake.path).outcomes["kept"] == 4
    states = outcomes(lake)
    assert sorted(states.values()) == [("kept", None)] * 4 + [("rejected", "abandoned")] * 4
    assert_fsck_finds_nothing(lake)
    assert replayed(lake)
    change(lake, "question = 3", "question = 0")
    assert len(rerun(lake).slots) == 4, "what was given up can be made after all"
    assert_fsck_finds_nothing(lake)
    assert replayed(lake)


def test_a_failed_sample_is_retried_by_its_own_count_whatever_another_recipe_did(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake", settings={"turns = 2": "turns = 1"})
    blank = Troupe(painter_fails=lambda _: ContentError("blank_picture", "all one colour"))
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=2), blank)
    change(lake, "answer = 3", "answer = 1")
    stopped_rerun(lake)
    change(lake, "answer = 1", "answer = 3")
    nothing = BuildOptions(new_topics=0, samples_per_topic=1)
    grow(lake.path, nothing)
    again = grow(lake.path, replace(nothing, retry_failed=True))
    assert [slot.retry for slot in again.plan.slots] == [1, 1]
    assert again.counts()["kept"] == 2
    assert_fsck_finds_nothing(lake)
    assert replayed(lake)


def test_what_another_recipe_failed_at_is_not_tried_again_where_the_present_one_has_a_sample(lake: Lake) -> None:
    change(lake, "answer = 3", "answer = 1")
    rerun(lake, troupe=Troupe(painter_fails=lambda _: ContentError("blank_picture", "all one colour")))
    change(lake, "answer = 1", "answer = 3")
    run = grow(lake.path, BuildOptions(new_topics=0, samples_per_topic=1, turns=1, retry_failed=True))
    assert run.plan.slots == ()
    assert_fsck_finds_nothing(lake)


@pytest.mark.parametrize("outcome", ["kept", "failed"])
def test_a_choice_by_outcome_holds_to_the_end_and_after_an_interruption(tmp_path: Path, outcome: str) -> None:
    lake = fake_lake(tmp_path / "lake", settings={"turns = 2": "turns = 1"})
    fails = (lambda _: None) if outcome == "kept" else (lambda _: ContentError("blank_picture", "all one colour"))
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=2), Troupe(painter_fails=fails))
    change(lake, "question = 3", "question = 0")
    choice = Choice(outcomes=(outcome,))
    stopped_rerun(lake, choice)
    made = rerun(lake, choice, retire=True)
    assert (len(made.slots), made.retired) == (2, 2 if outcome == "kept" else 0)
    assert_conserved(lake)
    assert_fsck_finds_nothing(lake)
    assert replayed(lake)
