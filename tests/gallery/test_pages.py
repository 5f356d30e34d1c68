"""Every page of the gallery over a real lake: what it shows, what it lists, where it leads."""

import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from flows.gallery import choice as choices
from flows.gallery import coverage, duplicates, reviewing, samples, versions
from flows.gallery.choice import Choice, read_page
from flows.gallery.coverage import cover_shown
from flows.gallery.page import plain
from flows.gallery.pictures import Thumbnails
from flows.gallery.projection import project
from flows.gallery.snapshot import SCORES, Shelf, Snapshot
from flows.gallery.worddiff import diff_words
from flows.review.answering import Said, answer
from flows.review.questions import open_questions
from flows.standing import read_coverage
from storage.lake import Lake
from storage.query import query
from tests.gallery.conftest import open_gallery
from tests.gallery.lakes import HOSTILE
from tests.gallery.pages import Page

PATHS = ("/", "/dropped", "/duplicates", "/review", "/coverage", "/map", "/runs", "/versions", "/versions/diff?a=1&b=4")


def page_of(gallery: TestClient, path: str) -> Page:
    answer = gallery.get(path)
    assert answer.status_code == 200, f"{path}: {answer.text[:400]}"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Page(answer.text)


def kept_sample(lake: Lake) -> str:
    return str(query(lake, "SELECT min(sample_id) FROM samples WHERE outcome = 'kept'").item())


def every_path(lake: Lake) -> Iterator[str]:
    yield from PATHS
    chosen = "SELECT min(sample_id) FROM samples GROUP BY outcome UNION SELECT max(sample_id) FROM samples"
    yield from (f"/sample/{sample_id}" for (sample_id,) in query(lake, chosen).iter_rows())
    yield from (f"/sample/{kept_sample(lake)}/{view}" for view in ("near", "near?by=text", "why"))
    yield f"/runs/{query(lake, 'SELECT min(run_id) FROM runs').item()}"
    yield "/coverage?under=Animals"
    yield "/coverage?under=Animals/group 0"


@pytest.fixture(scope="module")
def pages(gallery: TestClient, shown: Lake) -> dict[str, Page]:
    """Every page there is, by its address."""
    return {path: page_of(gallery, path) for path in every_path(shown)}


def test_every_page_is_whole_and_takes_nothing_from_elsewhere(pages: dict[str, Page]) -> None:
    for path, page in pages.items():
        assert page.open == [], path
        assert {"style"} & {tag for tag, _ in page.tags} == set(), path
        assert [each for each in page.all("script") if set(each) != {"src", "defer"}] == [], path
        for tag, attributes in page.tags:
            assert "style" not in attributes, f"{path}: {tag}"
            assert not [name for name in attributes if name.startswith("on")], f"{path}: {tag}"
            for name in ("src", "href", "action", "srcset"):
                assert attributes.get(name, "/").startswith(("/", "#")), f"{path}: {tag} {attributes}"
                assert not attributes.get(name, "/").startswith("//"), f"{path}: {tag} {attributes}"


def test_every_picture_has_room_and_words_and_every_field_a_label(pages: dict[str, Page]) -> None:
    for path, page in pages.items():
        assert [each for each in page.all("img") if not {"width", "height", "alt"} <= set(each)] == [], path
        fields = [each for each in page.all("input") if each.get("type") != "hidden"] + page.all("select")
        assert len(page.all("label")) == len(fields), path
        assert len(page.all("h1")) == 1, path


