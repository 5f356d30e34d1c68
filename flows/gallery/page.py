"""How a page is made: one environment of templates that escapes all, what every page shows, and errors as pages.

A page is a module with `routes(gallery)`; it asks `gallery.snapshot()` and returns `gallery.render(…)`.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from unicodedata import category
from urllib.parse import urlencode

import jinja2
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from flows.errors import UserError
from flows.evidence import short
from flows.gallery.access import FORM_TOKEN, Access, read_form
from flows.gallery.snapshot import Shelf, Snapshot
from storage.errors import LakeBusy, LakeError, NoSuchThing
from storage.lake import Lake

NONE = "\N{EN DASH}"
"""What stands where there is no value."""
UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Kinds of characters that have no look of their own: controls, marks of direction and of format, lone surrogates."""
LET_PASS = frozenset("\n\t\u200c\u200d")
"""Those among them that ordinary text needs: line ends, tabs, and what joins or parts letters and emoji."""
FILLERS = frozenset("\u115f\u1160\u3164\uffa0")
"""Letters by name that show nothing."""
TEMPLATES = Path(__file__).parent / "templates"
STATUS: tuple[tuple[type[Exception], int], ...] = (
    (NoSuchThing, 404),
    (LakeBusy, 503),
    (UserError, 400),
    (LakeError, 500),
)
"""What an error of ours is on the web; the first kind that it is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An entry of the navigation."""

    path: str
    name: str


NAVIGATION = (
    Place(path="/", name="Samples"),
    Place(path="/dropped", name="Dropped"),
    Place(path="/duplicates", name="Duplicates"),
    Place(path="/review", name="Review"),
    Place(path="/coverage", name="Coverage"),
    Place(path="/map", name="Map"),
    Place(path="/runs", name="Runs"),
    Place(path="/versions", name="Versions"),
    Place(path="/sql", name="SQL"),
)


class Gallery:
    """What the pages have in common. `closing` ends, with the server, what a page has started."""

    def __init__(self, lake: Lake, access: Access, extra_templates: Sequence[Path] = ()) -> None:
        self.lake, self.access = lake, access
        self.shelf = Shelf(lake)
        self.paths: set[str] = set()
        self.closing = ExitStack()
        self._templates = make_environment((TEMPLATES, *extra_templates))

    def snapshot(self) -> Snapshot:
        """The history to show."""
        return self.shelf.present()

    def render(self, request: Request, template: str, *, status: int = 200, **shown: object) -> Response:
        """A template as a page."""
        context = {
            "request_path": request.url.path,
            "navigation": [place for place in NAVIGATION if place.path in self.paths],
            "lake_name": self.lake.path.name,
            "lake_path": str(self.lake.path),
            "form_token_name": FORM_TOKEN,
            "form_token": self.access.form_token,
            **shown,
        }
        return HTMLResponse(self._templates.get_template(template).render(context), status_code=status)

    async def form(self, request: Request) -> dict[str, str]:
        """The fields of a form that one of our pages sent; HTTPException for any other."""
        return await read_form(request, self.access)

    def show_error(self, request: Request, error: Exception) -> Response:
        """An error as a page, in the words that the command line has for it."""
        status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
        words = str(error)
        if isinstance(error, HTTPException):
            status, words = error.status_code, error.detail
        return self.render(request, "error.html", status=status, code=status, words=words, title="That did not work")


def make_environment(folders: Sequence[Path]) -> jinja2.Environment:
    """Templates that escape every value, and refuse one that is not there."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([str(folder) for folder in folders]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "plain": plain,
        "short": short,
        "number": number,
        "when": when,
        "words": words,
        "score": score,
    }
    environment.globals |= {"link": link}
    return environment


def link(path: str, values: Mapping[str, object] | None = None, **more: object) -> str:
    """An address with all values that there are; `more` replaces, and None takes away."""
    chosen = {**(values or {}), **more}
    query = urlencode([(name, str(value)) for name, value in chosen.items() if value not in (None, "")])
    return f"{path}?{query}" if query else path


def plain(text: object) -> str:
    """A text whose controls, marks of direction and other unseen ones show as escapes: it cannot pass for another.

    Spaces of every width, tabs, and the joiners that many scripts and emoji need are left as they are.
    """
    return "".join(map(_seen, str(text)))


@lru_cache(maxsize=8192)
def _seen(character: str) -> str:
    if character in LET_PASS or not (category(character) in UNSEEN or character in FILLERS):
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def number(value: float | None, digits: int = 0) -> str:
    """A number with its thousands apart; a dash for none."""
    return NONE if value is None else f"{value:,.{digits}f}".replace(",", "\u202f")


def score(value: float | None) -> str:
    """A score from 0 to 5 as people write it; a dash for none."""
    return NONE if value is None else f"{value:.1f}"


def when(value: datetime | None) -> str:
    """A time, in UTC."""
    return NONE if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def words(name: object) -> str:
    """A name of ours, such as a reason, as words."""
    return plain(name).replace("_", " ")
