"""What came, went and changed between two versions of a lake, and why. Asks the history alone."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from flows.between import Record, Span
from flows.recipe_changes import RecipeChange, read_recipe_changes, undone
from flows.sample_changes import SampleGroup, TurnGroup, read_sample_changes, read_turn_changes
from flows.story import Ask
from flows.version_steps import Step, read_steps
from storage.lake import Lake
from storage.query import query


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicGroup:
    """Topics that one version brought in from one source."""

    version: int
    source: str
    count: int
    topics: tuple[Record, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionGroup:
    """Decisions of one sort, about samples or about single turns."""

    kind: str
    outcome: str
    stage: str | None
    reason: str | None
    is_of_turn: bool
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """All that differs between two versions; where `start` is the later one, what is named here went.

    Groups count all that is theirs, and name all of it or the first so many. `decisions` has a row for each decision
    only where all was asked for.
    """

    start: int
    end: int
    steps: tuple[Step, ...]
    topics: tuple[TopicGroup, ...]
    recipes: tuple[RecipeChange, ...]
    samples: tuple[SampleGroup, ...]
    turns: tuple[TurnGroup, ...]
    decision_counts: tuple[DecisionGroup, ...]
    decisions: tuple[Record, ...]


_TOPICS = """
SELECT version, source, topic_id, domain, category, name, count(*) OVER (PARTITION BY version, source) AS count
FROM topics WHERE {within}
QUALIFY row_number() OVER (PARTITION BY version, source ORDER BY domain, category, name) <= {limit}
ORDER BY version, source, domain, category, name
"""
_DECISION_COUNTS = """
SELECT kind, outcome, stage, reason, turn IS NOT NULL AS is_of_turn, count(*) AS count FROM decisions WHERE {within}
GROUP BY ALL ORDER BY is_of_turn, kind, outcome, stage, reason
"""
_DECISIONS = "SELECT * EXCLUDE (line) FROM decisions WHERE {within} ORDER BY version, sample_id, turn NULLS FIRST"


def read_changes(lake: Lake, start: int, end: int, *, limit: int | None = None, ask: Ask = query) -> Changes:
    """What differs between two versions; of each kind all is named, or the first `limit`.

    NoSuchThing for a version that is not there; other errors as `storage.query`.
    """
    older, newer = sorted((lake.version(start), lake.version(end)), key=lambda version: version.number)
    span = Span(lake=lake, low=older.number, high=newer.number, limit=limit, ask=ask)
    steps = tuple(read_steps(span, newer))
    found = Changes(
        start=start,
        end=end,
        steps=steps,
        topics=tuple(_topics(span)),
        recipes=tuple(read_recipe_changes(span)),
        samples=tuple(read_sample_changes(span, steps)),
        turns=tuple(read_turn_changes(span, steps)),
        decision_counts=tuple(DecisionGroup(**row) for row in span.rows(_DECISION_COUNTS)),
        decisions=tuple(span.rows(_DECISIONS)) if limit is None else (),
    )
    return found if start <= end else _backwards(found)


def _topics(span: Span) -> Iterator[TopicGroup]:
    for (version, source), group in groupby(span.rows(_TOPICS), key=lambda row: (row["version"], row["source"])):
        rows = list(group)
        topics = tuple({name: row[name] for name in ("topic_id", "domain", "category", "name")} for row in rows)
        yield TopicGroup(version=version, source=source, count=rows[0]["count"], topics=topics)


def _backwards(changes: Changes) -> Changes:
    """The same, told from the later version to the earlier one."""
    return replace(
        changes,
        steps=changes.steps[::-1],
        recipes=tuple(replace(recipe, changes=tuple(map(undone, recipe.changes))) for recipe in changes.recipes[::-1]),
        samples=tuple(replace(group, before=group.after, after=group.before) for group in changes.samples),
        turns=tuple(replace(group, is_flagged=not group.is_flagged) for group in changes.turns),
    )
