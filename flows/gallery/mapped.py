"""The map: pictures as points, near each other where their vectors are, coloured by what is chosen."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flows.evidence import short
from flows.gallery.page import Gallery, plain
from flows.gallery.projection import project
from flows.gallery.snapshot import Snapshot
from storage.embeddings import all_vectors

MOST_POINTS = 8000
MOST_NAMES = 11
"""Values of a field with a colour of their own; what is rarer shares one."""
OTHERS = "others"
FIELDS = {
    "domain": "domain",
    "outcome": "outcome",
    "rounds": "rounds used",
    "its": "score ITS",
    "run": "run",
    "version": "version",
}
STEPS = 6
"""Colours of a field of many numbers."""

_ENCODER = "SELECT encoder FROM decisions WHERE encoder IS NOT NULL ORDER BY version DESC, line DESC LIMIT 1"
_TURNS = """
SELECT sample_id, turn, image_vector_sha256, turns.image_sha256, cards.topic, cards.domain, cards.outcome,
    cards.rounds, cards.its, cards.run_id, cards.version
FROM (SELECT DISTINCT ON (sample_id, turn) * FROM embeddings WHERE encoder = $encoder) AS embeddings
JOIN turns USING (sample_id, turn) JOIN memory.cards AS cards USING (sample_id)
ORDER BY sample_id, turn LIMIT $most
"""
"""Ids of samples are hashes, so the first ones are as good as any chosen by lot, and always the same."""


class Shades(TypedDict):
    """A field as colours: its values' names, how often each is, and each point's place among the names."""

    names: list[str]
    counts: list[int]
    values: list[int]
    ordered: bool


def routes(gallery: Gallery) -> list[Route]:
    """`/map` and the points that it draws."""

    def show(request: Request) -> Response:
        snapshot = gallery.snapshot()
        return gallery.render(
            request,
            "map.html",
            title="Map",
            version=snapshot.number,
            fields=FIELDS,
            most=MOST_POINTS,
            total=_count(snapshot),
        )

    def show_points(_: Request) -> Response:
        snapshot = gallery.snapshot()
        return JSONResponse(snapshot.once("map", lambda: _points(snapshot)))

    return [Route("/map", show), Route("/map/points.json", show_points)]


def _count(snapshot: Snapshot) -> int:
    sql = f"SELECT count(DISTINCT (sample_id, turn)) AS n FROM embeddings WHERE encoder = ({_ENCODER})"
    found = snapshot.row(sql)
    return int(found["n"]) if found else 0


def _points(snapshot: Snapshot) -> dict[str, object]:
    """Columns of equal length, a point each, and the fields that they can be coloured by."""
    found = snapshot.row(_ENCODER)
    encoder = found["encoder"] if found else ""
    turns = snapshot.rows(_TURNS, {"encoder": encoder, "most": MOST_POINTS})
    known = _vectors(snapshot, encoder, {turn["image_vector_sha256"] for turn in turns}) if turns else {}
    rows = [turn for turn in turns if turn["image_vector_sha256"] in known]
    vectors = [known[row["image_vector_sha256"]] for row in rows]
    places = project(np.stack(vectors) if vectors else np.zeros((0, 2), np.float32)).round(4)
    return {
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "sample_id": [row["sample_id"] for row in rows],
        "image_sha256": [row["image_sha256"] for row in rows],
        "topic": [plain(row["topic"]) for row in rows],
        "fields": {
            "domain": _named(plain(row["domain"] or "(no domain)") for row in rows),
            "outcome": _named(row["outcome"] for row in rows),
            "rounds": _stepped([row["rounds"] for row in rows]),
            "its": _stepped([row["its"] for row in rows]),
            "run": _named(short(row["run_id"]) for row in rows),
            "version": _stepped([row["version"] for row in rows]),
        },
    }


def _vectors(snapshot: Snapshot, encoder: str, wanted: set[str]) -> dict[str, NDArray[np.float32]]:
    """The wanted vectors by hash, gone through package by package."""
    found: dict[str, NDArray[np.float32]] = {}
    for sha256s, rows in all_vectors(snapshot.lake, snapshot.version(), encoder):
        for sha256, row in zip(sha256s, rows, strict=True):
            if sha256 in wanted:
                found[sha256] = row.copy()
    return found


def _named(values: Iterable[str]) -> Shades:
    """A field of names, the most frequent first."""
    given = list(values)
    counts = Counter(given).most_common()
    names = [name for name, _ in sorted(counts[:MOST_NAMES], key=lambda pair: (-pair[1], pair[0]))]
    numbers = dict(counts)
    shown = [*names, *([OTHERS] if len(counts) > len(names) else [])]
    places = {name: place for place, name in enumerate(names)}
    rest = len(given) - sum(numbers[name] for name in names)
    return Shades(
        names=shown,
        counts=[*(numbers[name] for name in names), *([rest] if len(shown) > len(names) else [])],
        values=[places.get(value, len(names)) for value in given],
        ordered=False,
    )


def _stepped(values: Sequence[float | None]) -> Shades:
    """A field of numbers: each a colour of its own while they are few, else some steps; those unknown come last."""
    known = sorted({value for value in values if value is not None})
    if len(known) <= STEPS:
        names, places = [f"{value:g}" for value in known], {value: place for place, value in enumerate(known)}
    else:
        width = -(-len(known) // STEPS)
        groups = [known[at : at + width] for at in range(0, len(known), width)]
        names = [f"{group[0]:g} to {group[-1]:g}" for group in groups]
        places = {value: place for place, group in enumerate(groups) for value in group}
    at = [len(names) if value is None else places[value] for value in values]
    shown = [*names, *(["unknown"] if None in values else [])]
    counts = Counter(at)
    return Shades(names=shown, counts=[counts[place] for place in range(len(shown))], values=at, ordered=True)
