"""The file `history.duckdb`: what the packages say, as tables of one self-contained file that any DuckDB tool opens.

Published, never edited: brought up to a version in a copy beside it, synced and renamed. Whoever has the old file open
keeps reading it, and nobody who reads ever stands in the way of who publishes.
"""

import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from storage.durable import sync_file, sync_folder
from storage.history_schema import (
    CHANGED,
    CHANGES,
    COPIED,
    Copied,
    create_schema,
    fingerprint,
    runs_sql,
    samples_sql,
    with_place,
)
from storage.lake import Lake
from storage.lock import hold
from storage.projection import is_in_chain, lance_version_of, read_link
from storage.redundancy import append_redundancy
from storage.steps import Step, reached
from storage.tables import Holding
from storage.versions import PackageEntry, Version

LOCK = ".history.lock"
PACKAGES_AT_ONCE = 256

CANNOT_WRITE = (duckdb.IOException, duckdb.TransactionException, duckdb.FatalException)
"""What DuckDB says, besides nothing, when the disk is full."""

Connection = duckdb.DuckDBPyConnection

_TIME: pa.DataType = pa.timestamp("us", tz="UTC")
_LINKS = pa.schema(
    [
        pa.field("version", pa.int64()),
        pa.field("created_at", _TIME),
        pa.field("parent", pa.string()),
        pa.field("run_id", pa.string()),
        pa.field("packages", pa.int64()),
        pa.field("sha256", pa.string()),
    ]
)
_TAGS = pa.schema([pa.field("version", pa.int64()), pa.field("lance", pa.int64())])
_INSERT_VERSIONS = """
INSERT INTO versions
WITH made AS (
    SELECT version, count(*) AS n FROM (SELECT min(version) AS version FROM stored.samples GROUP BY sample_id)
    GROUP BY version
), made_until AS (
    SELECT version, sum(n) OVER (ORDER BY version) AS samples FROM made
)
SELECT links.version, created_at, parent, run_id, packages, coalesce(samples, 0), NULL, sha256
FROM links ASOF LEFT JOIN made_until ON links.version >= made_until.version
ORDER BY links.version
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The newest version in a published file, and the LanceDB version that it names for it."""

    number: int
    sha256: str
    lance_version: int | None


def history_path(lake: Lake) -> Path:
    return lake.path / "history.duckdb"


def publish(lake: Lake, version: Version, *, timeout: float = 30.0, memory: str | None = None) -> None:
    """Bring the file up to a version; does nothing when it is there already.

    `memory`, such as `256MB`, is what DuckDB may keep there; beyond, it uses a scratch folder outside the lake.
    LakeBusy when another process has been publishing for `timeout` seconds, OSError when the lake cannot be written,
    LakeDamaged when a package cannot be read; the file stays as it was.
    """
    with hold(lake.path / LOCK, purpose="publishing the history", timeout=timeout):
        base = published(lake, version)
        if base is None or not is_current(lake, base, version):
            _publish(lake, version, base, memory)


def published(lake: Lake, head: Version) -> Published | None:
    """What the present file shows, or None when it is missing, unreadable, of another make or of another chain."""
    try:
        with closing(open_published(lake)) as connection:
            return shown_in(connection, lake, head)
    except duckdb.Error:
        return None


def shown_in(connection: Connection, lake: Lake, head: Version) -> Published | None:
    """What an open file shows, or None as `published`; `head` is a version of the lake, most likely the file's."""
    try:
        if connection.execute("SELECT fingerprint FROM stored.format").fetchall() != [(fingerprint(),)]:
            return None
        newest = "SELECT version, sha256, lance_version FROM versions ORDER BY version DESC LIMIT 1"
        number, sha256, lance_version = connection.execute(newest).fetchall()[0]
    except (duckdb.Error, IndexError):
        return None
    if not is_in_chain(lake, number, sha256, known=head):
        return None
    return Published(number=number, sha256=sha256, lance_version=lance_version)


def open_published(lake: Lake) -> Connection:
    """The file as the read-only database `history` of a private DuckDB; duckdb.IOException when it is not there.

    Opened by its own name it would be shared within the process, settings and all, even after it was replaced.
    """
    connection = duckdb.connect(":memory:", config={"python_enable_replacements": False})
    try:
        name = str(history_path(lake)).replace("'", "''")
        connection.execute(f"ATTACH '{name}' AS history (READ_ONLY)")
        connection.execute("USE history")
    except duckdb.Error:
        connection.close()
        raise
    return connection


def is_current(lake: Lake, base: Published, version: Version) -> bool:
    """Whether a published file shows a version, and names the LanceDB version that bears its tag now."""
    return base.number >= version.number and base.lance_version == lance_version_of(lake, base.number)


def _publish(lake: Lake, version: Version, base: Published | None, memory: str | None) -> None:
    try:
        with _limits(memory) as limits:
            _publish_copy(lake, version, base, limits)
    except BaseException:
        _drop_unfinished(lake)
        raise


@contextmanager
def _limits(memory: str | None) -> Iterator[Mapping[str, str]]:
    """DuckDB's settings for so much memory, with a scratch folder that is gone afterwards; none without a limit."""
    if memory is None:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="interlake-history-") as scratch:
        yield {"memory_limit": memory, "temp_directory": scratch}


