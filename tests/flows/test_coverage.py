"""Coverage: counts and entropy by branch, the tree with bars, the picture, and the view that says the same."""

import json
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flows.errors import UserError
from flows.lakes import make_lake
from flows.standing import read_coverage
from flows.topics.bars import draw_tree, share_out
from flows.topics.catalogue import TopicEntry, read_templates
from flows.topics.coverage import cover
from flows.topics.treemap import Box, draw_treemap, squarify
from storage.query import query
from storage.records import ClaimRow, Row
from tests.flows.conftest import Interlake
from tests.flows.planning import a_topic, table
from tests.storage.lakes import claim_row, commit, decision_row, package, png, sample_row, start_row, turn_row

FEW = settings(max_examples=30, deadline=None)
TOPICS = [
    a_topic("1", "B", "x"),
    a_topic("2", "A", "y", 2, rejected=1),
    a_topic("3", "A", "y"),
    a_topic("4", "A", "x", 1, open=1, failed=1),
    a_topic("5", "a ", "Y", 1, duplicate=1),
    a_topic("6", "", ""),
]
USED = {"2": ["t1", "t2", "t3", "t4"], "4": ["t1", "t1"], "5": ["t1"]}


def turns(used: dict[str, list[str]]) -> pl.DataFrame:
    rows = [(topic, template) for topic, templates in used.items() for template in templates]
    return pl.DataFrame(rows, schema={"topic_id": pl.String, "template_id": pl.String}, orient="row")


def told(depth: int = 2, under: str = "") -> pl.DataFrame:
    return cover(table(TOPICS), turns(USED), templates=8, depth=depth, under=under)


# --- counts ----------------------------------------------------------------------------------------------------------


def test_every_branch_is_counted_before_what_it_consists_of() -> None:
    columns = ["depth", "domain", "category", "topics", "covered", "slots", "kept", "rejected", "duplicate", "failed"]
    assert told().select(*columns, "open").rows() == [
        (0, None, None, 6, 3, 8, 4, 1, 1, 1, 1),
        (1, "(no domain)", None, 1, 0, 0, 0, 0, 0, 0, 0),
        (2, "(no domain)", "(no category)", 1, 0, 0, 0, 0, 0, 0, 0),
        (1, "A", None, 4, 3, 8, 4, 1, 1, 1, 1),
        (2, "A", "x", 1, 1, 3, 1, 0, 0, 1, 1),
        (2, "A", "Y", 3, 2, 5, 3, 1, 1, 0, 0),
        (1, "B", None, 1, 0, 0, 0, 0, 0, 0, 0),
        (2, "B", "x", 1, 0, 0, 0, 0, 0, 0, 0),
    ]


def test_a_branch_can_be_told_alone_down_to_its_topics() -> None:
    rows = told(depth=3, under="a/y").select("depth", "topic", "topics", "slots").rows()
    assert rows == [
        (0, None, 3, 5),
        (1, None, 3, 5),
        (2, None, 3, 5),
        *((3, f"topic {n}", 1, s) for n, s in ((2, 3), (3, 0), (5, 2))),
    ]
    with pytest.raises(UserError, match="--under names 'C'"):
        told(under="C")


def test_entropy_is_in_bits_and_a_share_of_the_most_that_so_many_turns_can_have() -> None:
    found = {(row["depth"], row["domain"], row["category"]): row for row in told().to_dicts()}
    evenly = found[2, "A", "x"]
    assert (evenly["turns"], evenly["templates_used"], evenly["template_entropy"]) == (2, 1, 0.0)
    whole = found[0, None, None]
    expected = -sum(share * math.log2(share) for share in (4 / 7, 1 / 7, 1 / 7, 1 / 7))
    assert whole["template_entropy"] == pytest.approx(expected)
    assert whole["template_evenness"] == pytest.approx(expected / math.log2(7)), "of 7 turns and 8 templates"
    assert found[1, "B", None]["template_entropy"] is None


def test_coverage_of_no_topics_has_the_columns_and_no_branches() -> None:
    assert cover(table([]), turns({}), templates=8, depth=3).is_empty()


# --- the tree --------------------------------------------------------------------------------------------------------


def test_the_tree_has_bars_as_long_as_slots_are_many() -> None:
    lines = ["".join(text for text, _ in line).rstrip() for line in draw_tree(told(), width=90, is_unicode=False)]
    assert lines[1].startswith("all topics")
    by_name = {line.split("  ")[0].strip() or line.strip().split("  ")[0]: line for line in lines[1:-2]}
    assert "3/6" in lines[1]
    for sign, count in (("#", 4), ("x", 1), ("=", 1), ("!", 1)):
        assert lines[1].count(sign) >= count, "each outcome shows"
    assert "#" not in by_name["B"]
    assert max(map(len, lines[:-1])) <= 90
    assert all(line.isascii() for line in lines)


def test_names_that_could_steer_a_terminal_are_escaped() -> None:
    hostile = cover(table([a_topic("1", "\x1b[31mred", "x")]), turns({}), templates=1, depth=1)
    text = "".join(piece for line in draw_tree(hostile, width=100, is_unicode=True) for piece, _ in line)
    assert "\x1b" not in text
    assert "\\u001b[31mred" in text


@FEW
@given(st.lists(st.integers(0, 1000), min_size=5, max_size=5), st.integers(0, 60))
def test_a_bar_is_shared_out_whole_and_each_outcome_shows_where_there_is_room(counts: list[int], cells: int) -> None:
    given_out = share_out(counts, cells)
    assert sum(given_out) == (cells if sum(counts) else 0)
    present = sum(count > 0 for count in counts)
    if cells >= 2 * present:
        assert all(got > 0 for got, count in zip(given_out, counts, strict=True) if count)
    assert all(got == 0 for got, count in zip(given_out, counts, strict=True) if not count)


