"""Pairs around the thresholds: what was called a duplicate, and what came near, the closest calls first."""

import re

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from flows.errors import UserError
from flows.gallery.page import Gallery
from flows.gallery.pairs import latest_pairs, with_sides
from flows.gallery.snapshot import Record, Snapshot

LIMIT = 24
SIDES = {"": "TRUE", "beyond": "beyond >= 0", "short": "beyond < 0"}
_PLACE = re.compile(r"(\d(?:\.\d{1,20})?(?:e-\d{1,3})?)~([0-9a-f]{32})~(\d{1,6})~([0-9a-f]{32})~(\d{1,6})")
_KEY = "(away, sample_id, turn, kept_sample_id, kept_turn)"


def routes(gallery: Gallery) -> list[Route]:
    """`/duplicates`."""

    def show(request: Request) -> Response:
        snapshot, query = gallery.snapshot(), request.query_params
        side = query.get("side", "")
        if side not in SIDES:
            raise UserError(f"side is beyond or short, not {side!r}")
        rows = _read(snapshot, side, query.get("after", ""))
        more = len(rows) > LIMIT
        return gallery.render(
            request,
            "duplicates.html",
            title="Duplicates",
            version=snapshot.number,
            side=side,
            pairs=with_sides(snapshot, rows[:LIMIT]),
            counts=snapshot.once("pairs", lambda: _counts(snapshot)),
            after=_place(rows[LIMIT - 1]) if more else None,
            is_first="after" not in query,
        )

    return [Route("/duplicates", show)]


def _read(snapshot: Snapshot, side: str, after: str) -> list[Record]:
    """The pairs after a place, those nearest to their thresholds first; one more than are shown, if there are."""
    beside, values = "TRUE", {}
    if after:
        found = _PLACE.fullmatch(after)
        if not found:
            raise UserError("this address names no place in the list; begin with its first page")
        away, *ids = found.groups()
        beside = f"{_KEY} > ($away, $a, $at, $b, $bt)"
        values = {"away": float(away), "a": ids[0], "at": int(ids[1]), "b": ids[2], "bt": int(ids[3])}
    return snapshot.rows(
        f"""SELECT * FROM (SELECT *, abs(beyond) AS away FROM {_table(snapshot)})
        WHERE {SIDES[side]} AND {beside} ORDER BY {_KEY} LIMIT {LIMIT + 1}""",
        values,
    )


def _place(row: Record) -> str:
    parts = (row["sample_id"], row["turn"], row["kept_sample_id"], row["kept_turn"])
    return "~".join([repr(row["away"]), *map(str, parts)])


def _table(snapshot: Snapshot) -> str:
    return snapshot.keep("pairs", latest_pairs())


def _counts(snapshot: Snapshot) -> Record:
    counts = "count(*) FILTER (beyond >= 0) AS beyond, count(*) FILTER (beyond < 0) AS short"
    return snapshot.row(f"SELECT {counts} FROM {_table(snapshot)}") or {"beyond": 0, "short": 0}
