"""Who is let in, and what every answer says of itself: headers, hosts, the token, forms from elsewhere."""

import pytest
from starlette.testclient import TestClient

from flows.gallery.access import FORM_TOKEN, HEADERS, Access, access_for, cookie_name, host_name
from flows.review.questions import open_questions
from storage.lake import Lake
from tests.gallery.conftest import HERE, open_gallery
from tests.gallery.pages import Page

COOKIE = "interlake_gallery_4280"
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/static/gallery.js", "/?outcome=x", "/map/points.json", "/picture/x"]
)
def test_every_answer_has_the_headers(gallery: TestClient, path: str) -> None:
    headers = gallery.get(path).headers
    for name, value in HEADERS.items():
        assert headers[name] == value
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "[", "localhost.", "127.0.0.1@evil.example"]
)
def test_another_name_for_this_machine_is_refused(gallery: TestClient, host: str) -> None:
    answer = gallery.get("/", headers={"host": host})
    assert answer.status_code == 421 and "samples" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["127.0.0.1:4280", "localhost:9", "[::1]:80", "LOCALHOST"])
def test_the_names_of_this_machine_are_let_in(gallery: TestClient, host: str) -> None:
    assert gallery.get("/versions", headers={"host": host}).status_code == 200


def test_hosts_are_read_as_browsers_write_them() -> None:
    assert host_name("[::1]:80") == "::1" and host_name("Localhost:1") == "localhost" and host_name("[") == ""


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": HERE, "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "http://["},
        {"origin": "http://[", "sec-fetch-site": "same-origin"},
    ],
)
def test_a_form_from_elsewhere_is_refused(
    gallery: TestClient, shown: Lake, method: str, headers: dict[str, str]
) -> None:
    before = shown.version().sha256
    answer = gallery.request(method, "/review", content=b"outcome=kept", headers=headers | FORM)
    assert answer.status_code == 403 and answer.headers["x-content-type-options"] == "nosniff"
    assert shown.version().sha256 == before


def token_of(client: TestClient) -> str:
    fields = Page(client.get("/review").text).all("input")
    return next(each["value"] for each in fields if each.get("name") == FORM_TOKEN)


def test_a_form_without_the_token_or_of_another_kind_is_refused(gallery: TestClient, shown: Lake) -> None:
    before, ours = shown.version().sha256, {"origin": HERE}
    answer = {"name": "x", "outcome": "kept", "by": "anna", "why": "so"}
    assert gallery.post("/review", data=answer, headers=ours).status_code == 403
    assert gallery.post("/review", data=answer | {FORM_TOKEN: "guess"}, headers=ours).status_code == 403
    assert gallery.post("/review", json=answer, headers=ours).status_code == 415
    assert gallery.post("/review", content=b"a=" + b"x" * (2 << 20), headers=ours | FORM).status_code == 413
    assert shown.version().sha256 == before


def test_an_answer_is_a_version_and_stands_beside_the_question(lake: Lake) -> None:
    client = open_gallery(lake)
    asked = open_questions(lake, lake.version())
    form = {
        FORM_TOKEN: token_of(client),
        "name": asked[0].full_name,
        "after": f"{asked[0].version}~{asked[0].full_name}",
    }
    said = {"outcome": "duplicate", "by": "anna", "why": "<b>both</b> show a tram"}
    number = lake.version().number
    done = client.post("/review", data=form | said, headers={"origin": HERE})
    assert done.status_code == 303 and done.headers["location"].startswith("/review?after=")
    assert lake.version().number == number + 1
    page = Page(client.get(done.headers["location"]).text)
    assert f"Your answer is version {number + 1}" in page.text and "<b>both</b> show a tram" in page.text
    assert f"of {len(asked) - 1}:" in page.text
    assert len(open_questions(lake, lake.version())) == len(asked) - 1


@pytest.mark.parametrize(
    "fields", [{"name": "nothing"}, {"outcome": "maybe"}, {"by": " "}, {"why": ""}], ids=lambda given: next(iter(given))
)
def test_an_answer_that_makes_no_sense_leaves_the_lake_as_it_is(
    gallery: TestClient, shown: Lake, fields: dict[str, str]
) -> None:
    before = shown.version().sha256
    asked = open_questions(shown, shown.version())[0]
    form = {FORM_TOKEN: token_of(gallery), "name": asked.full_name, "outcome": "kept", "by": "anna", "why": "so"}
    assert gallery.post("/review", data=form | fields, headers={"origin": HERE}).status_code == 400
    assert shown.version().sha256 == before


