"""Whether the projections show what the packages say: every row of the LanceDB table, every row of the history."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import duckdb
import lance
import lancedb
import polars as pl
import pyarrow as pa
from lancedb.table import LanceTable

from storage.canonical import sha256_hex
from storage.errors import LakeDamaged
from storage.fsck.chain import Chain
from storage.fsck.evidence import read_chain_file
from storage.fsck.findings import Finding, Seen, UncheckedError, counted, few
from storage.fsck.rows import flagged_turns, latest_decisions
from storage.fsck.stock import Stock
from storage.history import Connection, fill, history_path, open_published
from storage.history_schema import fingerprint, state_queries
from storage.lake import Lake
from storage.projection import TABLE, is_in_chain, lance_folder, lance_version_of, table_folder, tag_of, tagged_numbers
from storage.records import DecisionRow, EmbeddingRow, SampleRow, TopicRow, TurnRow
from storage.turn_rows import SCHEMA
from storage.turns_table import CHAIN_FILE
from storage.versions import Version

REBUILT = "makes it anew from the packages"
BROUGHT_UP = "brings it up"
ROWS_AT_ONCE = 256
_KEY = ["sample_id", "turn"]
_TEXTS = [
    "topic_id",
    "topic",
    "category",
    "domain",
    "question",
    "answer",
    "caption",
    "image_sha256",
    "encoder",
    "flagged",
    "licence",
    "version",
]
_HASHES = ["image_vector_sha256", "text_vector_sha256"]
_BYTES = "image_bytes_sha256"
_KINDS = {"turn": pl.Int64, "version": pl.Int64, "flagged": pl.Boolean}
_NO_ROWS = pl.DataFrame(
    schema={name: _KINDS.get(name, pl.String) for name in (*_KEY, *_TEXTS, *_HASHES, _BYTES, "file")}
)
_HISTORY_LEAVES_OUT = {"versions": "EXCLUDE (lance_version)"}


def kept_turns(stock: Stock, until: int) -> pl.DataFrame:
    """What the table is to show at a version: a row a turn of each kept sample, vectors by their hashes."""
    states = latest_decisions(stock, until).filter(pl.col("outcome") == "kept").select("sample_id", "encoder")
    turns = stock.frame(TurnRow).filter(pl.col("version") <= until).drop("package")
    turns = turns.with_columns(version=pl.col("version").max().over("sample_id"))
    flagged = flagged_turns(stock, until).with_columns(flagged=pl.lit(True))  # noqa: FBT003
    samples = stock.frame(SampleRow, ["sample_id", "topic_id"]).unique("sample_id", keep="last")
    topics = stock.frame(TopicRow).unique("topic_id", keep="first", maintain_order=True).rename({"name": "topic"})
    return (
        turns.join(states, on="sample_id")
        .join(stock.frame(EmbeddingRow).drop("version", "package"), on=[*_KEY, "encoder"], how="left")
        .join(flagged, on=_KEY, how="left")
        .join(samples.select("sample_id", "topic_id"), on="sample_id", how="left")
        .join(topics.select("topic_id", "topic", "category", "domain"), on="topic_id", how="left")
        .with_columns(pl.col("flagged").fill_null(False))  # noqa: FBT003
        .select(*_KEY, *_TEXTS, *_HASHES)
        .sort(_KEY)
    )


class TableLook:
    """A look at the table of turns: opened once, compared tag after tag, the newest first."""

    def __init__(self, lake: Lake, chain: Chain, stock: Stock) -> None:
        self._lake = lake
        self._chain = chain
        self._stock = stock
        self._folder = table_folder(lake)
        self._compared: set[tuple[str, str]] = set()
        self._expected: dict[int, pl.DataFrame] = {}
        self._rows = 0

    def check(self, *, is_busy: bool) -> Seen:
        """Every tag from the oldest that is left to the newest version shows what it is to show.

        While somebody writes, the table may still be at an earlier version.
        """
        tags = [number for number in tagged_numbers(self._lake) if number <= self._chain.head]
        if not self._chain.head:
            return Seen(looked_at="no version yet")
        if not tags:
            return Seen(looked_at="no table", findings=(self._wrong(self._folder, "has no tag of a version"),))
        findings = [*self._check_chain_file(), *self._check_tags(tags, is_busy=is_busy)]
        notes = [f"the tags of versions 1 to {tags[0] - 1} were retired"] if tags[0] > 1 else []
        return Seen(
            looked_at=f"{counted(self._rows, 'turn')} at {tag_of(tags[-1])}, {counted(len(tags), 'tag')}",
            findings=few(findings, of="rows"),
            notes=tuple(notes),
        )

    def _wrong(self, where: Path, what: str) -> Finding:
        return Finding(where=str(where), what=what, mending=REBUILT if self._stock.all_whole else None)

    def _check_chain_file(self) -> Iterator[Finding]:
        said = read_chain_file(self._lake)
        path = lance_folder(self._lake) / CHAIN_FILE
        if said is None:
            yield self._wrong(path, "is missing or damaged")
            return
        if not _is_of_this_lake(self._lake, self._chain, *said):
            yield self._wrong(path, f"names a version {said[0]} that is not of this lake")

    def _check_tags(self, tags: Sequence[int], *, is_busy: bool) -> Iterator[Finding]:
        for number in sorted(set(range(tags[0], tags[-1] + 1)) - set(tags)):
            yield self._wrong(self._tag_path(number), "is missing")
        if tags[-1] < self._chain.head and not is_busy:
            what = f"is missing: the table is at version {tags[-1]}, the lake at {self._chain.head}"
            mending = BROUGHT_UP if self._stock.all_whole else None
            yield Finding(where=str(self._tag_path(self._chain.head)), what=what, mending=mending)
        for number in reversed(tags):
            blamed = self._manifest_path(number)
            try:
                yield from self._check_tag(number, is_newest=number == tags[-1])
            except UncheckedError:
                raise
            except (KeyboardInterrupt, SystemExit, MemoryError):
                raise
            except BaseException as error:  # a panic of a native library is no Exception
                yield self._wrong(blamed, f"cannot be read as {tag_of(number)}: {_short(error)}")

    def _tag_path(self, number: int) -> Path:
        return self._folder / "_refs" / "tags" / f"{tag_of(number)}.json"

    def _manifest_path(self, number: int) -> Path:
        """The file that says which rows a tag shows; the tag's own where that does not tell."""
        lance_version = lance_version_of(self._lake, number)
        if lance_version is None:
            return self._tag_path(number)
        return self._folder / "_versions" / f"{2**64 - 1 - lance_version:020d}.manifest"

    def _check_tag(self, number: int, *, is_newest: bool) -> Iterator[Finding]:
        """Compare the rows of a tag; those of files that a newer tag was compared with only need counting."""
        table = cast("LanceTable", lancedb.connect(str(lance_folder(self._lake))).open_table(TABLE))
        table.checkout(tag_of(number))
        expected, rows = self._expect(number), int(table.count_rows())
        self._rows = rows if is_newest else self._rows
        dataset = lance.dataset(str(self._folder), version=tag_of(number))
        missing = set(SCHEMA.names) - set(dataset.schema.names)
        if missing:
            raise LakeDamaged(f"it has no column {min(missing)}")
        fragments = dataset.get_fragments()
        parts = {(_data_file(fragment), str(fragment.metadata.deletion_file)) for fragment in fragments}
        if parts <= self._compared and rows == expected.height and not is_newest:
            return
        self._compared |= parts
        shown = []
        for fragment in fragments:
            try:
                shown.append(_read_fragment(table, fragment))
            except (KeyboardInterrupt, SystemExit, MemoryError):
                raise
            except BaseException as error:  # a panic of a native library is no Exception
                yield self._wrong(self._blamed(fragment), f"cannot be read at {tag_of(number)}: {_short(error)}")
        if len(shown) == len(fragments):
            yield from self._compare(number, expected, pl.concat([_NO_ROWS, *shown]))

    def _blamed(self, fragment: lance.LanceFragment) -> Path:
        """Which of the files of some rows is damaged: the one that says which of them are deleted, or the rows' own."""
        deletion = fragment.metadata.deletion_file
        if deletion is not None:
            path = self._folder / str(deletion.path(fragment.fragment_id))
            try:
                if path.suffix == ".arrow":
                    pa.ipc.open_file(str(path)).read_all()
                elif not path.stat().st_size:
                    return path
            except (OSError, pa.ArrowException):
                return path
        return self._folder / "data" / _data_file(fragment)

    def _expect(self, number: int) -> pl.DataFrame:
        """What a tag is to show; that changes only with a version that decides."""
        decided = self._stock.frame(DecisionRow, ["sample_id"])["version"]
        last = cast("int", decided.filter(decided <= number).max() or 0)
        if last not in self._expected:
            self._expected[last] = kept_turns(self._stock, last)
        return self._expected[last]

    def _compare(self, number: int, expected: pl.DataFrame, shown: pl.DataFrame) -> Iterator[Finding]:
        for row in shown.filter(shown.select(_KEY).is_duplicated()).sort(_KEY).iter_rows(named=True):
            yield self._differs(number, row, "is shown more than once")
        for row in expected.join(shown, on=_KEY, how="anti").iter_rows(named=True):
            yield self._differs(number, row, "is kept, and not shown")
        for row in shown.join(expected, on=_KEY, how="anti").sort(_KEY).iter_rows(named=True):
            yield self._differs(number, row, "is shown, and not kept")
        both = expected.join(shown, on=_KEY, suffix="_shown").sort(_KEY)
        for name in (*_TEXTS, *_HASHES):
            for row in both.filter(pl.col(name).ne_missing(pl.col(f"{name}_shown"))).iter_rows(named=True):
                yield self._differs(number, row, f"is shown with another {name.removesuffix('_sha256')}")
        for row in both.filter(pl.col("image_sha256").ne_missing(pl.col(_BYTES))).iter_rows(named=True):
            yield self._differs(number, row, "is shown with other bytes of its picture")

    def _differs(self, number: int, row: dict[str, object], what: str) -> Finding:
        where = self._folder / "data" / str(row["file"]) if "file" in row else self._folder
        return self._wrong(where, f"turn {row['turn']} of sample {row['sample_id']} {what} at {tag_of(number)}")


