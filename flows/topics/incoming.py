"""Topics from a user's file: what it has row by row, and which rows cannot be used and why. Knows nothing of a lake.

Files that cannot be read at all are one error; a row that cannot be used is refused, and the others are taken.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.benchmark.questions import find_question
from flows.topics.catalogue import TopicEntry, fold_space
from flows.topics.nested import read_json, read_json_lines
from flows.topics.rows import Columns, RawRow, Refused, TopicFileError, Unusable, text_lines
from flows.topics.sheets import read_sheet

MAX_BYTES = 64 * 2**20
MAX_CHARACTERS = 500  # of a topic, a category or a domain
UNSEEN = {"Cc": "a control character", "Cf": "a format character that cannot be seen", "Cs": "half a surrogate pair"}
WHOLE_FILE = "as given for the whole file"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingTopic:
    """A usable row; `place` is where it stands: `line 3`, `item 7`."""

    place: str
    entry: TopicEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingTopics:
    """What a file holds, in its order. `ignored` are columns or keys that were left unread, as asked.

    `refusals` says of each row of the file, in its order, whether it was refused.
    """

    topics: tuple[IncomingTopic, ...]
    refused: tuple[Refused, ...] = ()
    refusals: tuple[bool, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def entries(self) -> tuple[TopicEntry, ...]:
        return tuple(topic.entry for topic in self.topics)


def read_topic_file(
    path: Path, *, category: str = "", domain: str = "", strict: bool = False, ignore_columns: bool = False
) -> IncomingTopics:
    """The topics of a file, row by row; `category` and `domain` are for rows that name none of their own.

    `.csv`, `.tsv`: a header that names the topic and, if wanted, category and domain; or no header and one column.
    `.json`: an array, or headings with what belongs under them. `.jsonl`, `.ndjson`: a topic a line. Any other file: a
    topic a line, blank lines skipped. UTF-8, with or without a byte order mark, up to 64 MiB. TopicFileError for a file
    that cannot be used or has no usable row; `strict`, for any row that is refused.
    """
    columns = Columns(ignores_others=ignore_columns)
    try:
        cleaner = _Cleaner(category=category, domain=domain)
        found = _sort_out(_read_rows(path, _read_text(path), columns), cleaner)
    except Unusable as error:
        raise _file_error(path, error) from error
    topics = tuple(row for row in found if isinstance(row, IncomingTopic))
    refused = tuple(row for row in found if isinstance(row, Refused))
    if refused and (strict or not topics):
        raise _file_error(path, Unusable(refused[0].problem, refused[0].remedy, place=refused[0].place))
    if not topics:
        raise _file_error(path, Unusable("the file has no topics", "write one topic a line"))
    refusals = tuple(isinstance(row, Refused) for row in found)
    return IncomingTopics(topics=topics, refused=refused, refusals=refusals, ignored=tuple(columns.ignored))


def _file_error(path: Path, error: Unusable) -> TopicFileError:
    return TopicFileError(f"{str(path)!r}{error.place and ', ' + error.place}: {error}.")


def _sort_out(rows: Iterator[RawRow | Refused], cleaner: "_Cleaner") -> list[IncomingTopic | Refused]:
    found: list[IncomingTopic | Refused] = []
    for row in rows:
        if isinstance(row, Refused):
            found.append(row)
            continue
        try:
            found.append(IncomingTopic(place=row.place, entry=cleaner.clean(row)))
        except Unusable as error:
            found.append(Refused.of(error, place=row.place, text=row.name))
    return found


class _Cleaner:
    """Checks rows, and brings them to the form that is stored; remembers paths, which come again and again."""

    def __init__(self, *, category: str, domain: str) -> None:
        self._paths: dict[tuple[str, str], str | Unusable] = {}
        try:
            self._category = clean_text(category, "category")
            self._domain = clean_text(domain, "domain")
        except Unusable as error:
            raise Unusable(error.problem, error.remedy, place=WHOLE_FILE) from error

    def clean(self, row: RawRow) -> TopicEntry:
        """The topic of a row; Unusable says what is wrong with it."""
        name = clean_text(row.name, "topic")
        if not name:
            raise Unusable("the topic is empty", "name a topic there or delete the entry")
        question = find_question(name)
        if question:
            raise Unusable(f"it is question {question} of the benchmark", "leave it out: it is there to measure by")
        return TopicEntry(
            name=name,
            category=self._path(row.category, "category") or self._category,
            domain=self._path(row.domain, "domain") or self._domain,
        )

    def _path(self, raw: str, kind: str) -> str:
        if (raw, kind) not in self._paths:
            try:
                self._paths[raw, kind] = clean_text(raw, kind)
            except Unusable as error:
                self._paths[raw, kind] = error
        found = self._paths[raw, kind]
        if isinstance(found, Unusable):
            raise Unusable(found.problem, found.remedy)
        return found


def clean_text(raw: str, kind: str) -> str:
    """A text in the form that is stored: NFC, white space folded. Unusable when it is too long or hides something."""
    stripped = raw.strip(" \t\r\n")
    if len(stripped) > MAX_CHARACTERS:
        raise Unusable(f"the {kind} has {len(stripped):,} characters", f"shorten it to {MAX_CHARACTERS} or fewer")
    for position, character in enumerate("" if stripped.isprintable() else stripped, 1):
        unseen = UNSEEN.get(unicodedata.category(character))
        if unseen:
            problem = f"the {kind} has {unseen}, {_describe(character)}, as its character {position}"
            raise Unusable(problem, "remove it")
    return fold_space(stripped)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unusable(f"the file cannot be read ({reason})", "check the path and its permissions") from error
    if len(data) > MAX_BYTES:
        raise Unusable(f"the file is larger than {MAX_BYTES // 2**20} MiB", "split it into smaller files")
    if b"\0" in data:
        place = f"line {_line_at(data, data.index(0))}"
        raise Unusable("a NUL byte, so this is no UTF-8 text", "save the topics as UTF-8 text", place=place)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f"byte 0x{error.object[error.start]:02X} is not UTF-8"
        place = f"line {_line_at(error.object, error.start)}"
        raise Unusable(problem, "save the topics as UTF-8 text", place=place) from error


def _line_at(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


def _read_rows(path: Path, text: str, columns: Columns) -> Iterator[RawRow | Refused]:
    match path.suffix.lower():
        case ".csv":
            return read_sheet(text, columns, delimiter=",")
        case ".tsv":
            return read_sheet(text, columns, delimiter="\t")
        case ".json":
            return read_json(text, columns)
        case ".jsonl" | ".ndjson":
            return read_json_lines(text, columns)
        case _:
            return (RawRow(place=place, name=line) for place, line in text_lines(text))


def _describe(character: str) -> str:
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}" + (f" {name}" if name else "")
