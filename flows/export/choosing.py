"""Which samples are exported, in which order and split: SQL over the history of one version.

The order is one for all sizes, so that a smaller export is the beginning of a larger one. `even` deals samples like
cards: the first of each domain, then the second of each, and within a domain topic by topic; ties are broken by
hashes, so that neither ids nor names have a say. What is held out is chosen by groups among all samples, before any
size: all samples of a topic are in one group, and so are topics with turns that come near to each other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from flows.errors import UserError
from flows.export.asked import SCORES, ExportOptions
from flows.topics.branches import NO_CATEGORY, NO_DOMAIN, branch_key
from storage.history import Connection

TRAIN, VALIDATION = "train", "validation"

_CANDIDATES = """
CREATE TABLE memory.candidates AS
WITH sized AS (
    SELECT sample_id, count(*) AS turns, sum(length) AS picture_bytes,
        sum(strlen(question) + strlen(answer) + strlen(caption)) AS text_bytes, list_distinct(list(licence)) AS pictured
    FROM turns JOIN images USING (image_sha256) GROUP BY sample_id
), scored AS (
    SELECT sample_id, avg(tcc) AS tcc, avg(icc) AS icc, avg(iq) AS iq, avg(its) AS its
    FROM verdicts WHERE stage IS NULL GROUP BY sample_id
)
SELECT sample_id, topic_id, topics.domain, topics.category, topics.name AS topic, samples.licences, pictured,
    samples.recipe_id, samples.version, sized.turns, picture_bytes + text_bytes AS bytes, tcc, icc, iq, its,
    sha256('export ' || sample_id) AS tie
FROM samples JOIN sized USING (sample_id) JOIN topics USING (topic_id) LEFT JOIN scored USING (sample_id)
WHERE outcome = 'kept'
"""
_EVEN = """
SELECT *, row_number() OVER (ORDER BY in_domain, sha256(in_domain || ' ' || lower(domain)), lower(domain)) - 1 AS place
FROM (
    SELECT *, row_number() OVER (
        PARTITION BY lower(domain) ORDER BY in_topic, sha256(in_topic || ' ' || topic_id), topic_id
    ) AS in_domain
    FROM (SELECT *, row_number() OVER (PARTITION BY topic_id ORDER BY tie) AS in_topic FROM memory.candidates)
)
"""
_BEST = """
SELECT *, row_number() OVER (
    ORDER BY (coalesce(tcc, 0) + coalesce(icc, 0) + coalesce(iq, 0) + coalesce(its, 0)) DESC, tie
) - 1 AS place FROM memory.candidates
"""
OTHER_LICENCES = """
DELETE FROM memory.candidates WHERE NOT list_has_all($known, pictured)
    OR NOT coalesce(list_has_all($known, json_extract_string(licences, '$.*')), false)
    OR len(json_extract_string(licences, '$.*')) = 0
"""
"""Samples whose licences are not known are left out as well: nobody can say that they have no others."""
_NEAR = """
SELECT DISTINCT mine.topic_id, kept.topic_id FROM (
    SELECT sample_id, kept_sample_id FROM near_misses UNION SELECT sample_id, kept_sample_id FROM duplicates
) AS pairs
JOIN memory.candidates AS mine ON mine.sample_id = pairs.sample_id
JOIN memory.candidates AS kept ON kept.sample_id = pairs.kept_sample_id
WHERE mine.topic_id != kept.topic_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A file's worth of samples: those of a split from place `first` to `last`, both among them."""

    split: str
    number: int
    of: int
    first: int
    last: int
    samples: int

    @property
    def name(self) -> str:
        """As Hugging Face names shards."""
        return f"{self.split}-{self.number:05d}-of-{self.of:05d}"


def choose(connection: Connection, options: ExportOptions) -> list[Shard]:
    """Make the table `memory.chosen` (a sample a row, with place, split and shard); UserError when none is chosen.

    `connection` is to the history at the version to export.
    """
    connection.execute(_CANDIDATES)
    _confine(connection, options)
    _hold_out(connection, options.validation)
    order = _EVEN if options.order == "even" else _BEST
    limit = "" if options.size is None else f"WHERE place < {options.size}"
    connection.execute(
        f"""CREATE TABLE memory.chosen AS
        SELECT *, (sum(bytes) OVER (PARTITION BY split ORDER BY place) - bytes) // {options.shard_bytes} AS cut
        FROM ({order}) JOIN memory.splits USING (topic_id) {limit} ORDER BY place"""
    )
    shards = list(_shards(connection))
    if not shards:
        raise UserError("no kept sample of this version is what was asked for: nothing is exported")
    return shards


