"""Pairs of turns that people have labelled as the same or not, read from CSV. A bad row is refused with its line."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dedup.nearness import Measured, measure_pairs
from flows.errors import UserError
from flows.nearness.decided import DecidedTurns

COLUMNS = ("sample_a", "turn_a", "sample_b", "turn_b", "same")
ANSWERS = {"1": True, "yes": True, "0": False, "no": False}

_PREFIX = re.compile(r"[0-9a-f]{4,32}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """Pairs with their exact similarities, and whether somebody says that they are the same."""

    pairs: Measured
    same: tuple[bool, ...]


def read_labels(file: Path, decided: DecidedTurns) -> Labelled:
    """The labelled pairs of a CSV with COLUMNS; UserError, with the line, for the first row that cannot be used.

    A sample is named by its id or so many first digits of it that no other decided one begins with.
    """
    finder = _Finder(decided)
    found: dict[tuple[int, int], bool] = {}
    for line, row in _read_rows(file):
        where = f"{file}, line {line}"
        a, b = (finder.find(row[f"sample_{side}"], row[f"turn_{side}"], where) for side in "ab")
        if a == b:
            raise UserError(f"{where}: a turn is paired with itself; name two turns")
        pair, same = (max(a, b), min(a, b)), _answer(row["same"], where)
        if pair in found:
            raise UserError(f"{where}: this pair stands in an earlier line; leave it out")
        found[pair] = same
    if not found:
        raise UserError(f"{file} has no pair; give a line for each below the names {', '.join(COLUMNS)}")
    rows, others = (np.array([pair[side] for pair in found], dtype=np.int64) for side in (0, 1))
    return Labelled(pairs=measure_pairs(decided.turns, rows, others), same=tuple(found.values()))


def _read_rows(file: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Rows with the number of the line on which each ends; empty lines are none."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            names = [name.strip() for name in next(reader, [])]
            if lacking := [name for name in COLUMNS if names.count(name) != 1]:
                raise UserError(f"{file}, line 1: the column {lacking[0]} must stand there once")
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, _named(names, cells, f"{file}, line {reader.line_num}")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no text in UTF-8: {error.reason} at byte {error.start}") from error
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: {error}; give plain CSV") from error


def _named(names: Sequence[str], cells: Sequence[str], where: str) -> Mapping[str, str]:
    if len(cells) != len(names):
        raise UserError(f"{where}: {len(cells)} cells, but {len(names)} columns")
    return {name: cell.strip() for name, cell in zip(names, cells, strict=True)}


def _answer(text: str, where: str) -> bool:
    if text.lower() not in ANSWERS:
        raise UserError(f"{where}: 'same' is one of {', '.join(ANSWERS)}, not {text[:40]!r}")
    return ANSWERS[text.lower()]


class _Finder:
    """Finds places of turns by what people write."""

    def __init__(self, decided: DecidedTurns) -> None:
        self._places = decided.places()
        self._ids = decided.rows["sample_id"].unique().sort()

    def find(self, sample: str, turn: str, where: str) -> int:
        """The place of a turn; UserError when there is none."""
        sample_id = self._sample(sample, where)
        number = int(turn) if turn.isascii() and turn.isdigit() and len(turn) < 10 else 0
        if number < 1:
            raise UserError(f"{where}: a turn is a number from 1 on, not {turn[:40]!r}")
        if (sample_id, number) not in self._places:
            raise UserError(f"{where}: sample {sample} has no turn {number} that was decided by vectors")
        return self._places[sample_id, number]

    def _sample(self, written: str, where: str) -> str:
        if not _PREFIX.fullmatch(written):
            raise UserError(f"{where}: {written[:40]!r} is not a sample id: give at least its first 4 hex digits")
        first = int(self._ids.search_sorted(written)) if len(self._ids) else 0
        alike = [each for each in self._ids[first : first + 2] if each.startswith(written)]
        if not alike:
            raise UserError(f"{where}: no kept or duplicate sample's id begins with {written}")
        if len(alike) > 1:
            raise UserError(f"{where}: several samples' ids begin with {written}; give more digits")
        return str(alike[0])
