"""What stands beside the editor: each table in a sentence, its columns, and questions to begin with."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache

import duckdb

from storage.history_schema import create_schema

TABLES = {
    "samples": "A sample a row: its topic, run and version, and what became of it by the latest decision.",
    "turns": "A finished turn a row: question, answer, caption, and the hash of its picture.",
    "iterations": "A round of a stage a row: the draft, what the critic said of it, and whether it was chosen.",
    "topics": "What is to be talked of, and where it belongs.",
    "runs": "A run a row: what it planned, what became of that, when, by which recipe, where.",
    "versions": "A commit a row: when, by whom, how many packages and samples there were by then.",
    "decisions": "What was decided of a sample or a turn, by whom or what, and on which evidence; the latest holds.",
    "duplicates": "A turn and the earlier turn of another sample that it repeats, with similarities and thresholds.",
    "near_misses": "Kept turns that fell a little short of repeating an earlier one.",
    "verdicts": "What a judge said of a turn or a draft: four scores from 0 to 5.",
    "calls": "A request to a model a row: who was asked, for what, what it took.",
    "call_bodies": "The request and the response of each call, as JSON; read from the packages.",
    "models": "A model in a role: name, revision, licence, fingerprint.",
    "recipes": "How samples are made and chosen, as JSON.",
    "images": "Where the bytes of a picture lie.",
    "embeddings": "The hashes of a turn's vectors, by encoder.",
    "claims": "Slots that a run set out to fill, in the order of its plan.",
    "templates": "Question templates of this lake, besides those that are shipped.",
    "inquiries": "What a model was asked for the lake itself: topics, templates.",
    "proposals": "Topics that a model proposed.",
    "proposal_decisions": "What was decided of proposed topics; the latest holds.",
    "costs": "Calls, tokens and seconds: for the lake, by stage, outcome and topic, and for each kept sample.",
    "coverage": "Topics, slots by outcome and templates used, a row for each category.",
    "depth": "What each round of refinement was worth by a judge's scores, and what it cost.",
    "dialogue_similarity": "How alike two turns of one dialogue are, by picture, caption, question and answer.",
    "redundancy": "For each turn but the first, the earlier turn of its dialogue that it is most like.",
}
COLUMNS = {
    "sample_id": "the sample",
    "slot_id": "the place in the lake that the sample fills",
    "topic_id": "the topic",
    "recipe_id": "how it was made and chosen",
    "run_id": "the run that wrote it",
    "version": "the version of the lake that brought it in",
    "turn": "counts from 1; null where the whole sample is meant",
    "round": "0 for the first draft",
    "stage": "question, answer or image",
    "outcome": "kept, rejected, duplicate, failed or open",
    "reason": "why, as a word",
    "evidence": "what the decision rests on, as JSON",
    "critique": "what is to be better; null when there was nothing",
    "critic": "a model's id, or check:NAME",
    "stopped": "satisfied or rounds_spent, in the last round of a stage",
    "chosen": "whether the sample uses this draft",
    "seconds": "of wall time",
    "purpose": "draft, critique, rewrite, draw, embed_image, …",
    "attempt": "counts repeats of a call whose answer could not be used",
    "key": "the hash of the canonical request",
    "tries": "requests that were sent, repeats after errors included",
    "prompt_tokens": "tokens of the request",
    "completion_tokens": "tokens of the answer",
    "image_sha256": "the picture's file, by hash",
    "pixel_sha256": "the picture's pixels, by hash",
    "tcc": "text complete and correct, 0 to 5",
    "icc": "picture complete and correct, 0 to 5",
    "iq": "image quality, 0 to 5",
    "its": "image and text in synergy, 0 to 5",
    "unknown": "why scores are null, as JSON",
    "judge": "the judge's name",
    "image_similarity": "cosine of the pictures' vectors",
    "text_similarity": "cosine of the captions' vectors",
    "kept_sample_id": "the earlier sample",
    "kept_turn": "its turn",
    "encoder": "the model whose vectors were compared",
    "kind": "what sort of run or decision it is",
    "licences": "of the models that had a part in it, as JSON",
    "domain": "the first part of a topic's path",
    "category": "the path of a topic below its domain",
    "placed": "where the category is from: given, nearest or none",
    "planned": "slots that the run claimed",
    "lance_version": "the version of LanceDB's table that shows this one",
    "sha256": "the hash of the version's file",
    "parent": "the hash of the version before",
    "settings": "as JSON",
    "environment": "libraries and processor, as JSON",
    "generation": "how samples are made, as JSON",
    "selection": "how they are chosen, as JSON",
    "seed": "of the request's random numbers",
    "request": "as JSON",
    "response": "as JSON",
}
"""What a name means wherever it stands; names that speak for themselves are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A question in words and in SQL, and two columns to draw, if it has any worth drawing."""

    words: str
    sql: str
    x: str = ""
    y: str = ""


EXAMPLES = (
    Example(
        words="What became of all samples",
        sql="SELECT outcome, count(*) AS samples\nFROM samples GROUP BY ALL",
        x="outcome",
        y="samples",
    ),
    Example(
        words="Why samples were not kept",
        sql="SELECT outcome, stage, reason, count(*) AS samples\n"
        "FROM samples WHERE outcome <> 'kept' GROUP BY ALL\n"
        "ORDER BY samples DESC",
    ),
    Example(
        words="How many rounds each stage takes",
        sql="SELECT stage, round, count(*) AS drafts, avg(seconds) AS seconds\n"
        "FROM iterations GROUP BY ALL ORDER BY ALL",
        x="round",
        y="drafts",
    ),
    Example(
        words="What critics say most often",
        sql="SELECT critic, critique, count(*) AS times\n"
        "FROM iterations WHERE critique IS NOT NULL\n"
        "GROUP BY ALL ORDER BY times DESC LIMIT 20",
    ),
    Example(
        words="Which domains the kept samples are of",
        sql="SELECT domain, count(*) AS kept\n"
        "FROM samples JOIN topics USING (topic_id)\n"
        "WHERE outcome = 'kept' GROUP BY ALL ORDER BY kept DESC",
        x="domain",
        y="kept",
    ),
    Example(
        words="How the lake grew",
        sql="SELECT version, created_at, samples\nFROM versions ORDER BY version",
        x="version",
        y="samples",
    ),
    Example(
        words="Which models take the time",
        sql="SELECT name, purpose, count(*) AS calls, sum(seconds) AS seconds\n"
        "FROM calls JOIN (SELECT DISTINCT model_id, name FROM models) USING (model_id)\n"
        "GROUP BY ALL ORDER BY seconds DESC",
        x="purpose",
        y="seconds",
    ),
    Example(
        words="The pairs that are nearest to each other",
        sql="SELECT sample_id, kept_sample_id, image_similarity, text_similarity\n"
        "FROM duplicates ORDER BY image_similarity DESC LIMIT 200",
        x="image_similarity",
        y="text_similarity",
    ),
    Example(
        words="The lake as it was at version 1",
        sql="SELECT outcome, count(*) AS samples\nFROM samples_at(1) GROUP BY ALL",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table; `meaning` is empty where its name says it."""

    name: str
    type: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table and what it is for."""

    name: str
    meaning: str
    columns: Sequence[Column]


@cache
def read_tables() -> Sequence[Table]:
    """All tables that a statement can read, the most asked for first, with the columns that they have here."""
    with closing(duckdb.connect(":memory:")) as connection:
        create_schema(connection)
        connection.execute("CREATE TABLE call_bodies (call_id VARCHAR, request VARCHAR, response VARCHAR)")
        found = connection.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() "
            "WHERE schema_name = 'main' AND NOT internal ORDER BY table_name, column_index"
        ).fetchall()
    columns: dict[str, list[Column]] = {name: [] for name in TABLES}
    for table, name, kind in found:
        columns.setdefault(table, []).append(Column(name=name, type=kind, meaning=COLUMNS.get(name, "")))
    return [Table(name=name, meaning=TABLES.get(name, ""), columns=each) for name, each in columns.items()]
