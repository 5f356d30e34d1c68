"""Why a sample is as it is: what it came from, what it was compared with, and what came of it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.compared import Comparison, read_comparisons
from flows.evidence import evidence_lines
from flows.story import Ask, find_sample
from flows.topics.catalogue import read_templates
from flows.topics.lake_templates import read_lake_templates
from storage.canonical import Json
from storage.lake import Lake
from storage.query import query

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedTurn:
    """What a turn was to be about; `text` is its template about this topic, None where we have it no longer."""

    turn: int
    template_id: str
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleModel:
    """Who plays a role by the recipe; the licence is that of what it makes, None where it is not recorded."""

    role: str
    name: str
    revision: str
    licence: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A decision about the sample or one of its turns; `words` say what its evidence says."""

    version: int
    run_id: str | None
    turn: int | None
    kind: str
    outcome: str
    stage: str | None
    reason: str | None
    evidence: Json
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """A turn of another sample that was found to repeat one of this; `holds` unless that was decided anew since."""

    sample_id: str
    turn: int
    kept_turn: int
    topic: str
    version: int
    image_similarity: float
    text_similarity: float
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestry:
    """All of it: rows of the history, and what is made of them.

    `claims` are the runs that set out to make the sample. `others` are the other samples of its slot. `kept_in` are
    spans of versions, first and last.
    """

    sample: Record
    topic: Record
    slot_number: int | None
    claims: Sequence[Record]
    templates: Sequence[AskedTurn]
    generation: Json
    selection: Json
    models: Sequence[RoleModel]
    run: Record
    environment: Json
    calls: Sequence[Record]
    comparisons: Sequence[Comparison]
    decisions: Sequence[Verdict]
    repeated_by: Sequence[Repeat]
    others: Sequence[Record]
    kept_in: Sequence[tuple[int, int]]
    newest: int


_OF_SAMPLE = {
    "claims": "SELECT version, run_id, retry, batch, templates, slot_number FROM claims WHERE {mine} ORDER BY version",
    "decisions": """
        SELECT decisions.*, versions.run_id FROM decisions LEFT JOIN versions ON versions.version = decisions.version
        WHERE {mine} ORDER BY decisions.version, turn NULLS FIRST""",
    "duplicates": "SELECT * FROM duplicates WHERE {mine} ORDER BY version, turn",
    "calls": """
        SELECT call_id, calls.version, turn, stage, round, purpose, attempt, name AS model, seconds, tries, error,
            prompt_tokens, completion_tokens, image_sha256, calls.run_id
        FROM calls LEFT JOIN (SELECT model_id, min(name) AS name FROM models GROUP BY model_id) USING (model_id)
        WHERE {mine} ORDER BY turn, CASE stage WHEN 'question' THEN 0 WHEN 'answer' THEN 1 ELSE 2 END, round,
            CASE WHEN purpose IN ('draft', 'rewrite') THEN 0 WHEN purpose = 'draw' THEN 1
                WHEN purpose = 'critique' THEN 2 ELSE 3 END, purpose, attempt""",
    "models": "SELECT DISTINCT role, name, revision, licence FROM models",
    "topic": "SELECT * FROM topics WHERE topic_id = '{topic}'",
    "recipe": "SELECT * FROM recipes WHERE recipe_id = '{recipe}'",
    "run": "SELECT * EXCLUDE (settings) FROM runs WHERE run_id = '{run}'",
    "repeats": """
        WITH latest AS (
            SELECT sample_id, turn, arg_max(decision_id, (version, line)) AS decision_id FROM decisions
            WHERE turn IS NOT NULL GROUP BY ALL
        )
        SELECT duplicates.sample_id, duplicates.turn, kept_turn, topics.name AS topic, duplicates.version,
            image_similarity, text_similarity, latest.decision_id = duplicates.decision_id AS holds
        FROM duplicates LEFT JOIN latest USING (sample_id, turn) LEFT JOIN samples USING (sample_id)
            LEFT JOIN topics ON topics.topic_id = samples.topic_id
        WHERE kept_sample_id = '{sample}'
        ORDER BY holds DESC, duplicates.version, duplicates.sample_id, duplicates.turn""",
    "others": """
        SELECT sample_id, recipe_id, run_id, version, outcome, stage, reason FROM samples
        WHERE slot_id = '{slot}' AND sample_id <> '{sample}' ORDER BY version, sample_id""",
}


