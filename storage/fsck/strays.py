"""What lies in a lake and belongs to nothing: what killed processes left, and files of others; and spools."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain as chained
from pathlib import Path

from storage.compacting import LOCK as MAINTAIN_LOCK
from storage.durable import PART
from storage.fsck.chain import Chain
from storage.fsck.findings import Finding, Seen, counted, few
from storage.fsck.rows import latest_decisions
from storage.fsck.stock import COMPACT_NAME, Stock
from storage.history import LOCK as HISTORY_LOCK
from storage.history import history_path
from storage.lake import ASIDE, FOLDERS, MARK, STAGING, Lake
from storage.lock import is_held
from storage.projection import SKETCHES, TABLE, lance_folder
from storage.records import ClaimRow, RunEndRow, RunStartRow
from storage.slots import is_alive
from storage.spool import torn_parts
from storage.tables import COMPACT
from storage.turns_table import CHAIN_FILE
from storage.versions import CHUNKS, head_number

PUT_ASIDE = "moves it aside"
ASKED_AGAIN = "all other calls there are found; the next 'interlake build' asks these again"
SETTINGS = "interlake.toml"
LAKE_LOCK = ".lock"
SPOOLS = "spool/*.log"
_LOCKS = {
    LAKE_LOCK,
    HISTORY_LOCK,
    MAINTAIN_LOCK,
    *(f".{kind}.lock" for kind in ("reembed", "judge", "propose", "derive")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A file or folder that nothing names. A foreign one is none that interlake makes: nobody minds it."""

    path: Path
    what: str
    is_foreign: bool = False


def find_strays(lake: Lake, chain: Chain, stock: Stock, *, is_mine: bool) -> list[Stray]:
    """Everything that nothing names. `is_mine`: the caller holds the lake's lock, so nobody is writing anything.

    Who looks without the lock takes what a living writer may be at for no stray. A package of a later version is
    listed first; then nobody holds the lock; then its version is not there: so whoever wrote it has been killed.
    """
    later = [path for path in _listed(lake.packages) if _number(path) > chain.head]
    half = [*_listed(lake.path / STAGING), *_parts(lake.versions), *_parts(lake.versions / CHUNKS)]
    if not is_mine and is_held(lake.path / LAKE_LOCK):
        later = half = []
    newest = max(head_number(lake.versions), chain.head)
    found = [Stray(path=path, what="is a package of no version") for path in later if _number(path) > newest]
    found += [Stray(path=path, what="was never finished") for path in half]
    return [
        *found,
        *_stray_packages(lake, chain),
        *_stray_chunks(lake, chain, is_mine=is_mine),
        *_stray_remains(lake),
        *_stray_runs(lake, stock),
        *_foreign(lake),
    ]


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob(f".*{PART}"))


def _number(path: Path) -> int:
    number, _, rest = path.name.partition("-")
    return int(number) if number.isdecimal() and rest else 0


def _stray_packages(lake: Lake, chain: Chain) -> Iterator[Stray]:
    named = {entry.name for entry in chain.places.values()}
    unknown = set(chain.broken) - set(chain.remade)
    for path in _listed(lake.packages):
        number = _number(path)
        if not number:
            yield Stray(path=path, what="is no package", is_foreign=True)
        elif number <= chain.head and path.name not in named and number not in unknown:
            yield Stray(path=path, what=f"is a package that version {number} does not name")


def _stray_chunks(lake: Lake, chain: Chain, *, is_mine: bool) -> Iterator[Stray]:
    """Chunks that no version names; a commit that is under way writes its chunk first, under a name of its own."""
    named = {name for link in (*chain.links.values(), *chain.remade.values()) for name in link.chunks}
    if chain.broken.keys() - chain.remade.keys() or (not is_mine and is_held(lake.path / LAKE_LOCK)):
        return
    for path in sorted((lake.versions / CHUNKS).glob("*.json")):
        if path.stem not in named:
            yield Stray(path=path, what="is named by no version")


def _stray_remains(lake: Lake) -> Iterator[Stray]:
    """Copies of the history that were not finished, compact folders that were not, what making the lake left."""
    copies = sorted(lake.path.glob(".history-*"))
    folders = sorted((lake.path / COMPACT).glob(".*"))
    for paths, lock in ((copies, HISTORY_LOCK), (folders, MAINTAIN_LOCK)):
        if paths and not is_held(lake.path / lock):
            yield from (Stray(path=path, what="was never finished") for path in paths if path.exists())


