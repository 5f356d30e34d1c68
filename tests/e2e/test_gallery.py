"""The gallery of a lake of 500 samples in a real browser: every page is walked, by mouse and by keyboard."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from storage.lake import Lake
from storage.query import query
from tests.e2e.browsers import CONTRAST, SHIFTS, Watch, chromium, shoot
from tests.flows.test_judge_lake import judge
from tests.gallery.lakes import HOSTILE, make_lake

ROOT = Path(__file__).parents[2]
SAMPLES = 500
NAMES = ("Samples", "Dropped", "Duplicates", "Review", "Coverage", "Map", "Runs", "Versions", "SQL")
SIZES = {"wide": (1280, 860), "phone": (390, 800)}
AT_ONCE = """addEventListener("DOMContentLoaded",
  () => document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "k", bubbles: true })))"""
"""The second press of a key, just as the page after is there."""
SERVE = "from flows.cli.main import main; main()"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    path = tmp_path_factory.mktemp("shown") / "lake"
    lake = make_lake(path, topics=SAMPLES // 2 - 1, turns=1, batch=64, image=0.9, text=0.85)
    judge(lake)
    assert query(lake, "SELECT count(*) FROM samples").item() == SAMPLES
    return lake


@pytest.fixture(scope="module")
def address(lake: Lake) -> Iterator[str]:
    """Where the command serves that lake, at a port of its own."""
    words = [sys.executable, "-c", SERVE, "gallery", "--lake", str(lake.path), "--port", "0"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found, "it says where it serves"
            yield found[0].rstrip("/")
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots lie."""
    return tmp_path_factory.mktemp("screenshots")


@pytest.fixture
def watch(address: str) -> Watch:
    return Watch(host=urlsplit(address).netloc)


@pytest.fixture
def page(browser: Browser, address: str, watch: Watch) -> Iterator[Page]:
    """A wide page at the samples; whatever it complains of, or asks elsewhere, fails the test."""
    with browser.new_context(viewport={"width": 1280, "height": 860}) as context:
        found = context.new_page()
        watch.follow(found)
        found.goto(address)
        yield found
        assert found.evaluate("window.hacked ?? null") is None
    assert watch.complaints == [] and watch.elsewhere == [] and watch.asked > 3


def a_sample(lake: Lake) -> str:
    return str(query(lake, "SELECT min(sample_id) FROM samples WHERE outcome = 'kept'").item())


@pytest.mark.parametrize("look", [(scheme, size) for scheme in ("light", "dark") for size in SIZES], ids="-".join)
def test_every_page_is_quiet_legible_and_fits(
    browser: Browser, lake: Lake, watch: Watch, pictures: Path, look: tuple[str, str]
) -> None:
    scheme, size = look
    address = f"http://{watch.host}"
    width, height = SIZES[size]
    sample = f"/sample/{a_sample(lake)}"
    with browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light", viewport={"width": width, "height": height}
    ) as context:
        page = context.new_page()
        watch.follow(page)
        page.goto(address)
        paths = [str(each.get_attribute("href")) for each in page.locator("header nav a").all()]
        assert len(paths) == len(NAMES)
        for path in [
            *paths,
            sample,
            f"{sample}/near",
            f"{sample}/why",
            "/versions/diff?a=1&b=4",
            "/coverage?under=Animals",
        ]:
            page.goto(address + path)
            expect(page.locator("h1")).to_have_count(1)
            assert page.evaluate(SHIFTS) < 0.02, f"{path} jumps"
            if size == "wide":
                assert page.evaluate(CONTRAST) == [], f"{path}, {scheme}"
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} is wider than a {size}"
            assert page.evaluate("window.hacked ?? null") is None
            name = re.sub(r"[^a-z]+", "-", path.replace(sample, "/one")).strip("-") or "samples"
            shoot(page, pictures, f"{name}-{scheme}-{size}")
    assert watch.complaints == [] and watch.elsewhere == []


def test_the_navigation_leads_to_every_page(page: Page) -> None:
    for name in NAMES:
        page.get_by_role("link", name=name, exact=True).first.click()
        expect(page.locator("h1")).to_have_text(name)
        expect(page.locator("header nav a[aria-current]")).to_have_text(name)


def test_samples_are_seen_searched_filtered_and_paged(page: Page, lake: Lake) -> None:
    expect(page.get_by_role("status")).to_have_text(f"{SAMPLES} samples")
    expect(page.locator(".card")).to_have_count(60)
    page.wait_for_function("[...document.images].slice(0, 12).every((each) => each.complete && each.naturalWidth > 0)")
    page.keyboard.press("/")
    page.keyboard.type("glacier harbour")
    page.keyboard.press("Enter")
    expect(page.locator(".chip", has_text="says glacier harbour")).to_be_visible()
    both = """SELECT count(*) FROM samples JOIN topics USING (topic_id) JOIN turns USING (sample_id)
        WHERE contains(lower(concat(name, question, answer, caption)), 'glacier')
        AND contains(lower(concat(name, question, answer, caption)), 'harbour')"""
    expect(page.get_by_role("status")).to_have_text(f"{query(lake, both).item()} samples")
    page.get_by_label("Remove the filter").click()
    page.get_by_label("Outcome").select_option("kept")
    assert "outcome" not in page.url, "a choice leads nowhere until it is sent"
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**outcome=kept")
    assert "q=" not in page.url, "what is empty is not in the address"
    kept = query(lake, "SELECT count(*) FROM samples WHERE outcome = 'kept'").item()
    expect(page.get_by_role("status")).to_have_text(f"{kept} samples")
    names: list[str] = []
    while True:
        names += [str(each.get_attribute("href")) for each in page.locator(".grid a.whole").all()]
        if not page.locator("a[rel=next]").count():
            break
        with page.expect_navigation():
            page.keyboard.press("n")
    assert len(names) == len(set(names)) == kept > 60