def read_ancestry(lake: Lake, prefix: str, ask: Ask = query) -> Ancestry:
    """The ancestry of the sample whose id begins like this; NoSuchThing as for `find_sample`."""
    sample = find_sample(lake, prefix, ask)
    rows = {name: list(ask(lake, _filled(sql, sample)).iter_rows(named=True)) for name, sql in _OF_SAMPLE.items()}
    topic, recipe, run = (rows[name][0] for name in ("topic", "recipe", "run"))
    generation, selection = json.loads(recipe["generation"]), json.loads(recipe["selection"])
    claims, decisions, newest = rows["claims"], rows["decisions"], lake.version().number
    return Ancestry(
        sample=sample,
        topic=topic,
        slot_number=claims[-1]["slot_number"] if claims else None,
        claims=claims,
        templates=tuple(_templates(claims, topic["name"], lake)),
        generation=generation,
        selection=selection,
        models=tuple(_models(generation["models"] | selection["models"], sample, rows["models"])),
        run={name: value for name, value in run.items() if name != "environment"},
        environment=json.loads(run["environment"]),
        calls=rows["calls"],
        comparisons=tuple(read_comparisons(lake, sample, decisions, claims)),
        decisions=tuple(_verdict(row, rows["duplicates"]) for row in decisions),
        repeated_by=tuple(Repeat(**row) for row in rows["repeats"]),
        others=rows["others"],
        kept_in=tuple(kept_spans(decisions, claims, newest)),
        newest=newest,
    )


def _filled(sql: str, sample: Record) -> str:
    return sql.format(
        mine=f"sample_id = '{sample['sample_id']}'",
        sample=sample["sample_id"],
        slot=sample["slot_id"],
        topic=sample["topic_id"],
        recipe=sample["recipe_id"],
        run=sample["run_id"],
    )


def _templates(claims: Sequence[Record], topic: str, lake: Lake) -> Iterator[AskedTurn]:
    """The templates of the latest claim, a turn each."""
    known = {template.template_id: template for template in read_templates()}
    known |= read_lake_templates(lake, lake.version())
    for turn, template_id in enumerate(json.loads(claims[-1]["templates"]) if claims else (), start=1):
        text = known[template_id].ask(topic) if template_id in known else None
        yield AskedTurn(turn=turn, template_id=template_id, text=text)


def _models(chosen: Mapping[str, Record], sample: Record, models: Sequence[Record]) -> Iterator[RoleModel]:
    """By role; the licence as the sample has it, else as the lake has it for the model."""
    recorded = json.loads(sample["licences"] or "{}")
    known = {(row["role"], row["name"], row["revision"]): row["licence"] for row in models}
    for role, who in chosen.items():
        licence = recorded.get(role, known.get((role, who["name"], who["revision"])))
        yield RoleModel(role=role, name=who["name"], revision=who["revision"], licence=licence)


def _verdict(row: Record, duplicates: Sequence[Record]) -> Verdict:
    repeats = [
        each
        for each in duplicates
        if row["outcome"] == "duplicate" and each["version"] == row["version"] and row["turn"] in (None, each["turn"])
    ]
    return Verdict(
        version=row["version"],
        run_id=row["run_id"],
        turn=row["turn"],
        kind=row["kind"],
        outcome=row["outcome"],
        stage=row["stage"],
        reason=row["reason"],
        evidence=json.loads(row["evidence"]),
        words=tuple(evidence_lines(row["evidence"], repeats)),
    )


def kept_spans(decisions: Sequence[Record], claims: Sequence[Record], newest: int) -> Iterator[tuple[int, int]]:
    """The spans of versions in which a sample is kept: each until it is decided otherwise, or claimed again."""
    events = [(row["version"], row["outcome"] == "kept") for row in decisions if row["turn"] is None]
    events += [(row["version"], False) for row in claims]
    since = 0
    for version, is_kept in sorted(events):
        if since and not is_kept:
            yield since, version - 1
            since = 0
        elif is_kept and not since:
            since = version
    if since:
        yield since, newest
