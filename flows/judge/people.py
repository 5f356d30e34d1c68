"""What people say of turns, read from CSV or Parquet. A row that cannot be used is refused with its place.

An item is a turn of a lake, named by sample_id and turn, or a candidate of any origin: question, answer, and the path
of a picture from the file's folder on. An empty score means that the person did not say.
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from flows.errors import UserError
from flows.judge.candidate import HIGHEST, LOWEST, SCORES, Candidate, Scores
from models.picture import Picture
from storage.canonical import content_sha256

OF_LAKE = ("sample_id", "turn")
OF_ELSEWHERE = ("question", "answer", "image")
MOST_ROWS = 1_000_000

_PREFIX = re.compile(r"[0-9a-f]{4,32}")
_NUMBER = re.compile(r"\d{1,3}(\.\d{1,9})?")

Cells = Mapping[str, str]
FindSample = Callable[[str], Sequence[str]]
"""The ids of a lake's samples that begin with some hex digits; two of them say enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What was scored. `name` is equal for equal items; `cluster` for those that belong together.

    A turn of the lake has `sample_id` and `turn`, anything else its `candidate`.
    """

    name: str
    cluster: str
    sample_id: str | None = None
    turn: int | None = None
    candidate: Candidate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """What one person said of an item, by its name."""

    item: str
    rater: str
    scores: Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """The items in the order of the file, and all that was said of them."""

    items: tuple[Item, ...]
    ratings: tuple[Rating, ...]

    @property
    def raters(self) -> tuple[str, ...]:
        return tuple(sorted({rating.rater for rating in self.ratings}))


def read_people(file: Path, find: FindSample) -> People:
    """The ratings of a file; UserError, with the place, for the first row that cannot be used."""
    if not file.is_file():
        raise UserError(f"{file} is not there, or no file; name the CSV or Parquet of what people say")
    items: dict[str, Item] = {}
    ratings: dict[tuple[str, str], Rating] = {}
    for where, row in _read_rows(file):
        item = _lake_item(row, find, where) if OF_LAKE[0] in row else _other_item(row, file.parent, where)
        rater = row["rater"]
        if not rater:
            raise UserError(f"{where}: there is no rater; say who gave the scores")
        if (item.name, rater) in ratings:
            raise UserError(f"{where}: {rater[:40]!r} has scored this item in an earlier row; leave one of them out")
        items.setdefault(item.name, item)
        ratings[item.name, rater] = Rating(item=item.name, rater=rater, scores=_scores(row, where))
    if not ratings:
        raise UserError(f"{file} has no row; give one for each item and rater")
    return People(items=tuple(items.values()), ratings=tuple(ratings.values()))


def _read_rows(file: Path) -> Iterator[tuple[str, Cells]]:
    """Places and rows, every cell as text without space around."""
    rows = _parquet_rows(file) if file.suffix.casefold() == ".parquet" else _csv_rows(file)
    for number, (where, row) in enumerate(islice(rows, MOST_ROWS + 1)):
        if number == MOST_ROWS:
            raise UserError(f"{file} has more than {MOST_ROWS:,} rows")
        yield where, {name: cell.strip() for name, cell in row.items()}


def _csv_rows(file: Path) -> Iterator[tuple[str, Cells]]:
    """Rows with the line on which each ends; empty lines are none."""
    reader = None
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            names = _checked([name.strip() for name in next(reader, [])], f"{file}, line 1")
            for cells in reader:
                where = f"{file}, line {reader.line_num}"
                if any(cell.strip() for cell in cells):
                    if len(cells) != len(names):
                        raise UserError(f"{where}: {len(cells)} cells, but {len(names)} columns")
                    yield where, dict(zip(names, cells, strict=True))
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no text in UTF-8: {error.reason} at byte {error.start}") from error
    except csv.Error as error:
        line = reader.line_num if reader else 1
        raise UserError(f"{file}, line {line}: {error}; give plain CSV") from error


def _parquet_rows(file: Path) -> Iterator[tuple[str, Cells]]:
    import polars as pl  # noqa: PLC0415  only where it is wanted: CSV needs none of it

    try:
        frame = pl.read_parquet(file)
        names = _checked(frame.columns, str(file))
        frame = frame.select(pl.col(names).cast(pl.String, strict=True))
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{file} is no Parquet with texts and numbers: {str(error).splitlines()[0][:200]}") from error
    for number, cells in enumerate(frame.iter_rows(named=True), start=1):
        yield f"{file}, row {number}", {name: cell or "" for name, cell in cells.items()}


def _checked(names: Sequence[str], where: str) -> list[str]:
    """The columns; UserError unless they name items in one way, raters, and at least one score, each once."""
    ways = [way for way in (OF_LAKE, OF_ELSEWHERE) if set(way) & set(names)]
    if len(ways) != 1:
        raise UserError(f"{where}: name items by {' and '.join(OF_LAKE)}, or by {', '.join(OF_ELSEWHERE)}")
    wanted = (*ways[0], "rater")
    if lacking := [name for name in wanted if name not in names]:
        raise UserError(f"{where}: the column {lacking[0]} is missing; there must be {', '.join(wanted)}")
    if not set(names) & set(SCORES):
        raise UserError(f"{where}: there is no column of scores; give at least one of {', '.join(SCORES)}")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{where}: the column {repeated[0]!r} stands there twice")
    return list(names)


def _lake_item(row: Cells, find: FindSample, where: str) -> Item:
    written, turn = row["sample_id"], row["turn"]
    if not _PREFIX.fullmatch(written):
        raise UserError(f"{where}: {written[:40]!r} is not a sample id: give at least its first 4 hex digits")
    alike = find(written)
    if len(alike) != 1:
        what = "no sample's id begins" if not alike else "several samples' ids begin"
        raise UserError(f"{where}: {what} with {written}; take ids from 'interlake sql'")
    if not (turn.isascii() and turn.isdigit() and len(turn) < 10 and int(turn) > 0):
        raise UserError(f"{where}: a turn is a number from 1 on, not {turn[:40]!r}")
    return Item(name=f"{alike[0]}/{int(turn)}", cluster=alike[0], sample_id=alike[0], turn=int(turn))


def _other_item(row: Cells, folder: Path, where: str) -> Item:
    if not row["question"]:
        raise UserError(f"{where}: there is no question; without one nothing can be scored")
    picture = _read_picture(folder / row["image"], where) if row["image"] else None
    candidate = Candidate(question=row["question"], answer=row["answer"], picture=picture)
    name = content_sha256([candidate.question, candidate.answer, picture.sha256 if picture else None])[:32]
    return Item(name=name, cluster=name, candidate=candidate)


def _read_picture(path: Path, where: str) -> Picture:
    try:
        return Picture.from_bytes(path.read_bytes())
    except OSError as error:
        raise UserError(f"{where}: {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{where}: {path} cannot be used: {error}; give a PNG of 8-bit RGB") from error


def _scores(row: Cells, where: str) -> Scores:
    return Scores(**{name: _score(row[name], name, where) for name in SCORES if row.get(name)})


def _score(text: str, name: str, where: str) -> float:
    if not _NUMBER.fullmatch(text) or not LOWEST <= float(text) <= HIGHEST:
        raise UserError(f"{where}: {name} is a number from {LOWEST} to {HIGHEST}, or empty, not {text[:40]!r}")
    return float(text)
