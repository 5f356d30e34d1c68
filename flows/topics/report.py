"""What became of every row of a file of topics: for the screen in short, for a file in full."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from flows.errors import UserError

RESULTS = ("added", "known", "merged", "refused")
FIRST = 10
"""How many rows of a kind are shown on the screen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """A row of the file: `into` and `into_id` are the topic that it is now, empty where it was refused.

    `placed` and `similarity` are those of an added topic, see `storage.records.TopicRow`.
    """

    place: str
    result: str
    name: str
    domain: str = ""
    category: str = ""
    into: str = ""
    into_id: str = ""
    placed: str = ""
    similarity: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicReport:
    """All rows of a file, in its order: rows = added + known + merged + refused. `ignored` columns were not read."""

    file: str
    rows: tuple[ReportRow, ...]
    ignored: tuple[str, ...] = ()

    @property
    def new(self) -> tuple[str, ...]:
        return tuple(row.name for row in self.rows if row.result == "added")

    @property
    def topic_ids(self) -> frozenset[str]:
        """The topics that the file names, whether it brought them in or not."""
        return frozenset(row.into_id for row in self.rows if row.into_id)

    def counts(self) -> dict[str, int]:
        found = Counter(row.result for row in self.rows)
        placed = sum(row.placed == "nearest" for row in self.rows)
        return {"rows": len(self.rows), **{result: found[result] for result in RESULTS}, "placed": placed}

    def json(self) -> dict[str, object]:
        rows = [asdict(row) for row in self.rows]
        return {"file": self.file, **self.counts(), "ignored_columns": list(self.ignored), "topics": rows}

    def lines(self) -> Iterator[str]:
        """What a person is told: the counts, and the first rows of each kind that need a look."""
        counts = self.counts()
        added, known = counts["added"], counts["known"]
        yield f"{added} topics added, {known} were there already; {self.file} has {counts['rows']} rows"
        if self.ignored:
            yield f"columns left unread: {', '.join(self.ignored)}"
        yield from self._kind("merged into topics that are alike", [row for row in self.rows if row.result == "merged"])
        yield from self._kind("refused", [row for row in self.rows if row.result == "refused"])
        placed = [row for row in self.rows if row.placed == "nearest"]
        yield from self._kind("put into the nearest category", placed)
        unplaced = sum(row.result == "added" and not row.placed for row in self.rows)
        if unplaced:
            yield f"{unplaced} without a category"

    def _kind(self, title: str, rows: Sequence[ReportRow]) -> Iterator[str]:
        if rows:
            yield f"{len(rows)} {title}:"
            yield from (f"  {_told(row)}" for row in rows[:FIRST])
        if len(rows) > FIRST:
            yield f"  … and {len(rows) - FIRST} more (--report FILE has all)"


def write_report(report: TopicReport, path: Path) -> None:
    """Write the whole report as CSV or JSON, by the file's ending. UserError for others, or where it cannot be."""
    text = (
        f"{json.dumps(report.json(), indent=1, ensure_ascii=False)}\n"
        if path.suffix.lower() == ".json"
        else _csv(report)
    )
    try:
        path.write_text(text, encoding="utf-8", newline="")
    except (OSError, ValueError) as error:
        raise UserError(f"the report {str(path)!r} cannot be written ({error}); the topics are in the lake") from error


def check_report_path(path: Path) -> None:
    """UserError when a report cannot be written to a path: before anything is brought in."""
    if path.suffix.lower() not in {".csv", ".json"}:
        raise UserError(f"the report {str(path)!r} is neither .csv nor .json: give it one of these endings")
    if not path.parent.is_dir():
        raise UserError(f"the folder of the report {str(path)!r} is not there: make it first")


def _csv(report: TopicReport) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    names = [field.name for field in fields(ReportRow)]
    writer.writerow(names)
    writer.writerows([[getattr(row, name) for name in names] for row in report.rows])
    return text.getvalue()


def _told(row: ReportRow) -> str:
    if row.result == "refused":
        return f"{row.place}: {row.reason}"
    if row.result == "merged":
        return f"{row.place}: {row.name} -> {row.into}"
    return f"{row.name} -> {row.into} ({row.similarity:.2f})"
