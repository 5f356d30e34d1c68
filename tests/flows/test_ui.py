"""What one sees of a build in the Prefect UI: live progress, a report, events; texts of models are text there."""

import json
import logging
import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image
from prefect import flow
from prefect.runtime import flow_run

from flows.asked import BuildOptions
from flows.build import build_lake
from flows.opening import open_build
from flows.progress import Progress
from flows.topics.catalogue import TopicEntry
from flows.ui.announcing import EVENT, announced_versions
from flows.ui.contact_sheet import contact_sheet
from flows.ui.escaping import as_text
from flows.ui.findings import Some, read_findings
from flows.ui.live import KEY, UIProgress, live_progress
from flows.ui.names import maintain_name, replay_name, rerun_name, rethreshold_name
from flows.ui.report import MOST_BYTES, write_report
from models.errors import ContentError
from storage.lake import Lake
from storage.query import query
from tests.faults.test_hostile_content import HOSTILE
from tests.flows.casts import Troupe, fake_lake, grow
from tests.flows.prefect_runs import read_run
from tests.flows.test_build import SameEncoder

ATTACKS = {
    "a picture": "<img src=x onerror=alert(1)>",
    "a script": "</td></tr></table><script>alert(1)</script>",
    "a link": "[x](javascript:alert(1)) ![y](http://evil.example/y.png) <http://evil.example> www.evil.example",
    "code": "`x` ```\ny``` | cell | another",
    "a heading": "\n# heading\n\n- item\n> quote\n---\n| a |\n|---|",
    "backslashes": "\\[x\\](y) \\| \\\\` \\",
    "entities": "&lt;b&gt; &#60;b&#62; &amp;",
    "emphasis": "**bold** __bold__ ~~gone~~ _x_ *y*",
    "marks of direction": "abc \u202egnp.exe\u202c",
    "controls": "a\x00b\x1b[31mc",
    **HOSTILE,
}
PARSER = MarkdownIt("commonmark", {"html": True, "linkify": False}).enable(["table", "strikethrough"])
PICTURE = re.compile(r'<img src="data:image/jpeg;base64,[A-Za-z0-9+/=]+" alt="the first pictures" */>')
FOUR = BuildOptions(new_topics=2, samples_per_topic=2, turns=1)


def shown(markdown: str) -> str:
    """Markdown as HTML, as CommonMark with tables has it."""
    return str(PARSER.render(markdown))


def tags(html: str) -> set[str]:
    return set(re.findall(r"<\s*(\w+)", html))


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_text_is_text_in_a_line_and_in_a_table(name: str) -> None:
    text = as_text(ATTACKS[name])
    assert "\n" not in text and text.isprintable()
    assert tags(shown(f"so {text}")) == {"p"}
    table = shown(f"| a | b |\n|---|---|\n| {text} | last |")
    assert tags(table) == {"table", "thead", "tbody", "tr", "th", "td"}
    assert table.count("<td>") == 2 and "<td>last</td>" in table


@given(st.text(max_size=300))
def test_any_text_stays_one_short_cell(text: str) -> None:
    cell = as_text(text, 40)
    table = shown(f"| a | b |\n|---|---|\n| {cell} | last |")
    assert table.count("<td>") == 2 and "<td>last</td>" in table
    assert tags(table) == {"table", "thead", "tbody", "tr", "th", "td"}


def test_a_long_text_is_shortened() -> None:
    assert as_text("word " * 1_000_000, 20) == "word word word word…"
    assert as_text("short") == "short"


def hostile_build(lake: Lake) -> str:
    """A run over topics that are attacks, some of whose samples fail with attacks for reasons; returns its id."""

    def fails(request: Any) -> Exception | None:
        heard = str(request.messages)
        return ContentError("<img src=x> | `x`", "no") if "HOME" in heard else None

    run = grow(lake.path, BuildOptions(new_topics=40, samples_per_topic=1, turns=1), Troupe(writer_fails=fails))
    return run.shop.run_id


def test_a_report_of_a_hostile_lake_is_a_page_of_text(tmp_path: Path) -> None:
    attacks = {name: text for name, text in ATTACKS.items() if text.isprintable()}
    topics = [TopicEntry(name=text, category="<b>", domain="[d](javascript:x)") for text in attacks.values()]
    lake = fake_lake(tmp_path / "lake", topics=topics)
    run_id = hostile_build(lake)
    page = write_report(read_findings(lake, run_id))
    assert len(page.encode()) < MOST_BYTES
    html, pictures = PICTURE.subn("", shown(page))
    assert pictures == 1
    assert "## Failed: 1 samples" in page
    assert tags(html) <= {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "a", "pre", "code"}
    assert re.findall(r'href="([^"]*)"', html) == [f"http://127.0.0.1:4280/runs/{run_id}"], "the gallery's, no other"
    assert f"<code>interlake gallery --lake {lake.path}" in html
    assert "javascript:alert" in html and "&lt;img src=x onerror=alert(1)&gt;" in html, "they are there, as text"


