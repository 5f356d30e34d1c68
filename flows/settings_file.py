"""Changing interlake.toml by program: some values, everything else as the user wrote it, comments too."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias, cast

import tomlkit
from tomlkit.items import Table

from flows.errors import UserError
from flows.settings import Settings, parse_settings

Changes: TypeAlias = Mapping[str, Mapping[str, str | int | float | bool]]


def change_settings(path: Path, changes: Changes, *, cleared: tuple[str, ...] = ()) -> Settings:
    """Set values by table (`selection.encoder`) and key; tables in `cleared` lose the keys that are not set.

    The file is replaced only when its new text is good: SettingsError otherwise, UserError when it cannot be written.
    """
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    for table, values in changes.items():
        section = cast("Table", document)
        for name in table.split("."):
            if name.isdecimal():  # one of an array of tables
                section = cast("list[Table]", section)[int(name)]
            else:
                section = cast("Table", section.setdefault(name, tomlkit.table()))
        for key in [key for key in section if table in cleared and key not in values]:
            del section[key]
        for key, value in values.items():
            section[key] = value
    text = tomlkit.dumps(document)
    settings = parse_settings(text, path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    return settings
