"""Which recorded calls are meant, whom they went to, and in whose company they are to be asked again."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from flows.errors import UserError
from flows.recorder import Address
from flows.regenerate.company import Company, Seat, read_seat
from flows.replay.past import PastRuns
from flows.replay.prefixes import find_by_prefix
from models.company import KEY_DIGITS
from storage.lake import Lake
from storage.records import CallRow
from storage.versions import Version

PLACE = ("sample_id", "turn", "stage", "round", "purpose", "attempt")
"""What an address is made of."""
COLUMNS = ("call_id", "model_id", "run_id", "request_key", "seed", "backend", *PLACE)

Names = dict[tuple[str, str], "Listed"]
"""Calls by what they are called in a company: the run where seeds name them (else nothing), and the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegenerateOptions:
    """Which calls to ask again: those that came after version `since`, up to `version` (the newest by default), all or
    only those that a run asked, about a sample, or one, each named by the first digits of its id.

    Of these, `limit` at most: those with the smallest ids. Ids are hashes, so the choice is even, and always the same.
    """

    version: int | None = None
    since: int = 0
    run: str | None = None
    sample: str | None = None
    call: str | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A recorded call by what is needed to choose it; `version` brought it in."""

    call_id: str
    version: int
    model_id: str
    run_id: str
    request_key: str
    seed: int | None
    at: Address
    seat: Seat | None

    @property
    def is_seated(self) -> bool:
        """Whether it is known with whom it was answered."""
        return self.seat is not None and self.seat.is_taken_by(self.request_key, self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Calls that are asked together, and nothing else meanwhile.

    `members` stand in the order of the company, None for one that the record lacks; `meant` are the calls whose answers
    are compared: some of the members, or others with the same requests.
    """

    company: Company
    members: tuple[Listed | None, ...]
    meant: tuple[Listed, ...]

    @property
    def missing(self) -> int:
        return self.members.count(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeantModel:
    """A model and what it is to be asked: calls alone, in any order, and tables."""

    model_id: str
    alone: tuple[Listed, ...]
    tables: tuple[Table, ...]

    def calls(self) -> Iterator[Listed]:
        """All calls whose answers are compared."""
        yield from self.alone
        for table in self.tables:
            yield from table.meant


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A lake as it was at a version, its runs, and the models to be asked, in the order of their first calls."""

    lake: Lake
    head: Version
    runs: PastRuns
    models: tuple[MeantModel, ...]


def choose(path: Path, options: RegenerateOptions) -> Choice:
    """Find what is meant. NotALake; NoSuchThing for what is not there; UserError when nothing came after `since`."""
    lake = Lake.open(path)
    head = lake.version(options.version)
    if not 0 <= options.since < head.number:
        raise UserError(f"there is no version after {options.since}: the last one is {head.number}")
    runs = PastRuns(lake, head)
    calls = lake.scan(CallRow, head, COLUMNS).collect()
    by_model: dict[str, list[Listed]] = {}
    for row in _meant(calls, options, runs).iter_rows(named=True):
        by_model.setdefault(row["model_id"], []).append(_listed(row))
    models = (_model(model_id, theirs, calls) for model_id, theirs in by_model.items())
    return Choice(lake=lake, head=head, runs=runs, models=tuple(models))


def _meant(calls: pl.DataFrame, options: RegenerateOptions, runs: PastRuns) -> pl.DataFrame:
    found = calls.filter(pl.col("version") > options.since)
    for what, prefix in (("sample", options.sample), ("call", options.call)):
        if prefix is not None:
            named = find_by_prefix(found[f"{what}_id"], prefix, what=what)
            found = found.filter(pl.col(f"{what}_id") == named)
    if options.run is not None:
        found = found.filter(pl.col("run_id") == runs.named(options.run))
    if options.limit is not None:
        found = found.filter(pl.col("call_id").is_in(found["call_id"].sort().head(options.limit).implode()))
    return found


def _listed(row: Mapping[str, Any]) -> Listed:
    return Listed(
        **{name: row[name] for name in ("call_id", "version", "model_id", "run_id", "request_key", "seed")},
        at=Address(**{name: row[name] for name in PLACE}),
        seat=read_seat(row["backend"]),
    )


def _model(model_id: str, meant: Iterable[Listed], calls: pl.DataFrame) -> MeantModel:
    alone: list[Listed] = []
    seated: dict[tuple[str, Company], list[Listed]] = {}
    for call in meant:
        if call.seat is None or not call.is_seated:
            alone.append(call)
        else:
            seated.setdefault((_scope(call.seat.company, call.run_id), call.seat.company), []).append(call)
    names = _find_names(calls.filter(pl.col("model_id") == model_id), seated) if seated else {}
    tables = (
        Table(
            company=company,
            members=tuple(names.get((scope, name)) for name in company.members),
            meant=tuple(theirs),
        )
        for (scope, company), theirs in seated.items()
    )
    return MeantModel(model_id=model_id, alone=tuple(alone), tables=tuple(tables))


def _scope(company: Company, run_id: str) -> str:
    """Keys name a request wherever it was asked; seeds are those of one run."""
    return run_id if company.by == "seeds" else ""


def _find_names(calls: pl.DataFrame, companies: Iterable[tuple[str, Company]]) -> Names:
    """The first call that goes by each name that a company has a member of; in the whole record, meant or not."""
    keys = [name for _, company in companies if company.by == "keys" for name in company.members]
    seeds = [int(name) for _, company in companies if company.by == "seeds" for name in company.members]
    key = pl.col("request_key").str.head(KEY_DIGITS)
    names: Names = {}
    for row in calls.filter(key.is_in(keys) | pl.col("seed").is_in(seeds)).iter_rows(named=True):
        call = _listed(row)
        names.setdefault(("", call.request_key[:KEY_DIGITS]), call)
        names.setdefault((call.run_id, str(call.seed)), call)
    return names