# The token


def test_a_token_is_asked_for_where_others_can_reach_the_server() -> None:
    assert access_for("127.0.0.1").token is None and access_for("::1").hosts is not None
    first, second = access_for("0.0.0.0"), access_for("192.168.1.4")
    assert first.token and second.token and first.token != second.token and len(first.token) >= 32


@pytest.fixture(scope="module")
def guarded(shown: Lake) -> TestClient:
    return open_gallery(shown, Access(hosts=None, token="right"), "http://lab.example:4280")


@pytest.mark.parametrize(
    "path", ["/", "/?token=wrong", "/static/gallery.js", "/picture/x", "/map/points.json", "/?token="]
)
def test_without_the_token_nothing_is_shown(guarded: TestClient, path: str) -> None:
    guarded.cookies.clear()
    answer = guarded.get(path)
    assert answer.status_code == 401 and "token" in answer.text and "<" not in answer.text
    assert guarded.get(path, headers={"cookie": f"{COOKIE}=wrong; ="}).status_code == 401


def test_the_token_becomes_a_cookie_that_pages_and_forms_come_with(guarded: TestClient) -> None:
    guarded.cookies.clear()
    answer = guarded.get("/?token=right&outcome=kept")
    assert answer.status_code == 303 and answer.headers["location"] == "/?outcome=kept"
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith(f"{COOKIE}=") and "httponly" in cookie
    assert "samesite=lax" in cookie, "a strict one is not sent along when the way here began on another site"
    assert "max-age" not in cookie and "expires" not in cookie, "it ends with the browser"
    assert guarded.get("/").status_code == 200
    assert guarded.post("/review", data={}, headers={"origin": "http://evil.example"}).status_code == 403
    guarded.cookies.clear()


@pytest.mark.parametrize("before", ['x={"a":1}', "a/b=1", "=", "x", 'q="', "a=b=c", "\xff=1"])
def test_cookies_of_others_on_this_host_do_not_hide_ours(guarded: TestClient, before: str) -> None:
    guarded.cookies.clear()
    found = guarded.get("/versions", headers={b"cookie": f"{before}; {COOKIE}=right".encode("latin-1")})
    assert found.status_code == 200
    refused = guarded.get("/versions", headers={b"cookie": before.encode("latin-1")})
    assert refused.status_code == 401 and refused.headers["x-content-type-options"] == "nosniff"


def test_galleries_at_other_ports_of_a_host_have_cookies_of_their_own(guarded: TestClient) -> None:
    guarded.cookies.clear()
    assert guarded.get("/", headers={"cookie": "interlake_gallery_4281=right"}).status_code == 401
    names = [cookie_name(host) for host in ("lab:1", "lab:2", "[::1]:3", "lab", "lab:x;y", "lab:" + 9 * "9")]
    assert names[:3] == [f"interlake_gallery_{port}" for port in (1, 2, 3)] and set(names[3:]) == {"interlake_gallery"}


@pytest.mark.parametrize("host", ["[", "", "a]b", "[::1"])
def test_a_host_that_is_none_is_refused_in_words_with_the_token_too(guarded: TestClient, host: str) -> None:
    guarded.cookies.clear()
    answer = guarded.get("/?token=right", headers={"host": host})
    assert answer.status_code == 421 and answer.headers["x-content-type-options"] == "nosniff"


def test_our_own_files_are_asked_about_and_the_lake_is_kept_nowhere(gallery: TestClient) -> None:
    file = gallery.get("/static/gallery.js")
    assert file.headers["cache-control"] == "no-cache"
    again = gallery.get("/static/gallery.js", headers={"if-none-match": file.headers["etag"]})
    assert again.status_code == 304 and gallery.get("/").headers["cache-control"] == "no-store"


def test_the_way_on_from_the_token_leads_to_no_other_host(guarded: TestClient) -> None:
    for path in ("//evil.example/", "/%5cevil.example", "/\\evil.example"):
        guarded.cookies.clear()
        place = guarded.get(f"http://lab.example:4280{path}?token=right").headers["location"]
        assert place.startswith("/") and place[1:2] not in ("/", "\\")
    guarded.cookies.clear()
