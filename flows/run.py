"""One run of a build: its claim on slots, its engine and spools, its end. Safe to kill at any point."""

import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flows.absences import Absences
from flows.budget import BudgetUsed, Meter
from flows.claim import publish_if_free
from flows.commit import Committed, Committer
from flows.engine import Engine
from flows.filling import fill_slot
from flows.intake import Intake
from flows.packing import FinishedBatch
from flows.plan import Plan, PlannedSlot
from flows.progress import OUTCOMES, Progress, ProgressBoard
from flows.recorder import Answer, Asked, Recorder, finish_all
from flows.seir.dialogue import Dialogue
from flows.studio import Cast
from flows.syncing import synced
from flows.tape import SPOOL_FOLDER, BatchTape, SpoolShelf
from flows.topics.lake_templates import read_lake_templates
from flows.workshop import Workshop
from storage.calls import read_calls
from storage.slots import is_alive
from storage.spool import RecordedCall, Spool
from storage.steps import Step, reached
from storage.versions import Version

PUBLISH_SHARE = 20
NAMED_TOPICS = 3


@dataclass(frozen=True, slots=True)
class _Made:
    """A batch that waits to be committed; its calls lie in the spool."""

    work: Sequence[tuple[PlannedSlot, Dialogue]]
    tape: BatchTape