def test_hostile_texts_are_text_on_every_page(pages: dict[str, Page]) -> None:
    texts = ""
    for path, page in pages.items():
        assert {"iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags} == set(), path
        assert [each for each in page.all("script") if each["src"] != "/static/gallery.js"] == [], path
        assert "\u202e" not in page.text and "\u200b" not in page.text
        texts += page.text
    for attack in HOSTILE[:5]:
        assert attack in texts, "it is there, as text"
    assert "\\u202e" in texts


# Samples


def test_the_grid_has_every_sample_with_its_picture_and_outcome(gallery: TestClient, shown: Lake) -> None:
    page = page_of(gallery, "/")
    known = query(shown, "SELECT sample_id FROM samples")["sample_id"].to_list()
    assert sorted(page.samples()) == sorted(known)
    assert f"{len(known)} samples" in page.text
    assert sum(each["src"].startswith("/thumbnail/") for each in page.all("img")) >= len(known) - 2


@pytest.fixture(scope="module")
def snapshot(shown: Lake) -> Snapshot:
    return Snapshot(shown)


@pytest.mark.parametrize("sort", list(choices.SORTS))
@pytest.mark.parametrize("size", [1, 5])
def test_pages_forth_and_back_have_each_sample_once(shown: Lake, snapshot: Snapshot, sort: str, size: int) -> None:
    chosen = Choice(sort=sort)
    whole = [card["sample_id"] for card in read_page(snapshot, chosen, limit=1000).cards]
    assert sorted(whole) == sorted(query(shown, "SELECT sample_id FROM samples")["sample_id"].to_list())
    forth: list[str] = []
    page = read_page(snapshot, chosen, limit=size)
    assert page.before is None
    while True:
        forth += [card["sample_id"] for card in page.cards]
        if page.after is None or len(forth) > len(whole):
            break
        page = read_page(snapshot, chosen, after=page.after, limit=size)
    assert forth == whole
    back = [card["sample_id"] for card in page.cards]
    while page.before and len(back) <= len(whole):
        page = read_page(snapshot, chosen, before=page.before, limit=size)
        back = [card["sample_id"] for card in page.cards] + back
    assert back == whole


def test_pages_are_linked_and_keep_the_filters(
    gallery: TestClient, shown: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "read_page", lambda *args, **more: read_page(*args, **more, limit=3))
    found: list[str] = []
    path: str | None = "/?outcome=kept&sort=topic"
    while path:
        assert "outcome=kept" in path and "sort=topic" in path
        page = page_of(gallery, path)
        found += page.samples()
        path = page.relation("next")
    kept = query(shown, "SELECT sample_id FROM samples WHERE outcome = 'kept'")["sample_id"].to_list()
    assert sorted(found) == sorted(kept) and len(found) > 3


FILTERS: dict[str, tuple[dict[str, Any], str]] = {
    "outcome": ({"outcome": "duplicate"}, "outcome = 'duplicate'"),
    "dropped": ({"outcome": "dropped"}, "outcome IN ('duplicate', 'failed', 'rejected')"),
    "reason": ({"reason": "blank_picture"}, "reason = 'blank_picture'"),
    "domain": ({"domain": "Animals"}, "domain = 'Animals'"),
    "category": ({"domain": "Animals", "category": "group 2"}, "domain = 'Animals' AND category = 'group 2'"),
    "topic": ({"topic": "NO. 4"}, "name LIKE '%no. 4%'"),
    "versions": ({"version_from": "3", "version_to": "4"}, "samples.version BETWEEN 3 AND 4"),
    "both": ({"domain": "Animals", "outcome": "kept"}, "domain = 'Animals' AND outcome = 'kept'"),
    "text": (
        {"q": "Teapot evening"},
        """(name LIKE '%teapot%' OR sample_id IN (
            SELECT sample_id FROM turns WHERE lower(question || answer || caption) LIKE '%teapot%'))
        AND sample_id IN (SELECT sample_id FROM turns WHERE lower(question || answer || caption) LIKE '%evening%')""",
    ),
    "hostile": ({"topic": "<script>"}, "name LIKE '%<script>%'"),
    "rounds": (
        {"rounds": "3"},
        "sample_id IN (SELECT sample_id FROM iterations GROUP BY sample_id HAVING max(round) = 3)",
    ),
    "score": (
        {"its": "2.5"},
        "sample_id IN (SELECT sample_id FROM verdicts WHERE stage IS NULL GROUP BY sample_id HAVING avg(its) >= 2.5)",
    ),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_shows_what_sql_says(gallery: TestClient, shown: Lake, name: str) -> None:
    values, where = FILTERS[name]
    answer = gallery.get("/", params=values)
    sql = f"SELECT sample_id FROM samples JOIN topics USING (topic_id) WHERE {where}"
    expected = query(shown, sql)["sample_id"].to_list()
    everything = query(shown, "SELECT count(*) FROM samples").item()
    assert sorted(Page(answer.text).samples()) == sorted(expected)
    assert 0 < len(expected) < everything


def test_a_run_is_a_filter_and_nothing_found_is_said(gallery: TestClient, shown: Lake) -> None:
    run_id = query(shown, "SELECT run_id FROM runs WHERE kind = 'build' ORDER BY started_at").item(1, 0)
    assert len(page_of(gallery, f"/?run={run_id[:8]}").samples()) == 2
    assert "No sample is like this" in page_of(gallery, "/?q=nothing+says+this").text


@pytest.mark.parametrize(
    "path",
    ["/?outcome=good", "/?sort=upwards", "/?rounds=many", "/?its=high", "/?run=zz", "/?after=x",
     "/?after=x~" + 32 * "0", "/duplicates?after=1", "/duplicates?side=left", "/versions?before=x",
     "/versions/diff?a=1", "/coverage?under=Nowhere", "/coverage?from=99999", "/coverage?from=" + 5000 * "9",
     "/review?after=" + 5000 * "9", "/review?after=" + 5000 * "9" + "~" + 32 * "0" + ":1",
     "/review?after=1~" + 32 * "0" + ":" + 5000 * "9", "/?after=" + 50 * "9" + "~" + 32 * "0",
     "/?sort=rounds&before=-" + 50 * "9" + "~" + 32 * "0", "/?after=" + 5000 * "9" + "~" + 32 * "0"],
)  # fmt: skip
def test_an_address_that_makes_no_sense_is_refused_in_words(gallery: TestClient, path: str) -> None:
    answer = gallery.get(path)
    assert answer.status_code == 400 and "400" in Page(answer.text).text


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/sample/zz", "/sample/" + 32 * "0", "/sample/..%2f..%2fetc", "/sample/" + 32 * "g" + "/why",
     "/runs/" + 32 * "0", "/runs/x", "/picture/" + 64 * "0", "/picture/abc", "/thumbnail/../lake.json",
     "/thumbnail/" + 64 * "F", "/static/../app.py", "/static/%2e%2e/page.py", "/versions/diff?a=99&b=1"],
)  # fmt: skip
def test_what_is_not_there_is_not_found(gallery: TestClient, path: str) -> None:
    assert gallery.get(path).status_code == 404


