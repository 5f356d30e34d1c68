"""What a statement may be, and what it may reach while it runs. Knows nothing of lakes."""

import tempfile
from dataclasses import dataclass
from itertools import takewhile

import duckdb

from storage.errors import LakeError

_READING = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
_LOCKS = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "enable_external_access": "false",
}


class QueryError(LakeError):
    """A statement that does not read, or that DuckDB cannot make sense of; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How much of the machine a statement may use: megabytes of DuckDB's memory, threads; nothing goes to disk."""

    memory_mb: int
    threads: int


def check_statement(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The one reading statement in a text, without what ends it; QueryError for any other text."""
    kinds = _kinds(connection, sql)
    if len(kinds) != 1:
        raise QueryError(f"give one statement, not {len(kinds)}")
    if kinds[0] is duckdb.StatementType.EXPLAIN:
        kinds = _kinds(connection, _explained(sql))
    if len(kinds) != 1 or kinds[0] not in _READING:
        name = kinds[0].name if kinds else "nothing"
        raise QueryError(f"the history can only be read; {name} is not a reading statement")
    return _without_end(sql)


def _kinds(connection: duckdb.DuckDBPyConnection, sql: str) -> list[duckdb.StatementType]:
    try:
        return [statement.type for statement in connection.extract_statements(sql)]
    except duckdb.Error as error:
        raise QueryError(shorten(error)) from error


def _words(sql: str) -> list[tuple[int, str]]:
    """Where the words of a text begin, in characters, each with the text from there; no remarks."""
    data = sql.encode()
    places = [place for place, kind in duckdb.tokenize(sql) if kind is not duckdb.token_type.comment]
    return [(len(data[:place].decode()), data[place:].decode()) for place in places]


def _explained(sql: str) -> str:
    """What an EXPLAIN would run: the text after EXPLAIN, ANALYZE and options in brackets."""
    words = _words(sql)[1:]
    if words and words[0][1].lower().startswith(("analyze", "analyse")):
        words = words[1:]
    if words and words[0][1].startswith("("):
        inside = next((at for at, (_, rest) in enumerate(words) if rest.startswith(")")), None)
        options = words[1][1].lower() if len(words) > 1 else ""
        if inside is not None and options.startswith(("format", "analyze", "analyse")):
            words = words[inside + 1 :]
    return words[0][1] if words else ""


def _without_end(sql: str) -> str:
    """A statement without its semicolon and the remarks behind it, which DuckDB does not take inside another."""
    end = next((place for place, rest in _words(sql) if rest.startswith(";")), len(sql))
    return sql[:end]


def confine(connection: duckdb.DuckDBPyConnection, allowance: Allowance | None = None) -> None:
    """From here on only what is attached can be reached: no files, no network, no settings.

    Without an allowance a statement may take what the machine has, the folder for temporary files included.
    """
    folder = "" if allowance else tempfile.gettempdir()
    connection.execute("SET temp_directory = $folder", {"folder": folder})
    if allowance:
        connection.execute(f"SET memory_limit = '{allowance.memory_mb}MB'")
        connection.execute(f"SET threads = {allowance.threads}")
    for name, value in _LOCKS.items():
        connection.execute(f"SET {name} = {value}")
    connection.execute("SET lock_configuration = true")


def shorten(error: duckdb.Error) -> str:
    """DuckDB's own words without the copy of the statement below them."""
    lines = takewhile(lambda line: not line.startswith("LINE "), str(error).splitlines())
    return " ".join(line.strip() for line in lines if line.strip())
