"""The report on near-duplicates: its numbers against the lake's own decisions, its page, its labels, its folder."""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dedup.decide import Thresholds
from dedup.nearness import Measured
from flows.asked import BuildOptions
from flows.nearness.decided import STATES, decided_turns, read_rules
from flows.nearness.examples import Example, ShownTurn
from flows.nearness.findings import Findings, NearPairs
from flows.nearness.page import render_page
from flows.nearness.precision import Rate, draw_curves
from flows.nearness.report import Asked, make_report
from flows.topics.catalogue import TopicEntry
from models.embedding import Embedding, EmbedRequest
from models.fakes import FakeEncoder
from storage.lake import Lake
from storage.query import query
from tests.flows.casts import Troupe, fake_lake, grow
from tests.flows.conftest import Interlake

HOSTILE = '<script>alert("1")</script> & "barns"'
TOPICS = [TopicEntry(name=name, category="c", domain="d") for name in ("owls", "boats", "kites", "tea", HOSTILE)]


class ClusterEncoder(FakeEncoder):
    """An encoder whose vectors lie in two clusters, some near the middle and some far."""

    async def embed(self, request: EmbedRequest) -> Embedding:
        own = (await super().embed(request)).vector.astype(np.float64)
        pick = int(abs(own[0]) * 1e6)
        loose = np.eye(len(own))[pick % 2] + own * (0.02, 0.3, 0.45, 0.9)[pick // 2 % 4]
        return Embedding(vector=(loose / np.linalg.norm(loose)).astype(np.float32))


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Twenty samples of two turns, some of them repeats: a whole sample, and turns of kept ones."""
    path = tmp_path_factory.mktemp("report") / "lake"
    made = fake_lake(path, seed=2, topics=TOPICS)
    grow(path, BuildOptions(new_topics=5, samples_per_topic=4, turns=2), Troupe(encoder=ClusterEncoder()))
    return made


@pytest.fixture(scope="module")
def reported(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with six pairs a side; not to be changed."""
    out = tmp_path_factory.mktemp("reported") / "report"
    make_report(lake.path, out, Asked(near=0.05, pairs=6))
    return out


class Links(HTMLParser):
    """What a page refers to, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]


def test_the_numbers_are_those_of_the_lakes_own_decisions(lake: Lake, interlake: Interlake, tmp_path: Path) -> None:
    code, out, err = interlake("dedup", "report", "--lake", lake.path, "--out", tmp_path / "report", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    flagged = "select count(*) from duplicates join samples using (sample_id) where samples.outcome = 'kept'"
    dropped = "select coalesce(sum(turns), 0)::bigint from samples where outcome = 'duplicate'"
    repeats = query(lake, "select count(*) from duplicates").item()
    assert found["states"]["dropped"] == query(lake, dropped).item() > 0
    assert found["states"]["flagged"] == query(lake, flagged).item() > 0
    assert found["turns"] == sum(found["states"].values()) == 40
    assert list(found["states"]) == list(STATES)
    assert found["repeats"] >= repeats
    assert found["near_pairs"]["image"]["repeats"] == found["near_pairs"]["text"]["repeats"] == found["repeats"]
    assert found["thresholds"] == {"image": 0.95, "text": 0.85, "policy": "both"}


def test_the_nearest_of_a_repeat_reaches_the_thresholds_and_that_of_a_kept_turn_does_not(lake: Lake) -> None:
    from dedup.nearness import measure

    rules = read_rules(lake, lake.version())
    with decided_turns(lake, lake.version(), rules.encoder) as decided:
        nearest = measure(decided.turns, rules.thresholds, near=0.05, examples=5).by_policy
        states = decided.rows["state"].to_list()
        reached = [
            rules.thresholds.are_reached(image=image, text=text)
            for image, text in zip(nearest.images.tolist(), nearest.texts.tolist(), strict=True)
        ]
    assert reached == [state != "kept" for state in states]


def test_the_page_refers_to_nothing_but_its_own_files(reported: Path) -> None:
    out = reported
    page = (out / "index.html").read_text(encoding="utf-8")
    links = Links(page)
    assert "script" not in links.tags
    assert links.found
    assert [link for link in links.found if not (out / link).is_file()] == []
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files == {"report.json", "index.html", *links.found}
    assert page.count("<article") == 12
    assert re.search(r"interlake show [0-9a-f]{32}<", page)
    for path in out.glob("*.png"):
        with Image.open(path) as image:
            assert min(image.size) > 300


def test_what_models_wrote_is_escaped() -> None:
    turn = ShownTurn(
        sample_id="ab" * 16,
        turn=1,
        topic=HOSTILE,
        question="{{ 7 * 7 }}<img src=https://example.org/x onerror=a()>",
        caption='" onload="a()',
        image_sha256="0" * 64,
        licence="<b>",
        decided="kept",
    )
    findings = Findings(
        version=1,
        encoder="<i>",
        thresholds=Thresholds(image=0.9, text=0.9),
        near=0.05,
        states=dict.fromkeys(STATES, 1),
        near_pairs=dict.fromkeys(("image", "text"), NearPairs(repeats=0, others=0)),
        repeats=0,
        beyond=0,
        short=1,
        labelled=0,
        curves=(),
    )
    page = render_page(findings, [], [Example(newer=turn, kept=turn, image=0.5, text=0.5, away=-0.4)])
    links = Links(page)
    assert links.tags & {"script", "i", "onload"} == set()
    assert "{{ 7 * 7 }}&lt;img src=https://example.org/x" in page
    assert all(re.fullmatch(r"[\w/.-]+", link) for link in links.found)
    assert 'alt="&#34; onload=&#34;a()"' in page


def test_a_lake_without_decided_turns_has_a_page_that_says_so(interlake: Interlake, tmp_path: Path) -> None:
    fake_lake(tmp_path / "lake", topics=TOPICS)
    code, out, _ = interlake("dedup", "report", "--lake", tmp_path / "lake", "--out", tmp_path / "report")
    assert code == 0
    assert "no turn has been decided" in out
    page = (tmp_path / "report" / "index.html").read_text()
    assert "there is nothing to draw" in page
    assert "<img" not in page


def test_a_lake_without_a_pair_is_no_failure(interlake: Interlake, tmp_path: Path) -> None:
    fake_lake(tmp_path / "lake", topics=TOPICS)
    grow(tmp_path / "lake", BuildOptions(new_topics=1, samples_per_topic=1, turns=2))
    code, out, _ = interlake("dedup", "report", "--lake", tmp_path / "lake", "--out", tmp_path / "report")
    assert (code, "turns decided: 2" in out) == (0, True)
    assert (tmp_path / "report" / "distribution.png").exists()


def test_an_earlier_version_is_reported_as_it_stood(lake: Lake, interlake: Interlake, tmp_path: Path) -> None:
    words = ("dedup", "report", "--lake", lake.path, "--out", tmp_path / "report", "--json")
    found = json.loads(interlake(*words, "--version", 3)[1])
    assert (found["version"], found["turns"]) == (3, 16)
    code, _, err = interlake(*words, "--version", 99)
    assert (code, "99" in err) == (2, True)


# Labels


def labels_file(lake: Lake, path: Path, rows: list[str] | None = None) -> Path:
    """A CSV that calls the pairs of the lake's own decisions the same, and first turns of others not."""
    pairs = query(lake, "select sample_id, turn, kept_sample_id, kept_turn from duplicates order by all").rows()
    kept = query(lake, "select sample_id from samples where outcome = 'kept' order by all")["sample_id"].to_list()
    lines = [f"{a},{turn},{b},{other},{'yes' if place % 2 else 1}" for place, (a, turn, b, other) in enumerate(pairs)]
    lines += [f"{a[:12]},1,{b},1,no" for a, b in pairwise(kept)]
    path.write_text("\n".join(["sample_a,turn_a,sample_b,turn_b,same", *(lines if rows is None else rows)]) + "\n")
    return path


def test_labels_give_precision_and_recall_by_threshold(lake: Lake, interlake: Interlake, tmp_path: Path) -> None:
    file, out = labels_file(lake, tmp_path / "labels.csv"), tmp_path / "report"
    code, said, _ = interlake("dedup", "report", "--lake", lake.path, "--out", out, "--labels", file)
    assert code == 0
    assert said.count("best F1") == 3
    with (out / "precision_recall.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    used = next(row for row in rows if row["by"] == "policy" and row["in_use"] == "1")
    assert (float(used["threshold"]), float(used["recall"])) == (0.0, 1.0)
    assert int(used["true_positives"]) == query(lake, "select count(*) from duplicates").item()
    assert {row["by"] for row in rows if row["best"] == "1"} == {"image", "text", "policy"}
    assert all(float(row["recall_low"]) <= float(row["recall"]) <= float(row["recall_high"]) for row in rows)
    page = (out / "index.html").read_text()
    assert "precision_recall.png" in page
    assert "precision_recall.csv" in page


def bad_rows(lake: Lake) -> Iterator[tuple[str, str]]:
    """A row that cannot be used, and what is said of it."""
    a, b = query(lake, "select sample_id from samples where outcome = 'kept' order by all limit 2")["sample_id"]
    yield f"{a},1,{b},1,maybe", "'maybe'"
    yield f"{a},one,{b},1,1", "'one'"
    yield f"{a},9,{b},1,1", "no turn 9"
    yield f"{a},1,{b},1", "4 cells"
    yield f"{a},1,{a},1,1", "itself"
    yield f"ffffffff,1,{b},1,1", "ffffffff"
    yield f"'; drop,1,{b},1,1", "not a sample id"
    yield f'{a},1,"{b}"x,1,1', "plain CSV"
    yield f"{b},1,{a},1,0", "earlier line"


def test_a_bad_label_is_one_sentence_with_its_line_and_nothing_is_written(
    lake: Lake, interlake: Interlake, tmp_path: Path
) -> None:
    a, b = query(lake, "select sample_id from samples where outcome = 'kept' order by all limit 2")["sample_id"]
    for row, said in bad_rows(lake):
        file = labels_file(lake, tmp_path / "labels.csv", [f"{a},1,{b},1,1", row])
        words = ("--lake", lake.path, "--out", tmp_path / "report", "--labels", file)
        code, out, err = interlake("dedup", "report", *words)
        assert (code, out) == (2, "")
        assert "line 3" in err and said in err and err.count("\n") == 1, (row, err)
        assert [path.name for path in tmp_path.iterdir()] == ["labels.csv"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "line 1: the column sample_a"),
        (b"sample_a,turn_a,sample_b,turn_b,same\n", "no pair"),
        (b"sample_a,turn_a,sample_b,same\n", "line 1: the column turn_b"),
        (b"\xff\xfe", "no text in UTF-8"),
    ],
)
def test_a_file_that_is_no_table_of_labels_is_refused(
    lake: Lake, interlake: Interlake, tmp_path: Path, data: bytes, said: str
) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes(data)
    code, _, err = interlake("dedup", "report", "--lake", lake.path, "--out", tmp_path / "r", "--labels", file)
    assert (code, said in err) == (2, True), err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("hits", "cases", "low", "high"), [(81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
)
def test_wilsons_interval_is_that_of_the_literature(hits: int, cases: int, low: float, high: float) -> None:
    """Newcombe (1998), Two-sided confidence intervals for the single proportion, table I."""
    rate = Rate.of(hits, cases)
    assert rate.low == pytest.approx(low, abs=1e-4)
    assert rate.high == pytest.approx(high, abs=1e-4)
    assert Rate.of(0, 0) == Rate(share=None, low=None, high=None)


def test_labels_that_are_all_no_have_no_recall_and_no_best() -> None:
    places, values = np.arange(2), np.array([0.5, 0.9])
    pairs = Measured(rows=places, keepers=places, images=values, texts=values)
    for curve in draw_curves(pairs, [False, False], Thresholds(image=0.8, text=0.8)):
        assert curve.best is None
        assert {point.recall.share for point in curve.points} == {None}
    for curve in draw_curves(pairs, [False, True], Thresholds(image=0.8, text=0.8)):
        assert curve.best is not None
        assert (curve.best.f1, curve.used.f1) == (1.0, 1.0)


def test_what_is_shown_of_a_curve_begins_where_a_threshold_begins_to_miss_something() -> None:
    places, values = np.arange(4), np.array([0.1, 0.5, 0.7, 0.9])
    pairs = Measured(rows=places, keepers=places, images=values, texts=values)
    curve = draw_curves(pairs, [False, False, True, True], Thresholds(image=0.8, text=0.8))[0]
    assert [point.threshold for point in curve.points] == [0.1, 0.5, 0.7, 0.8, 0.9]
    assert [point.threshold for point in curve.telling()] == [0.7, 0.8, 0.9]


# The folder


def test_a_report_takes_the_place_of_an_earlier_one(
    lake: Lake, reported: Path, interlake: Interlake, tmp_path: Path
) -> None:
    out = shutil.copytree(reported, tmp_path / "report")
    before = (out / "distribution.png").read_bytes()
    assert interlake("dedup", "report", "--lake", lake.path, "--out", out, "--pairs", 0)[0] == 0
    assert not (out / "pictures").exists()
    assert (out / "distribution.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


@pytest.mark.parametrize("name", ["notes.txt", "report.json"])
def test_a_folder_with_anything_else_is_left_alone(lake: Lake, interlake: Interlake, tmp_path: Path, name: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("{}")
    code, _, err = interlake("dedup", "report", "--lake", lake.path, "--out", tmp_path / "mine")
    assert (code, f"holds {name}" in err) == (2, True), err
    assert (tmp_path / "mine" / name).read_text() == "{}"


def test_a_report_with_a_file_of_ones_own_is_left_alone(
    lake: Lake, reported: Path, interlake: Interlake, tmp_path: Path
) -> None:
    out = shutil.copytree(reported, tmp_path / "report")
    (out / "pictures" / "mine.png").write_bytes(b"")
    code, _, err = interlake("dedup", "report", "--lake", lake.path, "--out", out)
    assert (code, "pictures/mine.png" in err) == (2, True)


def test_no_report_is_written_into_a_lake_a_file_or_a_link(lake: Lake, interlake: Interlake, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for out in (lake.path / "report", tmp_path / "file", tmp_path / "link"):
        code, _, err = interlake("dedup", "report", "--lake", lake.path, "--out", out)
        assert (code, str(out) in err) == (2, True), err
    assert not (lake.path / "report").exists()


def test_a_report_that_cannot_be_finished_leaves_nothing_and_the_earlier_one(
    lake: Lake, reported: Path, interlake: Interlake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(reported, tmp_path / "report")
    before = (out / "report.json").read_bytes()

    def fail(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flows.nearness.report.render_page", fail)
    assert interlake("dedup", "report", "--lake", lake.path, "--out", out, "--pairs", 3)[0] == 2
    assert (out / "report.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