# A sample


def test_a_sample_is_shown_with_dialogue_rounds_changes_calls_and_commands(gallery: TestClient, shown: Lake) -> None:
    name = kept_sample(shown)
    page = page_of(gallery, f"/sample/{name}")
    turns = query(shown, f"SELECT question, answer, caption FROM turns WHERE sample_id = '{name}'")
    for text in turns.unpivot()["value"]:
        assert str(text)[:40] in page.text
    critiques = query(shown, f"SELECT critique FROM iterations WHERE sample_id = '{name}' AND critique IS NOT NULL")
    assert critiques.height and all(text[:30] in page.text for text in critiques["critique"])
    assert page.all("ins") and page.all("del")
    seeds = query(shown, f"SELECT seed FROM calls WHERE sample_id = '{name}' AND seed IS NOT NULL")["seed"]
    assert len(seeds) and all(str(seed) in page.text for seed in seeds)
    assert "fake-chat" in page.text
    for command in ("replay --sample", "regenerate --sample", "why", "show", "similar"):
        assert f"interlake {command} {name} --lake {shown.path}" in page.text
    rounds = query(shown, f"SELECT count(*) FROM iterations WHERE sample_id = '{name}'").item()
    assert page.text.count("Round ") == rounds


def test_neighbours_keep_the_list_that_was_come_from(gallery: TestClient) -> None:
    listed = page_of(gallery, "/?sort=topic&outcome=kept").samples()
    page = page_of(gallery, f"/sample/{listed[1]}?sort=topic&outcome=kept")
    before, after = page.relation("prev"), page.relation("next")
    assert before and before.startswith(f"/sample/{listed[0]}?") and "outcome=kept" in before
    assert after and after.startswith(f"/sample/{listed[2]}?") and "sort=topic" in after
    assert page.relation("up") == "/?outcome=kept&sort=topic"


