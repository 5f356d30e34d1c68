"""What a report tells of one build, read from the history and the packages. Knows nothing of Prefect and of pages."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.progress import OUTCOMES
from flows.seir.checks import SAME_TEXT
from storage.lake import Lake
from storage.query import query

MOST_TOPICS = 30
MOST_CATEGORIES = 30
MOST_SAMPLES = 12
MOST_PAIRS = 10
MOST_FAILED = 5

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Some:
    """The first of some records, and how many there are."""

    count: int
    first: Sequence[Record]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """A run: its row and counts, its topics, its categories with what is left there, rounds by stage,
    repeats, failures, kept samples with their pictures.

    `redundancy` has a row for the second turns of its dialogues, the third ones and so on: how many there are, and how
    many of them have a picture, caption or question that is an earlier one's from the similarities `alike_from` on.
    """

    lake: str
    run_id: str
    version: int
    state: str
    counts: Mapping[str, int]
    topics: Some
    new_topics: int
    categories: Some
    rounds: Sequence[Record]
    repeats: Some
    redundancy: Sequence[Record]
    alike_from: Mapping[str, float]
    failed: Some
    kept: Some
    pictures: Sequence[bytes]


_MINE = "SELECT sample_id FROM samples WHERE run_id = '{run_id}'"

_TOPICS = """
WITH firsts AS (SELECT topic_id, arg_min(run_id, (version, line)) AS run_id FROM claims GROUP BY topic_id)
SELECT topics.name, topics.category, topics.domain, firsts.run_id = '{run_id}' AS is_new,
    count(*) FILTER (outcome = 'kept') AS kept, count(*) FILTER (outcome = 'rejected') AS rejected,
    count(*) FILTER (outcome = 'duplicate') AS duplicate, count(*) FILTER (outcome = 'failed') AS failed,
    count(*) FILTER (outcome = 'open') AS open
FROM samples JOIN topics USING (topic_id) JOIN firsts USING (topic_id) WHERE samples.run_id = '{run_id}'
GROUP BY ALL ORDER BY is_new DESC, topics.domain, topics.name
"""

_CATEGORIES = """
WITH mine AS (
    SELECT domain, category, count(*) FILTER (outcome = 'kept') AS kept,
        count(*) FILTER (outcome = 'rejected') AS rejected, count(*) FILTER (outcome = 'duplicate') AS duplicate,
        count(*) FILTER (outcome = 'failed') AS failed, count(*) FILTER (outcome = 'open') AS open
    FROM samples JOIN topics USING (topic_id) WHERE samples.run_id = '{run_id}' GROUP BY ALL
)
SELECT mine.*, coverage.kept AS kept_in_all, coverage.topics, coverage.topics - coverage.covered AS untouched
FROM mine JOIN coverage USING (domain, category) ORDER BY domain, category
"""

_ROUNDS = """
WITH followed AS (
    SELECT *, lead(round) OVER (PARTITION BY sample_id, turn, stage ORDER BY round) AS next
    FROM iterations WHERE sample_id IN ({mine})
)
SELECT stage, round, count(*) AS drafts, count(critique) AS criticised, count(next) AS rewritten,
    count(*) FILTER (chosen) AS chosen
FROM followed GROUP BY stage, round ORDER BY CASE stage WHEN 'question' THEN 0 WHEN 'answer' THEN 1 ELSE 2 END, round
"""

_REPEATS = """
WITH latest AS (
    SELECT arg_max(decision_id, (version, line)) AS decision_id FROM decisions
    WHERE turn IS NOT NULL AND sample_id IN ({mine}) GROUP BY sample_id, turn
)
SELECT repeats.sample_id, repeats.turn, repeats.kept_sample_id, repeats.kept_turn, mine.caption,
    kept.caption AS kept_caption, image_similarity, text_similarity, image_threshold, text_threshold
FROM duplicates AS repeats SEMI JOIN latest USING (decision_id)
LEFT JOIN turns AS mine ON mine.sample_id = repeats.sample_id AND mine.turn = repeats.turn
LEFT JOIN turns AS kept ON kept.sample_id = repeats.kept_sample_id AND kept.turn = repeats.kept_turn
ORDER BY repeats.sample_id, repeats.turn
"""

_REDUNDANCY = """
WITH latest AS (
    SELECT * FROM redundancy WHERE sample_id IN ({mine})
    QUALIFY row_number() OVER (PARTITION BY sample_id, turn ORDER BY version DESC) = 1
)
SELECT turn, count(*) AS turns, avg(image_similarity) AS mean,
    count(*) FILTER (image_similarity >= {image}) AS image,
    count(*) FILTER (caption_similarity >= {caption}) AS caption,
    count(*) FILTER (question_similarity >= {question}) AS question
FROM latest GROUP BY turn ORDER BY turn
"""

_FAILED = """
SELECT sample_id, topics.name AS topic, stage, reason FROM samples JOIN topics USING (topic_id)
WHERE samples.run_id = '{run_id}' AND outcome = 'failed' ORDER BY sample_id
"""

_KEPT = """
SELECT sample_id, topics.name AS topic, question, caption, image_sha256
FROM samples JOIN topics USING (topic_id) JOIN turns USING (sample_id)
WHERE samples.run_id = '{run_id}' AND outcome = 'kept' AND turn = 1
ORDER BY row_number() OVER (PARTITION BY topic_id ORDER BY sample_id), sample_id
"""


def read_findings(lake: Lake, run_id: str) -> Findings:
    """What a run came to, as of the newest version. NoSuchThing, LakeBusy, LakeDamaged as for `query`."""

    def ask(sql: str, **values: float) -> list[dict[str, Any]]:
        return query(lake, sql.format(run_id=run_id, mine=_MINE.format(run_id=run_id), **values)).to_dicts()

    head = lake.version()
    (run,) = ask("SELECT * FROM runs WHERE run_id = '{run_id}'")
    alike_from = _alike_from(json.loads(run["settings"]))
    topics, repeats, failed, kept = ask(_TOPICS), ask(_REPEATS), ask(_FAILED), ask(_KEPT)
    return Findings(
        lake=str(lake.path.resolve()),
        run_id=run_id,
        version=head.number,
        state=run["state"],
        counts={name: run[name] for name in ("planned", *OUTCOMES)},
        topics=_some(topics, MOST_TOPICS),
        new_topics=sum(topic["is_new"] for topic in topics),
        categories=_some(ask(_CATEGORIES), MOST_CATEGORIES),
        rounds=ask(_ROUNDS),
        repeats=_some(repeats, MOST_PAIRS),
        redundancy=ask(_REDUNDANCY, **alike_from),
        alike_from=alike_from,
        failed=_some(failed, MOST_FAILED),
        kept=_some(kept, MOST_SAMPLES),
        pictures=[lake.picture(row["image_sha256"], head) for row in kept[:MOST_SAMPLES]],
    )


def _alike_from(settings: Mapping[str, Any]) -> dict[str, float]:
    """From which similarities on the turns of a dialogue are alike: those of the run's settings."""
    duplicates, question = settings["selection"]["duplicates"], settings["generation"].get("repeated_question")
    return {"image": duplicates["image"], "caption": duplicates["text"], "question": question or SAME_TEXT}


def _some(records: Sequence[Record], most: int) -> Some:
    return Some(count=len(records), first=records[:most])