def _stray_runs(lake: Lake, stock: Stock) -> Iterator[Stray]:
    folders = [path for path in _listed(lake.runs) if path.is_dir()]
    dead = [path for path in folders if not is_alive(lake, path.name)]
    if not dead:
        return
    needed = needed_runs(stock)
    for path in dead:
        if path.name not in needed and path.exists():
            yield Stray(path=path, what="is of a run that has ended, and nothing needs it")


def needed_runs(stock: Stock) -> set[str]:
    """Runs whose spools may hold what open slots, a move to another encoder, judges or inquiries go on with."""
    claims = stock.frame(ClaimRow, ["slot_id", "sample_id", "run_id"])
    decided = dict(latest_decisions(stock).select("sample_id", "version").rows())
    latest = claims.unique("slot_id", keep="last", maintain_order=True)
    still_open = {
        row["slot_id"] for row in latest.iter_rows(named=True) if decided.get(row["sample_id"], 0) <= row["version"]
    }
    runs = {row["run_id"] for row in claims.iter_rows(named=True) if row["slot_id"] in still_open}
    return runs.union(*(_unfinished(stock, kind) for kind in ("reembed", "judge", "propose", "derive")))


def _unfinished(stock: Stock, kind: str) -> set[str]:
    """Runs of a kind since the last of it that finished."""
    ends = stock.frame(RunEndRow, ["run_id", "state"])
    finished = {row["run_id"] for row in ends.iter_rows(named=True) if row["state"] == "finished"}
    runs: set[str] = set()
    for row in stock.frame(RunStartRow, ["run_id", "kind"]).iter_rows(named=True):
        if row["kind"] == kind:
            runs = set() if row["run_id"] in finished else runs | {row["run_id"]}
    return runs


def _foreign(lake: Lake) -> Iterator[Stray]:
    """What interlake makes nothing like; temporary names of files that are being written are no strangers."""
    known = {*FOLDERS, *_LOCKS, COMPACT, MARK, SETTINGS, history_path(lake).name, lance_folder(lake).name}
    places: Sequence[tuple[Path, Collection[str]]] = (
        (lake.path, known),
        (lance_folder(lake), {f"{TABLE}.lance", f"{SKETCHES}.lance", CHAIN_FILE}),
    )
    for folder, names in places:
        for path in _listed(folder):
            if path.name not in names and not path.name.startswith((".history-", f".{CHAIN_FILE}", f".{MARK}")):
                yield Stray(path=path, what="is nothing that interlake knows", is_foreign=True)
    for path in chained(_listed(lake.versions), _listed(lake.versions / CHUNKS), _listed(lake.path / COMPACT)):
        is_ours = path.name == CHUNKS or (path.suffix == ".json" and path.is_file()) or path.name.startswith(".")
        if not is_ours and not (path.parent.name == COMPACT and COMPACT_NAME.fullmatch(path.name)):
            yield Stray(path=path, what="is nothing that interlake knows", is_foreign=True)
    for path in _listed(lake.runs):
        if not path.is_dir():
            yield Stray(path=path, what="is nothing that interlake knows", is_foreign=True)


def check_orphans(lake: Lake, chain: Chain, stock: Stock, *, is_mine: bool) -> Seen:
    """Nothing lies about that nothing names; foreign files are noted."""
    strays = find_strays(lake, chain, stock, is_mine=is_mine)
    findings = [
        Finding(where=str(stray.path), what=stray.what, mending=PUT_ASIDE) for stray in strays if not stray.is_foreign
    ]
    foreign = sorted(str(stray.path.relative_to(lake.path)) for stray in strays if stray.is_foreign)
    aside = len(_listed(lake.path / ASIDE))
    notes = [f"foreign, and left alone: {', '.join(foreign)}"] if foreign else []
    notes += [f"{counted(aside, 'thing')} in aside/"] if aside else []
    return Seen(looked_at="the whole folder", findings=few(findings, of="things"), notes=tuple(notes))


def check_spools(lake: Lake) -> Seen:
    """Every spool can be read from its first byte to its last; that of a living run may end in a call being written."""
    paths = [path for run in _listed(lake.runs) for path in sorted(run.glob(SPOOLS))]
    findings: list[Finding] = []
    for path in paths:
        if is_alive(lake, path.parents[1].name):
            continue
        try:
            torn = torn_parts(path)
        except FileNotFoundError:
            continue  # committed, or tidied away, meanwhile
        if torn:
            where = ", ".join(f"{start} to {start + length}" for start, length in torn)
            findings.append(Finding(where=str(path), what=f"cannot be read at bytes {where}", advice=ASKED_AGAIN))
    return Seen(looked_at=counted(len(paths), "spool"), findings=few(findings, of="spools"))