def test_a_dropped_sample_keeps_the_list_of_dropped_ones_on_all_its_views(gallery: TestClient) -> None:
    page = page_of(gallery, "/dropped?outcome=duplicate")
    link = next(each for each in page.links() if each.startswith("/sample/"))
    assert link.endswith("?outcome=duplicate")
    sample = page_of(gallery, link)
    assert sample.relation("up") == "/?outcome=duplicate"
    views = [each for each in sample.links() if each.startswith(link.partition("?")[0])][:3]
    assert [each.partition("?")[0].rpartition("/")[2] for each in views[1:]] == ["near", "why"]
    assert all(each.endswith("?outcome=duplicate") for each in views)
    for view in views[1:]:
        back = [each for each in page_of(gallery, view).links() if each.startswith("/sample/")]
        assert back[0] == link


def test_the_form_of_filters_holds_what_is_chosen(gallery: TestClient) -> None:
    chosen = gallery.get("/?outcome=dropped&reason=blank_picture").text
    assert '<option value="dropped" selected>' in chosen and '<option value="blank_picture" selected>' in chosen


def test_the_first_digits_lead_to_a_sample(gallery: TestClient, shown: Lake) -> None:
    name = kept_sample(shown)
    assert gallery.get(f"/sample/{name[:10]}").headers["location"] == f"/sample/{name}"


def test_near_turns_come_with_pictures_and_similarities(gallery: TestClient, shown: Lake) -> None:
    page = page_of(gallery, f"/sample/{kept_sample(shown)}/near")
    assert len(page.samples()) > 4 and kept_sample(shown) not in page.samples()
    assert "what it was compared with" in page_of(gallery, f"/sample/{kept_sample(shown)}/why").text


# The other pages


def test_dropped_samples_are_shown_with_reason_and_evidence(gallery: TestClient, shown: Lake) -> None:
    page = page_of(gallery, "/dropped")
    dropped_ones = query(shown, "SELECT sample_id FROM samples WHERE outcome NOT IN ('kept', 'open')")["sample_id"]
    assert {re.split(r"[/?]", link)[2] for link in page.links() if link.startswith("/sample/")} >= set(dropped_ones)
    assert "3 attempts: all one colour" in page.text and "blank picture" in page.text
    assert "repeats turn" in page.text
    failed = page_of(gallery, "/dropped?outcome=failed&reason=blank_picture")
    assert "2 samples for blank picture" in failed.text and "all turns duplicate" not in failed.text


def test_pairs_come_by_how_near_they_are_to_the_thresholds(
    gallery: TestClient, shown: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "LIMIT", 4)
    count = query(shown, "SELECT (SELECT count(*) FROM duplicates) + (SELECT count(*) FROM near_misses)").item()
    away: list[float] = []
    path: str | None = "/duplicates"
    while path:
        page = page_of(gallery, path)
        away += [float(found) for found in re.findall(r"([\d.]+) (?:beyond|short of) the thresholds", page.text)]
        path = page.relation("next")
    assert len(away) == count and away == sorted(away)
    assert "comes near" not in page_of(gallery, "/duplicates?side=beyond").text
    assert "repeats" not in page_of(gallery, "/duplicates?side=short").text.partition("Just short")[2]


def test_coverage_goes_down_from_domains_to_topics(gallery: TestClient) -> None:
    page = page_of(gallery, "/coverage")
    assert "/coverage?under=Animals" in page.links() and HOSTILE[0] in page.text
    below = page_of(gallery, "/coverage?under=Animals")
    assert "/coverage?under=Animals%2Fgroup+0" in below.links()
    topics = page_of(gallery, "/coverage?under=Animals/group 0")
    assert [link for link in topics.links() if link.startswith("/?domain=Animals&category=group+0&topic=")]


