"""One run of a build: its claim on slots, its engine and spools, its end. Safe to kill at any point."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from flows.asked import BuildOptions
from flows.claim import claim_slots, end_row, tidy_runs
from flows.commit import Committed, Committer, FinishedBatch
from flows.engine import Engine
from flows.plan import BuildPlan, BuildRequest, PlannedSlot
from flows.progress import OUTCOMES, Progress, ProgressBoard
from flows.recipe import write_recipe
from flows.recorder import Answer, Asked, Recorder
from flows.seir.asking import Asker
from flows.seir.dialogue import Brief, Dialogue, Playwright
from flows.settings import FILE, Settings, read_settings
from flows.studio import Cast, Studio
from flows.tape import SPOOL_FOLDER, BatchTape, SpoolShelf
from flows.topics.catalogue import read_templates
from flows.workshop import Workshop
from storage.calls import read_calls
from storage.errors import LakeBusy
from storage.history import publish
from storage.lake import Lake
from storage.lock import hold
from storage.packages import PackageDraft
from storage.slots import is_alive, run_lock
from storage.spool import RecordedCall, Spool, read_spool
from storage.turns_table import bring_up
from storage.versions import Version

SYNC_SECONDS = 1.0
PUBLISH_SHARE = 20
NAMED_TOPICS = 3


class Run:
    """A build that has claimed its slots. Batches may be made in any order and thread; they are committed in order."""

    def __init__(self, shop: Workshop, *, engine: Engine, committer: Committer, plan: BuildPlan) -> None:
        self.shop = shop
        self.plan = plan
        self.batches = plan.batches(shop.settings.run.batch_size)
        self.outcomes: dict[str, str] = {}
        self._engine = engine
        self._committer = committer
        self._shelf = SpoolShelf()
        self._finished: dict[int, FinishedBatch] = {}
        self._publish_again_at = 0.0
        self._templates = {template.template_id: template for template in read_templates()}
        planned = len(plan.slots)
        start = Progress(run_id=shop.run_id, note=plan.note(), planned=planned, batches=len(self.batches))
        self.board = ProgressBoard(shop.folder, start)

    def prepare(self) -> None:
        """Index what dead runs left in their spools."""
        lake = self.shop.lake
        for folder in sorted(lake.runs.iterdir()):
            if folder != self.shop.folder and not is_alive(lake, folder.name):
                self._shelf.add(sorted((folder / SPOOL_FOLDER).glob("*.log")))

    def label(self, number: int) -> str:
        """A name for a batch that a person can read."""
        slots = self.batches[number]
        topics = list(dict.fromkeys(slot.topic for slot in slots))
        more = f" and {len(topics) - NAMED_TOPICS} more" if len(topics) > NAMED_TOPICS else ""
        return f"batch {number + 1}/{len(self.batches)}, {len(slots)} samples: {', '.join(topics[:NAMED_TOPICS])}{more}"

    def counts(self) -> dict[str, int]:
        """Conservation: planned = kept + rejected + duplicate + failed + open."""
        now = self.board.now
        return {name: getattr(now, name) for name in ("planned", *OUTCOMES)}

    def topic_table(self) -> list[dict[str, str | int]]:
        """One row a topic: how many of its samples of this run came to which outcome."""
        counts: dict[str, Counter[str]] = {}
        for slot in self.plan.slots:
            counts.setdefault(slot.topic, Counter())[self.outcomes.get(slot.sample_id, "open")] += 1
        return [{"topic": topic, **{name: count[name] for name in OUTCOMES}} for topic, count in counts.items()]

    def make(self, number: int) -> None:
        """Make a batch and wait for it. Errors of models pass through; what was finished by then is in the spool."""
        slots = self.batches[number]
        spool = Spool(self._spool_path(number))
        try:
            tape = BatchTape(spool, self._shelf, self._committed_calls(slots))
            recorder = Recorder(tape=tape, desk=self._ask, run_id=self.shop.run_id)
            dialogues = self._engine.submit(self._write_all(slots, recorder, spool)).result()
        finally:
            spool.close()
        calls = [call for _, call in read_spool(spool.path)]
        work = tuple(zip(slots, dialogues, strict=True))
        self._finished[number] = FinishedBatch(number=number, work=work, calls=calls)

    def commit(self, number: int) -> Committed:
        """Commit a batch that was made; its calls are in the package then and leave the spool."""
        committed = self._committer.commit(self._finished.pop(number))
        path = self._spool_path(number)
        self._shelf.forget(path)
        path.unlink()
        self.outcomes |= committed.outcomes
        self.board.add(committed_batches=1, **Counter(committed.outcomes.values()))
        self._publish_now_and_then(committed.version)
        return committed

    def _publish_now_and_then(self, version: Version) -> None:
        """Bring the history up to date as often as that takes less than a twentieth of the time."""
        since = time.monotonic()
        if since < self._publish_again_at:
            return
        publish(self.shop.lake, version)
        now = time.monotonic()
        self._publish_again_at = now + PUBLISH_SHARE * (now - since)

    async def _ask(self, model: Asked, send: Callable[[], Awaitable[Answer]]) -> Answer:
        answer = await self._engine.ask(model, send)
        self.board.add(calls=1)
        return answer

    async def _write_all(self, slots: Sequence[PlannedSlot], recorder: Recorder, spool: Spool) -> list[Dialogue]:
        syncing = asyncio.create_task(_sync_often(spool))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._write(slot, recorder)) for slot in slots]
            return [task.result() for task in tasks]
        except* Exception as errors:
            raise _first_error(errors) from None
        finally:
            syncing.cancel()

    async def _write(self, slot: PlannedSlot, recorder: Recorder) -> Dialogue:
        asker = Asker(
            cast=self.shop.cast,
            recorder=recorder,
            settings=self.shop.settings.generation,
            slot_id=slot.slot_id,
            sample_id=slot.sample_id,
            retry=slot.retry,
        )
        templates = [(name, self._templates[name].ask(slot.topic)) for name in slot.templates]
        brief = Brief(sample_id=slot.sample_id, topic=slot.topic, templates=templates)
        dialogue = await Playwright(asker=asker, brief=brief).write()
        self.board.add(made=1)
        return dialogue

    def _committed_calls(self, slots: Sequence[PlannedSlot]) -> dict[str, RecordedCall]:
        """What earlier attempts at these slots have asked already, by request key."""
        retried = [slot.sample_id for slot in slots if slot.retry]
        calls = read_calls(self.shop.lake, self.shop.lake.version(), retried) if retried else ()
        return {call.row.request_key: call for call in calls}

    def _spool_path(self, number: int) -> Path:
        return self.shop.folder / SPOOL_FOLDER / f"{number:06d}.log"


async def _sync_often(spool: Spool) -> None:
    """Make the spool outlive a power cut once a second; a killed process loses nothing either way."""
    while True:
        await asyncio.sleep(SYNC_SECONDS)
        await asyncio.to_thread(spool.sync)


def _first_error(errors: BaseExceptionGroup[Exception]) -> Exception:
    first = errors.exceptions[0]
    return _first_error(first) if isinstance(first, BaseExceptionGroup) else first


def open_build(
    path: Path,
    options: BuildOptions,
    *,
    flow_run_id: str | None = None,
    studio: Callable[[Settings], AbstractAsyncContextManager[Cast]] = Studio,
) -> AbstractContextManager[Run]:
    """Open a lake for a build, which claims its slots. NotALake, SettingsError, LakeBusy, TerminalError.

    `studio` opens the models that the settings name; another one may bring its own.
    """
    lake, settings = open_lake(path, options)
    return open_run(lake, build_request(settings, options), studio(settings), settings, flow_run_id=flow_run_id)


def open_lake(path: Path, options: BuildOptions) -> tuple[Lake, Settings]:
    """A lake and its settings, with what the options give in place of a setting. NotALake, SettingsError."""
    lake = Lake.open(path)
    settings = read_settings(path / FILE)
    generation, run = settings.generation, settings.run
    if options.turns is not None:
        generation = generation.model_copy(update={"turns": options.turns})
    if options.lock_timeout is not None:
        run = run.model_copy(update={"lock_timeout": options.lock_timeout})
    return lake, settings.model_copy(update={"generation": generation, "run": run})


def build_request(settings: Settings, options: BuildOptions) -> BuildRequest:
    """The options with nothing left open."""
    return BuildRequest(
        new_topics=options.new_topics,
        samples_per_topic=options.samples_per_topic,
        turns=settings.generation.turns,
        retry_failed=options.retry_failed,
        when_exhausted=options.when_exhausted or settings.run.when_exhausted,
    )


@contextmanager
def open_run(
    lake: Lake,
    request: BuildRequest,
    studio: AbstractAsyncContextManager[Cast],
    settings: Settings,
    *,
    flow_run_id: str | None,
) -> Iterator[Run]:
    """Open the models, claim slots, and end the run whatever happens; a plan without slots leaves the lake as it is."""
    with ExitStack() as stack:
        engine = stack.enter_context(Engine())
        cast = stack.enter_context(open_cast(engine, studio))
        recipe = write_recipe(settings, cast)
        shop = Workshop(lake=lake, settings=settings, cast=cast, recipe=recipe, run_id=uuid.uuid4().hex)
        committer = Committer(shop)
        committer.catch_up()
        shop.folder.mkdir()
        stack.callback(tidy_runs, lake, shop.run_id)
        stack.enter_context(hold(run_lock(lake, shop.run_id), purpose="build", timeout=0))
        plan = claim_slots(shop, request, flow_run_id=flow_run_id)
        run = Run(shop, engine=engine, committer=committer, plan=plan)
        if not plan.slots:
            yield run
            return
        with _ended(shop):
            run.prepare()
            yield run


@contextmanager
def open_cast(engine: Engine, studio: AbstractAsyncContextManager[Cast]) -> Iterator[Cast]:
    """The models of a studio, opened on the engine's loop and closed there."""
    cast = engine.submit(_enter(studio)).result()
    try:
        yield cast
    finally:
        engine.submit(_leave(studio)).result()


async def _enter(studio: AbstractAsyncContextManager[Cast]) -> Cast:
    return await studio.__aenter__()


async def _leave(studio: AbstractAsyncContextManager[Cast]) -> None:
    await studio.__aexit__(None, None, None)


@contextmanager
def _ended(shop: Workshop) -> Iterator[None]:
    """Write down how the run ended. A killed process cannot; the next build says `died` for it."""
    try:
        yield
    except BaseException as error:
        state = "stopped" if isinstance(error, Exception) else "cancelled"
        with suppress(LakeBusy):
            _write_end(shop, state, f"{type(error).__name__}: {error}")
        raise
    _write_end(shop, "finished", None)


def _write_end(shop: Workshop, state: str, reason: str | None) -> None:
    with shop.lake.lock(purpose=f"end of run {shop.run_id[:8]}", timeout=shop.lock_timeout):
        row = end_row(shop.run_id, state, reason)
        version = shop.lake.commit([PackageDraft("run", [row])], run_id=shop.run_id)
        bring_up(shop.lake, version)
    publish(shop.lake, version)
