"""One table of one package, read from its Parquet file. A file that the manifest names is there, or there is damage.

Manifests are read once a process: packages never change, and a package's name ends in the hash of its content.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import LakeDamaged
from storage.packages import read_manifest


def table_path(folder: Path, table: str) -> Path | None:
    """A table's file, or None when the package has no such table; LakeDamaged when the file is gone."""
    path = folder / f"{table}.parquet"
    if path.exists():
        return path
    if table in _tables_of(folder):
        raise LakeDamaged(f"{path} is missing; put it back from a copy of the lake")
    return None


@cache
def _tables_of(folder: Path) -> frozenset[str]:
    return frozenset(read_manifest(folder).tables)


def read_table(folder: Path, table: str, columns: Sequence[str] | None = None) -> pa.Table | None:
    """A table's columns (all of them by default), or None when the package has no such table.

    LakeDamaged names the file that is gone or cannot be read.
    """
    path = table_path(folder, table)
    if path is None:
        return None
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            # Threads cost more than they bring: most packages hold the few rows of one batch.
            return file.read(columns=list(columns) if columns is not None else None, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def readable_path(folder: Path, table: str) -> Path | None:
    """As `table_path`, for those who read the file by themselves; LakeDamaged too when its end is torn off."""
    path = table_path(folder, table)
    if path is None:
        return None
    try:
        pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error
    return path


def _damaged(path: Path, error: Exception) -> LakeDamaged:
    why = " ".join(str(error).split())
    return LakeDamaged(f"{path} cannot be read ({why}); put it back from a copy of the lake")