def test_coverage_has_pages_with_each_branch_once(gallery: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def branches(page: Page) -> list[str]:
        return [link for link in page.links() if link.startswith("/coverage?under=")]

    whole = set(branches(page_of(gallery, "/coverage")))
    monkeypatch.setattr(coverage, "LIMIT", 2)
    path: str | None = "/coverage?from=2"
    seen: list[str] = []
    while path:
        page = page_of(gallery, path)
        seen += branches(page)
        path = page.relation("next")
    first = page_of(gallery, page_of(gallery, "/coverage?from=2").relation("prev") or "")
    assert len(seen) == len(set(seen)) == 3 and set(seen) < whole
    assert first.relation("next") == "/coverage?from=2" and first.relation("prev") is None


@pytest.mark.parametrize("under", ["", "Animals", "Animals/group 0"])
def test_coverage_from_the_history_is_that_from_the_packages(shown: Lake, under: str) -> None:
    assert cover_shown(Snapshot(shown), depth=3, under=under).equals(read_coverage(shown.path, depth=3, under=under))


def test_the_map_has_a_point_for_every_turn_with_vectors(gallery: TestClient, shown: Lake) -> None:
    points = gallery.get("/map/points.json").json()
    count = query(shown, "SELECT count(*) FROM embeddings").item()
    assert len(points["x"]) == len(points["y"]) == len(points["sample_id"]) == count
    assert all(0 <= value <= 1 for value in points["x"] + points["y"])
    for field in points["fields"].values():
        assert sum(field["counts"]) == len(field["values"]) == count
        assert max(field["values"]) < len(field["names"])
    outcome = points["fields"]["outcome"]
    shown_as = [outcome["names"][value] for value in outcome["values"]]
    known = dict(query(shown, "SELECT sample_id, outcome FROM samples").iter_rows())
    assert shown_as == [known[name] for name in points["sample_id"]]


def test_runs_add_up_and_lead_to_what_they_asked(gallery: TestClient, shown: Lake) -> None:
    page = page_of(gallery, "/runs")
    assert "8 kept, 4 duplicate" in page.text and "2 failed" in page.text
    assert "Scores by round of the image stage" in page.text
    run_id = query(shown, "SELECT run_id FROM runs WHERE kind = 'build' ORDER BY started_at").item(0, 0)
    run = page_of(gallery, f"/runs/{run_id}")
    assert "8 kept + 0 rejected + 4 duplicate + 0 failed + 0 open = 12" in " ".join(run.text.split())
    assert "fake-painter" in run.text


def test_versions_are_listed_and_compared(gallery: TestClient, shown: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = query(shown, "SELECT version FROM versions ORDER BY version DESC")["version"].to_list()
    monkeypatch.setattr(versions, "LIMIT", 3)
    seen: list[int] = []
    path: str | None = "/versions"
    while path:
        page = page_of(gallery, path)
        seen += [int(link.rpartition("=")[2]) for link in page.links() if link.startswith("/versions/diff")]
        path = page.relation("next")
    assert seen == numbers[:-1]
    assert "12 slots claimed" in page_of(gallery, "/versions/diff?a=1&b=4").text


def test_a_question_is_shown_with_both_turns(gallery: TestClient, shown: Lake) -> None:
    asked = open_questions(shown, shown.version())
    page = page_of(gallery, "/review")
    assert f"Question 1 of {len(asked)}" in page.text
    after = f"{asked[0].version}~{asked[0].full_name}"
    second = page_of(gallery, f"/review?after={after}")
    assert f"Question 2 of {len(asked)}" in second.text
    assert f"/sample/{asked[1].sample_id}" in second.links() and f"/sample/{asked[1].kept_sample_id}" in second.links()


def test_the_answer_just_given_is_listed_first(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviewing, "MOST_ANSWERED", 1)
    asked = open_questions(lake, lake.version())
    for question in (asked[-1], asked[0]):
        answer(lake.path, [Said(name=question.full_name, outcome="kept", why=f"about {question.name}")], by="anna")
    page = page_of(open_gallery(lake), "/review")
    assert f"about {asked[0].name}" in page.text and f"about {asked[-1].name}" not in page.text


# Pictures, words, numbers


def test_ordinary_text_is_left_as_it_is_and_what_is_unseen_is_shown() -> None:
    ordinary = (
        "12\u00a0km\u202f,\u3000\u65e5\u672c\t\u0645\u06cc\u200c\u062e\u0648\n\U0001f469\u200d\U0001f52c \u2764\ufe0f"
    )
    assert plain(ordinary) == ordinary
    unseen = "\x00\x1b\r\x85\u061c\u200b\u200e\u202e\u2066\u2028\u3164\ufeff\ud800\U000e0041"
    shown = plain(unseen)
    assert shown.isascii() and shown.endswith("\\ud800\\U000e0041") and shown.startswith("\\u0000\\u001b\\u000d")


def test_pictures_are_their_own_bytes_and_small_ones_are_webp(gallery: TestClient, shown: Lake) -> None:
    sha256 = query(shown, "SELECT min(image_sha256) FROM images").item()
    whole = gallery.get(f"/picture/{sha256}")
    assert whole.content == shown.picture(sha256, shown.version())
    assert whole.headers["content-type"] == "image/png" and "immutable" in whole.headers["cache-control"]
    small = gallery.get(f"/thumbnail/{sha256}")
    assert small.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(small.content)).format == "WEBP"


def test_a_picture_that_is_none_is_not_served(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.gallery import pictures

    monkeypatch.setattr(pictures, "read_bytes", lambda *_: b"<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>")
    client = open_gallery(lake)
    assert client.get("/picture/" + 64 * "a").status_code == 404
    assert client.get("/thumbnail/" + 64 * "a").status_code == 404


def test_small_pictures_are_held_up_to_a_bound() -> None:
    def picture(shade: int) -> bytes:
        file = io.BytesIO()
        noise = np.random.default_rng(shade).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file, "PNG")
        return file.getvalue()

    held = Thumbnails(most_bytes=20_000)
    for shade in range(30):
        held.get(f"{shade}", lambda shade=shade: picture(shade))  # type: ignore[misc]
        assert held.size <= 20_000
    assert held.size > 5_000
    assert held.get("29", lambda: b"never read") == held.get("29", lambda: b"never read")


def test_words_that_changed_are_told_and_nothing_is_lost() -> None:
    before, after = "A red heron, at dusk.", "A grey heron stands at dusk!"
    pieces = diff_words(before, after)
    assert "".join(each.text for each in pieces if each.change != "new") == before
    assert "".join(each.text for each in pieces if each.change != "gone") == after
    assert next(each.text for each in pieces if each.change == "gone") == "red"
    assert diff_words("same", "same")[0].change == "same"


def test_points_are_the_directions_of_most_difference_and_always_the_same() -> None:
    chance = np.random.default_rng(1)
    vectors = (chance.normal(size=(200, 6)) * [9, 4, 0.1, 0.1, 0.1, 0.1]).astype(np.float32)
    points = project(vectors)
    assert points.min() == 0 and points.max() == 1
    assert abs(np.corrcoef(points[:, 0], vectors[:, 0])[0, 1]) > 0.99
    assert abs(np.corrcoef(points[:, 1], vectors[:, 1])[0, 1]) > 0.99
    assert np.array_equal(points, project(vectors))
    assert project(np.zeros((0, 4), np.float32)).shape == (0, 2)
    assert np.array_equal(project(np.ones((3, 1), np.float32)), np.zeros((3, 2)))


def test_a_lake_that_grows_is_shown_as_it_is_now(lake: Lake) -> None:
    from flows.lakes import add_topics

    shelf = Shelf(lake)
    number = shelf.present().number
    file = lake.path.parent / "topics.txt"
    file.write_text("a topic that came later\n")
    add_topics(lake.path, file)
    assert lake.version().number == number + 1
    assert shelf.refresh().number == number + 1
    assert shelf.present().rows("SELECT name FROM topics WHERE name LIKE '%came later'")


def test_scores_are_means_of_finished_turns(shown: Lake) -> None:
    cards = Snapshot(shown).rows("SELECT * FROM memory.cards")
    means = query(shown, "SELECT sample_id, avg(tcc) AS tcc FROM verdicts WHERE stage IS NULL GROUP BY ALL")
    known = dict(means.iter_rows())
    assert known and {card["sample_id"]: card["tcc"] for card in cards if card["tcc"] is not None} == known
    assert {name for name in SCORES if all(name in card for card in cards)} == set(SCORES)
