"""The history of a lake as the pages read it, opened once a version, with a card for each sample. Knows no web.

The file is opened as `interlake sql` opens it, and kept open, so a page costs its own queries alone. When the lake has
grown, a newer snapshot is made beside the present one, which serves until then.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias, TypeVar, cast

import duckdb
import polars as pl

from storage.errors import LakeBusy, NoSuchThing
from storage.history import Connection, history_path, open_published, publish, published
from storage.lake import Lake
from storage.versions import Version, head_number

Record: TypeAlias = Mapping[str, Any]
T = TypeVar("T")

MEMORY = "128MB"
"""What DuckDB may keep in memory; beyond, it uses a scratch folder."""
THREADS = 2
PATIENCE = 0.15
"""Seconds that a page waits for a newer snapshot before it shows the present one."""
SPARING = 20
"""A newer snapshot is made only after so many times what the last one took: it costs a twentieth of the time."""
LAG = 20.0
"""Seconds for which the file is left to whoever writes into the lake, and brings it up as well."""

SCORES = ("tcc", "icc", "iq", "its")

_CARDS = """
CREATE TABLE memory.cards AS
WITH scored AS (
    SELECT sample_id, avg(tcc) AS tcc, avg(icc) AS icc, avg(iq) AS iq, avg(its) AS its
    FROM verdicts WHERE stage IS NULL GROUP BY sample_id
), deepest AS (
    SELECT sample_id, max(round)::INTEGER AS rounds FROM iterations GROUP BY sample_id
)
SELECT samples.sample_id, samples.version::INTEGER AS version, samples.outcome, samples.stage, samples.reason,
    samples.run_id, samples.recipe_id, samples.topic_id, samples.turns::INTEGER AS turns,
    coalesce(topics.name, '') AS topic, coalesce(topics.category, '') AS category,
    coalesce(topics.domain, '') AS domain,
    coalesce(rounds, 0) AS rounds, tcc, icc, iq, its
FROM samples LEFT JOIN topics USING (topic_id) LEFT JOIN scored USING (sample_id) LEFT JOIN deepest USING (sample_id)
"""
"""A sample a row: where it belongs, what became of it, the means of its turns' scores over all judges, and the highest
round that any of its stages came to."""


class Snapshot:
    """One version of the history. Queries may run in several threads; the table `cards` is beside those of the file."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self._connection = _open(lake)
        found = self.row("SELECT coalesce(max(version), 0) AS number FROM versions")
        self.number: int = found["number"] if found else 0
        self._made: dict[object, object] = {}
        self._making: dict[object, threading.Lock] = {}
        self._lock = threading.Lock()

    def rows(self, sql: str, values: Mapping[str, object] | None = None) -> list[Record]:
        """The rows of a query; `values` fill its $names."""
        return list(self.frame(sql, values).iter_rows(named=True))

    def row(self, sql: str, values: Mapping[str, object] | None = None) -> Record | None:
        """The first row, if there is one."""
        found = self.rows(sql, values)
        return found[0] if found else None

    def frame(self, sql: str, values: Mapping[str, object] | None = None) -> pl.DataFrame:
        """The result of a query as polars has it."""
        with self._cursor() as cursor:
            return cast("pl.DataFrame", cursor.sql(sql, params=dict(values) if values else None).pl())

    def ask(self, _: Lake, sql: str) -> pl.DataFrame:
        """What `storage.query.query` answers, from this snapshot: for those who can be told whom to ask."""
        return self.frame(sql)

    def version(self) -> Version:
        """The version of the lake that this shows."""
        return self.lake.version(self.number)

    def once(self, name: object, make: Callable[[], T]) -> T:
        """What is reckoned once for a version, and shown many times; who asks for the same meanwhile waits."""
        with self._lock:
            making = self._making.setdefault(name, threading.Lock())
        with making:
            if name not in self._made:
                self._made[name] = make()
            return cast("T", self._made[name])

    def keep(self, name: str, sql: str) -> str:
        """The result of a query as a table of this snapshot, made when it is first wanted; its full name."""
        return self.once(("table", name), lambda: self._make_table(name, sql))

    def _make_table(self, name: str, sql: str) -> str:
        with self._cursor() as cursor:
            cursor.execute(f"CREATE TABLE memory.{name} AS {sql}")
        return f"memory.{name}"

    @contextmanager
    def _cursor(self) -> Iterator[Connection]:
        cursor = self._connection.cursor()
        try:
            cursor.execute("USE history")
            yield cursor
        finally:
            cursor.close()


def _open(lake: Lake) -> Connection:
    """The published file, read-only, with the cards, and out of reach of everything else."""
    connection = open_published(lake)
    connection.execute(f"SET memory_limit = '{MEMORY}'")
    connection.execute("SET temp_directory = $folder", {"folder": tempfile.gettempdir()})
    connection.execute("SET threads = 1")  # of whoever looks meanwhile is the other processor
    connection.execute(_CARDS)
    connection.execute(f"SET threads = {THREADS}")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


class Shelf:
    """The newest snapshot of a lake: a newer one takes its place as the lake grows."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._lock = threading.Lock()
        self._due = 0.0
        self._worker: threading.Thread | None = None
        self._publish(timeout=30.0)
        self._seen = self._mark()
        self._snapshot = Snapshot(lake)

    def present(self) -> Snapshot:
        """The snapshot to show; waits a moment for a newer one where there is something newer to show."""
        worker = self._start() if self._mark() != self._seen or self._is_left_behind() else None
        if worker:
            worker.join(PATIENCE)
        return self._snapshot

    def refresh(self) -> Snapshot:
        """The same, with all that was committed before: for whoever has just written something."""
        worker = self._worker
        if worker:
            worker.join()
        self._renew(is_urgent=True)
        return self._snapshot

    def _mark(self) -> tuple[int, int] | None:
        """What changes when the file does; None while there is none."""
        try:
            found = history_path(self._lake).stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _is_left_behind(self) -> bool:
        """Whether the lake has a newer version than is shown, and nobody has brought up the file for a while."""
        if head_number(self._lake.versions) <= self._snapshot.number:
            return False
        mark = self._mark()
        return mark is None or abs(time.time() - mark[1] / 1e9) > LAG

    def _start(self) -> threading.Thread | None:
        """A thread that makes a newer snapshot, unless that was done just now."""
        with self._lock:
            if self._worker is None or not self._worker.is_alive():
                if time.monotonic() < self._due:
                    return None
                self._worker = threading.Thread(target=self._renew, name="gallery-snapshot", daemon=True)
                self._worker.start()
            return self._worker

    def _renew(self, *, is_urgent: bool = False) -> None:
        start = time.monotonic()
        try:
            if is_urgent or self._is_left_behind():
                self._publish(timeout=0.0)
            mark = self._mark()
            self._snapshot, self._seen = Snapshot(self._lake), mark
        except (duckdb.Error, OSError):
            pass  # the file is being replaced, or cannot be read: the present snapshot stays
        finally:
            self._due = time.monotonic() + SPARING * (time.monotonic() - start)

    def _publish(self, *, timeout: float) -> None:
        """Bring the file up to the newest version, where nobody else is at it and the lake can be written."""
        head = self._lake.head()
        if head is None:
            raise NoSuchThing(f"{self._lake.path} has no version yet; 'interlake build' makes the first")
        is_there = published(self._lake, head) is not None
        with suppress(*((LakeBusy, OSError) if is_there else ())):
            publish(self._lake, head, timeout=timeout)