def test_keys_move_in_the_grid_and_from_sample_to_sample(page: Page) -> None:
    links = [str(each.get_attribute("href")) for each in page.locator(".grid a.whole").all()]
    focused = "document.activeElement.getAttribute('href')"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == links[0]
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == links[1]
    page.keyboard.press("ArrowDown")
    below = links.index(page.evaluate(focused))
    assert below > 2
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{links[1]}")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**{links[2]}")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(f"**{links[1]}")
    page.keyboard.press("u")
    page.wait_for_url("**/")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_a_sample_shows_its_dialogue_rounds_and_commands(page: Page, lake: Lake, address: str) -> None:
    deep = """SELECT sample_id FROM iterations JOIN samples USING (sample_id)
        WHERE outcome = 'kept' AND iterations.stage = 'answer' GROUP BY ALL
        ORDER BY max(round) DESC, sample_id LIMIT 1"""
    name = query(lake, deep).item()
    page.goto(f"{address}/sample/{name}")
    question, caption = query(lake, f"SELECT question, caption FROM turns WHERE sample_id = '{name}'").row(0)
    expect(page.locator(".say.person")).to_have_text(question)
    expect(page.locator(".say figcaption")).to_contain_text(caption[:60])
    assert page.evaluate("document.querySelector('.say img').naturalWidth") == 64
    assert page.locator("ins").count() > 1 and page.locator("del").count() > 1
    page.locator("summary", has_text="models, seeds, seconds").first.click()
    expect(page.locator("td", has_text="fake-chat").first).to_be_visible()
    expect(page.get_by_text(f"interlake replay --sample {name}")).to_be_visible()
    page.get_by_role("link", name="Nearest turns").click()
    expect(page.locator(".card")).to_have_count(12)
    page.get_by_role("link", name="Why it is as it is").click()
    expect(page.get_by_text("what it was compared with")).to_be_visible()


def test_the_map_is_drawn_coloured_and_leads_to_samples(page: Page, lake: Lake, address: str) -> None:
    page.goto(f"{address}/map")
    page.wait_for_selector("[data-ready]")
    drawn = """() => { const canvas = document.querySelector(".canvas canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return data.some((value) => value > 0); }"""
    assert page.evaluate(drawn)
    expect(page.locator("[data-legend]")).to_contain_text(HOSTILE[0])
    page.get_by_label("Coloured by").select_option("outcome")
    kept = query(lake, "SELECT count(*) FROM samples WHERE outcome = 'kept'").item()
    expect(page.locator("[data-legend]")).to_contain_text(f"kept ({kept})")
    found = page.evaluate("fetch('/map/points.json').then((answer) => answer.json())")
    box = page.locator(".canvas").bounding_box()
    assert box and len(found["x"]) == SAMPLES - 2
    x, y = 14 + found["x"][0] * (box["width"] - 28), 14 + (1 - found["y"][0]) * (box["height"] - 28)
    page.mouse.move(box["x"] + x, box["y"] + y)
    expect(page.locator(".tip img")).to_be_visible()
    page.mouse.click(box["x"] + x, box["y"] + y)
    page.wait_for_url("**/sample/*")
    expect(page.locator("h1")).to_be_visible()


def test_dropped_pairs_coverage_runs_and_versions_say_what_the_lake_says(page: Page, lake: Lake, address: str) -> None:
    counts = dict(query(lake, "SELECT outcome, count(*) FROM samples GROUP BY ALL").iter_rows())
    page.goto(f"{address}/dropped")
    dropped = counts["duplicate"] + counts["failed"]
    expect(page.get_by_role("status")).to_have_text(f"{dropped} samples")
    page.get_by_role("link", name="failed", exact=True).click()
    expect(page.locator(".pair")).to_have_count(2)
    page.goto(f"{address}/duplicates")
    expect(page.locator(".pair").first.locator("img")).to_have_count(2)
    page.goto(f"{address}/coverage")
    page.locator("tbody").get_by_role("link", name="Animals").click()
    page.locator("tbody").get_by_role("link", name="group 0").click()
    expect(page.locator("tbody tr").first).to_contain_text("no.")
    page.goto(f"{address}/runs")
    expect(page.locator("tbody").first).to_contain_text(f"{counts['kept']} kept, {counts['duplicate']} duplicate")
    page.get_by_role("link", name=re.compile("^build")).last.click()
    expect(page.locator("svg.chart rect").first).to_be_attached()
    page.goto(f"{address}/versions")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("h1")).to_contain_text("From version")


