"""A sample: the dialogue as a reader sees it, how each turn came to be, what it is near to, and why it is as it is."""

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from flows.ancestry import read_ancestry
from flows.cli.explain import ancestry_lines
from flows.evidence import evidence_lines
from flows.gallery.choice import SAMPLE_ID, Choice, find_card, place_of, read_page
from flows.gallery.page import Gallery
from flows.gallery.pairs import latest_pairs, read_sides, with_sides
from flows.gallery.snapshot import Record, Snapshot
from flows.gallery.timeline import calls_elsewhere, turns_of
from flows.story import Story, find_sample, read_story

if TYPE_CHECKING:
    from storage.nearest import Kind

MOST_PAIRS = 30
NEAREST = 12
MOST_LINES = 40
"""Of each list on the page that says why."""


def routes(gallery: Gallery) -> list[Route]:
    """`/sample/ID`, `/sample/ID/near` and `/sample/ID/why`."""

    def show(request: Request) -> Response:
        snapshot = gallery.snapshot()
        name = request.path_params["sample_id"]
        if not SAMPLE_ID.fullmatch(name):
            found = find_sample(gallery.lake, name, snapshot.ask)
            return RedirectResponse(f"/sample/{found['sample_id']}", status_code=303)
        choice = Choice.of(request.query_params)
        story = read_story(gallery.lake, name, snapshot.ask)
        before, after = _beside(snapshot, choice, name)
        return gallery.render(
            request,
            "sample.html",
            title=story.topic["name"],
            version=snapshot.number,
            story=story,
            turns=list(turns_of(story)),
            elsewhere=calls_elsewhere(story),
            decisions=list(_decisions(story)),
            pairs=with_sides(snapshot, _pairs(snapshot, name)),
            before=before,
            after=after,
            values=choice.values(),
            commands=_commands(gallery, story),
            spent=_spent(story.calls),
        )

    def show_near(request: Request) -> Response:
        snapshot, name = gallery.snapshot(), _id(request)
        by: Kind = "text" if request.query_params.get("by") == "text" else "image"
        # LanceDB takes seconds to import: whoever looks at no neighbours does without.
        from flows.similar import similar_to_sample  # noqa: PLC0415

        found = similar_to_sample(gallery.lake, name, turn=None, number=snapshot.number, by=by, limit=NEAREST)
        sample = find_sample(gallery.lake, name, snapshot.ask)
        keys = [(name, asked.turn or 0) for asked in found.asked]
        keys += [(each.sample_id, each.turn) for asked in found.asked for each in asked.neighbours]
        return gallery.render(
            request,
            "near.html",
            title="Nearest turns",
            version=found.version,
            sample=sample,
            by=by,
            values=Choice.of(request.query_params).values(),
            found=found,
            sides=read_sides(snapshot, keys),
        )

    def show_why(request: Request) -> Response:
        snapshot, name = gallery.snapshot(), _id(request)
        found = read_ancestry(gallery.lake, name, snapshot.ask)
        return gallery.render(
            request,
            "why.html",
            title="Why it is as it is",
            version=snapshot.number,
            sample=found.sample,
            values=Choice.of(request.query_params).values(),
            lines=list(ancestry_lines(found, limit=MOST_LINES)),
        )

    return [
        Route("/sample/{sample_id}", show),
        Route("/sample/{sample_id}/near", show_near),
        Route("/sample/{sample_id}/why", show_why),
    ]


def _id(request: Request) -> str:
    name = str(request.path_params["sample_id"])
    if not SAMPLE_ID.fullmatch(name):
        raise HTTPException(404, "A sample is named by its id.")
    return name


def _beside(snapshot: Snapshot, choice: Choice, name: str) -> tuple[str | None, str | None]:
    """The samples before and after in the list that was come from."""
    card = find_card(snapshot, choice, name)
    if card is None:
        return None, None
    place = place_of(card)
    before = read_page(snapshot, choice, before=place, limit=1).cards
    after = read_page(snapshot, choice, after=place, limit=1).cards
    return (before[0]["sample_id"] if before else None), (after[0]["sample_id"] if after else None)


def _decisions(story: Story) -> Iterator[Record]:
    """Decisions with their evidence in words."""
    for row in story.decisions:
        repeats = [each for each in story.duplicates if _is_evidence(each, row)]
        yield {**row, "words": evidence_lines(row["evidence"], repeats)}


def _is_evidence(repeat: Record, decision: Record) -> bool:
    is_about = decision["outcome"] == "duplicate" and decision["turn"] in (None, repeat["turn"])
    return bool(is_about and repeat["version"] == decision["version"])


def _pairs(snapshot: Snapshot, name: str) -> list[Record]:
    """What was found to repeat or come near, on either side."""
    mine = latest_pairs("sample_id = $name OR kept_sample_id = $name")
    sql = f"{mine} ORDER BY beyond DESC, sample_id, turn LIMIT {MOST_PAIRS}"
    return snapshot.rows(sql, {"name": name})


def _commands(gallery: Gallery, story: Story) -> Sequence[tuple[str, str]]:
    name, lake = story.sample["sample_id"], shlex.quote(str(gallery.lake.path))
    told = {
        "Make it again from the record, to the byte": f"interlake replay --sample {name}",
        "Ask the models again, and compare": f"interlake regenerate --sample {name}",
        "Its whole story in a terminal": f"interlake show {name}",
        "Why it is as it is": f"interlake why {name}",
        "The turns that are nearest to it": f"interlake similar {name}",
    }
    return [(what, f"{command} --lake {lake}") for what, command in told.items()]


def _spent(calls: Sequence[Record]) -> Record:
    return {
        "calls": len(calls),
        "seconds": sum(row["seconds"] for row in calls),
        "tokens": sum(row["completion_tokens"] or 0 for row in calls),
    }
