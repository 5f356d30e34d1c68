"""Options that several commands share, and how values are printed."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

LOCK_HELP = "Seconds to wait for another process to leave the lake."
LOCK_SECONDS = click.FloatRange(min=0, max=86_400)

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
    click.echo(json.dumps(value, indent=1, default=str, ensure_ascii=False))


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


def plain(text: str) -> str:
    """Text that cannot steer a terminal: control and format characters are shown as escapes, line ends stay."""
    return "".join(c if c.isprintable() or c in "\n" else f"\\u{ord(c):04x}" for c in text)