def test_arrows_scroll_what_is_wider_than_its_place(page: Page, address: str) -> None:
    page.goto(f"{address}/?outcome=kept")
    page.locator(".grid a.whole").nth(1).click()
    page.wait_for_url("**/sample/*")
    here = page.url
    for place in (page.get_by_role("region", name="Decisions"), page.locator(".command code").first):
        place.focus()
        expect(place).to_be_focused()
        page.evaluate(
            "addEventListener('keydown', (event) => { window.taken = event.defaultPrevented; }, { once: true })"
        )
        page.keyboard.press("ArrowRight")
        assert page.evaluate("window.taken") is False, "the key is left to what scrolls"
    assert page.url == here
    page.locator("main").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_url(lambda url: url != here)


def test_a_map_without_its_points_says_so(page: Page, watch: Watch, address: str) -> None:
    page.route("**/map/points.json", lambda route: route.fulfill(status=503, body="busy"))
    page.goto(f"{address}/map")
    expect(page.get_by_role("alert")).to_contain_text("status 503")
    watch.complaints.clear()


def test_a_key_that_is_held_or_doubled_answers_one_question(page: Page, lake: Lake, address: str) -> None:
    number = lake.version().number
    page.goto(f"{address}/review")
    page.get_by_label("Your name").fill("anna")
    page.get_by_label("Why").fill("held")
    page.keyboard.press("Escape")
    page.add_init_script(AT_ONCE)
    page.keyboard.down("k")
    page.keyboard.down("k")
    page.keyboard.press("d")
    expect(page.locator(".note")).to_have_text(f"Your answer is version {number + 1} of the lake.")
    page.keyboard.down("k")
    page.keyboard.down("k")
    page.evaluate("new Promise(requestAnimationFrame)")
    assert page.get_by_role("button", name="Keep").is_enabled()
    page.keyboard.up("k")
    page.reload()
    assert lake.version().number == number + 1
    page.get_by_role("button", name="Keep").click()
    expect(page.locator(".note")).to_have_text(f"Your answer is version {number + 2} of the lake.")


def test_a_question_is_answered_by_keys(page: Page, lake: Lake, address: str) -> None:
    number = lake.version().number
    page.goto(f"{address}/review")
    first = str(page.locator(".pair h3").first.text_content())
    page.keyboard.press("s")
    page.wait_for_url("**after=*")
    assert str(page.locator(".pair h3").first.text_content()) != first
    page.keyboard.press("d")
    assert "after" in page.url and lake.version().number == number, "without a name nothing is sent"
    page.get_by_label("Your name").fill("anna")
    page.get_by_label("Why").fill(HOSTILE[1])
    page.keyboard.press("Escape")
    page.keyboard.press("d")
    expect(page.locator(".note")).to_have_text(f"Your answer is version {number + 1} of the lake.")
    assert lake.version().number == number + 1
    expect(page.locator("td", has_text=HOSTILE[1])).to_be_visible()
    expect(page.get_by_label("Your name")).to_have_value("anna")


def test_sql_is_asked_by_keys_drawn_refused_and_loaded(page: Page, watch: Watch, lake: Lake, address: str) -> None:
    def run(sql: str) -> None:
        editor = page.get_by_label("One reading statement")
        editor.fill(sql)
        editor.press("Control+Enter")
        page.wait_for_url(f"{address}/sql?*")
        expect(page.get_by_label("One reading statement")).to_have_value(sql)

    page.get_by_role("link", name="SQL", exact=True).first.click()
    expect(page.get_by_label("One reading statement")).to_be_focused()
    run(f"select '{HOSTILE[0]}' as said")
    expect(page.locator("td")).to_have_text([HOSTILE[0]])
    assert page.evaluate("window.hacked ?? null") is None

    sql = "select outcome, count(*) as samples from samples group by all order by all"
    counts = [[str(cell) for cell in row] for row in query(lake, sql).rows()]
    run(sql)
    expect(page.locator("td")).to_have_text([cell for row in counts for cell in row])
    page.get_by_label("Across").select_option("outcome")
    page.get_by_label("Up").select_option("samples")
    page.get_by_role("button", name="Plot").click()
    expect(page.locator("svg.chart rect.column")).to_have_count(len(counts))
    assert page.evaluate(CONTRAST) == []
    with page.expect_download() as loading:
        page.get_by_role("link", name="CSV").click()
    loaded = loading.value.path().read_text().splitlines()
    assert [line.replace('"', "").split(",") for line in loaded] == [["outcome", "samples"], *counts]

    run("drop table samples")
    expect(page.get_by_role("alert")).to_have_text("the history can only be read; DROP is not a reading statement")
    assert watch.complaints and all("400" in each for each in watch.complaints), "as a browser tells of a bad request"
    watch.complaints.clear()
    run("select 1 as after")
    expect(page.locator("td")).to_have_text(["1"])
