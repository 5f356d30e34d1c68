"""Moving a lake to another encoder: new vectors for every turn, then one version that decides anew what is kept.

Until that version the lake is as it was: its decisions and its table of turns rest on the old vectors alone.
"""

import asyncio
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flows.claim import died_rows, ended, living_run, publish_if_free, start_row, tidy_runs
from flows.deciding import Ruling
from flows.engine import Engine
from flows.moving import embed_turn, vector_rows
from flows.recipe import model_rows, write_selection
from flows.recorder import Recorder, finish_all
from flows.redeciding import MOVE, decide_anew
from flows.settings import FILE, Settings, read_settings
from flows.studio import Studio
from flows.syncing import synced
from flows.tape import SPOOL_FOLDER, BatchTape, SpoolShelf
from flows.workshop import Workshop
from models.embedding import Encoder, Vector
from models.picture import Picture
from storage.embeddings import BareTurn, bare_turns, read_standing
from storage.lake import Lake
from storage.lock import hold
from storage.packages import PackageDraft
from storage.slots import unfinished_moves
from storage.spool import Spool
from storage.turn_rows import find_pictures
from storage.writing import Writer, writing

LOCK = ".reembed.lock"
TURNS_PER_BATCH = 256
PICTURES_AT_ONCE = 16


class EncoderSource(Protocol):
    """The part of a studio that is needed here."""

    async def encoder(self) -> Encoder: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What a move came to: turns that were embedded, samples kept and dropped as duplicates before and after."""

    encoder: str
    version: int
    turns: int
    kept_before: int
    kept: int
    duplicate_before: int
    duplicate: int


class Reembedding:
    """One move of a lake to the encoder of its settings. Batches are embedded and committed one after another."""

    def __init__(self, shop: Workshop, encoder: Encoder, engine: Engine) -> None:
        self.shop = shop
        self._encoder = encoder
        self._engine = engine
        self._shelf = SpoolShelf()
        self._embedded = 0
        bare = bare_turns(shop.lake, shop.lake.version(), shop.encoder)
        self.batches = [bare[first : first + TURNS_PER_BATCH] for first in range(0, len(bare), TURNS_PER_BATCH)]

    def is_due(self) -> bool:
        """Whether the lake's decisions rest on vectors of another encoder."""
        lake = self.shop.lake
        return bool(read_standing(lake, lake.version()).encoders - {self.shop.encoder})

    def begin(self, flow_run_id: str | None) -> None:
        """Write the run's start, and index what moves that were interrupted left in their spools."""
        lake, shop = self.shop.lake, self.shop
        with writing(lake, purpose=f"start of run {shop.run_id[:8]}", timeout=shop.lock_timeout) as writer:
            head = writer.head
            for run_id in unfinished_moves(lake, head):
                for path in sorted((lake.runs / run_id / SPOOL_FOLDER).glob("*.log")):
                    self._shelf.add(path)
            start = start_row(shop, kind=MOVE, planned=0, topics=0, flow_run_id=flow_run_id)
            rows = [start, shop.recipe.row(), *model_rows(shop.roles), *died_rows(lake, head)]
            writer.commit([PackageDraft("run", rows)], run_id=shop.run_id)

    def label(self, number: int) -> str:
        first = number * TURNS_PER_BATCH
        return f"turns {first + 1}-{first + len(self.batches[number])} of {sum(map(len, self.batches))}"

    def embed(self, number: int) -> None:
        """Embed one batch of turns and commit their vectors; errors of the encoder pass through."""
        self._embed(self.batches[number], number)

    def settle(self) -> Moved:
        """Decide anew what is kept, in one version; turns that builds brought in meanwhile are embedded first."""
        lake = self.shop.lake
        for number in range(len(self.batches), len(self.batches) + 1_000):
            purpose = f"decisions of run {self.shop.run_id[:8]}"
            with writing(lake, purpose=purpose, timeout=self.shop.lock_timeout) as writer:
                late = bare_turns(lake, writer.head, self.shop.encoder)
                if not late:
                    return self._decide(writer)
            self._embed(late, number)
        raise AssertionError("builds commit faster than turns can be embedded")

    def close(self) -> None:
        self._engine.cancel()
        self._shelf.close()

    def _embed(self, turns: Sequence[BareTurn], number: int) -> None:
        lake, shop = self.shop.lake, self.shop
        spool = Spool(shop.folder / SPOOL_FOLDER / f"{number:06d}.log")
        try:
            tape = BatchTape(spool, self._shelf, ())
            recorder = Recorder(
                tape=tape, desk=self._engine.ask, run_id=shop.run_id, patience=shop.settings.run.patience
            )
            vectors = self._engine.submit(self._ask_all(turns, recorder, spool)).result()
        finally:
            spool.close()
        rows = [*(call.row for call in tape.read_back()), *vector_rows(shop.encoder, turns, vectors)]
        with writing(lake, purpose=f"vectors of run {shop.run_id[:8]}", timeout=shop.lock_timeout) as writer:
            writer.commit([PackageDraft("vectors", rows)], run_id=shop.run_id)
        self._shelf.drop(spool.path)
        spool.path.unlink()
        self._embedded += len(turns)

    async def _ask_all(
        self, turns: Sequence[BareTurn], recorder: Recorder, spool: Spool
    ) -> list[tuple[Vector, Vector]]:
        lake = self.shop.lake
        places = await asyncio.to_thread(find_pictures, lake, lake.version(), {turn.image_sha256 for turn in turns})

        room = asyncio.Semaphore(PICTURES_AT_ONCE)

        async def ask(turn: BareTurn) -> tuple[Vector, Vector]:
            place = places[turn.image_sha256]
            async with room:
                data = await asyncio.to_thread(place.read)
                picture = await asyncio.to_thread(Picture.from_bytes, data)
                return await embed_turn(recorder, self._encoder, turn, picture)

        async with synced(spool, recorder.stop):
            return await finish_all(recorder, map(ask, turns))

    def _decide(self, writer: Writer) -> Moved:
        lake, shop = self.shop.lake, self.shop
        ruling = Ruling(
            kind=MOVE,
            version=writer.next_number,
            encoder=shop.encoder,
            duplicates=shop.settings.selection.duplicates,
        )
        decided = decide_anew(lake, writer.head, ruling)
        before, decision = decided.before, decided.decision
        version = writer.commit([PackageDraft("decision", decided.rows)], run_id=shop.run_id)
        publish_if_free(lake, version)
        kept_before = sum(before.kept.values())
        return Moved(
            encoder=self._encoder.identity.name,
            version=version.number,
            turns=self._embedded,
            kept_before=kept_before,
            kept=len(decision.kept_samples),
            duplicate_before=len(before.kept) - kept_before,
            duplicate=len(decision.dropped_samples),
        )


