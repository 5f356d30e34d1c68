"""The view `depth` of the history: what each round of refinement was worth by a judge's scores, and what it cost."""

_DEPTH = """
WITH said AS (
    SELECT judge, judge_sha256, rubric_sha256, sample_id, turn, stage, round,
        avg(tcc) AS tcc, avg(icc) AS icc, avg(iq) AS iq, avg(its) AS its,
    FROM {source}main.verdicts WHERE version <= {upto} AND stage IS NOT NULL
    GROUP BY ALL
), gained AS (
    SELECT *,
        tcc - first_value(tcc) OVER round_before AS tcc_gain, icc - first_value(icc) OVER round_before AS icc_gain,
        iq - first_value(iq) OVER round_before AS iq_gain, its - first_value(its) OVER round_before AS its_gain,
    FROM said
    WINDOW round_before AS (
        PARTITION BY judge, judge_sha256, rubric_sha256, sample_id, turn, stage
        ORDER BY round RANGE BETWEEN 1 PRECEDING AND 1 PRECEDING
    )
), asked AS (
    SELECT sample_id, turn, stage, round, seconds::DECIMAL(18, 6) AS seconds,
    FROM {source}main.calls
    WHERE version <= {upto} AND stage IN (SELECT stage FROM said) AND vector_sha256 IS NULL
    QUALIFY row_number() OVER (PARTITION BY key, run_id, started_at ORDER BY version, call_id) = 1
), spent AS (
    SELECT sample_id, turn, stage, round, count(*) AS calls, sum(seconds) AS seconds FROM asked GROUP BY ALL
), drafts AS (
    SELECT gained.*, list_avg([tcc_gain, icc_gain, iq_gain, its_gain]) AS gain, stopped,
        coalesce(calls, 0) AS calls, coalesce(spent.seconds, 0) AS seconds,
    FROM gained
    LEFT JOIN (SELECT * FROM {source}main.iterations WHERE version <= {upto}) AS rounds
        USING (sample_id, turn, stage, round)
    LEFT JOIN spent USING (sample_id, turn, stage, round)
), counted AS (
    SELECT judge, judge_sha256, rubric_sha256, stage, round, count(*) AS drafts,
        count(*) FILTER (coalesce(tcc, icc, iq, its) IS NULL) AS unknown,
        avg(tcc) AS tcc, avg(icc) AS icc, avg(iq) AS iq, avg(its) AS its, count(gain) AS pairs,
        avg(tcc_gain) AS tcc_gain, avg(icc_gain) AS icc_gain, avg(iq_gain) AS iq_gain, avg(its_gain) AS its_gain,
        avg(gain) AS gain, count(*) FILTER (stopped = 'satisfied') AS satisfied,
        count(*) FILTER (stopped = 'rounds_spent') AS rounds_spent,
        sum(calls)::BIGINT AS calls, sum(seconds)::DOUBLE AS seconds,
        nullif(greatest(round(sum(gain), 9), 0), 0) AS points,
        sum(calls) FILTER (gain IS NOT NULL) AS paired_calls, sum(seconds) FILTER (gain IS NOT NULL) AS paired_seconds,
    FROM drafts GROUP BY ALL
)
SELECT judge, judge_sha256, rubric_sha256, stage, round, drafts, unknown,
    round(tcc, 4) AS tcc, round(icc, 4) AS icc, round(iq, 4) AS iq, round(its, 4) AS its, pairs,
    round(tcc_gain, 4) AS tcc_gain, round(icc_gain, 4) AS icc_gain, round(iq_gain, 4) AS iq_gain,
    round(its_gain, 4) AS its_gain, round(gain, 4) AS gain, satisfied, rounds_spent,
    round(satisfied / drafts, 4) AS satisfied_share, round(rounds_spent / drafts, 4) AS rounds_spent_share,
    calls, seconds, round(paired_calls / points, 2) AS calls_per_point,
    round(paired_seconds::DOUBLE / points, 4) AS seconds_per_point,
FROM counted ORDER BY judge, judge_sha256, rubric_sha256, stage, round
"""


def depth_sql(upto: str, *, source: str = "") -> str:
    """A row for each judge, as it was set up, stage and round of which drafts were judged, as known at version `upto`.

    Repeats are averaged first. `drafts` are those that came to this round, `unknown` those of which no score is known;
    means are over them. Gains are against the round before of the same turn, over the `pairs` that have both: a turn
    that stopped earlier has no such round and is in none, so gains say what going on did for those that went on.
    `gain` is the mean over the scores that both know. `satisfied` and `rounds_spent` are the drafts that the stage
    stopped at, and why. `calls` and `seconds` are what models were asked for at this round (to write or rewrite, to
    draw, to criticise), judges and embeddings left out; those of the pairs by the points that `gain` adds up to are
    `calls_per_point` and `seconds_per_point`, null where nothing was gained. An answer taken over from the record
    counts once, where it was asked.
    """
    return _DEPTH.format(upto=upto, source=source)
