"""The view `costs` of the history: what was asked of models, by stage, outcome and topic, and for each kept sample."""

_COSTS = """
WITH asked AS (
    SELECT sample_id, stage, tries, prompt_tokens, completion_tokens, seconds::DECIMAL(18, 6) AS seconds,
    FROM {source}main.calls WHERE version <= {upto}
    QUALIFY row_number() OVER (PARTITION BY key, run_id, started_at ORDER BY version, call_id) = 1
), counted AS (
    SELECT sample_id, stage, count(*) AS calls, sum(tries) AS tries, sum(prompt_tokens) AS prompt_tokens,
        sum(completion_tokens) AS completion_tokens, sum(seconds) AS seconds,
    FROM asked GROUP BY ALL
), standing AS (
    SELECT sample_id, topic_id, outcome, true AS is_sample FROM {samples}
    UNION ALL
    SELECT inquiry_id, NULL, 'inquiry', false FROM {source}main.inquiries WHERE version <= {upto}
), grouped AS (
    SELECT
        CASE grouping(outcome, topic_id, stage) WHEN 7 THEN 'lake' WHEN 6 THEN 'stage' WHEN 3 THEN 'outcome'
            ELSE 'topic' END AS part,
        stage, outcome, topic_id, (count(DISTINCT sample_id) FILTER (is_sample))::BIGINT AS samples,
        (count(DISTINCT sample_id) FILTER (outcome = 'kept'))::BIGINT AS kept_here,
        coalesce(sum(calls), 0)::BIGINT AS calls, coalesce(sum(tries), 0)::BIGINT AS tries,
        coalesce(sum(prompt_tokens), 0)::BIGINT AS prompt_tokens,
        coalesce(sum(completion_tokens), 0)::BIGINT AS completion_tokens,
        coalesce(sum(seconds), 0)::DOUBLE AS seconds,
    FROM standing LEFT JOIN counted USING (sample_id)
    GROUP BY GROUPING SETS ((), (stage), (outcome), (topic_id))
    HAVING count(*) > 0
), known AS (
    SELECT topic_id, name FROM {source}main.topics WHERE version <= {upto}
), told AS (
    SELECT part, topic_id, samples,
        coalesce(stage, outcome, known.name, topic_id, if(part = 'topic', 'inquiries', 'all')) AS name,
        CASE WHEN part = 'topic' THEN kept_here ELSE max(kept_here) FILTER (part = 'lake') OVER () END AS kept,
        calls, tries, prompt_tokens, completion_tokens, seconds,
    FROM grouped LEFT JOIN known USING (topic_id)
)
SELECT part, name, topic_id, samples, kept, calls, tries, prompt_tokens, completion_tokens, seconds,
    round(calls / nullif(kept, 0), 2) AS calls_per_kept,
    round((prompt_tokens + completion_tokens) / nullif(kept, 0), 2) AS tokens_per_kept,
    round(seconds / nullif(kept, 0), 4) AS seconds_per_kept,
FROM told WHERE part <> 'stage' OR calls > 0
ORDER BY list_position(['lake', 'stage', 'outcome', 'topic'], part), calls DESC, name, topic_id
"""


def costs_sql(upto: str, samples: str, *, source: str = "") -> str:
    """A row for the whole lake, one a stage, one an outcome, one a topic, as known at version `upto`.

    What was asked for the lake itself (topics, templates) stands under the outcome `inquiry` and the topic `inquiries`,
    with no sample. `samples` is a query in brackets, or a table, of how all samples stand then; `source` as for
    `samples_sql`. Every group of rows of one `part` adds up to the lake. An answer that was taken over from the record
    was asked once and counts once, where it was asked first. `kept` is the number of kept samples of the row's topic,
    or of the lake; what a kept one cost is all that was asked for that row, dropped samples included, divided by it.
    """
    return _COSTS.format(upto=upto, samples=samples, source=source)
