"""The grid of samples: pictures, filters that combine, orders, pages."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from flows.gallery.choice import SORTS, Choice, read_page
from flows.gallery.faces import with_faces
from flows.gallery.page import Gallery
from flows.gallery.snapshot import SCORES, Record, Snapshot
from flows.progress import OUTCOMES

NAMES = {
    "q": "says",
    "run": "run",
    "version_from": "from version",
    "version_to": "to version",
    "sort": "sorted",
    **{name: f"{name.upper()} at least" for name in SCORES},
}
"""How a chip names what was chosen; other fields are named by themselves."""
SCORE_WORDS = {
    "tcc": "text complete and correct",
    "icc": "picture complete and correct",
    "iq": "image quality",
    "its": "image and text in synergy",
}


def routes(gallery: Gallery) -> list[Route]:
    """`/`."""

    def show(request: Request) -> Response:
        snapshot = gallery.snapshot()
        query = request.query_params
        choice = Choice.of(query)
        page = read_page(snapshot, choice, after=query.get("after", ""), before=query.get("before", ""))
        return gallery.render(
            request,
            "samples.html",
            title="Samples",
            version=snapshot.number,
            choice=choice,
            page=page,
            cards=with_faces(snapshot, page.cards),
            chips=list(_chips(choice)),
            options=snapshot.once("options", lambda: _options(snapshot)),
            categories=_categories(snapshot, choice.domain),
            sorts=SORTS,
            scores=SCORE_WORDS,
        )

    return [Route("/", show)]


def _chips(choice: Choice) -> Sequence[tuple[str, str, dict[str, object]]]:
    """What is chosen: its name, its value, and the address's values without it."""
    values = choice.values()
    return [
        (NAMES.get(name, name), str(SORTS[str(value)].name if name == "sort" else value), _without(values, name))
        for name, value in values.items()
    ]


def _without(values: dict[str, object], name: str) -> dict[str, object]:
    gone = {name, "category"} if name == "domain" else {name}
    return {key: value for key, value in values.items() if key not in gone}


def _options(snapshot: Snapshot) -> dict[str, list[Record]]:
    """What can be chosen, and how many samples each has."""
    counted = "SELECT {name} AS value, count(*) AS n FROM memory.cards GROUP BY ALL ORDER BY {order}"
    found = {
        "domain": snapshot.rows(counted.format(name="domain", order="value")),
        "outcome": snapshot.rows(counted.format(name="outcome", order="n DESC")),
        "rounds": snapshot.rows(counted.format(name="rounds", order="rounds")),
        "reason": [row for row in snapshot.rows(counted.format(name="reason", order="n DESC, value")) if row["value"]],
        "run": snapshot.rows(
            """SELECT run_id AS value, count(*) AS n, min(runs.kind) AS kind, min(runs.started_at) AS started_at
            FROM memory.cards LEFT JOIN runs USING (run_id) GROUP BY run_id
            ORDER BY started_at DESC NULLS LAST LIMIT 200"""
        ),
    }
    known = {row["value"]: row for row in found["outcome"]}
    found["outcome"] = [known.get(name, {"value": name, "n": 0}) for name in OUTCOMES]
    return found


def _categories(snapshot: Snapshot, domain: str) -> list[Record]:
    """Those of a domain, once there is one."""
    if not domain:
        return []
    sql = "SELECT category AS value, count(*) AS n FROM memory.cards WHERE domain = $domain GROUP BY ALL ORDER BY 1"
    return snapshot.rows(sql, {"domain": domain})