def _confine(connection: Connection, options: ExportOptions) -> None:
    """Leave out what is not asked for."""
    if options.under:
        found = connection.execute("SELECT DISTINCT domain, category FROM memory.candidates").fetchall()
        wanted = [pair for pair in found if _is_under(pair[0], pair[1], options.under)]
        if not wanted:
            raise UserError(f"no kept sample is under {options.under!r}; see 'interlake topics coverage'")
        _add_table(
            connection, "wanted", {"domain": [each[0] for each in wanted], "category": [each[1] for each in wanted]}
        )
        connection.execute("DELETE FROM memory.candidates WHERE (domain, category) NOT IN (FROM memory.wanted)")
    if options.licences:
        connection.execute(OTHER_LICENCES, {"known": list(options.licences)})
    if options.least_score is not None:
        least = " OR ".join(f"{name} IS NULL OR {name} < $least" for name in SCORES)
        connection.execute(f"DELETE FROM memory.candidates WHERE {least}", {"least": options.least_score})


def _is_under(domain: str, category: str, under: str) -> bool:
    domain, category = domain or NO_DOMAIN, category or NO_CATEGORY
    above = branch_key(domain)
    return branch_key(under) in (above, f"{above}/{branch_key(category)}")


def _hold_out(connection: Connection, share: float) -> None:
    """Make the table `memory.splits`, a topic a row: groups by their hashes, until the share is reached."""
    sizes = dict(connection.execute("SELECT topic_id, count(*) FROM memory.candidates GROUP BY topic_id").fetchall())
    groups = group_topics(sizes, connection.execute(_NEAR).fetchall() if share else ())
    hashed = connection.execute(
        "SELECT topic_id FROM (SELECT unnest($ids) AS topic_id) ORDER BY sha256('split ' || topic_id)",
        {"ids": sorted(groups)},
    ).fetchall()
    wanted, held = share * sum(sizes.values()), 0
    rows: list[tuple[str, str]] = []
    for (name,) in hashed:
        theirs = sum(sizes[topic_id] for topic_id in groups[name])
        is_held = held + theirs / 2 <= wanted and share > 0
        held += theirs if is_held else 0
        rows += [(topic_id, VALIDATION if is_held else TRAIN) for topic_id in groups[name]]
    _add_table(connection, "splits", {"topic_id": [row[0] for row in rows], "split": [row[1] for row in rows]})


def _add_table(connection: Connection, name: str, columns: Mapping[str, Sequence[str]]) -> None:
    """A table of texts."""
    connection.register("given", pa.table({each: pa.array(values, pa.string()) for each, values in columns.items()}))
    connection.execute(f"CREATE TABLE memory.{name} AS FROM given")
    connection.unregister("given")


def group_topics(topics: Iterable[str], pairs: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    """Topics that are joined by pairs, over however many steps, by the least of their ids."""
    heads = {topic: topic for topic in topics}

    def head(topic: str) -> str:
        while heads[topic] != topic:
            heads[topic] = topic = heads[heads[topic]]
        return topic

    for one, other in pairs:
        least, most = sorted((head(one), head(other)))
        heads[most] = least
    groups: dict[str, list[str]] = {}
    for topic in sorted(heads):
        groups.setdefault(head(topic), []).append(topic)
    return groups


def _shards(connection: Connection) -> Iterable[Shard]:
    cuts = connection.execute(
        """SELECT split, row_number() OVER (PARTITION BY split ORDER BY cut) - 1, count(*) OVER (PARTITION BY split),
            first, last, samples
        FROM (SELECT split, cut, min(place) AS first, max(place) AS last, count(*) AS samples
            FROM memory.chosen GROUP BY split, cut)
        ORDER BY split, cut"""
    ).fetchall()
    for split, number, of, first, last, samples in cuts:
        yield Shard(split=split, number=number, of=of, first=first, last=last, samples=samples)
