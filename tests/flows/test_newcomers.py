"""A file of topics on its way into a lake: what is merged, what is placed, what is told; and the lake afterwards."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.lakes import add_topics
from flows.newcomers import AS_IT_COMES, Choices, receive, row_of
from flows.soundness import check_soundness
from flows.standing import read_topics
from flows.topics.catalogue import TopicEntry, normalise_name, read_catalogue
from flows.topics.incoming import IncomingTopic, IncomingTopics, read_topic_file
from flows.topics.placing import ENOUGH, Placer
from flows.topics.report import ReportRow, TopicReport, write_report
from flows.topics.rows import Refused, TopicFileError
from flows.topics.wordbook import Wordbook
from storage.lake import Lake
from storage.query import query
from storage.records import TopicRow
from tests.flows.casts import fake_lake
from tests.flows.conftest import Interlake

FOX = TopicEntry(name="red fox", category="Mammals", domain="Animals")
NEVER = Choices(place="never")


def incoming(*entries: TopicEntry | str) -> IncomingTopics:
    topics = [
        each if isinstance(each, TopicEntry) else TopicEntry(name=each, category="", domain="") for each in entries
    ]
    rows = tuple(IncomingTopic(place=f"line {number}", entry=entry) for number, entry in enumerate(topics, 1))
    return IncomingTopics(topics=rows, refusals=(False,) * len(rows))


def given_rows(*entries: TopicEntry) -> list[TopicRow]:
    return [row_of(entry, "test") for entry in entries]


def results(
    found: IncomingTopics, lake: Sequence[TopicRow] = (), choices: Choices = NEVER
) -> list[tuple[str, str, str]]:
    rows = receive(found, lake, choices, source="t").report.rows
    return [(row.name, row.result, row.into) for row in rows]


# --- merging ---------------------------------------------------------------------------------------------------------


def test_names_that_are_alike_are_merged_into_the_first_one() -> None:
    assert results(incoming("Ice creams", "the ice-cream", "ICE CREAMS", "sorbet")) == [
        ("Ice creams", "added", "Ice creams"),
        ("the ice-cream", "merged", "Ice creams"),
        ("ICE CREAMS", "merged", "Ice creams"),
        ("sorbet", "added", "sorbet"),
    ]


def test_names_without_a_category_are_the_topic_of_that_name_wherever_it_stands() -> None:
    where = "Animals / Mammals / red fox"
    assert results(incoming("Red Fox", "the red foxes", "wolf"), given_rows(FOX)) == [
        ("Red Fox", "known", where),
        ("the red foxes", "merged", where),
        ("wolf", "added", "wolf"),
    ]


def test_names_in_different_categories_stay_apart() -> None:
    bat = TopicEntry(name="bat", category="Sports", domain="")
    assert results(incoming(bat), given_rows(TopicEntry(name="bat", category="Mammals", domain=""))) == [
        ("bat", "added", "Sports / bat")
    ]


def test_a_row_with_a_category_goes_first_wherever_it_stands() -> None:
    assert results(incoming("red fox", FOX)) == [
        ("red fox", "merged", "Animals / Mammals / red fox"),
        ("red fox", "added", "Animals / Mammals / red fox"),
    ]


def test_alike_names_are_kept_apart_when_asked_to() -> None:
    choices = Choices(place="never", keep_alike=True)
    assert results(incoming("red foxes", "Red foxes", "red fox"), given_rows(FOX), choices) == [
        ("red foxes", "added", "red foxes"),
        ("Red foxes", "merged", "red foxes"),
        ("red fox", "added", "red fox"),
    ]


NAMES = st.sampled_from(["fox", "Foxes", "the fox", "owl", "owls", "oak", "Oak tree", "sushi", "sushi rolls", "木"])
PATHS = st.sampled_from([("", ""), ("", "A"), ("D", "A"), ("D", "")])
ENTRIES = st.builds(lambda name, path: TopicEntry(name=name, domain=path[0], category=path[1]), NAMES, PATHS)
REFUSED = st.just(Refused(place="line 0", text="x", problem="wrong", remedy="mend it"))
CHOICES = st.builds(Choices, keep_alike=st.booleans(), place=st.sampled_from(["nearest", "never"]))


@settings(deadline=None)
@given(st.lists(ENTRIES | REFUSED, max_size=12), st.lists(ENTRIES, max_size=6), CHOICES)
def test_no_row_is_lost_and_a_second_time_all_are_known_or_merged(
    rows: list[TopicEntry | Refused], there: list[TopicEntry], choices: Choices
) -> None:
    topics = incoming(*(row for row in rows if isinstance(row, TopicEntry))).topics
    refused = tuple(row for row in rows if isinstance(row, Refused))
    found = IncomingTopics(topics=topics, refused=refused, refusals=tuple(isinstance(row, Refused) for row in rows))
    lake = list({row.topic_id: row for row in given_rows(*there)}.values())
    came = receive(found, lake, choices, source="t")
    counts = came.report.counts()
    assert counts["rows"] == len(rows) == sum(counts[name] for name in ("added", "known", "merged", "refused"))
    assert counts["added"] == len(came.rows)
    assert not {row.topic_id for row in came.rows} & {row.topic_id for row in lake}
    assert came.report.topic_ids <= {row.topic_id for row in (*came.rows, *lake)}
    again = receive(found, [*lake, *came.rows], choices, source="t")
    assert again.rows == ()
    assert again.report.topic_ids == came.report.topic_ids


# --- placing ---------------------------------------------------------------------------------------------------------


def test_a_name_goes_to_the_category_whose_words_mean_the_same_and_others_stay() -> None:
    placer = Placer(read_catalogue())
    rails, unknown, foreign = placer.place(["steam locomotives", "zzyzx", "木漏れ日"])
    assert rails and (rails.domain, rails.category) == ("Travel and vehicles", "Rails")
    assert (unknown, foreign) == (None, None)


def test_places_do_not_depend_on_the_order_of_names_or_topics() -> None:
    names = ["sushi rolls", "violin concertos", "steam locomotives", "glaciers", "kubernetes", "apple pie", "owls"]
    found = dict(zip(names, Placer(read_catalogue()).place(names), strict=True))
    turned = Placer(reversed(read_catalogue()))
    assert dict(zip(names[::-1], turned.place(names[::-1]), strict=True)) == found
    assert {name: turned.place([name])[0] for name in names} == found


def test_categories_of_the_file_and_the_lake_are_known_and_placed_ones_are_not() -> None:
    piano = TopicEntry(name="piano music", category="Music", domain="Arts")
    bread = TopicEntry(name="rye bread", category="Baking", domain="Food")
    came = receive(incoming("jazz music", piano, bread), (), AS_IT_COMES, source="t").rows
    placed = {row.name: (row.category, row.placed) for row in came}
    assert placed["jazz music"] == ("Music", "nearest")
    assert placed["piano music"] == ("Music", "given")
    other = receive(incoming("guitar music"), given_rows(piano, bread), AS_IT_COMES, source="t").rows
    alone = receive(incoming("guitar music"), [*given_rows(piano, bread), *came], AS_IT_COMES, source="t").rows
    assert alone == other


def test_where_nobody_gave_a_category_those_of_the_shipped_topics_are_known() -> None:
    (row,) = receive(incoming("steam locomotives"), (), AS_IT_COMES, source="t").rows
    assert (row.domain, row.category, row.placed) == ("Travel and vehicles", "Rails", "nearest")
    assert row.placed_similarity and row.placed_similarity > ENOUGH / 2
    (never,) = receive(incoming("steam locomotives"), (), NEVER, source="t").rows
    assert (never.domain, never.category, never.placed, never.placed_similarity) == ("", "", "", None)


def test_words_have_vectors_of_unit_length_whatever_their_case_and_accents() -> None:
    book = Wordbook()
    one, other, accented, nothing = book.embed(["Mountain", "the MOUNTAIN", "m\u00f3untain", "12 !"])
    assert len(book) == 24_865
    assert round(float(one @ one), 9) == 1.0
    assert (one == other).all() and (one == accented).all() and not nothing.any()


# --- the report ------------------------------------------------------------------------------------------------------


def test_report_tells_ten_of_a_kind_and_where_the_others_are() -> None:
    rows = [ReportRow(place=f"line {n}", result="refused", name="x", reason="the topic is empty") for n in range(12)]
    said = list(TopicReport(file="t.txt", rows=tuple(rows)).lines())
    assert said[:3] == [
        "0 topics added, 0 were there already; t.txt has 12 rows",
        "12 refused:",
        "  line 0: the topic is empty",
    ]
    assert said[-1] == "  … and 2 more (--report FILE has all)"


def test_report_as_csv_and_json_has_every_row(tmp_path: Path) -> None:
    report = receive(incoming("sushi", "Sushi", 'a "b", c'), (), NEVER, source="t.txt").report
    write_report(report, tmp_path / "r.csv")
    write_report(report, tmp_path / "r.json")
    with (tmp_path / "r.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["result"]) for row in rows] == [
        ("sushi", "added"),
        ("Sushi", "merged"),
        ('a "b", c', "added"),
    ]
    told = json.loads((tmp_path / "r.json").read_text())
    assert (told["rows"], told["added"], told["merged"]) == (3, 2, 1)
    assert [row["name"] for row in told["topics"]] == [row["name"] for row in rows]


# --- the lake --------------------------------------------------------------------------------------------------------


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return fake_lake(tmp_path / "lake", topics=[FOX, TopicEntry(name="rye bread", category="Baking", domain="Food")])


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_placed_topic_is_flagged_in_the_lake_and_stays_where_it_is(lake: Lake, tmp_path: Path) -> None:
    file = write(tmp_path, "mine.txt", "wheat bread baking\nred foxes\nzzyzx\n")
    report = add_topics(lake.path, file)
    assert report.counts() == {"rows": 3, "added": 2, "known": 0, "merged": 1, "refused": 0, "placed": 1}
    said = query(
        lake, "SELECT name, category, placed, placed_similarity FROM topics WHERE source = 'mine.txt' ORDER BY name"
    )
    assert said["name"].to_list() == ["wheat bread baking", "zzyzx"]
    assert said["placed"].to_list() == ["nearest", ""]
    assert said["placed_similarity"].to_list()[1] is None
    assert {topic.name: topic.placed for topic in read_topics(lake.path)}["red fox"] == "given"
    head = lake.version()
    assert add_topics(lake.path, file).new == ()
    assert lake.version() == head
    assert check_soundness(lake.path).is_sound


def test_refused_rows_leave_the_others_and_strict_leaves_the_lake(lake: Lake, tmp_path: Path) -> None:
    file = write(tmp_path, "mine.json", '["tides", "", 3]')
    before = lake.version()
    with pytest.raises(TopicFileError, match="item 2: the topic is empty"):
        add_topics(lake.path, file, Choices(strict=True))
    assert lake.version() == before
    assert add_topics(lake.path, file).counts()["refused"] == 2
    assert lake.version().number == before.number + 1


def test_shipped_topics_and_a_file_of_them_make_the_same_version(tmp_path: Path) -> None:
    entries = read_catalogue()[:20]
    made = fake_lake(tmp_path / "one", topics=entries)
    lines = "\n".join(f"{e.domain},{e.category},{e.name}" for e in entries)
    read = read_topic_file(write(tmp_path, "t.csv", f"domain,category,topic\n{lines}\n"))
    rows = receive(read, (), AS_IT_COMES, source="given").rows
    assert {row.topic_id for row in rows} == {row.topic_id for row in made.rows(TopicRow, made.version())}


# --- the command line ------------------------------------------------------------------------------------------------


def test_init_takes_the_topics_of_a_file_or_none(interlake: Interlake, tmp_path: Path) -> None:
    file = write(tmp_path, "t.json", '{"Animals": {"Mammals": ["fox", ""]}}')
    code, out, _ = interlake("init", "--lake", tmp_path / "a", "--profile", "fake", "--topics", file)
    assert (code, "1 topics added" in out, "1 refused" in out) == (0, True, True)
    assert [topic.name for topic in read_topics(tmp_path / "a")] == ["fox"]
    code, out, _ = interlake("init", "--lake", tmp_path / "b", "--profile", "fake", "--topics", "none")
    assert (code, read_topics(tmp_path / "b")) == (0, [])
    assert check_soundness(tmp_path / "b").is_sound
    assert interlake("topics", "add", "--lake", tmp_path / "b", file)[0] == 0
    assert [topic.name for topic in read_topics(tmp_path / "b")] == ["fox"]


def test_init_with_a_bad_file_makes_nothing(interlake: Interlake, tmp_path: Path) -> None:
    file = write(tmp_path, "t.json", "[")
    code, _, err = interlake("init", "--lake", tmp_path / "a", "--profile", "fake", "--topics", file)
    assert (code, "not JSON" in err, (tmp_path / "a").exists()) == (2, True, False)


@pytest.mark.parametrize("report", ["r.txt", "none/r.csv"])
def test_a_report_that_cannot_be_written_is_said_before_anything_is_done(
    interlake: Interlake, lake: Lake, tmp_path: Path, report: str
) -> None:
    before = lake.version()
    file = write(tmp_path, "t.txt", "tides")
    assert interlake("topics", "add", "--lake", lake.path, file, "--report", tmp_path / report)[0] == 2
    assert lake.version() == before


@pytest.mark.usefixtures("prefect_server")
def test_one_command_builds_from_an_outsiders_flat_list(interlake: Interlake, tmp_path: Path) -> None:
    names = ["hedgehogs in leaves", "The hedgehog in leaves", "sushi rolls", "", "steam locomotives", "zzyzx"]
    file = write(tmp_path, "outsider.json", json.dumps(names))
    words = ("build", "--lake", tmp_path / "new", "--topics", file, "--new-topics", "3", "--samples-per-topic", "1")
    code, out, err = interlake(*words, "--turns", "1", "--profile", "fake", "--report", tmp_path / "r.json")
    assert code == 0, err
    assert "4 topics added" in out and "1 merged" in out and "1 refused" in out
    assert "3 planned" in out
    assert json.loads((tmp_path / "r.json").read_text())["rows"] == 6
    topics = {normalise_name(topic.name): topic.slots for topic in read_topics(tmp_path / "new")}
    assert sum(topics.values()) == 3
    assert set(topics) == {"hedgehogs in leaves", "sushi rolls", "steam locomotives", "zzyzx"}


@pytest.mark.usefixtures("prefect_server")
def test_a_build_from_a_file_takes_no_other_topics(interlake: Interlake, lake: Lake, tmp_path: Path) -> None:
    file = write(tmp_path, "t.txt", "tides\nred foxes\n")
    words = ("build", "--lake", lake.path, "--topics", file, "--new-topics", "9", "--samples-per-topic", "1")
    code, out, err = interlake(*words, "--turns", "1")
    assert code == 0, err
    assert "2 planned" in out
    assert {topic.name for topic in read_topics(lake.path) if topic.slots} == {"tides", "red fox"}