def _data_file(fragment: lance.LanceFragment) -> str:
    return str(fragment.data_files()[0].path)


def _read_fragment(table: LanceTable, fragment: lance.LanceFragment) -> pl.DataFrame:
    """The rows of one file of the table, with the hashes of their vectors and of their pictures' bytes."""
    ids = cast("list[int]", fragment.to_table(columns=[], with_row_id=True)["_rowid"].to_pylist())
    firsts = range(0, len(ids), ROWS_AT_ONCE)
    parts = [_read_rows(table, ids[first : first + ROWS_AT_ONCE]) for first in firsts]
    return pl.concat([_NO_ROWS, *parts]).with_columns(file=pl.lit(_data_file(fragment)))


def _read_rows(table: LanceTable, row_ids: list[int]) -> pl.DataFrame:
    names = [*_KEY, *_TEXTS, "image_vector", "text_vector"]
    found = table.take_row_ids(row_ids).select(names).with_row_id().to_arrow()
    images = table.fetch_blobs("image", cast("list[int]", found["_rowid"].to_pylist())).to_pylist()
    hashes = {f"{name}_sha256": _hashed(found[name]) for name in ("image_vector", "text_vector")}
    hashes[_BYTES] = [sha256_hex(data) if data is not None else None for data in images]
    frame = cast("pl.DataFrame", pl.from_arrow(found.select([*_KEY, *_TEXTS])))
    columns = [pl.Series(name, values, dtype=pl.String) for name, values in hashes.items()]
    return frame.with_columns(*columns, file=pl.lit("")).select(_NO_ROWS.columns)


