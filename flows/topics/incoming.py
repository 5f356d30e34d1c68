"""Topics from a user's file: lines, CSV, JSON or JSON lines, every defect told in one sentence."""

import csv
import io
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.errors import UserError
from flows.topics.catalogue import TopicEntry, fold_space, topic_identity
from models.identity import Json

MAX_BYTES = 64 * 2**20
MAX_CHARACTERS = 500  # of a topic, a category or a domain
SHOWN_CHARACTERS = 40  # of a user's text in a message

NAME_KEYS = ("topic", "name")
PATH_KEYS = ("category", "domain")
UNSEEN = {"Cc": "a control character", "Cf": "a format character that cannot be seen", "Cs": "half a surrogate pair"}


class TopicFileError(UserError):
    """A file of topics cannot be used; the message is one sentence: where, what is wrong, what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingTopics:
    """What a file holds. `repeated` has the names that came again, once for each time, in the file's order."""

    entries: tuple[TopicEntry, ...]
    repeated: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A topic as the file has it, before any check. `place` is for messages: `line 3`."""

    place: str
    name: str
    category: str = ""
    domain: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A file's text, and the errors about it."""

    path: Path
    text: str

    def error(self, problem: str, remedy: str, *, place: str = "") -> TopicFileError:
        return TopicFileError(f"{str(self.path)!r}{place and ', ' + place}: {problem}; {remedy}.")

    def clean(self, raw: str, kind: str, place: str) -> str:
        """A checked value as it is stored: NFC, white space folded."""
        stripped = raw.strip(" \t\r\n")
        if len(stripped) > MAX_CHARACTERS:
            problem = f"the {kind} has {len(stripped):,} characters"
            raise self.error(problem, f"shorten it to {MAX_CHARACTERS} or fewer", place=place)
        for position, character in enumerate("" if stripped.isprintable() else stripped, 1):
            unseen = UNSEEN.get(unicodedata.category(character))
            if unseen:
                problem = f"the {kind} has {unseen}, {_describe(character)}, as its character {position}"
                raise self.error(problem, "remove it", place=place)
        return fold_space(stripped)


def read_topic_file(path: Path, *, category: str = "", domain: str = "") -> IncomingTopics:
    """The topics of a file, in its order; `category` and `domain` are for topics that name none of their own.

    `.csv`: a header with `topic` or `name` and, if wanted, `category` and `domain`; or no header and one column.
    `.json`: an array of strings, or of objects with those keys. `.jsonl`, `.ndjson`: such a string or object a line.
    Any other file: a topic a line, blank lines skipped. UTF-8, with or without a byte order mark, up to 64 MiB.
    Topics that are the same after normalisation are kept once. TopicFileError for anything else.
    """
    source = _Source(path=path, text=_read_text(path))
    category = source.clean(category, "category", "as given for the whole file")
    domain = source.clean(domain, "domain", "as given for the whole file")
    kept: dict[tuple[str, str, str], TopicEntry] = {}
    repeated: list[str] = []
    for row in _read_rows(source):
        entry = TopicEntry(
            name=_clean_name(source, row),
            category=source.clean(row.category, "category", row.place) or category,
            domain=source.clean(row.domain, "domain", row.place) or domain,
        )
        if kept.setdefault(topic_identity(entry), entry) is not entry:
            repeated.append(entry.name)
    if not kept:
        raise source.error("the file has no topics", "write one topic a line")
    return IncomingTopics(entries=tuple(kept.values()), repeated=tuple(repeated))


def _read_text(path: Path) -> str:
    source = _Source(path=path, text="")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise source.error(f"the file cannot be read ({reason})", "check the path and its permissions") from error
    if len(data) > MAX_BYTES:
        raise source.error(f"the file is larger than {MAX_BYTES // 2**20} MiB", "split it into smaller files")
    if b"\0" in data:
        place = f"line {_line_at(data, data.index(0))}"
        raise source.error("a NUL byte, so this is no UTF-8 text", "save the topics as UTF-8 text", place=place)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f"byte 0x{error.object[error.start]:02X} is not UTF-8"
        place = f"line {_line_at(error.object, error.start)}"
        raise source.error(problem, "save the topics as UTF-8 text", place=place) from error


