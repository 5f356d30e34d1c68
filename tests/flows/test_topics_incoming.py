"""Users' files of topics: what is read, and what is refused with which sentence."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.topics.catalogue import (
    TopicEntry,
    normalise_name,
)
from flows.topics.incoming import MAX_BYTES, MAX_CHARACTERS, read_topic_file
from flows.topics.rows import TopicFileError

MESSAGE_LIMIT = 400  # characters that a message about a file may have, beside the path


# --- users' files: what is read --------------------------------------------------------------------------------------

WriteFile = Callable[[str, bytes | str], Path]


@pytest.fixture
def write_file(tmp_path: Path) -> WriteFile:
    def write(name: str, content: bytes | str) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        return path

    return write


def entry(name: str, category: str = "", domain: str = "") -> TopicEntry:
    return TopicEntry(name=name, category=category, domain=domain)


@pytest.mark.parametrize("name", ["topics.txt", "topics", "topics.md", "topics.CSV.bak"])
def test_any_unknown_file_is_read_as_lines(write_file: WriteFile, name: str) -> None:
    path = write_file(name, "\ufeffred fox\r\n\r\n   \n# not a comment\rcafe\u0301  au\u00a0lait\t\nbread, butter")
    assert read_topic_file(path).entries == (
        entry("red fox"),
        entry("# not a comment"),
        entry("caf\u00e9 au lait"),
        entry("bread, butter"),
    )


def test_names_in_any_script_are_read(write_file: WriteFile) -> None:
    names = ["שועל", "قوس قزح", "雪の富士山", "हिमालय", "Größe 🦊", "5\u201d disc"]
    assert [entry.name for entry in read_topic_file(write_file("t.txt", "\n".join(names))).entries] == names


def test_topics_without_a_path_take_the_one_given(write_file: WriteFile) -> None:
    path = write_file("t.csv", "name,category\nfox,\nowl,Birds\n")
    assert read_topic_file(path, category=" Forest ", domain="Animals").entries == (
        entry("fox", "Forest", "Animals"),
        entry("owl", "Birds", "Animals"),
    )


def test_every_row_has_its_place_also_beside_rows_that_are_refused(write_file: WriteFile) -> None:
    path = write_file("t.csv", "topic,category\nFox,A\n,a\nfox\nFOX,A\n")
    read = read_topic_file(path)
    assert [(topic.place, topic.entry) for topic in read.topics] == [
        ("line 2", entry("Fox", "A")),
        ("line 5", entry("FOX", "A")),
    ]
    assert [(row.place, row.problem) for row in read.refused] == [
        ("line 3", "the topic is empty"),
        ("line 4", "columns: 1 instead of 2"),
    ]
    assert read.refusals == (False, True, True, False)


def test_strict_takes_nothing_of_a_file_with_a_bad_row(write_file: WriteFile) -> None:
    path = write_file("t.txt", "fox\n" + "x" * 600 + "\n")
    assert read_topic_file(path).entries == (entry("fox"),)
    with pytest.raises(TopicFileError, match="line 2: the topic has 600 characters"):
        read_topic_file(path, strict=True)


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_columns_that_topics_do_not_have_are_named_or_left_unread(write_file: WriteFile, suffix: str) -> None:
    texts = {"csv": "id,topic,colour\n1,fox,red\n", "json": '[{"id": 1, "topic": "fox", "colour": "red"}]'}
    path = write_file(f"t.{suffix}", texts[suffix])
    assert "leave others unread by --ignore-columns" in refuse(path)
    read = read_topic_file(path, ignore_columns=True)
    assert (read.entries, read.ignored) == ((entry("fox"),), ("id", "colour"))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("title,group,area", entry("fox", "M", "A")),
        ("LABEL,Sub-Category,Domain", entry("fox", "M", "A")),
        ("Name,subcategory,category", entry("fox", "M", "A")),
        ("topic,sub_category,group", entry("fox", "M", "A")),
    ],
)
def test_common_words_for_columns_are_known(write_file: WriteFile, header: str, expected: TopicEntry) -> None:
    assert read_topic_file(write_file("t.csv", f"{header}\nfox,M,A\n")).entries == (expected,)


def test_domain_category_and_subcategory_are_two_levels(write_file: WriteFile) -> None:
    path = write_file("t.tsv", "domain\tcategory\tsubcategory\ttopic\nA\tM\tRed\tfox\nA\t\tRed\towl\n")
    assert read_topic_file(path).entries == (entry("fox", "M / Red", "A"), entry("owl", "Red", "A"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("topic\nfox\n\nowl\n", (entry("fox"), entry("owl"))),
        ("fox\nowl", (entry("fox"), entry("owl"))),
        ('"bread, butter"\n"the ""big"" one"\n', (entry("bread, butter"), entry('the "big" one'))),
        ("Domain,Name,CATEGORY\r\nAnimals,fox,Mammals\r\n", (entry("fox", "Mammals", "Animals"),)),
        ("\ufeffname,domain\nfox,\n", (entry("fox"),)),
    ],
)
def test_csv_with_and_without_header_is_read(
    write_file: WriteFile, content: str, expected: tuple[TopicEntry, ...]
) -> None:
    assert read_topic_file(write_file("t.csv", content)).entries == expected


JSON_TOPICS = ["fox", {"topic": "owl", "category": "Birds"}, {"name": "oak", "category": None, "domain": "Plants"}]
JSON_ENTRIES = (entry("fox"), entry("owl", "Birds"), entry("oak", "", "Plants"))


def test_json_array_of_strings_and_objects_is_read(write_file: WriteFile) -> None:
    assert read_topic_file(write_file("t.JSON", "\ufeff" + json.dumps(JSON_TOPICS))).entries == JSON_ENTRIES


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson"])
def test_json_lines_are_read(write_file: WriteFile, suffix: str) -> None:
    content = "\n\n".join(json.dumps(topic) for topic in JSON_TOPICS) + "\n"
    assert read_topic_file(write_file(f"t.{suffix}", content)).entries == JSON_ENTRIES


PLAIN_NAME = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=40)


@given(st.lists(PLAIN_NAME, min_size=1, max_size=20, unique_by=normalise_name))
def test_every_format_gives_the_same_topics(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    folder = tmp_path_factory.mktemp("formats")
    table = io.StringIO()
    csv.writer(table).writerows([["topic"], *([name] for name in names)])
    texts = {
        "txt": "\n".join(names),
        "csv": table.getvalue(),
        "json": json.dumps(names),
        "jsonl": "\n".join(json.dumps({"name": name}) for name in names),
    }
    for suffix, text in texts.items():
        path = folder / f"t.{suffix}"
        path.write_text(text, encoding="utf-8")
        read = read_topic_file(path)
        assert [entry.name for entry in read.entries] == [unicodedata.normalize("NFC", name) for name in names]


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
@pytest.mark.parametrize("suffix", ["txt", "csv", "json", "jsonl"])
def test_any_bytes_are_read_cleanly_or_refused(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("bytes") / f"t.{suffix}"
    path.write_bytes(content)
    try:
        entries = read_topic_file(path).entries
    except TopicFileError:
        return
    assert entries
    for read in entries:
        assert read.name == " ".join(unicodedata.normalize("NFC", read.name).split()) != ""
        assert not {unicodedata.category(character) for character in read.name} & {"Cc", "Cf", "Cs"}


# --- users' files: what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("t.txt", "", "the file has no topics"),
        ("t.txt", "\ufeff \n\t\n", "the file has no topics"),
        ("t.csv", "", "the file has no topics"),
        ("t.csv", "topic,category\n", "the file has no topics"),
        ("t.json", " ", "the file has no topics"),
        ("t.json", "[]", "the file has no topics"),
        ("t.jsonl", "\n", "the file has no topics"),
        ("t.txt", b"fox\nowl\0\n", "line 2: a NUL byte, so this is no UTF-8 text"),
        ("t.txt", "fox".encode("utf-16"), "line 1: a NUL byte"),
        ("t.txt", b"fox\nowl\ncaf\xe9\n", "line 3: byte 0xE9 is not UTF-8"),
        ("t.txt", b"fox\n\xed\xa0\x80\n", "line 2: byte 0xED is not UTF-8"),
        ("t.txt", "fox\n\n" + "x" * (MAX_CHARACTERS + 1), "line 3: the topic has 501 characters; shorten it to 500"),
        ("t.csv", "topic\n" + "x" * 600, "line 2: the topic has 600 characters"),
        ("t.csv", "topic\n" + "x" * 200_000, "line 2: the row that starts here is not CSV"),
        ("t.json", json.dumps(["fox", "x" * 600]), "item 2: the topic has 600 characters"),
        ("t.json", json.dumps([{"name": "fox", "domain": "x" * 600}]), "item 1: the domain has 600 characters"),
        ("t.csv", "topic\nfox\n   \n", "line 3: the topic is empty"),
        ("t.csv", "topic,domain\nfox,A\n,B\n", "line 3: the topic is empty"),
        ("t.json", '["fox", " \\u00a0"]', "item 2: the topic is empty"),
        ("t.jsonl", '"fox"\n{"name": ""}', "line 2: the topic is empty"),
        ("t.txt", "fox\nred\x07owl", "line 2: the topic has a control character, U+0007, as its character 4"),
        ("t.txt", "fox\ttail", "line 1: the topic has a control character, U+0009, as its character 4"),
        ("t.txt", "fox\x85owl", "a control character, U+0085"),
        ("t.csv", 'topic\n"red\nfox"\n', "line 2: the topic has a control character, U+000A"),
        ("t.json", '["a\\u0000b"]', "item 1: the topic has a control character, U+0000"),
        (
            "t.json",
            '[{"name": "fox", "category": "a\\u001bb"}]',
            "item 1: the category has a control character, U+001B",
        ),
        (
            "t.txt",
            "owl\n\u200ffox",
            "line 2: the topic has a format character that cannot be seen, U+200F RIGHT-TO-LEFT",
        ),
        ("t.txt", "fo\u00adx", "U+00AD SOFT HYPHEN, as its character 3"),
        ("t.txt", "fox\ufeff", "U+FEFF ZERO WIDTH NO-BREAK SPACE"),
        ("t.json", '["fox \\ud83d"]', "item 1: the topic has half a surrogate pair, U+D83D"),
        ("t.csv", "topic,colour\nfox,red\n", "line 1: unknown column or key 'colour'"),
        ("t.csv", "topic,name\nfox,fox\n", "line 1: a column or key stands there twice"),
        ("t.csv", "category,domain\nA,B\n", "line 1: no column or key named topic or name; add one"),
        ("t.csv", "bread, butter\n", "line 1: 2 columns, and none is named topic or name"),
        ("t.csv", "topic;category\nfox;A\n", "line 1: the columns are not separated by commas"),
        ("t.csv", "fox\nbread, butter\n", "line 2: columns: 2 instead of 1"),
        ("t.csv", "topic,domain\nfox\n", "line 2: columns: 1 instead of 2"),
        ("t.csv", 'topic\nfox\n"owl\nbear\n', "line 3: the row that starts here is not CSV"),
        ("t.csv", 'topic\n"ow"l\n', "line 2: the row that starts here is not CSV"),
        ("t.json", '["fox",\n"owl"', "line 2: not JSON"),
        ("t.json", '["fox"] ["owl"]', "line 1: not JSON (Extra data at column 9)"),
        ("t.json", '"fox"', "the file holds a string; make it an array"),
        ("t.json", '["fox", ["owl"]]', "item 2: an array where a topic should be"),
        ("t.json", '["fox", 7]', "item 2: a number where a topic should be"),
        ("t.json", "[NaN]", "item 1: a number where a topic should be"),
        ("t.json", "[null]", "item 1: null where a topic should be"),
        ("t.json", "[true]", "item 1: true or false where a topic should be"),
        ("t.json", '[{"name": 3}]', "item 1: the name is a number"),
        ("t.json", '[{"name": null}]', "item 1: the name is null"),
        ("t.json", '[{"name": "fox", "colour": "red"}]', "item 1: unknown column or key 'colour'"),
        ("t.json", '[{"name": "fox", "topic": "fox"}]', "item 1: a column or key stands there twice"),
        ("t.json", '[{"name": "fox", "name": "owl"}]', "an object has the key 'name' more than once"),
        ("t.json", '[{"domain": "A"}]', "item 1: no column or key named topic or name"),
        ("t.json", "[" * 100_000, "the JSON is nested too deeply"),
        ("t.json", "[" + "9" * 5_000 + "]", "not usable JSON (Exceeds the limit"),
        ("t.jsonl", '"fox"\n{"name": \n', "line 2: not JSON"),
        ("t.jsonl", '"fox"\n["owl"]\n', "line 2: an array where a topic should be"),
    ],
)
def test_bad_file_is_refused_with_one_sentence(
    write_file: WriteFile, name: str, content: bytes | str, problem: str
) -> None:
    path = write_file(name, content)
    assert_one_sentence(refuse(path, strict=True), path, problem)


def refuse(path: Path, *, category: str = "", domain: str = "", strict: bool = False) -> str:
    with pytest.raises(TopicFileError) as caught:
        read_topic_file(path, category=category, domain=domain, strict=strict)
    return str(caught.value)


def assert_one_sentence(message: str, path: Path, problem: str) -> None:
    """A printable message of moderate length that starts with the path, names the problem and ends in what to do."""
    assert problem in message
    assert message.startswith(repr(str(path)))
    assert re.search(r"; [a-z][^;]+\.$", message)
    assert message.isprintable()
    assert len(message) - len(str(path)) < MESSAGE_LIMIT


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    assert_one_sentence(refuse(tmp_path / "none.txt"), tmp_path / "none.txt", "cannot be read (No such file")
    assert_one_sentence(refuse(tmp_path), tmp_path, "cannot be read (Is a directory)")


def test_line_of_ten_megabytes_is_refused_in_a_short_sentence(write_file: WriteFile) -> None:
    path = write_file("t.txt", "fox\n" + "x" * 10_000_000 + "\nowl\n")
    assert_one_sentence(refuse(path, strict=True), path, "line 2: the topic has 10,000,000 characters")
    (refused,) = read_topic_file(path).refused
    assert len(refused.text) <= 500


def test_file_over_the_limit_is_refused_without_being_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES * 1000)  # sparse: far more than would fit in memory
    assert_one_sentence(refuse(path), path, "the file is larger than 64 MiB")


def test_bad_category_for_the_whole_file_is_refused(write_file: WriteFile) -> None:
    path = write_file("t.txt", "fox")
    message = refuse(path, category="a\u200fb")
    assert_one_sentence(message, path, "as given for the whole file: the category has a format character")


def test_long_unknown_key_is_shortened_in_the_message(write_file: WriteFile) -> None:
    path = write_file("t.json", json.dumps([{"name": "fox", "k" * 5_000: 1}]))
    assert_one_sentence(refuse(path), path, "unknown column or key 'kkkk")
