"""What `history.duckdb` consists of: tables copied from the packages, tables derived from them, and their state at V.

Plain tables hold a package's rows with the `version` that brought them in, so that their state at a version is a
filter. `samples`, `runs` and `versions` are derived. Rows of samples and runs as the packages have them lie in the
schema `stored`. Text that is JSON stays text: a file without JSON columns opens with every build of DuckDB. `costs` is
a view over calls, samples and topics; `storage/costs.py` says what it counts; `coverage` is one too, see
`storage/coverage.py`, and `depth`, see `storage/depth.py`. `dialogue_similarity` and `redundancy` are derived from
texts and vectors by `storage/redundancy.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from storage.canonical import content_sha256
from storage.costs import costs_sql
from storage.coverage import coverage_sql
from storage.depth import depth_sql
from storage.records import (
    CallRow,
    ClaimRow,
    DecisionRow,
    DuplicateRow,
    EmbeddingRow,
    ImageRow,
    InquiryRow,
    IterationRow,
    ModelRow,
    NearRow,
    ProposalDecisionRow,
    ProposalRow,
    RecipeRow,
    Row,
    RunEndRow,
    RunStartRow,
    SampleRow,
    TemplateRow,
    TopicRow,
    TurnRow,
    VerdictRow,
)
from storage.redundancy import COLUMNS, MEASURE, PAIRS, TURNS


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A table with the rows of one kind as the packages have them.

    `select` makes its columns from the row's and three more: `version`, `package`, and `line`, the row's place in
    its version. `unread` columns are not even read. Of rows with the same `first_of` columns only the first is
    taken: topics, recipes, models and pictures may come again.
    """

    name: str
    kind: type[Row]
    select: str = "* EXCLUDE (package, line)"
    unread: tuple[str, ...] = ()
    first_of: tuple[str, ...] = ()

    def columns(self) -> list[str]:
        return [name for name in self.kind.columns() if name not in self.unread]


COPIED = (
    Copied(name="topics", kind=TopicRow, first_of=("topic_id",)),
    Copied(name="recipes", kind=RecipeRow, first_of=("recipe_id",)),
    Copied(name="models", kind=ModelRow, first_of=("model_id", "role")),
    Copied(name="images", kind=ImageRow, first_of=("image_sha256",), select="* EXCLUDE (line)"),
    Copied(name="claims", kind=ClaimRow, select="* EXCLUDE (package), json_array_length(templates)::BIGINT AS turns"),
    Copied(name="turns", kind=TurnRow),
    Copied(name="embeddings", kind=EmbeddingRow),
    Copied(name="iterations", kind=IterationRow),
    Copied(
        name="calls",
        kind=CallRow,
        select="* EXCLUDE (package, line) RENAME (request_key AS key)",
        unread=("request", "response"),
    ),
    Copied(name="decisions", kind=DecisionRow, select="* EXCLUDE (package)"),
    Copied(name="duplicates", kind=DuplicateRow),
    Copied(name="near_misses", kind=NearRow),
    Copied(name="verdicts", kind=VerdictRow),
    Copied(name="inquiries", kind=InquiryRow),
    Copied(name="proposals", kind=ProposalRow),
    Copied(name="proposal_decisions", kind=ProposalDecisionRow),
    Copied(name="templates", kind=TemplateRow, first_of=("template_id",)),
    Copied(name="stored.samples", kind=SampleRow, select="* EXCLUDE (package)"),
    Copied(name="stored.run_starts", kind=RunStartRow),
    Copied(name="stored.run_ends", kind=RunEndRow),
)
"""The order of the tables is of no weight; rows keep the order of their packages."""

DERIVED = {
    "versions": """
        version BIGINT, created_at TIMESTAMPTZ, parent VARCHAR, run_id VARCHAR, packages BIGINT, samples BIGINT,
        lance_version BIGINT, sha256 VARCHAR""",
    "samples": """
        sample_id VARCHAR, slot_id VARCHAR, topic_id VARCHAR, recipe_id VARCHAR, run_id VARCHAR, version BIGINT,
        turns BIGINT, outcome VARCHAR, stage VARCHAR, reason VARCHAR, licences VARCHAR""",
    "runs": """
        run_id VARCHAR, kind VARCHAR, started_at TIMESTAMPTZ, finished_at TIMESTAMPTZ, state VARCHAR,
        recipe_id VARCHAR, flow_run_id VARCHAR, planned BIGINT, kept BIGINT, rejected BIGINT, duplicate BIGINT,
        failed BIGINT, open BIGINT, reason VARCHAR, settings VARCHAR, environment VARCHAR, version BIGINT""",
    **COLUMNS,
}

