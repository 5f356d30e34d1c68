"""Topics that the chat model proposes: what is new, who accepts it, kills, replay, and builds that run out."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from flows.errors import UserError
from flows.newcomers import row_of
from flows.preview import preview_build
from flows.proposal_run import ProposeOptions, open_proposing
from flows.proposals import Choice, decide, read_proposals
from flows.proposing import Proposed
from flows.replay.replaying import ReplayOptions, replay_lake_at
from flows.settings import Settings
from flows.topics.catalogue import TopicEntry, read_catalogue
from flows.topics.likeness import ReadNames
from flows.topics.sieve import Sieve
from flows.topics.wordbook import Vectors, Wordbook
from models.chat import ChatModel, ChatRequest
from models.fakes import FakeChat
from storage.lake import Lake
from storage.query import query
from storage.records import CallRow, InquiryRow, TopicRow
from tests.flows.casts import Troupe, assert_fsck_finds_nothing, fake_lake, grow
from tests.flows.conftest import Interlake

ENTRIES = [TopicEntry(name=name, category="Pets", domain="Animals") for name in ("cats", "dogs", "goldfish")]
ENTRIES += [TopicEntry(name="oak trees", category="Trees", domain="Plants")]


@dataclass(slots=True)
class Author:
    """A studio with a writer alone, whose replies may be written; `asked` counts requests."""

    says: Callable[[ChatRequest], str] | None = None
    fails: Callable[[int], Exception | None] = lambda _: None
    asked: list[str] = field(default_factory=list)

    def __call__(self, _: Settings) -> "Author":
        return self

    async def writer(self) -> ChatModel:
        def note(request: ChatRequest) -> Exception | None:
            self.asked.append(request.key())
            return self.fails(len(self.asked))

        return FakeChat(script=self.says, failures=note)

    async def close(self) -> None:
        pass


def propose(lake: Lake, wanted: int = 5, *, author: Author | None = None, under: str = "Animals/Pets") -> Proposed:
    options = ProposeOptions(under=under, wanted=wanted)
    with open_proposing(lake.path, options, studio=author or Author()) as proposing:
        return proposing.propose()


def naming(*names: str) -> Callable[[ChatRequest], str]:
    return lambda _: json.dumps({"names": list(names)})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return fake_lake(tmp_path / "lake", topics=ENTRIES)


def assert_replays(lake: Lake) -> None:
    report = replay_lake_at(lake.path, ReplayOptions())
    assert report.is_identical, report.differences


def test_proposals_are_new_names_and_no_topics_until_somebody_accepts_them(lake: Lake) -> None:
    proposed = propose(lake, 12)
    assert len(proposed.names) == len(set(proposed.names)) == 12
    assert proposed.ended == "enough"
    assert len(list(lake.rows(TopicRow, lake.version()))) == len(ENTRIES)
    open_ones = read_proposals(lake.path)
    first, second = open_ones[0], open_ones[1]
    accepted = decide(lake.path, Choice(ids=[first.proposal_id[:10]]), accept=True)
    refused = decide(lake.path, Choice(ids=[second.proposal_id]), accept=False)
    assert (accepted.topics, refused.names, refused.left_open) == ((first.name,), (second.name,), 10)
    (topic,) = (row for row in lake.rows(TopicRow, lake.version()) if row.source == "proposed")
    assert (topic.name, topic.category, topic.domain) == (first.name, "Pets", "Animals")
    rest = decide(lake.path, Choice(below=1.0), accept=True)
    assert (len(rest.topics), rest.left_open) == (10, 0)
    assert_fsck_finds_nothing(lake)
    assert_replays(lake)
    states = query(lake, "select accepted, count(*) from proposal_decisions group by all order by 1").rows()
    assert states == [(False, 1), (True, 11)]


def test_what_is_there_refused_alike_or_no_name_is_left_out_and_told_with_its_reason(lake: Lake) -> None:
    first = propose(lake, 3, author=Author(says=naming("parrots", "The Cat", "dog", "red foxes")))
    assert first.names == ("parrots", "red foxes")
    refused = next(each for each in read_proposals(lake.path) if each.name == "red foxes")
    decide(lake.path, Choice(ids=[refused.proposal_id]), accept=False)
    names = ("Parrot", "red fox", "pets", "Here are some names.", "oak tree in a field of oak trees", "hamsters")
    again = propose(lake, 3, author=Author(says=naming(*names)))
    assert again.names == ("hamsters",)
    (row,) = (row for row in lake.rows(InquiryRow, lake.version()) if row.number == 1)
    told = {each["name"]: each["reason"] for each in json.loads(row.result)["removed"][:5]}
    assert told == {
        "Parrot": "proposed",
        "red fox": "refused",
        "pets": "no name",
        "Here are some names.": "no name",
        "oak tree in a field of oak trees": "similar",
    }
    assert (again.ended, again.removed["proposed"] > 1) == ("nothing new", True)
    assert_replays(lake)


def test_a_killed_run_goes_on_and_asks_nothing_twice(lake: Lake) -> None:
    class Killed(Exception):
        pass

    whole = Author()
    other = fake_lake(lake.path.with_name("other"), topics=ENTRIES)
    expected = propose(other, 25, author=whole)
    broken = Author(fails=lambda count: Killed() if count == 2 else None)
    with pytest.raises(Killed):
        propose(lake, 25, author=broken)
    assert list(lake.rows(CallRow, lake.version())) == []
    assert_fsck_finds_nothing(lake)
    resumed = Author()
    proposed = propose(lake, 25, author=resumed)
    assert proposed.names == expected.names
    assert [*broken.asked[:1], *resumed.asked] == whole.asked
    assert not set(resumed.asked) & set(broken.asked[:1])
    assert_fsck_finds_nothing(lake)
    assert_replays(lake)


def test_replies_that_cannot_be_used_are_asked_for_again_and_then_given_up(lake: Lake) -> None:
    author = Author(says=lambda _: "no JSON at all")
    proposed = propose(lake, 5, author=author)
    assert (proposed.names, proposed.unheard, proposed.ended) == ((), 3, "nothing new")
    assert len(author.asked) == 9, "three rounds of three attempts"
    assert_replays(lake)


def test_only_a_category_can_be_grown_and_an_accepted_topic_stays(lake: Lake) -> None:
    with pytest.raises(UserError, match="name one of its own: Pets"):
        propose(lake, under="Animals")
    with pytest.raises(UserError, match="did you mean 'Animals/Pets'"):
        propose(lake, under="Animals/Pet")
    assert lake.version().number == 1
    propose(lake, 1)
    (only,) = read_proposals(lake.path)
    decide(lake.path, Choice(all_open=True), accept=True)
    with pytest.raises(UserError, match="cannot be taken out"):
        decide(lake.path, Choice(ids=[only.proposal_id]), accept=False)
    with pytest.raises(UserError, match="by their ids, by --all, or by --below"):
        decide(lake.path, Choice(), accept=True)


def test_a_build_that_runs_out_proposes_for_the_least_covered_categories_and_goes_on(lake: Lake) -> None:
    options = BuildOptions(new_topics=6, samples_per_topic=1, turns=1, when_exhausted="propose")
    shown = preview_build(lake.path, options)
    assert [(each.branch, each.topics) for each in shown.plan.shortages] == [("Plants/Trees", 2)]
    assert "a build first has topics proposed: 2 for Plants/Trees" in list(shown.lines())
    assert shown.proposing_calls == (1, 5 * 3) and shown.json()["proposing_calls"] == {"low": 1, "high": 15}
    assert any(
        "proposing takes 1 to 15 calls more; their tokens and seconds are unknown" in each for each in shown.lines()
    )
    assert lake.version().number == 1, "a plan asks nobody"
    run = grow(lake.path, options)
    assert run.counts()["planned"] == run.counts()["kept"] == 6
    assert "Plants/Trees: 2 of 2 topics proposed, 2 of them accepted" in run.plan.note()
    assert run.plan.shortages == ()
    assert_fsck_finds_nothing(lake)
    assert_replays(lake)
    kinds = query(lake, "select kind, state from runs order by version").rows()
    assert kinds == [("propose", "finished"), ("build", "finished")]


def test_names_are_read_once_for_all_categories_and_sifted_as_if_each_time_anew() -> None:
    class Counting(Wordbook):
        def __init__(self) -> None:
            super().__init__()
            self.texts: list[str] = []

        def embed(self, texts: Sequence[str]) -> Vectors:
            self.texts += texts
            return super().embed(texts)

    book, known = Counting(), [entry.name for entry in read_catalogue()[:300]]
    read = ReadNames(book)
    names = ["purple barn owls", known[7], "glass bridge", "old tram", "barn owl", "tram lines", known[200]]
    accepted = [*known, "glass bridge"]
    for there, proposed in ((known, ["paper boats"]), (accepted, ["paper boats", "old tram"]), (accepted[::-1], [])):
        again = Sieve(known=there, proposed=proposed, refused=["paper kites"], read=read)
        anew = Sieve(known=there, proposed=proposed, refused=["paper kites"])
        assert [again.sift(name, 0.9) for name in names] == [anew.sift(name, 0.9) for name in names]
    assert len(book.texts) == len(set(book.texts)) <= 300 + len(names) + 1


def test_of_many_categories_the_first_are_named(tmp_path: Path) -> None:
    topics = [TopicEntry(name=f"thing {n}", category=f"C{n:03}", domain="Things") for n in range(60)]
    lake = fake_lake(tmp_path / "many", topics=topics)
    options = BuildOptions(new_topics=300, samples_per_topic=1, turns=1, when_exhausted="propose")
    (line,) = [each for each in preview_build(lake.path, options).lines() if "a build first has topics" in each]
    assert line.count(" for Things/") == 10 and line.endswith(", and 200 for 50 categories more")
    with pytest.raises(UserError, match=r"C019 and 40 more$"):
        propose(lake, under="Things")
    plan = replace(preview_build(lake.path, options).plan, proposed=tuple(f"line {n}" for n in range(30)))
    assert "; line 9; 19 categories more; line 29" in plan.note()


def asked_for_topics(lake: Lake) -> int:
    return sum(row.stage == "propose" for row in lake.rows(CallRow, lake.version()))


def test_what_a_build_proposes_counts_against_its_budget_and_the_next_build_asks_nothing_twice(tmp_path: Path) -> None:
    settings = {"[run]": "[plan]\naccept_below = 1.0\n\n[run]"}
    many = BuildOptions(new_topics=34, samples_per_topic=1, turns=1, when_exhausted="propose")
    other, lake = (fake_lake(tmp_path / name, topics=ENTRIES, settings=settings) for name in ("other", "lake"))
    whole, first, second = Troupe(), Troupe(), Troupe()
    grow(other.path, many, whole)
    run = grow(lake.path, replace(many, budget_calls=2), first)
    assert len(first.asked) == 2 and run.used()["calls"] == 2
    assert "the budget of 2 calls is used up before topics of" in run.plan.note()
    kinds = query(lake, "select kind, state, reason from runs order by version").rows()
    assert kinds == [("propose", "stopped", "budget"), ("build", "stopped", "budget")]
    assert_fsck_finds_nothing(lake)
    grow(lake.path, many, second)
    assert not set(first.asked) & set(second.asked)
    assert asked_for_topics(lake) == asked_for_topics(other) > 2
    names = [{row.name for row in each.rows(TopicRow, each.version())} for each in (other, lake)]
    assert names[0] == names[1]
    assert_fsck_finds_nothing(lake)
    assert_replays(lake)


def test_two_builds_that_run_out_are_the_same_and_what_is_too_similar_waits_for_a_person(tmp_path: Path) -> None:
    settings = {"[run]": "[plan]\naccept_below = 0.0\n\n[run]"}
    options = BuildOptions(new_topics=2, samples_per_topic=1, turns=1, when_exhausted="propose")
    lakes = [fake_lake(tmp_path / name, topics=ENTRIES[:1], settings=settings) for name in ("one", "two")]
    runs = [grow(each.path, options) for each in lakes]
    assert len({each.version().sha256 for each in lakes}) == 1
    assert (runs[0].counts()["planned"], len(read_proposals(lakes[0].path))) == (1, 1)
    assert "1 of 2 topics asked for could be planned" in runs[0].plan.note()


def test_a_build_with_a_file_of_topics_proposes_none(lake: Lake) -> None:
    file = lake.path.with_name("mine.txt")
    file.write_text("lighthouses\n")
    options = BuildOptions(new_topics=3, samples_per_topic=1, turns=1, when_exhausted="propose", topics=str(file))
    troupe = Troupe()
    run = grow(lake.path, options, troupe)
    assert (run.counts()["planned"], read_proposals(lake.path)) == (1, [])


def test_commands_list_accept_and_refuse(lake: Lake, interlake: Interlake) -> None:
    propose(lake, 4)
    code, out, _ = interlake("topics", "proposals", "--lake", lake.path, "--json")
    told = json.loads(out)
    assert (code, len(told), {each["state"] for each in told}) == (0, 4, {"open"})
    code, out, _ = interlake("topics", "accept", "--lake", lake.path, told[0]["proposal_id"][:8])
    assert (code, out.startswith("1 topics added, as version")) == (0, True)
    code, out, _ = interlake("topics", "refuse", "--lake", lake.path, "--all")
    assert (code, "3 proposals refused" in out, "0 proposals are open" in out) == (0, True, True)
    code, _, err = interlake("topics", "accept", "--lake", lake.path, "0000")
    assert (code, "names 0 proposals" in err) == (2, True)
    code, _, err = interlake("topics", "accept", "--lake", lake.path)
    assert (code, "say which proposals are meant" in err) == (2, True)


def test_topics_added_meanwhile_are_not_added_twice(lake: Lake) -> None:
    from storage.packages import PackageDraft
    from storage.writing import writing

    propose(lake, 1)
    (only,) = read_proposals(lake.path)
    entry = TopicEntry(name=only.name, category=only.category, domain=only.domain)
    with writing(lake, purpose="a test", timeout=10) as writer:
        writer.commit([PackageDraft("topics", [row_of(entry, "mine")])])
    decided = decide(lake.path, Choice(all_open=True), accept=True)
    assert (decided.topics, decided.there) == ((), (only.name,))
    assert_fsck_finds_nothing(lake)
