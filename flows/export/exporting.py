"""An export from beginning to end: choose, put in order, write shard by shard, tell what was written, name it."""

import importlib.metadata
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from flows.errors import UserError
from flows.export.asked import Exported, ExportOptions
from flows.export.card import describe
from flows.export.choosing import Shard, choose
from flows.export.forms.form import Form
from flows.export.forms.jsonl import JsonLines, llava_row, openai_row
from flows.export.forms.lance import LanceTables
from flows.export.forms.parquet import MessagesParquet, PublishedParquet
from flows.export.forms.webdataset import WebDatasetTars
from flows.export.reading import ExportSample, SampleReader, put_in_order
from flows.export.workplace import MANIFEST, Done, Files, Tally, Workplace
from storage.canonical import Json
from storage.errors import LakeDamaged, NoRoom
from storage.history import Connection
from storage.lake import Lake
from storage.packages import seal, unseal
from storage.query import open_history
from storage.versions import Version

MAKE = 1
"""Of how exports are made: another number gives other bytes, and does not go on with what this one began."""
MEMORY = "512MB"
"""What DuckDB may keep in memory; beyond, it uses a scratch folder."""
SPARE_BYTES = 64 << 20


def export_lake_at(
    path: Path, out: Path, options: ExportOptions, *, tell: Callable[[str], object] = lambda _: None
) -> Exported:
    """Export kept samples of a version into a new folder; does nothing when the same export is there already.

    UserError for what cannot be asked for, NotALake, NoSuchThing for a version that is not there, NoRoom, LakeBusy
    when another process is at this folder. Whatever stops it, the same call goes on from there.
    """
    job, out = check_export(path, out, options), out.absolute()
    if out.exists():
        return _found(out, job.plan())
    with Workplace.entered(out, job.plan()) as place:
        if not out.exists():
            return _export(job, place, tell)
    return _found(out, job.plan())


