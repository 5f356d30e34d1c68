"""What is asked of the process that runs statements, what it answers, and the limits that it keeps to."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from flows.errors import UserError


class Refused(UserError):
    """A statement that was not run, or did not come to its end; the message says why, in one sentence."""


class LastRefused(Refused):
    """The same, by a process that answers no more after it."""


class Form(StrEnum):
    """How a result comes: rows as JSON for a page, or a file."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one statement may take.

    `seconds` of wall time; `rows` and `file_rows` of a result that is shown or downloaded, `result_mb` of either;
    `memory_mb` is what DuckDB may use by its own count, `process_mb` what the process may take in all besides what it
    needs to be ready, which the kernel sees to; `characters` of a statement.
    """

    seconds: float = 10.0
    start_seconds: float = 60.0
    rows: int = 1_000
    file_rows: int = 100_000
    result_mb: int = 32
    memory_mb: int = 256
    process_mb: int = 512
    threads: int = 2
    characters: int = 8_000

    def rows_of(self, form: Form) -> int:
        """The most rows of a result in a form."""
        return self.rows if form is Form.JSON else self.file_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One statement, the version to ask (None for the newest), and how the result is to come."""

    sql: str
    at: int | None = None
    form: Form = Form.JSON

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Question":
        found = json.loads(data)
        return cls(sql=found["sql"], at=found["at"], form=Form(found["form"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A result: names and DuckDB's types of its columns, and `body` in the form that was asked for.

    `cut` says in a sentence that there was more, and is empty when there was not. `seconds` is what it took.
    """

    form: Form
    names: tuple[str, ...]
    types: tuple[str, ...]
    rows: int
    cut: str
    seconds: float
    body: bytes

    def cells(self) -> list[list[object]]:
        """The rows of a result in JSON: None, numbers, booleans and texts."""
        assert self.form is Form.JSON, "only JSON is read here"
        found: list[list[object]] = json.loads(self.body)
        return found

    def encode_head(self) -> bytes:
        """All but the body."""
        head = {"form": self.form, "names": self.names, "types": self.types, "rows": self.rows, "cut": self.cut}
        return json.dumps({**head, "seconds": self.seconds}).encode()


def decode_answer(head: bytes, body: bytes) -> Answer:
    """An answer from its two parts; Refused when it is a refusal."""
    found = json.loads(head)
    if "refused" in found:
        raise (LastRefused if found["is_last"] else Refused)(found["refused"])
    return Answer(
        form=Form(found["form"]),
        names=tuple(found["names"]),
        types=tuple(found["types"]),
        rows=found["rows"],
        cut=found["cut"],
        seconds=found["seconds"],
        body=body,
    )


def encode_refusal(words: str, *, is_last: bool = False) -> bytes:
    """The head of a refusal, which has no body; `is_last` when the process will answer no more."""
    return json.dumps({"refused": words, "is_last": is_last}).encode()