_SAMPLES = """
WITH placed AS (
    SELECT sample_id, slot_id, topic_id, recipe_id, run_id, version, turns, line, TRUE AS is_made, licences
    FROM {source}stored.samples WHERE version <= {upto} AND {samples}
    UNION ALL
    SELECT sample_id, slot_id, topic_id, recipe_id, run_id, version, turns, line, FALSE AS is_made, NULL AS licences
    FROM {source}main.claims WHERE version <= {upto} AND {samples}
), latest AS (
    SELECT *, max(version) FILTER (NOT is_made) OVER (PARTITION BY sample_id) AS claimed_at,
        bool_or(is_made) OVER (PARTITION BY sample_id) AS was_made
    FROM placed
    QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY version DESC, is_made DESC, line DESC) = 1
), holders AS (
    SELECT slot_id, sample_id AS holder FROM placed WHERE NOT is_made
    QUALIFY row_number() OVER (PARTITION BY slot_id ORDER BY version DESC, line DESC) = 1
), decided AS (
    SELECT sample_id, version AS decided_at, outcome, stage, reason FROM {source}main.decisions
    WHERE turn IS NULL AND version <= {upto} AND {samples}
    QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY version DESC, line DESC) = 1
), judged AS (
    SELECT *, decided_at IS NOT NULL AND (
        decided_at > coalesce(claimed_at, 0) OR holder IS DISTINCT FROM sample_id) AS is_closed
    FROM latest LEFT JOIN holders USING (slot_id) LEFT JOIN decided USING (sample_id)
    WHERE was_made OR decided_at IS NOT NULL OR holder = sample_id
)
SELECT sample_id, slot_id, topic_id, recipe_id, run_id, version, turns,
    CASE WHEN is_closed THEN outcome ELSE 'open' END AS outcome,
    CASE WHEN is_closed THEN stage END AS stage,
    CASE WHEN is_closed THEN reason END AS reason, licences
FROM judged
"""

_RUNS = """
WITH claimed AS (
    SELECT run_id, slot_id, sample_id, version, line,
        lead(version) OVER (PARTITION BY slot_id ORDER BY version, line) AS claimed_again_at
    FROM {source}main.claims
    WHERE version <= {upto} AND {slots}
), held AS (
    SELECT * FROM claimed WHERE {runs}
    QUALIFY row_number() OVER (PARTITION BY run_id, slot_id ORDER BY version DESC, line DESC) = 1
), closed AS (
    SELECT held.run_id, held.slot_id, arg_max(outcome, (d.version, d.line)) AS outcome
    FROM held LEFT JOIN {source}main.decisions d
        ON d.sample_id = held.sample_id AND d.turn IS NULL AND d.version <= {upto}
        AND d.version > held.version AND d.version <= coalesce(held.claimed_again_at, {upto})
    GROUP BY held.run_id, held.slot_id
), counts AS (
    SELECT run_id, count(*) AS slots,
        count(*) FILTER (outcome = 'kept') AS kept,
        count(*) FILTER (outcome = 'rejected') AS rejected,
        count(*) FILTER (outcome = 'duplicate') AS duplicate,
        count(*) FILTER (outcome = 'failed') AS failed
    FROM closed GROUP BY run_id
), ends AS (
    SELECT run_id, state, reason, finished_at FROM {source}stored.run_ends
    WHERE version <= {upto} AND {runs}
    QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY version DESC) = 1
)
SELECT run_id, kind, started_at, finished_at, coalesce(state, 'running') AS state, recipe_id, flow_run_id,
    coalesce(slots, 0) AS planned, coalesce(kept, 0) AS kept, coalesce(rejected, 0) AS rejected,
    coalesce(duplicate, 0) AS duplicate, coalesce(failed, 0) AS failed,
    coalesce(slots - kept - rejected - duplicate - failed, 0) AS open,
    reason, settings, environment, version
FROM {source}stored.run_starts LEFT JOIN counts USING (run_id) LEFT JOIN ends USING (run_id)
WHERE version <= {upto} AND {runs}
"""

EVERYTHING = "everything"
CHANGED = "changed"

CHANGES = """
CREATE TEMP TABLE changed_slots AS
    SELECT slot_id FROM main.claims WHERE version > {base}
    UNION SELECT slot_id FROM stored.samples WHERE version > {base};
CREATE TEMP TABLE decided_samples AS SELECT DISTINCT sample_id FROM main.decisions WHERE version > {base};
INSERT INTO changed_slots
    SELECT slot_id FROM main.claims WHERE sample_id IN (FROM decided_samples)
    UNION SELECT slot_id FROM stored.samples WHERE sample_id IN (FROM decided_samples);
CREATE TEMP TABLE changed_samples AS
    SELECT sample_id FROM main.claims WHERE slot_id IN (FROM changed_slots)
    UNION SELECT sample_id FROM stored.samples WHERE slot_id IN (FROM changed_slots);
CREATE TEMP TABLE changed_runs AS
    SELECT run_id FROM main.claims WHERE slot_id IN (FROM changed_slots)
    UNION SELECT run_id FROM stored.run_starts WHERE version > {base}
    UNION SELECT run_id FROM stored.run_ends WHERE version > {base};
CREATE TEMP TABLE slots_of_changed_runs AS
    SELECT DISTINCT slot_id FROM main.claims WHERE run_id IN (FROM changed_runs);
"""
"""Temporary tables of what the versions after `base` touch; the scope CHANGED confines a query to it."""


