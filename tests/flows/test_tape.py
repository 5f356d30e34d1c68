"""The tape of a batch: what is kept in one turn of the loop is written in one go, and only then handed on."""

import asyncio
import resource
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from flows import syncing
from flows.recorder import Address, Answer, Asked, Recorder
from flows.tape import BatchTape, SpoolShelf
from models.chat import ChatReply, ChatRequest, Message, Sampling
from models.errors import TransientError
from models.fakes import FakeChat
from storage.spool import RecordedCall, Spool, read_calls_of

SAMPLING = Sampling(temperature=0.0, top_p=1.0, top_k=0, min_p=0.0, repeat_penalty=1.0, max_tokens=64)


def address(number: int) -> Address:
    return Address(sample_id="5a", turn=1, stage="answer", round=number, purpose="draft", attempt=0)


def request(number: int) -> ChatRequest:
    chat = FakeChat().identity
    return ChatRequest(
        model=chat.name,
        revision=chat.revision,
        messages=(Message.of("user", "a question " * 50),),
        sampling=SAMPLING,
        schema=None,
        seed=number,
    )


@contextmanager
def room_for(path: Path, size: int) -> Iterator[None]:
    """As if the disk were full beyond so many more bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Scene:
    """A recorder that writes into a spool, and how many calls were on disk whenever a model was asked."""

    def __init__(self, folder: Path) -> None:
        self.spool = Spool(folder / "s.log")
        self.shelf = SpoolShelf()
        self.tape = BatchTape(self.spool, self.shelf, ())
        self.on_disk: list[int] = []
        self.when_heard: Callable[[int], bool] = bool
        self._heard = 0
        self._recorder = Recorder(tape=self.tape, desk=self._ask, run_id="r", patience=0)

    async def _ask(self, model: Asked, send: Callable[[], Awaitable[Answer]]) -> Answer:  # noqa: ARG002
        async def noted() -> Answer:
            self.on_disk.append(len(read_calls_of(self.spool.path)))
            return await send()

        answer = await noted()
        self._heard += 1
        self.when_heard(self._heard)
        return answer

    def close(self) -> None:
        self.spool.close()
        self.shelf.close()

    async def chat(self, number: int) -> ChatReply:
        return await self._recorder.chat(FakeChat(), address(number), request(number))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()


def test_an_answer_is_on_disk_before_what_follows_from_it_is_asked(scene: Scene) -> None:
    async def follow() -> None:
        await asyncio.gather(scene.chat(0), scene.chat(1))
        await scene.chat(2)
        await scene.chat(3)

    asyncio.run(follow())
    assert scene.on_disk == [0, 0, 2, 3]
    assert len(scene.tape.read_back()) == 4


def test_an_answer_that_cannot_be_written_is_handed_to_nobody(scene: Scene) -> None:
    async def ask() -> None:
        await scene.chat(0)
        with room_for(scene.spool.path, 100):
            failed = await asyncio.gather(scene.chat(1), scene.chat(2), return_exceptions=True)
        assert ["No space left" in str(error) for error in failed] == [True, True]
        await scene.chat(1)

    asyncio.run(ask())
    assert [call.row.seed for call in scene.tape.read_back()] == [0, 1]


def test_an_answer_that_has_no_form_on_disk_leaves_nobody_waiting(scene: Scene) -> None:
    async def ask() -> None:
        row = (await recorded(scene, 0)).row
        calls = [
            RecordedCall(replace(row, call_id=str(n), prompt_tokens=count), {}) for n, count in enumerate((1, 10**30))
        ]
        kept = await asyncio.wait_for(asyncio.gather(*map(scene.tape.keep, calls), return_exceptions=True), 30)
        assert all(isinstance(error, TypeError) for error in kept) and len(kept) == 2
        await scene.tape.keep(calls[0])

    asyncio.run(ask())
    assert [call.row.call_id for call in scene.tape.read_back()][1:] == ["0"]


async def recorded(scene: Scene, number: int) -> RecordedCall:
    """A call as it stands on the tape."""
    await scene.chat(number)
    return scene.tape.read_back()[-1]


def test_who_waits_before_it_asks_again_hears_at_once_that_the_run_is_stopped(tmp_path: Path) -> None:
    async def ask() -> str:
        busy = FakeChat(failures=lambda _: TransientError("busy", retry_after=3000.0))
        spool, shelf = Spool(tmp_path / "s.log"), SpoolShelf()
        engine = _Plain()
        recorder = Recorder(tape=BatchTape(spool, shelf, ()), desk=engine.ask, run_id="r", patience=10_000)
        asking = asyncio.create_task(recorder.chat(busy, address(0), request(0)))
        while not engine.asked:
            await asyncio.sleep(0.01)
        recorder.stop(ValueError("no more"))
        told = await asyncio.wait_for(asyncio.gather(asking, return_exceptions=True), 60)
        spool.close()
        shelf.close()
        return str(told[0])

    assert asyncio.run(ask()) == "no more"


class _Plain:
    """A desk that lets all through."""

    def __init__(self) -> None:
        self.asked = 0

    async def ask(self, model: Asked, send: Callable[[], Awaitable[Answer]]) -> Answer:  # noqa: ARG002
        self.asked += 1
        return await send()


def test_a_disk_that_does_not_take_what_is_synced_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Spool):
        def sync(self) -> None:
            raise OSError(5, "Input/output error")

    heard: list[Exception] = []
    monkeypatch.setattr(syncing, "SYNC_SECONDS", 0.0)
    spool = Failing(tmp_path / "s.log")
    asyncio.run(asyncio.wait_for(syncing.sync_often(spool, heard.append), 60))
    monkeypatch.undo()
    with pytest.raises(OSError, match="Input/output"):
        spool.close()
    assert ["Input/output error" in str(error) for error in heard] == [True]


def test_who_is_cancelled_while_an_answer_is_written_takes_nobody_along(scene: Scene) -> None:
    async def ask() -> None:
        asked = [asyncio.create_task(scene.chat(number)) for number in range(3)]
        # By then the first has its answer, and waits with the others for the end of this turn.
        scene.when_heard = lambda heard: asked[0].cancel() if heard == 3 else False
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert [isinstance(result, BaseException) for result in results] == [True, False, False]

    asyncio.run(ask())
    assert [call.row.seed for call in scene.tape.read_back()] == [0, 1, 2]