def test_a_report_tells_counts_topics_rounds_repeats_and_failures(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    first = grow(lake.path, FOUR, Troupe(encoder=SameEncoder())).shop.run_id
    page = write_report(read_findings(lake, first))
    assert page.startswith(f"# Build {first[:8]}: finished\n")
    assert "| 4 | 1 | 0 | 3 | 0 | 0 |" in page
    assert "## Kept: 1 samples" in page
    assert "## Topics: 2 new, 0 gone on with" in page
    assert "## Near-duplicates: 3 turns that repeat a kept one" in page
    assert page.count("| 1.0000 (from 0.95) | 1.0000 (from 0.85) |") == 3
    rounds = query(lake, "SELECT count(*) AS n FROM iterations WHERE stage = 'image' AND round = 0")["n"][0]
    assert f"| image | 0 | {rounds} |" in page
    assert "## Failed" not in page


def test_a_report_tells_what_the_run_did_to_each_category_and_what_is_left_there(tmp_path: Path) -> None:
    pets = [TopicEntry(name=name, category="Pets", domain="Animals") for name in ("cats", "dogs", "goldfish")]
    lake = fake_lake(tmp_path / "lake", topics=[*pets, TopicEntry(name="oaks", category="Trees", domain="Plants")])
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1, turns=1))
    second = BuildOptions(new_topics=2, samples_per_topic=2, turns=1)
    found = read_findings(lake, grow(lake.path, second, Troupe(encoder=SameEncoder())).shop.run_id)
    told = {row["category"]: row for row in found.categories.first}
    assert sum(row["kept"] + row["duplicate"] for row in told.values()) == 4
    assert {name: (row["topics"], row["untouched"]) for name, row in told.items()} == {"Pets": (3, 1), "Trees": (1, 0)}
    assert sum(row["kept_in_all"] for row in told.values()) == 1 + found.counts["kept"]
    page = write_report(found)
    assert "## Coverage: 2 categories touched" in page and "| 1 of 3 |" in page and "| 0 of 1 |" in page
    assert "## Coverage: 40 categories touched (the first 30)" in write_report(
        replace(found, categories=Some(count=40, first=list(found.categories.first) * 15))
    )


def test_a_report_of_much_stays_small(tmp_path: Path) -> None:
    long = [TopicEntry(name=f"{at} {'<|`[' * 40}"[:190], category="c" * 150, domain="d" * 150) for at in range(40)]
    lake = fake_lake(tmp_path / "lake", settings={"batch_size = 8": "batch_size = 40"}, topics=long)
    run = grow(lake.path, BuildOptions(new_topics=40, samples_per_topic=1, turns=1))
    found = read_findings(lake, run.shop.run_id)
    page = write_report(found)
    assert (found.topics.count, len(found.topics.first), len(found.pictures)) == (40, 30, 12)
    assert "## Topics: 40 new, 0 gone on with (the first 30)" in page
    assert len(page.encode()) < MOST_BYTES


