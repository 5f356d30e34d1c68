"""A look at a whole lake: takes no lock, writes nothing, and judges the newest version as it was when it began.

Packages and versions never change, so what others commit meanwhile is no matter. Maintenance and the projections may
change under the eyes of who looks: then what seems wrong is looked at again.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from storage.errors import LakeDamaged, NotALake
from storage.fsck.chain import Chain, check_chain, read_chain
from storage.fsck.evidence import gather
from storage.fsck.findings import Finding, Line, Report, Seen, UncheckedError, look
from storage.fsck.lost_versions import remake
from storage.fsck.rows import check_ids, check_outcomes, check_pictures, check_rounds, check_slots, check_vectors
from storage.fsck.shown import TableLook, check_history
from storage.fsck.stock import Stock, check_compact, check_packages, read_stock
from storage.fsck.strays import LAKE_LOCK, check_orphans, check_spools
from storage.history import history_path
from storage.lake import MARK, Lake
from storage.lock import is_held
from storage.packages import FORMAT, READABLE, unseal
from storage.projection import table_folder
from storage.tables import COMPACT
from storage.versions import head_number

LOOKS = 5
"""So often a lake is looked at that changes meanwhile."""
REMADE_MARK = "writes it anew: the versions say the seed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What lake.json says; `wrong` is what is wrong with it."""

    format: int | None
    seed: int | None
    wrong: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """All that is known of a lake when its invariants are looked at. `stock` is None where the chain is broken.

    `lake` has the seed 0 where nothing says it; nothing here depends on it.
    """

    lake: Lake
    mark: Mark
    chain: Chain
    stock: Stock | None
    is_mine: bool

    @property
    def seed(self) -> int | None:
        """The lake's seed, from its mark, or from its versions where they are of one mind."""
        seeds = self.chain.seeds()
        return self.mark.seed if self.mark.seed is not None else min(seeds) if len(seeds) == 1 else None

    def needed_stock(self) -> Stock:
        """The packages of the newest version; UncheckedError when it cannot be told which those are."""
        if self.stock is None:
            raise UncheckedError("it cannot be told which packages the newest version has, see 'chain'")
        return self.stock


def survey(path: Path, *, is_mine: bool = False) -> Survey:
    """Read the mark, the chain, and every file of every package; NotALake when there is no lake.

    `is_mine` says that the caller holds the lake's lock.
    """
    if not (path / MARK).exists() and not (path / "versions").is_dir():
        raise NotALake(f"{path} is not a lake; make one with 'interlake init --lake {path}'")
    mark = read_mark(path)
    lake = Lake(path=path, seed=mark.seed or 0)
    chain = read_chain(lake)
    evidence = gather(lake)
    if chain.broken or chain.broken_chunks or evidence.newest > chain.head:
        chain = remake(chain, evidence)
    try:
        entries = chain.version().packages if chain.head else ()
    except UncheckedError:
        return Survey(lake=lake, mark=mark, chain=chain, stock=None, is_mine=is_mine)
    return Survey(lake=lake, mark=mark, chain=chain, stock=read_stock(lake, entries), is_mine=is_mine)


def read_mark(path: Path) -> Mark:
    """Read lake.json."""
    try:
        body = unseal(path / MARK, "format", "seed")
    except LakeDamaged as error:
        what = str(error).removeprefix(f"{path / MARK} ").partition("; put it back")[0]
        return Mark(format=None, seed=None, wrong=what)
    number, seed = cast("int", body["format"]), cast("int", body["seed"])
    wrong = None if number in READABLE else f"has format {number}, which this interlake does not read: update it"
    return Mark(format=number, seed=seed, wrong=wrong)


def look_over(found: Survey) -> list[Line]:
    """A line for each invariant that needs no other part of interlake."""
    lake, chain, needed = found.lake, found.chain, found.needed_stock
    is_busy = not found.is_mine and is_held(lake.path / LAKE_LOCK)
    checks: dict[str, Callable[[], Seen]] = {
        "lake": lambda: _check_mark(found),
        "chain": lambda: check_chain(lake, chain),
        "packages": lambda: check_packages(needed()),
        "compact": lambda: check_compact(needed()),
        "ids": lambda: check_ids(needed()),
        "slots": lambda: check_slots(needed()),
        "pictures": lambda: check_pictures(needed()),
        "rounds": lambda: check_rounds(needed()),
        "vectors": lambda: check_vectors(needed()),
        "outcomes": lambda: check_outcomes(needed()),
        "table": lambda: TableLook(lake, chain, needed()).check(is_busy=is_busy),
        "history": lambda: check_history(lake, chain, needed()),
        "orphans": lambda: check_orphans(lake, chain, needed(), is_mine=found.is_mine),
        "spools": lambda: check_spools(lake),
    }
    return [look(invariant, check) for invariant, check in checks.items()]


def _check_mark(found: Survey) -> Seen:
    path = found.lake.path / MARK
    seeds = found.chain.seeds()
    if found.mark.wrong:
        mending = REMADE_MARK if found.mark.format is None and found.seed is not None else None
        return Seen(looked_at="", findings=(Finding(where=str(path), what=found.mark.wrong, mending=mending),))
    if seeds - {found.mark.seed}:
        said = ", ".join(map(str, sorted(seeds)))
        finding = Finding(where=str(path), what=f"says seed {found.mark.seed}, the versions say {said}")
        return Seen(looked_at="", findings=(finding,))
    note = (
        () if found.mark.format == FORMAT else (f"it is of format {found.mark.format}; 'interlake maintain' lifts it",)
    )
    return Seen(looked_at=f"format {found.mark.format}, seed {found.mark.seed}", notes=note)


def check_lake(path: Path) -> Report:
    """Look a lake over; NotALake. What seems wrong while others change the lake is looked at again."""
    return settled(path, lambda: report(survey(path)))


def report(found: Survey) -> Report:
    """A report of what there is to say without settings and thresholds."""
    return Report(path=found.lake.path, version=found.chain.head, lines=tuple(look_over(found)))


def settled(path: Path, look: Callable[[], Report]) -> Report:
    """What a look comes to when it finds nothing wrong, or nobody changes the lake while it does."""
    for _ in range(LOOKS - 1):
        before = _changing(path)
        seen = look()
        if seen.is_sound or _changing(path) == before:
            return seen
    return look()


def _changing(path: Path) -> tuple[object, ...]:
    """What changes when somebody commits, brings the projections up or maintains a lake."""
    lake = Lake(path=path, seed=0)
    folders = (lake.packages, path / COMPACT, table_folder(lake) / "_versions", table_folder(lake) / "_refs" / "tags")
    names = [sorted(os.listdir(folder)) if folder.is_dir() else None for folder in folders]  # noqa: PTH208
    history = history_path(lake)
    return (head_number(lake.versions), names, history.stat().st_mtime_ns if history.exists() else None)
