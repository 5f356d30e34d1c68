"""JSON files of topics with headings and trees: which form means what, and what of it is refused."""

import json
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.topics.incoming import IncomingTopics, read_topic_file
from flows.topics.rows import TopicFileError
from models.identity import Json

Path3: TypeAlias = tuple[str, str, str]


def read(folder: Path, value: Json, *, ignore_columns: bool = False) -> IncomingTopics:
    path = folder / "t.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return read_topic_file(path, ignore_columns=ignore_columns)


def paths(found: IncomingTopics) -> list[Path3]:
    return [(entry.domain, entry.category, entry.name) for entry in found.entries]


FOX = ("Animals", "Mammals", "fox")
FORMS: dict[str, tuple[Json, list[Path3]]] = {
    "domain, category, topics": (
        {"Animals": {"Mammals": ["fox"], "Birds": ["owl"]}},
        [FOX, ("Animals", "Birds", "owl")],
    ),
    "category, topics": ({"Mammals": ["fox"]}, [("", "Mammals", "fox")]),
    "mixed depths": ({"Animals": {"Mammals": ["fox"]}, "Trees": ["oak"]}, [FOX, ("", "Trees", "oak")]),
    "deeper levels are joined": (
        {"Animals": {"Mammals": {"Red": {"Small": ["fox"]}}}},
        [("Animals", "Mammals / Red / Small", "fox")],
    ),
    "a list in a wrapper": ({"topics": ["fox", "owl"]}, [("", "", "fox"), ("", "", "owl")]),
    "headings in a wrapper": ({"data": {"Mammals": ["fox"]}}, [("", "Mammals", "fox")]),
    "a wrapper under a heading": ({"Mammals": {"topics": ["fox"]}}, [("", "Mammals", "fox")]),
    "a tree": ([{"name": "Animals", "children": [{"name": "Mammals", "children": ["fox"]}]}], [FOX]),
    "a tree of objects to the last leaf": (
        {"label": "Animals", "children": [{"title": "Mammals", "children": [{"name": "fox"}]}]},
        [FOX],
    ),
    "a tree by columns": ([{"domain": "Animals", "category": "Mammals", "topics": ["fox"]}], [FOX]),
    "a tree by columns in two steps": (
        [{"domain": "Animals", "categories": [{"category": "Mammals", "topics": [{"topic": "fox"}]}]}],
        [FOX],
    ),
    "an object's own category under a heading": ({"Animals": [{"name": "fox", "category": "Mammals"}]}, [FOX]),
    "an object's own domain goes first": (
        {"Plants": [{"name": "fox", "category": "Mammals", "domain": "Animals"}]},
        [FOX],
    ),
    "headings in a list": ([{"Mammals": ["fox"]}, "owl"], [("", "Mammals", "fox"), ("", "", "owl")]),
    "an empty heading is none": ({"": {"Mammals": ["fox"]}}, [("", "Mammals", "fox")]),
}


@pytest.mark.parametrize("name", FORMS)
def test_nested_form_is_read(tmp_path: Path, name: str) -> None:
    value, expected = FORMS[name]
    found = read(tmp_path, value)
    assert paths(found) == expected
    assert found.refused == ()


@pytest.mark.parametrize(
    ("value", "place", "problem"),
    [
        ({"version": 1, "topics": ["fox"]}, "'version'", "a number where topics should be"),
        ({"Mammals": ["fox", 7]}, "'Mammals', item 2", "a number where a topic should be"),
        ({"Mammals": ["fox", ["wolf"]]}, "'Mammals', item 2", "an array where a topic should be"),
        ({"Mammals": ["fox"], "Birds": "owl"}, "'Birds'", "a string where topics should be"),
        ({"Mammals": ["fox"], "Birds": [{"domain": "A"}]}, "'Birds', item 1", "no column or key named topic or name"),
        ({"Mammals": ["fox"], "B\x07": ["owl"]}, "'B\\x07', item 1", "the category has a control character, U+0007"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_rest_taken(tmp_path: Path, value: Json, place: str, problem: str) -> None:
    found = read(tmp_path, value)
    assert [entry.name for entry in found.entries] == ["fox"]
    ((said, refused),) = [(row.place, row.problem) for row in found.refused]
    assert said == place
    assert problem in refused


def test_keys_beside_children_are_named_or_left_unread(tmp_path: Path) -> None:
    value: Json = [{"id": 7, "name": "Mammals", "children": ["fox"]}]
    with pytest.raises(TopicFileError, match=r"item 1: unknown column or key 'id'; .*--ignore-columns"):
        read(tmp_path, value)
    found = read(tmp_path, value, ignore_columns=True)
    assert (paths(found), found.ignored) == ([("", "Mammals", "fox")], ("id",))


def test_what_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    deep: Json = ["wolf"]
    for _ in range(40):
        deep = {"x": deep}
    found = read(tmp_path, {"Mammals": ["fox"], "Deep": deep})
    assert [entry.name for entry in found.entries] == ["fox"]
    assert [row.problem for row in found.refused] == ["nested too deeply"]


LEAF = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5)
KEYS = st.sampled_from(["topics", "children", "name", "category", "domain", "A", "B", ""])
TREES = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


@settings(deadline=None)
@given(TREES)
def test_any_json_is_read_or_refused_row_by_row(tmp_path_factory: pytest.TempPathFactory, value: Json) -> None:
    try:
        found = read(tmp_path_factory.mktemp("trees"), value, ignore_columns=True)
    except TopicFileError:
        return
    assert len(found.refusals) == len(found.topics) + len(found.refused)
    assert sum(found.refusals) == len(found.refused)
