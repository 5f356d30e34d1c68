"""The tree of topics with bars, branch by branch, and as a map of boxes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from flows.errors import UserError
from flows.gallery.choice import MOST_DIGITS
from flows.gallery.page import Gallery
from flows.gallery.snapshot import Record, Snapshot
from flows.topics.branches import NO_CATEGORY, NO_DOMAIN
from flows.topics.catalogue import read_templates
from flows.topics.coverage import OUTCOMES, cover
from flows.topics.lake_templates import read_lake_templates
from flows.topics.squarify import Box, squarify
from storage.coverage import standing_sql

WIDTH, HEIGHT = 1200.0, 620.0
"""Of the map of boxes, in units of its own."""
LETTER = 7.4
"""Units that a letter takes."""
HEAD = 20.0
LIMIT = 100
"""Branches on a page."""
_TOPICS = f"""
SELECT topic_id, name, category, domain, count(slot_id) AS slots,
    {", ".join(f"count(*) FILTER (outcome = '{outcome}') AS {outcome}" for outcome in OUTCOMES)}
FROM topics LEFT JOIN {{standing}} USING (topic_id) GROUP BY topic_id, name, category, domain
"""
_TURNS = "SELECT topic_id, template_id FROM {standing} JOIN turns USING (sample_id) WHERE outcome = 'kept'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A box of the map: as large as its topics are many, `cover` of its height being the share that has samples."""

    box: Box
    label: str
    title: str
    under: str
    cover: float
    is_head: bool


def routes(gallery: Gallery) -> list[Route]:
    """`/coverage`."""

    def show(request: Request) -> Response:
        snapshot, under = gallery.snapshot(), request.query_params.get("under", "")[:200]
        depth = 1 + (1 + min(under.count("/"), 1) if under else 0)
        table = snapshot.once(("coverage", under), lambda: cover_shown(snapshot, depth=max(depth, 2), under=under))
        branches = table.filter(pl.col("depth") == depth)
        start = _start(request.query_params.get("from", ""), branches.height)
        rows = branches.slice(start, LIMIT).to_dicts()
        whole = table.filter(pl.col("depth") == 0).to_dicts()
        return gallery.render(
            request,
            "coverage.html",
            title="Coverage",
            version=snapshot.number,
            here="/coverage",
            under=under,
            way=_way(under),
            whole=whole[0] if whole else None,
            rows=[_with_links(row, depth) for row in rows],
            most=branches["slots"].max() or 0,
            start=start,
            limit=LIMIT,
            total=branches.height,
            tiles=list(_tiles(table)) if not under and not start else [],
            size=(WIDTH, HEIGHT),
        )

    return [Route("/coverage", show)]


def _start(text: str, total: int) -> int:
    """How many branches are on the pages before; UserError for what is no such number."""
    if not text:
        return 0
    if not text.isdecimal() or len(text) > MOST_DIGITS or int(text) >= max(total, 1):
        raise UserError("this address names no place in the list; begin with its first page")
    return int(text)


def cover_shown(snapshot: Snapshot, *, depth: int, under: str = "") -> pl.DataFrame:
    """How far the topics are covered, as `flows.standing.read_coverage` tells it, from the history that is open."""
    standing = snapshot.keep("standing", standing_sql(str(snapshot.number), "main.samples"))
    derived = read_lake_templates(snapshot.lake, snapshot.version())
    return cover(
        snapshot.frame(_TOPICS.format(standing=standing)),
        snapshot.frame(_TURNS.format(standing=standing)),
        templates=len(read_templates()) + len(derived),
        depth=depth,
        under=under,
    )


def _way(under: str) -> list[tuple[str, str]]:
    """The branches above, each with its name."""
    parts = under.split("/", 1) if under else []
    return [(parts[at], "/".join(parts[: at + 1])) for at in range(len(parts))]


def _with_links(row: Record, depth: int) -> Record:
    """A branch with its own name, the branch to go down to, and what to ask the grid for."""
    names = [row["domain"], row["category"], row["topic"]]
    known = {"domain": _written(row["domain"]), "category": _written(row["category"]), "topic": row["topic"] or ""}
    down = "/".join(str(name) for name in names[:depth]) if depth < 3 else None
    return {**row, "label": names[depth - 1], "down": down, "samples": known}


def _written(name: str | None) -> str:
    """The name as topics have it, which is empty for a branch of those without one."""
    return "" if name in (None, NO_DOMAIN, NO_CATEGORY) else str(name)


def _tiles(table: pl.DataFrame) -> Iterator[Tile]:
    """Domains as boxes, and their categories within."""
    domains = _by_size(table.filter(pl.col("depth") == 1))
    whole = Box(x=0, y=0, width=WIDTH, height=HEIGHT)
    for domain, box in zip(domains, squarify([row["topics"] for row in domains], whole), strict=True):
        yield _tile(domain, box, str(domain["domain"]), str(domain["domain"]), is_head=True)
        theirs = _by_size(table.filter((pl.col("depth") == 2) & (pl.col("domain") == domain["domain"])))
        inner = box.inside(top=HEAD, rim=2)
        for row, place in zip(theirs, squarify([each["topics"] for each in theirs], inner), strict=True):
            yield _tile(row, place, str(row["category"]), f"{row['domain']}/{row['category']}", is_head=False)


def _tile(row: Record, box: Box, name: str, under: str, *, is_head: bool) -> Tile:
    room = int((box.width - 10) / LETTER)
    is_shown = room >= 4 and (is_head or box.height >= 18)
    return Tile(
        box=box,
        label=(name if len(name) <= room else f"{name[: room - 1]}\N{HORIZONTAL ELLIPSIS}") if is_shown else "",
        title=f"{under}: {row['covered']} of {row['topics']} topics have samples, {row['kept']} samples kept",
        under=under,
        cover=row["covered"] / row["topics"] if row["topics"] else 0.0,
        is_head=is_head,
    )


def _by_size(rows: pl.DataFrame) -> Sequence[Record]:
    return rows.sort(["topics", "domain", "category"], descending=[True, False, False]).to_dicts()