# --- the picture -----------------------------------------------------------------------------------------------------


@FEW
@given(st.lists(st.integers(1, 500), min_size=1, max_size=40), st.floats(1, 20), st.floats(1, 20))
def test_boxes_fill_the_box_by_size_and_do_not_overlap(sizes: list[int], width: float, height: float) -> None:
    sizes = sorted(sizes, reverse=True)
    boxes = squarify(sizes, Box(x=2, y=3, width=width, height=height))
    for size, box in zip(sizes, boxes, strict=True):
        assert box.width * box.height == pytest.approx(size / sum(sizes) * width * height)
        assert box.x >= 2 - 1e-6 and box.x + box.width <= 2 + width + 1e-6
        assert box.y >= 3 - 1e-6 and box.y + box.height <= 3 + height + 1e-6
    for at, one in enumerate(boxes):
        for other in boxes[at + 1 :]:
            across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
            down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
            assert min(across, down) < 1e-6


def test_equal_sizes_make_squares() -> None:
    assert {round(box.width / box.height, 6) for box in squarify([1] * 9, Box(x=0, y=0, width=6, height=6))} == {1.0}


# --- a lake ----------------------------------------------------------------------------------------------------------


def claim(number: int, topic_id: str, sample_id: str, run_id: str = "run1") -> ClaimRow:
    return replace(claim_row(sample_id, run_id, slot_id=f"slot{number}"), topic_id=topic_id)


def test_the_view_the_tree_and_the_picture_tell_the_same_of_a_lake(interlake: Interlake, tmp_path: Path) -> None:
    names = [("oaks", "trees"), ("firs", "trees"), ("owls", "birds"), ("$x_1$", "birds")]
    entries = [TopicEntry(name=name, category=category, domain="nature") for name, category in names]
    lake = make_lake(tmp_path / "lake", profile="fake", seed=1, topics=entries)
    oaks, owls = (query(lake, f"FROM topics WHERE name = '{name}'")["topic_id"][0] for name in ("oaks", "owls"))
    claims = [claim(n, oaks if n < 4 else owls, f"s{n}") for n in range(6)]
    commit(lake, package(start_row("run1"), *claims, kind="run"), run_id="run1")
    outcomes = ("kept", "rejected", "duplicate", "failed", "kept")
    made: list[Row] = [sample_row(f"s{n}", turns=1) for n in range(5)]
    made += [turn_row(f"s{n}", 1, picture=png(n)) for n in range(5)]
    decided = [decision_row(f"s{n}", outcome) for n, outcome in enumerate(outcomes)]
    commit(lake, package(*made, pictures=[png(n) for n in range(5)]), package(*decided, kind="decision"), run_id="run1")
    again = claim(0, oaks, "s0-again", "run2")
    commit(lake, package(start_row("run2"), again, kind="run"), run_id="run2")

    columns = ["domain", "category", "topics", "covered", "slots", "kept", "rejected", "duplicate", "failed", "open"]
    columns += ["templates_used", "template_entropy"]
    view = query(lake, "FROM coverage")
    assert view.columns == columns
    assert view.rows() == [
        ("nature", "birds", 2, 1, 2, 1, 0, 0, 0, 1, 1, 0.0),
        ("nature", "trees", 2, 1, 4, 0, 1, 1, 1, 1, 0, None),
    ], "slot 0 is another sample's now, and open"
    tree = read_coverage(lake.path, depth=2).filter(pl.col("depth") == 2)
    assert tree.select(columns).rows() == view.rows()
    before = query(lake, "FROM coverage_at(3) WHERE category = 'trees'")
    assert before["kept"].to_list() == [1]

    code, out, _ = interlake("topics", "coverage", "--lake", lake.path, "--json", "--depth", "1", "--under", "Nature")
    assert code == 0
    assert [(row["domain"], row["slots"], row["kept"]) for row in json.loads(out)] == [("nature", 6, 1)]
    for name in ("tree.svg", "tree.png"):
        code, out, _ = interlake("topics", "coverage", "--lake", lake.path, "--picture", tmp_path / name)
        assert code == 0
        assert "2/4" in out
    assert "nature" in "".join(ElementTree.parse(tmp_path / "tree.svg").getroot().itertext())
    with Image.open(tmp_path / "tree.png") as picture:
        assert picture.width > 1000
    table_again = read_coverage(lake.path, depth=2)
    assert draw_treemap(table_again, kind="svg") == (tmp_path / "tree.svg").read_bytes(), "equal bytes"
    assert len(read_templates()) > 8


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--under", "Animls"], "did you mean 'Animals'"),
        (["--picture", "/tmp/tree.gif"], "neither .svg nor .png"),
        (["--picture", "LAKE/tree.svg"], "lies in the lake"),
    ],
)
def test_what_cannot_be_covered_or_drawn_is_bad_input(
    interlake: Interlake, tmp_path: Path, options: list[str], said: str
) -> None:
    lake = make_lake(
        tmp_path / "lake", profile="fake", seed=1, topics=[TopicEntry(name="a", category="b", domain="Animals")]
    )
    words = [option.replace("LAKE", str(lake.path)) for option in options]
    code, _, err = interlake("topics", "coverage", "--lake", lake.path, *words)
    assert code == 2
    assert said in err
    assert not (lake.path / "tree.svg").exists()