def _line_at(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


def _clean_name(source: _Source, row: _Row) -> str:
    name = source.clean(row.name, "topic", row.place)
    if not name:
        raise source.error("the topic is empty", "name a topic there or delete the entry", place=row.place)
    return name


def _read_rows(source: _Source) -> Iterator[_Row]:
    match source.path.suffix.lower():
        case ".csv":
            return _csv_rows(source)
        case ".json":
            return _json_rows(source)
        case ".jsonl" | ".ndjson":
            return _json_line_rows(source)
        case _:
            return (_Row(place=place, name=line) for place, line in _lines(source.text))


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Place and text of each line that is not blank; lines end with LF, CR LF or CR and nothing else."""
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if line.strip():
            yield f"line {number}", line


# --- CSV -------------------------------------------------------------------------------------------------------------


def _csv_rows(source: _Source) -> Iterator[_Row]:
    records = _csv_records(source)
    first = next(records, None)
    if first is None:
        return
    columns = _header_columns(source, *first)
    if columns is None:
        columns = ["name"]
        yield _csv_row(source, columns, *first)
    for place, cells in records:
        yield _csv_row(source, columns, place, cells)


def _csv_records(source: _Source) -> Iterator[tuple[str, list[str]]]:
    """Place and cells of each record that is not blank; a record that spans lines stands at its first."""
    reader = csv.reader(io.StringIO(source.text, newline=""), strict=True)
    while True:
        place = f"line {reader.line_num + 1}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = f"the row that starts here is not CSV ({error})"
            raise source.error(problem, "close or double its quotation marks", place=place) from error
        if cells:
            yield place, cells


def _header_columns(source: _Source, place: str, cells: list[str]) -> list[str] | None:
    """The columns that a header names, `topic` as `name`; None when there is no header, only one column of topics."""
    names = [cell.strip().casefold() for cell in cells]
    if len(names) == 1 and names[0] not in NAME_KEYS:
        if set(NAME_KEYS) & {part.strip() for mark in ";\t|" for part in names[0].split(mark)}:
            raise source.error("the columns are not separated by commas", "save the file with commas", place=place)
        return None
    unknown = [name for name in names if name not in NAME_KEYS + PATH_KEYS]
    if unknown and set(names).isdisjoint(NAME_KEYS):
        problem = f"{len(names)} columns, and none is named topic or name"
        remedy = "add a header line, or put a topic that has a comma in quotation marks"
        raise source.error(problem, remedy, place=place)
    return _check_keys(source, names, place)


def _csv_row(source: _Source, columns: list[str], place: str, cells: list[str]) -> _Row:
    if len(cells) != len(columns):
        problem = f"columns: {len(cells)} instead of {len(columns)}"
        raise source.error(problem, "put a value that has a comma in quotation marks", place=place)
    return _row_of(place, dict(zip(columns, cells, strict=True)))


# --- JSON ------------------------------------------------------------------------------------------------------------


def _json_rows(source: _Source) -> Iterator[_Row]:
    if not source.text.strip():
        return
    items = _parse(source, source.text, "")
    if not isinstance(items, list):
        raise source.error(f"the file holds {_json_type(items)}", "make it an array of topics")
    for number, item in enumerate(items, 1):
        yield _json_row(source, item, f"item {number}")


def _json_line_rows(source: _Source) -> Iterator[_Row]:
    for place, line in _lines(source.text):
        yield _json_row(source, _parse(source, line, place), place)


def _parse(source: _Source, text: str, place: str) -> Json:
    try:
        value: Json = json.loads(text, object_pairs_hook=_unrepeated)
    except json.JSONDecodeError as error:
        where = place or f"line {error.lineno}"
        problem = f"not JSON ({error.msg} at column {error.colno})"
        raise source.error(problem, "correct the syntax there", place=where) from error
    except RecursionError as error:
        raise source.error("the JSON is nested too deeply", "make it a flat array of topics", place=place) from error
    except ValueError as error:
        raise source.error(f"not usable JSON ({error})", "correct it there", place=place) from error
    return value


def _unrepeated(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """An object whose keys are unique; ValueError for others, which JSON readers take differently."""
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"an object has the key {_shown(twice)} more than once")
    return record


def _json_row(source: _Source, item: Json, place: str) -> _Row:
    if isinstance(item, str):
        return _Row(place=place, name=item)
    if not isinstance(item, dict):
        problem = f"{_json_type(item)} where a topic should be"
        raise source.error(problem, "write a string or an object with a name", place=place)
    values = list(item.values())
    columns = _check_keys(source, list(item), place)
    return _row_of(
        place, {key: _json_text(source, key, value, place) for key, value in zip(columns, values, strict=True)}
    )


def _json_text(source: _Source, key: str, value: Json, place: str) -> str:
    if isinstance(value, str):
        return value
    if value is None and key in PATH_KEYS:
        return ""
    raise source.error(f"the {key} is {_json_type(value)}", "write it as a string", place=place)


def _json_type(value: Json) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case dict():
            return "an object"
        case _:
            return "an array"


# --- both ------------------------------------------------------------------------------------------------------------


def _check_keys(source: _Source, keys: list[str], place: str) -> list[str]:
    """The columns or keys of a topic, `topic` as `name`."""
    unknown = [key for key in keys if key not in NAME_KEYS + PATH_KEYS]
    if unknown:
        problem = f"unknown column or key {_shown(unknown[0])}"
        raise source.error(problem, "use topic or name, category and domain", place=place)
    columns = ["name" if key in NAME_KEYS else key for key in keys]
    if "name" not in columns:
        raise source.error("no column or key named topic or name", "add one", place=place)
    if len(set(columns)) < len(columns):
        raise source.error(
            "a column or key stands there twice", "keep one topic or name, category, domain", place=place
        )
    return columns


def _row_of(place: str, values: dict[str, str]) -> _Row:
    return _Row(place=place, name=values["name"], category=values.get("category", ""), domain=values.get("domain", ""))


def _shown(text: str) -> str:
    """A user's text, short and with everything invisible escaped."""
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…")


def _describe(character: str) -> str:
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}" + (f" {name}" if name else "")