def _drop_unfinished(lake: Lake) -> None:
    """Remove copies that were never published, and DuckDB's scratch folders beside them, so that they take no room."""
    for left in lake.path.glob(".history-*"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def _publish_copy(lake: Lake, version: Version, base: Published | None, limits: Mapping[str, str]) -> None:
    _drop_unfinished(lake)
    staged = lake.path / f".history-{uuid.uuid4().hex}.duckdb"
    if base:
        shutil.copyfile(history_path(lake), staged)
    reached(Step.HISTORY_COPIED)
    try:
        _write(staged, lake, version, base, limits)
    except CANNOT_WRITE as error:
        raise OSError(f"{staged} cannot be written ({error})") from error
    sync_file(staged)
    reached(Step.HISTORY_WRITTEN)
    staged.replace(history_path(lake))
    reached(Step.HISTORY_NAMED)
    sync_folder(lake.path)


def _write(path: Path, lake: Lake, version: Version, base: Published | None, limits: Mapping[str, str]) -> None:
    """Bring a file that nobody else knows of up to a version, and leave no log beside it."""
    settings: dict[str, Any] = {"storage_compatibility_version": "v1.5.0", **limits}
    with closing(duckdb.connect(str(path), config=settings)) as connection:
        connection.execute("BEGIN")
        if not base:
            create_schema(connection)
        if not base or base.number < version.number:
            _append(connection, lake, version, base.number if base else 0)
        _refresh_lance_versions(connection, lake, base)
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT")  # which closing would do as well, but without a word when the disk is full


def fill(connection: Connection, lake: Lake, version: Version) -> None:
    """Make all tables in the connection's present database, which is empty, with all rows up to a version."""
    create_schema(connection)
    _append(connection, lake, version, 0)


def _append(connection: Connection, lake: Lake, version: Version, base: int) -> None:
    """Bring in the packages of the versions after `base`, and of samples and runs only what these changed."""
    added = [entry for entry in version.packages if entry.version > base]
    for first, last in _groups(added):
        holdings = lake.holdings(replace(version, packages=tuple(added[first:last])))
        for copied in COPIED:
            _copy_rows(connection, copied, holdings)
        append_redundancy(connection, lake, version, first=added[first].version, last=added[last - 1].version)
    connection.execute(CHANGES.format(base=base))
    number = str(version.number)
    connection.execute("DELETE FROM samples WHERE sample_id IN (FROM changed_samples)")
    connection.execute(f"INSERT INTO samples {samples_sql(number, scope=CHANGED)}")
    connection.execute("DELETE FROM runs WHERE run_id IN (FROM changed_runs)")
    connection.execute(f"INSERT INTO runs {runs_sql(number, scope=CHANGED)}")
    _append_versions(connection, lake, version, base)


def _groups(entries: list[PackageEntry]) -> Iterator[tuple[int, int]]:
    """Slices of some hundred packages that never cut a version in two, so that its lines count on."""
    first = 0
    while first < len(entries):
        last = min(first + PACKAGES_AT_ONCE, len(entries))
        while last < len(entries) and entries[last].version == entries[last - 1].version:
            last += 1
        yield first, last
        first = last


def _copy_rows(connection: Connection, copied: Copied, holdings: Sequence[Holding]) -> None:
    read = [holding.read(copied.kind.table, copied.columns()) for holding in holdings]
    parts = [table for table in read if table is not None]
    if not parts:
        return
    connection.register("rows", with_place(copied, parts))
    source = "rows"
    if copied.first_of:
        key = ", ".join(copied.first_of)
        first = f"row_number() OVER (PARTITION BY {key} ORDER BY version, line) = 1"
        source = f"(SELECT * FROM rows ANTI JOIN {copied.name} USING ({key}) QUALIFY {first})"
    connection.execute(f"INSERT INTO {copied.name} SELECT {copied.select} FROM {source}")
    connection.unregister("rows")


def _append_versions(connection: Connection, lake: Lake, version: Version, base: int) -> None:
    links = [read_link(lake, number) for number in range(base + 1, version.number + 1)]
    packages = _packages_until(version)
    columns = {
        "version": [link.number for link in links],
        "created_at": [link.created_at for link in links],
        "parent": [link.parent for link in links],
        "run_id": [link.run_id for link in links],
        "packages": [packages[link.number] for link in links],
        "sha256": [link.sha256 for link in links],
    }
    connection.register("links", pa.table(columns, schema=_LINKS))
    connection.execute(_INSERT_VERSIONS)
    connection.unregister("links")


def _packages_until(version: Version) -> dict[int, int]:
    """How many packages each version up to this one has in all."""
    counts = dict.fromkeys(range(1, version.number + 1), 0)
    for entry in version.packages:
        counts[entry.version] += 1
    total = 0
    for number in counts:
        total = counts[number] = total + counts[number]
    return counts


def _refresh_lance_versions(connection: Connection, lake: Lake, base: Published | None) -> None:
    """Write down which LanceDB version each version is; all of them anew when the table was made anew meanwhile."""
    is_same_table = base is not None and base.lance_version == lance_version_of(lake, base.number)
    chosen = f"version > {base.number}" if base and is_same_table else "TRUE"
    numbers = [number for (number,) in connection.execute(f"SELECT version FROM versions WHERE {chosen}").fetchall()]
    lance = {"version": numbers, "lance": [lance_version_of(lake, number) for number in numbers]}
    connection.register("tags", pa.table(lance, schema=_TAGS))
    connection.execute("UPDATE versions SET lance_version = tags.lance FROM tags WHERE versions.version = tags.version")
    connection.unregister("tags")
