"""Versions: what came when, and what differs between two of them."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from flows.changes import read_changes
from flows.cli.travel import changes_lines
from flows.errors import UserError
from flows.gallery.page import Gallery
from flows.gallery.snapshot import Record, Snapshot

LIMIT = 50
MOST_LINES = 40
"""Of each list of differences."""

_VERSIONS = f"""
WITH chosen AS (SELECT * FROM versions WHERE version < $before ORDER BY version DESC LIMIT {LIMIT + 1}),
decided AS (
    SELECT version, count(*) FILTER (outcome = 'kept') AS kept, count(*) FILTER (outcome = 'rejected') AS rejected,
        count(*) FILTER (outcome = 'duplicate') AS duplicate, count(*) FILTER (outcome = 'failed') AS failed
    FROM decisions WHERE turn IS NULL AND version IN (SELECT version FROM chosen) GROUP BY version
), claimed AS (
    SELECT version, count(*) AS claimed FROM claims WHERE version IN (SELECT version FROM chosen) GROUP BY version
), named AS (
    SELECT version, count(*) AS topics FROM topics WHERE version IN (SELECT version FROM chosen) GROUP BY version
)
SELECT chosen.version, created_at, chosen.run_id, packages, samples, chosen.sha256, runs.kind, claimed, topics,
    coalesce(decided.kept, 0) AS kept, coalesce(decided.rejected, 0) AS rejected,
    coalesce(decided.duplicate, 0) AS duplicate, coalesce(decided.failed, 0) AS failed, 0 AS open
FROM chosen LEFT JOIN decided USING (version) LEFT JOIN claimed USING (version) LEFT JOIN named USING (version)
LEFT JOIN runs ON runs.run_id = chosen.run_id ORDER BY chosen.version DESC
"""


def routes(gallery: Gallery) -> list[Route]:
    """`/versions` and `/versions/diff`."""

    def show(request: Request) -> Response:
        snapshot = gallery.snapshot()
        rows = _read(snapshot, request.query_params.get("before", ""))
        return gallery.render(
            request,
            "versions.html",
            title="Versions",
            version=snapshot.number,
            rows=rows[:LIMIT],
            before=rows[LIMIT - 1]["version"] if len(rows) > LIMIT else None,
            is_first="before" not in request.query_params,
        )

    def show_difference(request: Request) -> Response:
        query, snapshot = request.query_params, gallery.snapshot()
        a, b = (_number(query.get(name, ""), name) for name in ("a", "b"))
        if a == 0:
            return RedirectResponse("/versions", status_code=303)
        changes = read_changes(gallery.lake, a, b, limit=MOST_LINES, ask=snapshot.ask)
        return gallery.render(
            request,
            "difference.html",
            title=f"From version {a} to {b}",
            version=snapshot.number,
            here="/versions",
            a=a,
            b=b,
            lines=list(changes_lines(changes, limit=MOST_LINES)),
        )

    return [Route("/versions", show), Route("/versions/diff", show_difference)]


def _read(snapshot: Snapshot, before: str) -> list[Record]:
    """Versions before a number, the newest first; one more than are shown, if there are."""
    number = _number(before, "before") if before else snapshot.number + 1
    return snapshot.rows(_VERSIONS, {"before": number})


def _number(text: str, name: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise UserError(f"{name} is the number of a version, not {text!r}")
    return int(text)
