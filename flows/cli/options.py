"""Options that several commands share, and how values are printed."""

import atexit
import json
import logging
import math
import os
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar

import click

from flows.errors import UserError
from storage.canonical import Json

if TYPE_CHECKING:
    import polars as pl


class NumberRange(click.FloatRange):
    """A number between bounds. Click lets nan through: it is neither below nor above any bound."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


LOCK_HELP = "Seconds to wait for another process to leave the lake."
LOCK_SECONDS = NumberRange(min=0, max=86_400)

LOGGER = "interlake"
QUIET = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_EXTRA_LOGGERS": LOGGER,
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}

STOPPED = "stopped; what was finished is kept, and the same command goes on from there"
"""What is said to whoever ended a command by Ctrl-C or SIGTERM."""

SHOWN = 20
"""Lines of a list that are printed unless all are asked for."""

Line: TypeAlias = tuple[int, str]
"""How far a line is indented, and its text."""

F = TypeVar("F", bound=Callable[..., object])


def lake_option(command: F) -> F:
    """`--lake DIR`, or INTERLAKE_LAKE, or ./lake."""
    return click.option(
        "--lake",
        "lake_path",
        type=click.Path(path_type=Path),
        default=Path("lake"),
        envvar="INTERLAKE_LAKE",
        show_default="./lake, or INTERLAKE_LAKE",
        help="Folder of the lake.",
    )(command)


def json_option(command: F) -> F:
    """`--json` on every command that reads."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def print_json(value: object) -> None:
    """JSON, and valid at that; what could steer a terminal is escaped when one is there."""
    is_terminal = sys.stdout.isatty()
    text = json.dumps(jsonable(value), indent=1, ensure_ascii=is_terminal, allow_nan=False)
    click.echo(plain(text) if is_terminal else text)


def jsonable(value: object) -> Json:
    """A value as JSON has it: NaN and the infinities are null, bytes hex, decimals numbers, times and all else text."""
    plainly: Json = str(value)
    match value:
        case None | bool() | int() | str():
            plainly = value
        case float() | Decimal():
            plainly = _jsonable_number(value)
        case bytes():
            plainly = value.hex()
        case Mapping():
            plainly = {str(key): jsonable(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            plainly = [jsonable(item) for item in value]
    return plainly


def _jsonable_number(value: float | Decimal) -> int | float | None:
    if not math.isfinite(value):
        return None
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else float(value)


def print_csv(frame: "pl.DataFrame") -> None:
    """CSV; lists and structs as JSON, blobs as hex, and when a terminal is there what could steer it escaped."""
    text = frame.with_columns(_cells(column) for column in frame if _is_deep(column.dtype)).write_csv()
    click.echo(plain(text) if sys.stdout.isatty() else text, nl=False)


def _is_deep(kind: "pl.DataType") -> bool:
    """Whether CSV has no cell for values of a kind."""
    import polars as pl

    return kind.is_nested() or kind in (pl.Binary, pl.Map)


def _cells(column: "pl.Series") -> "pl.Series":
    import polars as pl

    values = [jsonable(value) if value is not None else None for value in column.to_list()]
    cells = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return pl.Series(column.name, cells, dtype=pl.String)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table for a terminal or a file; long cells wrap, nothing in them is taken as markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(str(value))) if value is not None else Text("-") for value in row))
    console().print(table)


def console() -> Any:
    """A console that is wide enough for tables when output does not go to a terminal."""
    from rich.console import Console

    found = Console(highlight=False, markup=False, emoji=False)
    return found if found.is_terminal else Console(highlight=False, markup=False, emoji=False, width=200)


def say(out: Any, text: str, *, style: str = "", indent: int = 0) -> None:
    """Print a text: on a terminal it wraps at its indent, elsewhere its lines stay as long as they are."""
    from rich.padding import Padding
    from rich.text import Text

    if out.is_terminal:
        out.print(Padding(Text(plain(text), style=style), (0, 0, 0, indent), expand=False))
    else:
        click.echo(textwrap.indent(plain(text), " " * indent))


def counted(number: int, noun: str) -> str:
    """A number of things: `1 turn`, `2 turns`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def cut(indent: int, texts: Iterable[str], limit: int | None, count: int | None = None) -> Iterator[Line]:
    """The first texts as lines, and how many more there are, of `count` in all."""
    known = list(texts)
    shown = known if limit is None else known[:limit]
    yield from ((indent, text) for text in shown)
    more = (count if count is not None else len(known)) - len(shown)
    if more > 0:
        yield indent, f"… and {more} more (--all)"


def say_lines(lines: Iterable[Line]) -> None:
    """Print lines; those that are not indented are headings."""
    out = console()
    for indent, text in lines:
        say(out, text, style="" if indent else "bold", indent=indent)


class _Teller(logging.Handler):
    """Tells what is logged on standard error, whatever that is by then."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            click.echo(plain(f"interlake: {record.getMessage()}"), err=True)


@contextmanager
def telling() -> Iterator[None]:
    """Tell the user what interlake logs, such as for whom it waits."""
    teller = _Teller(logging.WARNING)
    logging.getLogger(LOGGER).addHandler(teller)
    try:
        yield
    finally:
        logging.getLogger(LOGGER).removeHandler(teller)


def quiet_prefect() -> None:
    """Before a flow runs here: leave the terminal to the command, give a slow server time, and send nothing out.

    What interlake logs goes to the run's page as well.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    atexit.register(_drop_last_words)
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end_in_order)


def _end_in_order(number: int, _: FrameType | None) -> NoReturn:
    """Leave by the door when asked to end: Prefect, which ends the flow first, then ends the server it started here."""
    click.echo(f"interlake: {STOPPED}", err=True)
    sys.exit(128 + number)


def _drop_last_words() -> None:
    """Runs after all other exit handlers: DuckDB's bindings complain of leaks once Prefect's threads have lived."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stderr__.fileno() if sys.__stderr__ else 2)


def plain(text: str) -> str:
    """Text that cannot steer a terminal: control and format characters are shown as escapes, line ends stay."""
    return "".join(c if c.isprintable() or c in "\n" else f"\\u{ord(c):04x}" for c in text)


def refuse_inside_lake(lake_path: Path, folder: Path) -> None:
    """UserError for a folder in the lake: what is not of the lake is not written into it."""
    if folder.resolve().is_relative_to(lake_path.resolve()):
        raise UserError(f"{folder} lies in the lake; name a folder elsewhere")
