"""A lake as polars frames and a DuckDB connection, in one line: `open_lake("lake")`. Writes the history alone.

lake["samples"].filter(pl.col("outcome") == "kept").join(lake["topics"], on="topic_id").collect()
lake.sql("select stage, round, count(*) as n from iterations group by all").pl()
lake.picture(sha256)
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

import duckdb
import polars as pl

from storage.errors import NoSuchThing
from storage.history_schema import state_queries
from storage.lake import Lake
from storage.query import open_history
from storage.versions import Version


class LakeFrames(Mapping[str, pl.LazyFrame]):
    """The tables of one version of a lake's history by name, each read when a frame of it is collected.

    `db` is DuckDB over the same tables, read-only; `picture` has the bytes of a picture.
    """

    def __init__(self, lake: Lake, at: int | None = None) -> None:
        self.lake = lake
        self.db = open_history(lake, at=at)
        (number,) = self.db.execute("SELECT coalesce(max(version), 0) FROM versions").fetchall()[0]
        self.number = int(number)
        self._tables = state_queries(str(at), source="history.") if at is not None else _whole(state_queries("0"))

    def __getitem__(self, name: str) -> pl.LazyFrame:
        if name not in self._tables:
            raise KeyError(f"{name} is no table; there are {', '.join(self._tables)}")
        cursor = self.db.cursor()  # of its own: frames are collected side by side
        frame: pl.LazyFrame = cursor.sql(self._tables[name]).pl(lazy=True)
        return frame

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def __enter__(self) -> "LakeFrames":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def sql(self, text: str) -> duckdb.DuckDBPyRelation:
        """A result of DuckDB; `.pl()` makes a polars frame of it."""
        return self.db.sql(text)

    @property
    def version(self) -> Version:
        """The version of the lake that the tables show; NoSuchThing for a lake without one."""
        if not self.number:
            raise NoSuchThing(f"{self.lake.path} has no version yet")
        return self.lake.version(self.number)

    def picture(self, image_sha256: str) -> bytes:
        """The bytes of a picture (PNG or WebP); NoSuchThing when the lake has none of that hash."""
        return self.lake.picture(image_sha256, self.version)

    def close(self) -> None:
        """Let go of the file; frames that were not collected cannot be any more."""
        self.db.close()


def open_lake(path: str | Path = "lake", *, at: int | None = None) -> LakeFrames:
    """The tables of a lake as they are now, or were at a version.

    NotALake for a folder that is none, NoSuchThing for a version that is not there.
    """
    return LakeFrames(Lake.open(Path(path).expanduser()), at)


def _whole(names: Mapping[str, str]) -> dict[str, str]:
    return {name: f"FROM history.main.{name}" for name in names}
