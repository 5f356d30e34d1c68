"""Judging a lake: verdicts on kept turns that have none yet, batch after batch, each batch one version.

Samples stay as they are; verdicts are added. Calls go through the recorder and the spool, so a run that was killed
goes on by the same command and asks nothing twice.
"""

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flows.claim import died_rows, ended, living_run, publish_if_free, start_row, tidy_runs
from flows.engine import Engine
from flows.errors import UserError
from flows.judge.asked import JUDGE, NOT_YET, Hearing, hear, rows_of
from flows.judge.docket import CaseFiles, Docket, read_docket
from flows.judge.seating import Bench, judge_of, kinship, seat_bench
from flows.opening import open_lake
from flows.recipe import model_rows, write_judging
from flows.recorder import Recorder, finish_all
from flows.settings import FILE, Settings
from flows.studio import Studio
from flows.syncing import synced
from flows.tape import SPOOL_FOLDER, BatchTape, SpoolShelf
from flows.workshop import Workshop
from models.chat import ChatModel
from storage.lake import Lake
from storage.lock import hold
from storage.packages import PackageDraft
from storage.records import ModelRow, VerdictRow
from storage.slots import unfinished_judgings
from storage.spool import Spool
from storage.versions import Version
from storage.writing import writing

LOCK = ".judge.lock"
SAMPLES_PER_BATCH = 32
SAMPLES_OF_ROUNDS = 8
"""In a batch whose drafts are judged too: all their pictures are held at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeOptions:
    """What to judge: kept samples of a version (the newest), by one judge or all, at most so many samples.

    With `rounds`, each draft that was recorded of them, too.
    """

    version: int | None = None
    judge: str | None = None
    repeats: int | None = None
    limit: int | None = None
    rounds: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a run came to: kept samples in all, those judged now, verdicts given, and scores left unknown in these.

    Scores that a draft cannot have yet are not counted. `version` is the last one, None where there was nothing to
    judge. `warnings` are for whoever reads the scores.
    """

    samples: int
    judged: int
    verdicts: int
    unknown: int
    version: int | None
    warnings: tuple[str, ...]


class JudgeSource(Protocol):
    """The part of a studio that is needed here."""

    async def judge(self, number: int) -> ChatModel: ...

    async def close(self) -> None: ...


class Judging:
    """One run of judges over a lake. Batches are heard and committed one after another."""

    def __init__(self, shop: Workshop, bench: Bench, engine: Engine, options: JudgeOptions) -> None:
        self.shop = shop
        self._bench = bench
        self._engine = engine
        self._shelf = SpoolShelf()
        lake, head = shop.lake, shop.lake.version()
        self._at = lake.version(options.version)
        self._rounds = options.rounds
        self._size = SAMPLES_OF_ROUNDS if options.rounds else SAMPLES_PER_BATCH
        self.docket: Docket = read_docket(lake, head, self._at, bench, limit=options.limit, rounds=options.rounds)
        self.batches = self.docket.batches(self._size)
        self.warnings = tuple(kinship(bench, _makers(lake, self._at)))
        self._given: list[VerdictRow] = []
        self._version: Version | None = None

    def begin(self, flow_run_id: str | None) -> None:
        """Write the run's start, and index what runs that were interrupted left in their spools."""
        lake, shop = self.shop.lake, self.shop
        with writing(lake, purpose=f"start of run {shop.run_id[:8]}", timeout=shop.lock_timeout) as writer:
            head = writer.head
            for run_id in unfinished_judgings(lake, head):
                for path in sorted((lake.runs / run_id / SPOOL_FOLDER).glob("*.log")):
                    self._shelf.add(path)
            start = start_row(shop, kind=JUDGE, planned=0, topics=0, flow_run_id=flow_run_id)
            rows = [start, shop.recipe.row(), *model_rows(shop.roles), *died_rows(lake, head)]
            writer.commit([PackageDraft("run", rows)], run_id=shop.run_id)

    def label(self, number: int) -> str:
        first = number * self._size
        return f"samples {first + 1}-{first + len(self.batches[number])} of {len(self.docket.due)}"

    def judge(self, number: int) -> int:
        """Have one batch judged and commit its verdicts; returns how many. Errors of models pass through."""
        lake, shop, sample_ids = self.shop.lake, self.shop, self.batches[number]
        spool = Spool(shop.folder / SPOOL_FOLDER / f"{number:06d}.log")
        try:
            tape = BatchTape(spool, self._shelf, ())
            recorder = Recorder(
                tape=tape, desk=self._engine.ask, run_id=shop.run_id, patience=shop.settings.run.patience
            )
            hearings = [hearing for sample_id in sample_ids for hearing in self.docket.due[sample_id]]
            verdicts = self._engine.submit(self._hear_all(hearings, sample_ids, recorder, spool)).result()
        finally:
            spool.close()
        rows = rows_of(tape.read_back(), verdicts)
        with writing(lake, purpose=f"verdicts of run {shop.run_id[:8]}", timeout=shop.lock_timeout) as writer:
            self._version = writer.commit([PackageDraft(JUDGE, rows)], run_id=shop.run_id)
        self._shelf.drop(spool.path)
        spool.path.unlink()
        self._given += verdicts
        publish_if_free(lake, self._version)
        return len(verdicts)

    def came_to(self) -> Judged:
        """What has been judged so far."""
        return Judged(
            samples=self.docket.samples,
            judged=len({row.sample_id for row in self._given}),
            verdicts=len(self._given),
            unknown=sum(why != NOT_YET for row in self._given for why in json.loads(row.unknown).values()),
            version=self._version.number if self._version else None,
            warnings=self.warnings,
        )

    def close(self) -> None:
        self._engine.cancel()
        self._shelf.close()

    async def _hear_all(
        self, hearings: Sequence[Hearing], sample_ids: Sequence[str], recorder: Recorder, spool: Spool
    ) -> list[VerdictRow]:
        files = await asyncio.to_thread(CaseFiles, self.shop.lake, self._at, sample_ids, drafts=self._rounds)
        async with synced(spool, recorder.stop):
            heard = (hear(hearing, files.candidate(hearing.subject), recorder) for hearing in hearings)
            return await finish_all(recorder, heard)