@contextmanager
def open_reembedding(
    path: Path,
    *,
    lock_timeout: float | None = None,
    flow_run_id: str | None = None,
    studio: Callable[[Settings], EncoderSource] = Studio,
) -> Iterator[Reembedding | None]:
    """A move of a lake to the encoder of its settings, or None when it is there already.

    NotALake, SettingsError; UserError when the encoder cannot be used here; LakeBusy while another move is at work.
    """
    lake, settings = Lake.open(path), read_settings(path / FILE)
    if lock_timeout is not None:
        settings = settings.model_copy(update={"run": settings.run.model_copy(update={"lock_timeout": lock_timeout})})
    with ExitStack() as stack:
        stack.enter_context(hold(lake.path / LOCK, purpose="moving the lake to another encoder", timeout=0))
        engine = stack.enter_context(Engine())
        models = studio(settings)
        stack.callback(lambda: engine.submit(models.close()).result())
        encoder = engine.submit(models.encoder()).result()
        shop = Workshop(
            lake=lake,
            settings=settings,
            roles={"encoder": encoder.identity},
            recipe=write_selection(settings, encoder.identity),
            run_id=uuid.uuid4().hex,
        )
        with writing(lake, purpose="a look at the lake", timeout=shop.lock_timeout):
            move = Reembedding(shop, encoder, engine)
        stack.callback(tidy_runs, shop)
        if not move.is_due():
            yield None
            return
        stack.enter_context(living_run(shop))
        stack.callback(move.close)
        move.begin(flow_run_id)
        with ended(shop, lambda _: move.close()):
            yield move
