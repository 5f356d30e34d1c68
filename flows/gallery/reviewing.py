"""Open questions to a person, one at a time, decided by key: the only page that writes, through `flows.review`."""

import re
from collections.abc import Sequence

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from flows.errors import UserError
from flows.gallery.choice import MOST_DIGITS
from flows.gallery.page import Gallery, link
from flows.gallery.pairs import read_sides
from flows.gallery.snapshot import Snapshot
from flows.review.answering import Outcome, Said, answer
from flows.review.questions import Question, read_questions

PATIENCE = 10.0
"""Seconds that an answer waits for another process to leave the lake."""
MOST_ANSWERED = 20
_NAMED = re.compile(rf"(\d{{1,{MOST_DIGITS}}})~([0-9a-f]{{32}}):(\d{{1,{MOST_DIGITS}}})")
OUTCOMES: dict[str, Outcome] = {"kept": "kept", "duplicate": "duplicate"}


def routes(gallery: Gallery) -> list[Route]:
    """`/review`, to look at and to answer."""

    def show(request: Request) -> Response:
        snapshot = gallery.snapshot()
        known = snapshot.once("questions", lambda: read_questions(snapshot.lake, snapshot.version()))
        waiting = [each for each in known if each.word is None]
        spoken = [(each.word.version, each) for each in known if each.word is not None]
        answered = [each for _, each in sorted(spoken, key=lambda pair: -pair[0])[:MOST_ANSWERED]]
        place = _place(waiting, request.query_params.get("after", ""))
        asked = waiting[place] if place < len(waiting) else None
        keys = [asked.key, (asked.kept_sample_id, asked.kept_turn)] if asked else []
        return gallery.render(
            request,
            "review.html",
            title="Review",
            version=snapshot.number,
            asked=asked,
            place=place,
            waiting=len(waiting),
            sides=read_sides(snapshot, keys),
            answered=answered,
            done=_done(snapshot, request.query_params.get("done", "")),
        )

    async def take(request: Request) -> Response:
        fields = await gallery.form(request)
        outcome = OUTCOMES.get(fields.get("outcome", ""))
        if outcome is None:
            raise UserError("an answer is 'kept' or 'duplicate'")
        said = Said(name=fields.get("name", ""), outcome=outcome, why=fields.get("why", ""))
        by = fields.get("by", "")
        done = await run_in_threadpool(answer, gallery.lake.path, [said], by=by, lock_timeout=PATIENCE)
        await run_in_threadpool(gallery.shelf.refresh)
        return RedirectResponse(link("/review", after=fields.get("after"), done=done.version), status_code=303)

    return [Route("/review", show, methods=["GET"]), Route("/review", take, methods=["POST"])]


def _place(waiting: Sequence[Question], after: str) -> int:
    """The place of the first question after a named one, in their order; that of the first for none.

    UserError for what names none.
    """
    if not after:
        return 0
    found = _NAMED.fullmatch(after)
    if found is None:
        raise UserError("this address names no question; begin with the first one")
    key = (int(found[1]), found[2], int(found[3]))
    return next(
        (at for at, each in enumerate(waiting) if (each.version, each.sample_id, each.turn) > key), len(waiting)
    )


def _done(snapshot: Snapshot, version: str) -> int | None:
    """The version that holds the answer just given."""
    number = int(version) if version.isdecimal() and len(version) <= MOST_DIGITS else 0
    return number if 0 < number <= snapshot.number else None