def _makers(lake: Lake, version: Version) -> set[tuple[str, str]]:
    """Role and name of every model that had a part in making what is judged."""
    rows = lake.rows(ModelRow, version)
    return {(row.role, row.name) for row in rows if row.role != "encoder" and judge_of(row.role) is None}


@contextmanager
def open_judging(
    path: Path,
    options: JudgeOptions,
    *,
    lock_timeout: float | None = None,
    flow_run_id: str | None = None,
    studio: Callable[[Settings], JudgeSource] = Studio,
) -> Iterator[Judging]:
    """A run of a lake's judges; with nothing to judge it has no batches, and the lake stays as it is.

    NotALake, SettingsError, NoSuchThing; UserError when there is no such judge, or its model cannot be used here;
    LakeBusy while another run judges.
    """
    lake, settings = open_lake(path, lock_timeout=lock_timeout)
    settings = _asked_for(settings, options, path)
    with ExitStack() as stack:
        stack.enter_context(hold(lake.path / LOCK, purpose="judging the lake", timeout=0))
        engine = stack.enter_context(Engine())
        source = studio(settings)
        stack.callback(lambda: engine.submit(source.close()).result())
        bench = engine.submit(_open_bench(settings, source, options.judge)).result()
        shop = Workshop(
            lake=lake,
            settings=settings,
            roles=bench.roles(),
            recipe=write_judging(bench.recipe()),
            run_id=uuid.uuid4().hex,
        )
        with writing(lake, purpose="a look at the lake", timeout=shop.lock_timeout):
            judging = Judging(shop, bench, engine, options)
        stack.callback(tidy_runs, shop)
        if not judging.batches:
            yield judging
            return
        stack.enter_context(living_run(shop))
        stack.callback(judging.close)
        judging.begin(flow_run_id)
        with ended(shop, lambda _: judging.close()):
            yield judging


async def _open_bench(settings: Settings, source: JudgeSource, name: str | None) -> Bench:
    numbers = {entry.name: number for number, entry in enumerate(settings.judge.judges) if name in (None, entry.name)}
    return seat_bench(settings.judge, {name: await source.judge(number) for name, number in numbers.items()})


def _asked_for(settings: Settings, options: JudgeOptions, path: Path) -> Settings:
    """The settings with the repeats that are asked for; UserError where there is no such judge."""
    known = [entry.name for entry in settings.judge.judges]
    if not known:
        raise UserError(f"{path} names no judge: add [[judge.judges]] with name and backend to its {FILE}")
    if options.judge is not None and options.judge not in known:
        raise UserError(f"{path} has no judge {options.judge}: its settings name {', '.join(known)}")
    judge = settings.judge.model_copy(update={"repeats": options.repeats or settings.judge.repeats})
    return settings.model_copy(update={"judge": judge})
