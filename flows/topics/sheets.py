"""Topics from CSV: a header and columns, or one column without a header. Knows nothing of files."""

import csv
import io
from collections.abc import Iterator, Mapping

from flows.topics.rows import Column, Columns, RawRow, Refused, Unusable, column_of

MARKS = ";\t|,"


def read_sheet(text: str, columns: Columns, *, delimiter: str) -> Iterator[RawRow | Refused]:
    """The rows of a table. Unusable for what is no CSV, and for a header that names no topics or unknown columns."""
    records = _read_records(text, delimiter)
    first = next(records, None)
    if first is None:
        return
    place, cells = first
    named = _read_header(cells, columns, place, delimiter)
    width = len(cells)
    if named is None:
        named, width = {"name": 0}, 1
        yield _read_record(*first, named, width)
    for place, cells in records:
        yield _read_record(place, cells, named, width)


def _read_records(text: str, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    """Place and cells of each record that is not blank; a record that spans lines stands at its first."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    while True:
        place = f"line {reader.line_num + 1}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = f"the row that starts here is not CSV ({error})"
            raise Unusable(problem, "close or double its quotation marks", place=place) from error
        if cells:
            yield place, cells


def _read_header(cells: list[str], columns: Columns, place: str, delimiter: str) -> Mapping[Column, int] | None:
    """The columns that a header names; None when there is no header, only one column of topics."""
    known = [column_of(cell) for cell in cells]
    if len(cells) == 1 and known[0] != "name":
        others = [mark for mark in MARKS if mark != delimiter]
        if "name" in {column_of(part) for mark in others for part in cells[0].split(mark)}:
            kind = "commas" if delimiter == "," else "tabs"
            raise Unusable(f"the columns are not separated by {kind}", f"save the file with {kind}", place=place)
        return None
    if "name" not in known and None in known:
        problem = f"{len(cells)} columns, and none is named topic or name"
        raise Unusable(problem, "add a header line, or put a topic that has a comma in quotation marks", place=place)
    return columns.name(cells, place=place)


def _read_record(place: str, cells: list[str], named: Mapping[Column, int], width: int) -> RawRow | Refused:
    if len(cells) != width:
        problem = f"columns: {len(cells)} instead of {width}"
        remedy = "put a value that has a comma in quotation marks"
        return Refused.of(Unusable(problem, remedy), place=place, text=", ".join(cells))
    return RawRow.of_columns(place, {column: cells[position] for column, position in named.items()})
