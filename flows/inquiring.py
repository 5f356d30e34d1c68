"""A run that asks the writer for the lake itself: each inquiry is one version, with its calls and what came of them.

Calls go through the recorder and the spool, so a killed run goes on by the same command and asks nothing twice.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

from flows.budget import UNBOUND, Meter
from flows.claim import died_rows, ended, living_run, publish_if_free, start_row, tidy_runs
from flows.engine import Engine
from flows.inquiry import INQUIRY, Ear
from flows.recipe import model_rows
from flows.recorder import Answer, Asked, Recorder, finish_all
from flows.syncing import synced
from flows.tape import SPOOL_FOLDER, BatchTape, SpoolShelf
from flows.workshop import Workshop
from models.chat import ChatModel
from storage.lake import Lake
from storage.lock import hold
from storage.packages import PackageDraft
from storage.records import InquiryRow, Row
from storage.slots import unfinished_inquiries
from storage.spool import Spool
from storage.versions import Version
from storage.writing import writing


class Inquiry(Protocol):
    """Something to be asked in one go."""

    @property
    def inquiry_id(self) -> str: ...

    async def ask(self, ear: Ear) -> Sequence[Row]:
        """Ask, and return the rows of what came of it, that of the inquiry included; calls are no part of it."""
        ...


class Inquiring:
    """One such run. Inquiries are made and committed one after another."""

    def __init__(self, shop: Workshop, writer: ChatModel, engine: Engine, meter: Meter) -> None:
        self.shop = shop
        self._meter = meter
        self._writer = writer
        self._engine = engine
        self._shelf = SpoolShelf()
        self._spools = 0

    def begin(self, kind: str, flow_run_id: str | None) -> None:
        """Write the run's start, and index what runs that were interrupted left in their spools."""
        lake, shop = self.shop.lake, self.shop
        with writing(lake, purpose=f"start of run {shop.run_id[:8]}", timeout=shop.lock_timeout) as writer:
            head = writer.head
            for run_id in unfinished_inquiries(lake, head):
                for path in sorted((lake.runs / run_id / SPOOL_FOLDER).glob("*.log")):
                    self._shelf.add(path)
            start = start_row(shop, kind=kind, planned=0, topics=0, flow_run_id=flow_run_id)
            rows = [start, shop.recipe.row(), *model_rows(shop.roles), *died_rows(lake, head)]
            writer.commit([PackageDraft("run", rows)], run_id=shop.run_id)

    def carry_out(self, inquiry: Inquiry) -> tuple[Version, Sequence[Row]]:
        """Make an inquiry and commit what came of it; the version and its rows. Errors of models pass through.

        BudgetUsed when the meter let no more through: what was answered by then is for the next run of the kind.
        """
        lake, shop = self.shop.lake, self.shop
        spool = Spool(shop.folder / SPOOL_FOLDER / f"{self._spools:06d}.log")
        self._spools += 1
        try:
            tape = BatchTape(spool, self._shelf, ())
            recorder = Recorder(
                tape=tape, desk=self._ask_counted, run_id=shop.run_id, patience=shop.settings.run.patience
            )
            rows = self._engine.submit(self._ask(inquiry, recorder, spool)).result()
        finally:
            spool.close()
        draft = PackageDraft(INQUIRY, [*(call.row for call in tape.read_back()), *rows])
        with writing(lake, purpose=f"an inquiry of run {shop.run_id[:8]}", timeout=shop.lock_timeout) as writer:
            version = writer.commit([draft], run_id=shop.run_id)
        self._shelf.drop(spool.path)
        spool.path.unlink()
        publish_if_free(lake, version)
        return version, rows

    def close(self) -> None:
        self._engine.cancel()
        self._shelf.close()

    async def _ask_counted(self, model: Asked, send: Callable[[], Awaitable[Answer]]) -> Answer:
        async def send_counted() -> Answer:
            self._meter.admit()
            return await send()

        answer = await self._engine.ask(model, send_counted)
        self._meter.hear(answer.prompt_tokens, answer.completion_tokens)
        return answer

    async def _ask(self, inquiry: Inquiry, recorder: Recorder, spool: Spool) -> Sequence[Row]:
        ear = Ear(
            writer=self._writer,
            recorder=recorder,
            settings=self.shop.settings.generation,
            inquiry_id=inquiry.inquiry_id,
        )
        async with synced(spool, recorder.stop):
            (rows,) = await finish_all(recorder, [_as_coroutine(inquiry, ear)])
        return rows


async def _as_coroutine(inquiry: Inquiry, ear: Ear) -> Sequence[Row]:
    return await inquiry.ask(ear)


@contextmanager
def inquiring(
    shop: Workshop,
    writer: ChatModel,
    engine: Engine,
    *,
    kind: str,
    flow_run_id: str | None,
    meter: Meter | None = None,
) -> Iterator[Inquiring]:
    """A run of inquiries of one kind, from its start to its end. LakeBusy while another one of the kind is at work.

    With the `meter` of a build, what is asked counts there, and the run is stopped when its budget is used up.
    """
    meter = meter or Meter(UNBOUND)
    with ExitStack() as stack:
        stack.enter_context(hold(shop.lake.path / f".{kind}.lock", purpose=f"a run of kind {kind}", timeout=0))
        run = Inquiring(shop, writer, engine, meter)
        stack.callback(tidy_runs, shop)
        stack.enter_context(living_run(shop))
        stack.callback(run.close)
        run.begin(kind, flow_run_id)
        with ended(shop, lambda _: run.close(), lambda: meter.used_up):
            yield run


def count_inquiries(lake: Lake, version: Version, *, kind: str, about: str) -> int:
    """How many inquiries of a kind about something a lake has: the number of the next one."""
    return sum(row.kind == kind and row.subject == about for row in lake.rows(InquiryRow, version))