class Run:
    """A build that has claimed its slots. Batches may be made in any order and thread; they are committed in order."""

    def __init__(
        self, shop: Workshop, *, cast: Cast, engine: Engine, committer: Committer, plan: Plan, meter: Meter
    ) -> None:
        self.shop = shop
        self._meter = meter
        self._cast = cast
        self.plan = plan
        self._derived = read_lake_templates(shop.lake, shop.lake.version())
        self.batches = plan.batches(shop.settings.run.batch_size)
        self.outcomes: dict[str, str] = {}
        self._engine = engine
        self._committer = committer
        self._shelf = SpoolShelf()
        self._closed = False
        self._lock = threading.Lock()
        self._making: dict[Future[list[Dialogue]], Recorder] = {}
        self._made: set[str] = set()
        self._finished: dict[int, _Made] = {}
        self.intake = Intake(room=cast.room, most=shop.settings.run.open_batches)
        self._publish_again_at = 0.0
        planned = len(plan.slots)
        start = Progress(run_id=shop.run_id, note=plan.note(), planned=planned, batches=len(self.batches))
        self.board = ProgressBoard(shop.folder, start)
        self._absences = Absences(shop.settings.run.patience, show=self.board.wait_for)

    def prepare(self) -> None:
        """Index what dead runs left in their spools."""
        lake = self.shop.lake
        for folder in sorted(lake.runs.iterdir()):
            if folder.is_dir() and folder != self.shop.folder and not is_alive(lake, folder.name):
                for path in sorted((folder / SPOOL_FOLDER).glob("*.log")):
                    self._shelf.add(path)

    def close(self, error: BaseException | None = None) -> None:
        """Begin nothing more, stop what is still being made, and let go of the spools.

        After an error, but not when somebody pressed Ctrl-C, all batches first hear what they have under way.
        """
        self.intake.stop()
        with self._lock:
            self._closed = True
            making = dict(self._making)
        try:
            if isinstance(error, Exception):
                for recorder in making.values():
                    recorder.stop(error)
                wait(making)
        finally:
            self._engine.cancel()
            self._shelf.close()

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

    @property
    def used_up(self) -> BudgetUsed | None:
        """Which budget ended this run, if one did; some of its batches are open then."""
        return self._meter.used_up

    def used(self) -> dict[str, int]:
        """The calls, tokens and seconds that a run with a budget used; empty for one without."""
        return self._meter.used()

    def topic_table(self) -> list[dict[str, str | int]]:
        """One row a topic: how many of its samples of this run came to which outcome."""
        counts: dict[str, Counter[str]] = {}
        for slot in self.plan.slots:
            counts.setdefault(slot.topic, Counter())[self.outcomes.get(slot.sample_id, "open")] += 1
        return [{"topic": topic, **{name: count[name] for name in OUTCOMES}} for topic, count in counts.items()]

    def make(self, number: int) -> bool:
        """Make a batch and wait for it; False when the budget was used up before, and the batch stays open.

        Errors of models pass through. What was answered by then is in the spool, where the next build finds it.
        """
        is_made = False
        try:
            is_made = self._make(number)
        finally:
            if not is_made:
                self.intake.stop()  # nothing is begun behind a batch that failed, or stays open
        return is_made

    def _make(self, number: int) -> bool:
        if self._closed:  # or a spool would be made in a folder that is tidied away
            raise CancelledError("the run has ended")
        slots = self.batches[number]
        self.intake.begin(number, len(slots))
        spool = Spool(self._spool_path(number))
        try:
            tape = BatchTape(spool, self._shelf, self._committed_calls(slots))
            recorder = Recorder(
                tape=tape,
                desk=partial(self._ask, number),
                run_id=self.shop.run_id,
                patience=self.shop.settings.run.patience,
                absences=self._absences,
            )
            with self._lock:
                if self._closed:
                    raise CancelledError("the run has ended")
                made = self._engine.submit(self._write_all(number, recorder, spool))
                self._making[made] = recorder
            try:
                dialogues = made.result()
            except BudgetUsed:
                return False
            finally:
                self._making.pop(made)
        finally:
            spool.close()
        self._finished[number] = _Made(tuple(zip(slots, dialogues, strict=True)), tape)
        return True

    def commit(self, number: int) -> Committed:
        """Commit a batch that was made; its calls are in the package then and leave the spool."""
        made = self._finished.pop(number)
        batch = FinishedBatch(number=number, work=made.work, calls=self._read_back(number, made))
        committed = self._committer.commit(batch)
        path = self._spool_path(number)
        self._shelf.drop(path)
        path.unlink()
        reached(Step.SPOOL_DROPPED)
        self.intake.release(number)
        self.outcomes |= committed.outcomes
        self.board.add(committed_batches=1, **Counter(committed.outcomes.values()))
        self._publish_now_and_then(committed.version)
        return committed

    def _read_back(self, number: int, made: _Made) -> list[RecordedCall]:
        """The calls of a batch, read only now: the pictures of what waits for its turn would fill the memory."""
        try:
            return made.tape.read_back()
        except FileNotFoundError:  # tidied away by a run that took this one for dead
            self._committer.refuse_taken_over([slot.slot_id for slot in self.batches[number]], self.shop.lake.version())
            raise

    def _publish_now_and_then(self, version: Version) -> None:
        """Bring the history up to date as often as that takes less than a twentieth of the time."""
        since = time.monotonic()
        if since < self._publish_again_at:
            return
        publish_if_free(self.shop.lake, version)
        now = time.monotonic()
        self._publish_again_at = now + PUBLISH_SHARE * (now - since)

    async def _ask(self, number: int, model: Asked, send: Callable[[], Awaitable[Answer]]) -> Answer:
        async def send_counted() -> Answer:
            self._meter.admit()
            return await send()

        answer = await self._engine.ask(model, send_counted, turn=number)
        self._meter.hear(answer.prompt_tokens, answer.completion_tokens)
        self.board.add(calls=1)
        return answer

    async def _write_all(self, number: int, recorder: Recorder, spool: Spool) -> list[Dialogue]:
        async with synced(spool, recorder.stop):
            return await finish_all(recorder, (self._write(number, slot, recorder) for slot in self.batches[number]))

    async def _write(self, number: int, slot: PlannedSlot, recorder: Recorder) -> Dialogue:
        settings = self.shop.settings.generation
        dialogue = await fill_slot(slot, cast=self._cast, recorder=recorder, settings=settings, derived=self._derived)
        if slot.slot_id not in self._made:
            self._made.add(slot.slot_id)
            self.board.add(made=1)
        self.intake.write(number)
        return dialogue

    def _committed_calls(self, slots: Sequence[PlannedSlot]) -> Iterable[RecordedCall]:
        """What earlier attempts at these slots have asked already, and samples of theirs by other recipes."""
        wanted = {slot.sample_id for slot in slots if slot.retry}.union(*(slot.siblings for slot in slots))
        return read_calls(self.shop.lake, self.shop.lake.version(), wanted) if wanted else ()

    def _spool_path(self, number: int) -> Path:
        return self.shop.folder / SPOOL_FOLDER / f"{number:06d}.log"
