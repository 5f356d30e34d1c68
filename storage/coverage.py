"""The view `coverage` of the history: topics, slots by outcome and use of templates, a row for each category."""

_STANDING = """
WITH given_up AS (
    SELECT sample_id, max(version) AS given_up_at FROM {source}main.decisions
    WHERE kind = 'rerun' AND reason = 'abandoned' AND version <= {upto} GROUP BY sample_id
), held AS (
    SELECT topic_id, slot_id, sample_id
    FROM {source}main.claims LEFT JOIN given_up USING (sample_id)
    WHERE version <= {upto} AND (given_up_at IS NULL OR version > given_up_at)
    QUALIFY row_number() OVER (PARTITION BY slot_id ORDER BY version DESC, line DESC) = 1
)
SELECT held.topic_id, held.slot_id, sample_id, coalesce(outcome, 'open') AS outcome
FROM held LEFT JOIN {samples} USING (sample_id)
"""
_COVERAGE = """
WITH known AS (
    SELECT topic_id, domain, category FROM {source}main.topics WHERE version <= {upto}
), standing AS (
    SELECT domain, category, stands.* FROM ({standing}) AS stands JOIN known USING (topic_id)
), slots AS (
    SELECT domain, category, count(DISTINCT topic_id) AS covered, count(*) AS slots,
        count(*) FILTER (outcome = 'kept') AS kept, count(*) FILTER (outcome = 'rejected') AS rejected,
        count(*) FILTER (outcome = 'duplicate') AS duplicate, count(*) FILTER (outcome = 'failed') AS failed,
        count(*) FILTER (outcome = 'open') AS open,
    FROM standing GROUP BY domain, category
), used AS (
    SELECT domain, category, count(DISTINCT template_id) AS templates_used, entropy(template_id) AS template_entropy,
    FROM standing JOIN (
        SELECT sample_id, template_id FROM {source}main.turns WHERE version <= {upto}
    ) USING (sample_id) WHERE outcome = 'kept' GROUP BY domain, category
), topics AS (
    SELECT domain, category, count(*) AS topics FROM known GROUP BY domain, category
)
SELECT domain, category, topics::BIGINT AS topics, coalesce(covered, 0)::BIGINT AS covered,
    coalesce(slots, 0)::BIGINT AS slots, coalesce(kept, 0)::BIGINT AS kept, coalesce(rejected, 0)::BIGINT AS rejected,
    coalesce(duplicate, 0)::BIGINT AS duplicate, coalesce(failed, 0)::BIGINT AS failed,
    coalesce(open, 0)::BIGINT AS open, coalesce(templates_used, 0)::BIGINT AS templates_used,
    round(template_entropy, 12) AS template_entropy,
FROM topics LEFT JOIN slots USING (domain, category) LEFT JOIN used USING (domain, category)
ORDER BY domain, category
"""


def coverage_sql(upto: str, samples: str, *, source: str = "") -> str:
    """A row for each domain and category as they are written, as known at version `upto`.

    `samples` and `source` as for `costs_sql`. A slot counts by its latest claim that was not given up. Templates are
    those of the turns of kept samples; their entropy is in bits, null where nothing is kept.
    """
    standing = standing_sql(upto, samples, source=source)
    return _COVERAGE.format(upto=upto, source=source, standing=standing)


def standing_sql(upto: str, samples: str, *, source: str = "") -> str:
    """A row for each slot by its latest claim that was not given up: topic_id, slot_id, sample_id, outcome.

    `upto`, `samples` and `source` as for `coverage_sql`; the outcome is `open` until a decision closes the slot.
    """
    return _STANDING.format(upto=upto, samples=samples, source=source)
