"""The versions between two others, one by one: when they came, by which run, and what they brought."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from flows.between import Span
from storage.errors import NoSuchThing
from storage.versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A version in between. `kind` is its run's, or that of its packages where it has none.

    `recipe_id` is that of a run that begins here; `ended` are runs that end here, with their states. `counts` are of
    rows: topics, slots (claimed), samples (made), turns (embedded); `outcomes` of decisions about samples.
    """

    version: int
    created_at: datetime
    run_id: str | None
    kind: str
    recipe_id: str | None
    ended: Mapping[str, str]
    counts: Mapping[str, int]
    outcomes: Mapping[str, int]


_STEPS = """
SELECT versions.version, versions.created_at, versions.run_id, runs.kind
FROM versions LEFT JOIN runs ON runs.run_id = versions.run_id
WHERE versions.version > {low} AND versions.version <= {high} ORDER BY versions.version
"""
_COUNTS = """
SELECT version, 'topics' AS what, count(*) AS n FROM topics WHERE {within} GROUP BY version
UNION ALL SELECT version, 'slots', count(*) FROM claims WHERE {within} GROUP BY version
UNION ALL SELECT version, 'samples', count(*) FROM stored.samples WHERE {within} GROUP BY version
UNION ALL SELECT version, 'turns', count(*) FROM embeddings WHERE {within} GROUP BY version
"""
_OUTCOMES = """
SELECT version, outcome AS what, count(*) AS n FROM decisions WHERE turn IS NULL AND {within} GROUP BY ALL ORDER BY ALL
"""
_STARTS = "SELECT version, recipe_id FROM stored.run_starts WHERE {within}"
_ENDS = "SELECT version, run_id, state FROM stored.run_ends WHERE {within} ORDER BY ALL"


def read_steps(span: Span, newest: Version) -> Iterator[Step]:
    """The versions of a span, oldest first; `newest` is its last. NoSuchThing while the history lacks one."""
    found = span.rows(_STEPS)
    if len(found) < span.high - span.low:
        raise NoSuchThing(f"the history does not show version {span.high} yet; ask again later")
    kinds = {entry.version: entry.kind for entry in newest.since(span.low).packages}
    counts, outcomes = _counted(span, _COUNTS), _counted(span, _OUTCOMES)
    recipes = {row["version"]: row["recipe_id"] for row in span.rows(_STARTS)}
    ended: dict[int, dict[str, str]] = {}
    for row in span.rows(_ENDS):
        ended.setdefault(row["version"], {})[row["run_id"]] = row["state"]
    for row in found:
        number = row["version"]
        yield Step(
            version=number,
            created_at=row["created_at"],
            run_id=row["run_id"],
            kind=row["kind"] or kinds.get(number, "nothing"),
            recipe_id=recipes.get(number),
            ended=ended.get(number, {}),
            counts=counts.get(number, {}),
            outcomes=outcomes.get(number, {}),
        )


def _counted(span: Span, sql: str) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = {}
    for row in span.rows(sql):
        found.setdefault(row["version"], {})[row["what"]] = row["n"]
    return found
