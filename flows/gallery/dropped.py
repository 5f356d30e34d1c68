"""Samples that were made and not taken: rejected, duplicate, failed, each with its reason and its evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from flows.evidence import evidence_lines
from flows.gallery.choice import DROPPED, DROPPED_ONES, Choice, read_page
from flows.gallery.faces import with_faces
from flows.gallery.page import Gallery
from flows.gallery.pairs import Side, read_sides
from flows.gallery.snapshot import Record, Snapshot

LIMIT = 24

_DECISIONS = """
SELECT sample_id, version, kind, evidence FROM decisions WHERE turn IS NULL AND sample_id IN (SELECT unnest($ids))
QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY version DESC, line DESC) = 1
"""
_REPEATS = """
SELECT * FROM duplicates WHERE sample_id IN (SELECT unnest($ids))
QUALIFY row_number() OVER (PARTITION BY sample_id, turn ORDER BY version DESC) = 1 ORDER BY sample_id, turn
"""
_REASONS = """
SELECT outcome, stage, reason, count(*) AS n FROM memory.cards WHERE outcome IN ('rejected', 'duplicate', 'failed')
GROUP BY ALL ORDER BY n DESC, outcome, stage, reason
"""


def routes(gallery: Gallery) -> list[Route]:
    """`/dropped`."""

    def show(request: Request) -> Response:
        snapshot, query = gallery.snapshot(), request.query_params
        choice = Choice.of(query)
        if choice.outcome not in DROPPED_ONES:
            choice = replace(choice, outcome=DROPPED)
        page = read_page(snapshot, choice, after=query.get("after", ""), before=query.get("before", ""), limit=LIMIT)
        return gallery.render(
            request,
            "dropped.html",
            title="Dropped",
            version=snapshot.number,
            choice=choice,
            page=page,
            cards=_with_evidence(snapshot, with_faces(snapshot, page.cards)),
            reasons=snapshot.once("reasons", lambda: snapshot.rows(_REASONS)),
            outcomes=DROPPED_ONES,
        )

    return [Route("/dropped", show)]


def _with_evidence(snapshot: Snapshot, cards: Sequence[Record]) -> list[Record]:
    """The cards with `decision`, `words` of its evidence, and `keeper`, the turn that the first repeat repeats."""
    ids = [card["sample_id"] for card in cards]
    decisions = {row["sample_id"]: row for row in snapshot.rows(_DECISIONS, {"ids": ids})} if ids else {}
    repeats = snapshot.rows(_REPEATS, {"ids": ids}) if ids else []
    sides = read_sides(snapshot, [(row["kept_sample_id"], row["kept_turn"]) for row in repeats])
    return [_shown(card, decisions.get(card["sample_id"]), repeats, sides) for card in cards]


def _shown(
    card: Record, decision: Record | None, repeats: Sequence[Record], sides: Mapping[tuple[str, int], Side]
) -> Record:
    is_repeat = card["outcome"] == "duplicate"
    mine = [row for row in repeats if is_repeat and row["sample_id"] == card["sample_id"]]
    keeper = sides[mine[0]["kept_sample_id"], mine[0]["kept_turn"]] if mine else None
    words = evidence_lines(decision["evidence"], mine) if decision else []
    return {**card, "decision": decision, "words": words, "keeper": keeper}