def check_export(path: Path, out: Path, options: ExportOptions) -> "Job":
    """Refuse what cannot be asked for: errors as `export_lake_at`, as far as they show before anything is read."""
    lake = Lake.open(path)
    if out.resolve().is_relative_to(path.resolve()):
        raise UserError(f"{out} lies in the lake; name a folder elsewhere")
    job = Job(lake=lake, version=lake.version(options.version), options=options)
    if out.exists():
        _found(out.absolute(), job.plan())
    return job


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be exported."""

    lake: Lake
    version: Version
    options: ExportOptions

    def plan(self) -> dict[str, Json]:
        """All that the bytes follow from."""
        return {
            "make": MAKE,
            "pyarrow": importlib.metadata.version("pyarrow"),
            "lake": self.version.sha256,
            "version": self.version.number,
            "options": cast("Json", self.options.json()),
        }


def _found(out: Path, plan: Mapping[str, Json]) -> Exported:
    """What lies there, if it is this export; UserError otherwise."""
    try:
        told = unseal(out / MANIFEST, "plan", "files", "samples", "turns", "splits", "bytes")
    except LakeDamaged as error:
        raise UserError(f"{out} is there already, and is no export of ours: name another folder") from error
    if told["plan"] != plan:
        raise UserError(f"{out} is an export already, of other samples or in another form: name another folder")
    Workplace(out).clear()
    return _told(out, told, is_new=False)


def _export(job: Job, place: Workplace, tell: Callable[[str], object]) -> Exported:
    options = job.options
    with closing(open_history(job.lake, at=job.version.number)) as connection:
        _set_up(connection, place.rows())
        try:
            shards = choose(connection, options)
        except UserError:
            place.clear()
            raise
        _check_room(connection, place)
        form = _form(options, connection)
        put_in_order(connection, "work.rows")
        reader = SampleReader(connection, job.lake, job.version, "work.rows")
        files: dict[str, Mapping[str, Json]] = {}
        tally = Tally()
        for shard in _joined(shards) if options.format == "lance" else shards:
            done = place.done(shard.name) or _write(place, form, reader, shard)
            files |= done.files
            tally += done.tally
            tell(f"{shard.name}: {shard.samples} samples")
        told = _manifest(connection, job.plan(), shards, files, tally)
        place.finish({"README.md": describe(connection, options, told).encode()}, seal(told))
    return _told(place.out, told, is_new=True)


def _set_up(connection: Connection, rows: Path) -> None:
    """Bound the memory, and attach a database `work` for what does not fit into it."""
    name = str(rows).replace("'", "''")
    connection.execute(f"SET memory_limit = '{MEMORY}'")
    connection.execute(f"SET temp_directory = '{name}.tmp'")
    connection.execute(f"ATTACH '{name}' AS work")


def _write(place: Workplace, form: Form, reader: SampleReader, shard: Shard) -> Done:
    tally = Tally()

    def counted() -> Iterator[ExportSample]:
        for sample in reader.read(shard):
            tally.add(sample.content_sha256())
            yield sample

    with place.writing(shard.name, tally) as folder:
        form.write(folder, shard, counted())
    done = place.done(shard.name)
    if done is None or done.tally.samples != shard.samples:
        raise LakeDamaged(f"{place.files} does not hold what was written: the disk or the memory is faulty")
    return done


def _form(options: ExportOptions, connection: Connection) -> Form:
    match options.shape:
        case "messages":
            return MessagesParquet()
        case "published":
            (most,) = connection.execute("SELECT max(turns) FROM memory.chosen").fetchall()[0]
            return PublishedParquet(int(most))
        case "llava" | "openai":
            return JsonLines(llava_row if options.shape == "llava" else openai_row)
        case "pairs":
            return WebDatasetTars()
        case "turns":
            return LanceTables()


def _joined(shards: Sequence[Shard]) -> Iterator[Shard]:
    """One shard for each split."""
    for split in dict.fromkeys(shard.split for shard in shards):
        theirs = [shard for shard in shards if shard.split == split]
        samples = sum(shard.samples for shard in theirs)
        yield Shard(split=split, number=0, of=1, first=theirs[0].first, last=theirs[-1].last, samples=samples)


def _check_room(connection: Connection, place: Workplace) -> None:
    (needed,) = connection.execute("SELECT sum(bytes)::BIGINT FROM memory.chosen").fetchall()[0]
    free = shutil.disk_usage(place.files).free
    if free < needed + SPARE_BYTES:
        raise NoRoom(f"{place.out.parent} has {free / 2**20:.1f} MB free, and the export needs {needed / 2**20:.1f}")


def _manifest(
    connection: Connection,
    plan: Mapping[str, Json],
    shards: Sequence[Shard],
    files: Files,
    tally: Tally,
) -> dict[str, Json]:
    (turns,) = connection.execute("SELECT sum(turns)::BIGINT FROM memory.chosen").fetchall()[0]
    splits: dict[str, int] = {}
    for shard in shards:
        splits[shard.split] = splits.get(shard.split, 0) + shard.samples
    return {
        "plan": dict(plan),
        "interlake": importlib.metadata.version("interlake"),
        "samples": tally.samples,
        "turns": turns,
        "splits": dict(splits),
        "bytes": sum(cast("int", known["bytes"]) for known in files.values()),
        "sum_sha256": tally.sum_sha256,
        "files": {name: dict(known) for name, known in sorted(files.items())},
    }


def _told(out: Path, told: Mapping[str, Json], *, is_new: bool) -> Exported:
    plan, files = cast("Mapping[str, int]", told["plan"]), cast("Files", told["files"])
    return Exported(
        folder=str(out),
        version=plan["version"],
        samples=cast("int", told["samples"]),
        turns=cast("int", told["turns"]),
        splits=cast("Mapping[str, int]", told["splits"]),
        files=len(files),
        bytes=cast("int", told["bytes"]),
        is_new=is_new,
    )