def test_a_contact_sheet_is_as_small_as_asked(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    run = grow(lake.path, FOUR)
    pictures = read_findings(lake, run.shop.run_id).pictures
    whole = contact_sheet(pictures, most_bytes=1 << 20)
    assert whole is not None
    small = contact_sheet(pictures, most_bytes=len(whole) - 1)
    assert small is not None and len(small) < len(whole)
    (tmp_path / "sheet.jpg").write_bytes(small)
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert (sheet.format, sheet.size) == ("JPEG", (800, 200))
    assert contact_sheet(pictures, most_bytes=100) is None
    assert contact_sheet([], most_bytes=1 << 20) is None


def test_progress_that_cannot_be_shown_is_said_once_and_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def look() -> Progress:
        raise ConnectionError("nobody is there")

    with caplog.at_level(logging.WARNING, logger="interlake"):
        bar = UIProgress(look)
        bar.show()
        bar.show()
    assert [record.getMessage() for record in caplog.records] == [
        "the progress in the Prefect UI stands still: nobody is there"
    ]


def test_outside_of_a_flow_no_version_is_announced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lake = fake_lake(tmp_path / "lake")
    with announced_versions():
        assert grow(lake.path, FOUR).counts()["kept"] == 4
    assert caplog.records == []


def events_of(flow_run_id: str, server: str, *, least: int) -> list[dict[str, Any]]:
    """The events of versions that a flow run sent, oldest first, once there are so many."""
    about = {"id": [f"prefect.flow-run.{flow_run_id}"]}
    asked = {"filter": {"event": {"name": [EVENT]}, "any_resource": about, "order": "ASC"}}
    request = urllib.request.Request(
        f"{server}/events/filter", json.dumps(asked).encode(), {"content-type": "application/json"}
    )
    until = time.monotonic() + 30
    found: list[dict[str, Any]] = []
    while len(found) < least and time.monotonic() < until:
        time.sleep(0.2)
        with urllib.request.urlopen(request, timeout=20) as reply:
            found = json.load(reply)["events"]
    return found


def test_a_build_leaves_a_report_and_an_event_for_each_version(tmp_path: Path, prefect_server: str) -> None:
    lake = fake_lake(tmp_path / "lake", settings={"batch_size = 8": "batch_size = 2"})
    before = lake.version().number
    build_lake(lake=str(lake.path), new_topics=2, samples_per_topic=2, turns=1)
    run_id, flow_run_id = query(lake, "SELECT run_id, flow_run_id FROM runs").row(0)
    _, artifacts = read_run(flow_run_id, tasks=4)
    assert str(artifacts["build-report"].data).startswith(f"# Build {run_id[:8]}: finished\n")
    assert str(artifacts[KEY].description).startswith("made 4/4, ")
    assert " calls a second; committed 2/2 batches: 4 kept, " in str(artifacts[KEY].description)
    events = events_of(flow_run_id, prefect_server, least=4)
    payloads = [event["payload"] for event in events]
    chain = [lake.version(number) for number in range(before + 1, lake.version().number + 1)]
    assert [(told["version"], told["sha256"]) for told in payloads] == [(each.number, each.sha256) for each in chain]
    assert {told["run_id"] for told in payloads} == {run_id}
    assert [told["outcomes"] for told in payloads] == [{}, {"kept": 2}, {"kept": 2}, {}]
    assert payloads[1]["rows"]["samples"] == 2


def test_progress_moves_while_a_batch_is_being_made(tmp_path: Path, prefect_server: str) -> None:  # noqa: ARG001
    lake = fake_lake(tmp_path / "lake")
    seen: list[str] = []

    def look(flow_run_id: str) -> Iterator[str]:
        _, artifacts = read_run(flow_run_id, tasks=0)
        if KEY in artifacts:
            yield str(artifacts[KEY].description)

    @flow(name="one slow batch")
    def build() -> None:
        with open_build(lake.path, FOUR, studio=Troupe(latency=0.15)) as run, live_progress(run, every=0.1):
            making = threading.Thread(target=run.make, args=(0,))
            making.start()
            while making.is_alive():
                seen.extend(look(str(flow_run.id)))
                time.sleep(0.05)
            making.join()
            run.commit(0)

    build()
    assert all("committed 0/1" in text for text in seen)
    calls = [int(found[1]) for text in seen if (found := re.search(r"(\d+) calls in", text))]
    assert len(set(calls)) > 2, "it was told several times before anything was committed"
    assert any(", about " in text for text in seen) or any("not known yet" in text for text in seen)


def test_names_of_runs_tell_what_and_how_much() -> None:
    nothing: dict[str, Any] = {"samples": (), "topics": (), "runs": (), "outcomes": (), "retire": False, "lake": "L"}
    assert rerun_name(nothing) == "rerun all slots in L"
    some = nothing | {"topics": ["a", "b", "c", "d"], "outcomes": ("kept",), "retire": True}
    assert rerun_name(some) == "rerun slots with topics a, b, c and 1 more, outcomes kept in L, then retire old samples"
    none = {"image": None, "text": None, "policy": None, "lake": "L"}
    assert rethreshold_name(none) == "rethreshold L to its settings"
    assert rethreshold_name(none | {"image": 0.97, "policy": "image"}) == "rethreshold L to image 0.97, policy image"
    assert maintain_name({"lake": "L", "retire_after_days": None}) == "maintain L"
    assert maintain_name({"lake": "L", "retire_after_days": 7.0}) == "maintain L, retire after 7 days"
    asked = {"lake": "L", "version": 12, "since": 3, "run": None, "sample": "12ab"}
    assert replay_name(asked) == "replay L after version 3 up to version 12, sample 12ab"
