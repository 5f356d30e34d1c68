"""The history of a lake as the pages read it, opened once a version, with a card for each sample. Knows no web.

The file is opened as `interlake sql` opens it, and kept open, so a page costs its own queries alone. When the lake has
grown, a newer snapshot is made beside the present one, which serves until then.
"""

import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar, cast

import duckdb
import polars as pl

from storage.errors import LakeBusy, LakeError, NoSuchThing
from storage.history import Connection, history_path, open_published, publish, published
from storage.lake import Lake
from storage.versions import Version, head_number

Record: TypeAlias = Mapping[str, Any]
T = TypeVar("T")
logger = logging.getLogger("interlake.flows.gallery")

MEMORY = "128MB"
"""What DuckDB may keep in memory; beyond, it uses a scratch folder."""
THREADS = 2
PATIENCE = 0.15
"""Seconds that a page waits for a newer snapshot before it shows the present one."""
SPARING = 20
"""A newer snapshot is made only after so many times what the last one took: it costs a twentieth of the time."""
LAG, LONGEST_LAG = 20.0, 300.0
"""Seconds for which the file is left to whoever writes into the lake, and brings it up as well: at least, at most."""
LEFT_ALONE = 40
"""Between those, so many times what a snapshot or publishing took: whoever builds publishes after twenty times that."""
PUBLISH_MEMORY = "256MB"
"""What DuckDB may keep in memory while this process brings up the file."""
WRITTEN_PATIENCE = 10.0
"""Seconds that whoever has just written waits for another process that is bringing up the file."""
AGAIN = 1.0
"""Seconds after which a file that could not be read is tried again, at least."""
UNREADABLE = (duckdb.Error, LakeError, OSError)

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
    """The newest snapshot of a lake: a newer one takes its place as the lake grows.

    `clock` gives seconds that never go back. One thread at a time makes a newer snapshot, whoever wants it.
    """

    def __init__(self, lake: Lake, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._lake, self._clock = lake, clock
        self._lock, self._renewal = threading.Lock(), threading.Lock()
        self._worker: threading.Thread | None = None
        self._due = self._publish_due = self._changed_at = clock()
        self._making = self._publishing = 0.0  # seconds that they took
        self._failures, self._is_unreadable = 0, False
        self._told: set[str] = set()
        self._last: _Mark = None
        self._publish_first()
        self._seen = self._look()
        self._snapshot = self._make()

    def present(self) -> Snapshot:
        """The snapshot to show; waits a moment for a newer one where there is something newer to show."""
        worker = self._start() if self._is_wanting() else None
        if worker:
            worker.join(PATIENCE)
        return self._snapshot

    def refresh(self) -> Snapshot:
        """The same, with all that was committed before: for whoever has just written something.

        It is the present snapshot, and a line in the log, where the file cannot be brought up within WRITTEN_PATIENCE.
        """
        with self._renewal:
            self._renew(is_urgent=True)
        return self._snapshot

    def _look(self) -> "_Mark":
        """What changes when the file does, None while there is none; remembers when that was first seen."""
        try:
            found = history_path(self._lake).stat()
            mark: _Mark = (found.st_ino, found.st_mtime_ns)
        except FileNotFoundError:
            mark = None
        with self._lock:
            if mark != self._last:
                self._last, self._changed_at = mark, self._clock()
        return mark

    def _is_wanting(self) -> bool:
        return self._look() not in (None, self._seen) or self._is_left_behind()

    def _is_left_behind(self) -> bool:
        """Whether the lake has a newer version than is shown, and nobody has brought up the file for a while."""
        now = self._clock()
        if now < self._publish_due:
            return False
        if self._last is None:
            return True
        return now - self._changed_at > self._lag() and self._is_behind()

    def _is_behind(self) -> bool:
        """Whether the file has less than the lake, or cannot be read."""
        return self._is_unreadable or head_number(self._lake.versions) > self._snapshot.number

    def _lag(self) -> float:
        return min(max(LAG, LEFT_ALONE * max(self._making, self._publishing)), LONGEST_LAG)

    def _start(self) -> threading.Thread | None:
        """A thread that makes a newer snapshot, unless that was done just now."""
        with self._lock:
            if self._worker is None or not self._worker.is_alive():
                if self._clock() < self._due:
                    return None
                self._worker = threading.Thread(target=self._work, name="gallery-snapshot", daemon=True)
                self._worker.start()
            return self._worker

    def _work(self) -> None:
        with self._renewal:
            if self._is_wanting():
                self._renew()

    def _renew(self, *, is_urgent: bool = False) -> None:
        """A newer snapshot, where there is one to be had; only for whoever holds `_renewal`."""
        since = self._clock()
        self._take()
        if (is_urgent and self._is_behind()) or self._is_left_behind():
            self._publish(WRITTEN_PATIENCE if is_urgent else 0.0)
            self._take()
        now = self._clock()
        self._due = now + max(SPARING * (now - since), AGAIN if self._is_unreadable else 0.0)

    def _take(self) -> None:
        """Show the file, if it has changed and can be read, and never less than is shown."""
        mark = self._look()
        if mark in (None, self._seen):
            return
        try:
            found = self._make()
        except UNREADABLE as error:
            self._is_unreadable = True
            self._tell(f"{history_path(self._lake)} cannot be read; an earlier state is shown", error)
            return
        if found.number >= self._snapshot.number:
            self._snapshot = found
        self._seen, self._is_unreadable = mark, False
        self._told.clear()

    def _make(self) -> Snapshot:
        since = self._clock()
        found = Snapshot(self._lake)
        self._making = self._clock() - since
        return found

    def _publish_first(self) -> None:
        """Bring up the file before anything is shown; an older one will do where that cannot be now."""
        head = self._lake.head()
        if head is None:
            raise NoSuchThing(f"{self._lake.path} has no version yet; 'interlake build' makes the first")
        is_there = published(self._lake, head) is not None
        error = self._publish(WRITTEN_PATIENCE if is_there else 30.0)
        if error and not (is_there and isinstance(error, (LakeBusy, OSError))):
            raise error

    def _publish(self, timeout: float) -> Exception | None:
        """Bring the file up to the newest version; what hindered it, after which it is left for longer and longer."""
        since = self._clock()
        try:
            publish(self._lake, self._lake.version(), timeout=timeout, memory=PUBLISH_MEMORY)
        except UNREADABLE as error:
            self._failures += 1
            self._publish_due = self._clock() + min(LAG * 2 ** min(self._failures, 9), LONGEST_LAG)
            self._tell(f"the history of {self._lake.path} cannot be brought up; an earlier state is shown", error)
            return error
        self._publishing = self._clock() - since
        self._failures = 0
        return None

    def _tell(self, what: str, error: Exception) -> None:
        """Say it in the log, once until something newer is shown."""
        if what not in self._told:
            self._told.add(what)
            logger.warning("%s (%s: %s)", what, type(error).__name__, " ".join(str(error).split()))


_Mark: TypeAlias = "tuple[int, int] | None"