def _hashed(vectors: "pa.ChunkedArray[Any]") -> list[str | None]:
    """The sha256 of each vector as little-endian float32."""
    whole = cast("pa.FixedSizeListArray[Any, int]", vectors.combine_chunks())
    numbers = whole.flatten().to_numpy(zero_copy_only=False).astype("<f4").reshape(len(whole), -1)
    return [sha256_hex(numbers[row].tobytes()) for row in range(len(whole))]


def _is_of_this_lake(lake: Lake, chain: Chain, number: int, sha256: str) -> bool:
    """Whether a projection is at a version of this chain, or at one that was committed since the chain was read."""
    link = chain.link(number)
    return link.sha256 == sha256 if link else number > chain.head and is_in_chain(lake, number, sha256)


def check_history(lake: Lake, chain: Chain, stock: Stock) -> Seen:
    """Every public table of the published file has the rows that it would have if it were made anew."""
    path = history_path(lake)
    if not path.exists():
        return Seen(looked_at="none is there yet", notes=("it is made when it is first asked for",))
    try:
        with closing(open_published(lake)) as connection:
            return _compare_history(connection, lake, chain, stock)
    except (duckdb.Error, UnicodeError) as error:
        mending = REBUILT if stock.all_whole else None
        finding = Finding(where=str(path), what=f"cannot be read: {_short(error)}", mending=mending)
        return Seen(looked_at="", findings=(finding,))