def samples_sql(upto: str, *, source: str = "", scope: str = EVERYTHING) -> str:
    """Every sample and where it stands at version `upto`; claimed ones that nobody made yet are `open`.

    `source` is the database's name and a dot, for use where views shadow its tables.
    """
    samples = "sample_id IN (FROM changed_samples)" if scope == CHANGED else "TRUE"
    return _SAMPLES.format(source=source, upto=upto, samples=samples)


def runs_sql(upto: str, *, source: str = "", scope: str = EVERYTHING) -> str:
    """Every run with what became of the slots that it claimed, as known at version `upto`.

    A slot counts in the run whose claim a decision closed, and is `open` in one that lost it to a later claim.
    """
    runs = "run_id IN (FROM changed_runs)" if scope == CHANGED else "TRUE"
    slots = "slot_id IN (FROM slots_of_changed_runs)" if scope == CHANGED else "TRUE"
    return _RUNS.format(source=source, upto=upto, runs=runs, slots=slots)


def state_queries(upto: str, *, source: str = "") -> dict[str, str]:
    """A query per public table for its state at version `upto`."""
    plain = [copied.name for copied in COPIED if "." not in copied.name]
    queries = {
        name: f"SELECT * FROM {source}main.{name} WHERE version <= {upto}" for name in (*plain, "versions", *COLUMNS)
    }
    queries["samples"] = samples_sql(upto, source=source)
    queries["runs"] = runs_sql(upto, source=source)
    queries["costs"] = costs_sql(upto, f"({queries['samples']})", source=source)
    queries["coverage"] = coverage_sql(upto, f"({queries['samples']})", source=source)
    queries["depth"] = depth_sql(upto, source=source)
    return queries


_NEWEST = "(SELECT coalesce(max(version), 0) FROM main.versions)"
VIEWS = {
    "costs": costs_sql(_NEWEST, "main.samples"),
    "coverage": coverage_sql(_NEWEST, "main.samples"),
    "depth": depth_sql(_NEWEST),
}
"""Views over the tables, as of the newest version."""


def create_schema(connection: duckdb.DuckDBPyConnection) -> None:
    """Make all tables, empty, the views, and the macros NAME_at(v) in the connection's present database."""
    connection.execute("CREATE SCHEMA stored")
    for copied in COPIED:
        connection.register("rows", with_place(copied, []))
        connection.execute(f"CREATE TABLE {copied.name} AS SELECT {copied.select} FROM rows")
        connection.unregister("rows")
    for name, columns in DERIVED.items():
        connection.execute(f"CREATE TABLE {name} ({columns})")
    connection.execute("CREATE TABLE stored.format (fingerprint VARCHAR)")
    connection.execute("INSERT INTO stored.format VALUES (?)", [fingerprint()])
    for name, sql in VIEWS.items():
        connection.execute(f"CREATE VIEW {name} AS {sql}")
    for name, sql in state_queries("v").items():
        connection.execute(f"CREATE MACRO {name}_at(v) AS TABLE {sql}")


def with_place(copied: Copied, parts: Sequence[pa.Table]) -> pa.Table:
    """Rows of one kind as holdings have them, with `version`, `package` and `line`, their place in their version.

    Rows of one version stand together, and no version is cut in two.
    """
    fields = [copied.kind.schema().field(name) for name in copied.columns()]
    empty = pa.schema([*fields, pa.field("version", pa.int64()), pa.field("package", pa.string())]).empty_table()
    whole = pa.concat_tables([empty, *parts])
    _, first, places = np.unique(whole["version"].to_numpy(), return_index=True, return_inverse=True)
    lines = np.arange(len(whole), dtype=np.int64) - (first[places] if len(whole) else 0)
    return whole.append_column("line", pa.array(lines, pa.int64()))


def fingerprint() -> str:
    """A hash of all of the above: a file of another fingerprint is made anew."""
    copied = [f"{table.name} {table.select} {table.first_of} {table.columns()}" for table in COPIED]
    said = [*copied, *DERIVED.values(), *VIEWS.values(), *state_queries("v").values()]
    return content_sha256([*said, MEASURE, PAIRS, TURNS])