def _compare_history(connection: Connection, lake: Lake, chain: Chain, stock: Stock) -> Seen:
    if connection.execute("SELECT fingerprint FROM stored.format").fetchall() != [(fingerprint(),)]:
        note = "it is of another make: whoever asks it next makes it anew"
        return Seen(looked_at="a file of another make", notes=(note,))
    newest = "SELECT version, sha256 FROM versions ORDER BY version DESC LIMIT 1"
    number, sha256 = (connection.execute(newest).fetchall() or [(0, "")])[0]
    mending = REBUILT if stock.all_whole else None
    if not _is_of_this_lake(lake, chain, number, sha256):
        what = f"shows a version {number} that is not of this lake"
        return Seen(looked_at="", findings=(Finding(where=str(history_path(lake)), what=what, mending=mending),))
    shown = {name: f"SELECT * FROM history.main.{name}" for name in state_queries("0")}
    if number > chain.head:  # brought up by somebody who committed meanwhile: its state at the version that is judged
        number, shown = chain.head, state_queries(str(chain.head), source="history.")
    findings, rows = _differences(connection, lake, chain.version(number), stock, shown)
    behind = chain.head - number
    return Seen(
        looked_at=f"{counted(rows, 'row')} at version {number}",
        findings=tuple(Finding(where=str(history_path(lake)), what=what, mending=mending) for what in findings),
        notes=(f"{counted(behind, 'version')} behind: whoever asks it next brings it up",) if behind else (),
    )


def _differences(
    connection: Connection, lake: Lake, version: Version, stock: Stock, shown: Mapping[str, str]
) -> tuple[list[str], int]:
    """Which tables have rows too many or too few, compared with a history that is made from the packages now."""
    if not stock.all_whole:
        raise UncheckedError("the packages it is made from are damaged, see 'packages' and 'compact'")
    connection.execute("ATTACH ':memory:' AS anew; USE anew")
    fill(connection, lake, version)
    rows, findings = 0, []
    for table, query in shown.items():
        chosen = f"SELECT * {_HISTORY_LEAVES_OUT.get(table, '')} FROM"
        there, ours = f"{chosen} ({query})", f"{chosen} anew.main.{table}"
        count = f"SELECT (SELECT count(*) FROM ({ours})), (SELECT count(*) FROM ({there} EXCEPT ALL {ours})), \
(SELECT count(*) FROM ({ours} EXCEPT ALL {there}))"
        whole, many, few_ = connection.execute(count).fetchall()[0]
        rows += whole
        if many or few_:
            findings.append(f"table {table} has {counted(many, 'row')} too many and {counted(few_, 'row')} too few")
    return findings, rows


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
