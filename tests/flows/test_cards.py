"""Models that share a card: never two at once, a turn for each phase rather than each sample, nobody starves.

Time is the loop's own and leaps to the next timer whenever nothing else is to be done: no test waits.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import pytest

from flows.cards import Card, OnCard, SharedChat, SharedPainter, turn_of
from flows.engine import Engine
from flows.judge.model_judge import Punctual
from flows.recorder import Answer
from models.chat import ChatReply, ChatRequest
from models.errors import NobodyThere, TerminalError, TransientError
from models.fakes import FakeChat, FakePainter
from tests.models.test_contract import plain_request

T = TypeVar("T")


class LeapingLoop(asyncio.SelectorEventLoop):
    """A loop whose clock moves only when it would wait, and then at once to the end of the wait."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def leap(timeout: float | None) -> Any:
            assert timeout is not None, "nothing will ever happen"
            self._now += max(0.0, timeout)
            return select(0)

        self._selector.select = leap  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._now


def run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        return runner.run(work)


class Room:
    """The memory of a card: who has it, who computes, in which order who came."""

    def __init__(self, *, switch: float = 0.0) -> None:
        self.loaded: set[str] = set()
        self.computing: list[str] = []
        self.turns: list[str] = []
        self.switch = switch

    def sleeper(self, name: str, *, fails: Callable[[], Exception | None] = lambda: None) -> "RoomSleeper":
        self.loaded.add(name)
        return RoomSleeper(self, name, fails)

    async def compute(self, name: str, seconds: float) -> None:
        self.computing.append(name)
        assert set(self.computing) == {name}, "two compute at once"
        assert self.loaded == {name}, "somebody else has memory"
        await asyncio.sleep(seconds)
        assert set(self.computing) == {name}
        self.computing.remove(name)


class RoomSleeper:
    def __init__(self, room: Room, name: str, fails: Callable[[], Exception | None]) -> None:
        self._room = room
        self._name = name
        self._fails = fails

    async def sleep(self) -> None:
        assert self._name not in self._room.computing, "it is put to sleep while it computes"
        await asyncio.sleep(self._room.switch)
        if error := self._fails():
            self._room.loaded.discard(self._name)
            raise error
        self._room.loaded.discard(self._name)

    async def wake(self) -> None:
        assert not self._room.loaded - {self._name}, "two are loaded at once"
        if error := self._fails():
            raise error
        await asyncio.sleep(self._room.switch)
        self._room.loaded.add(self._name)
        self._room.turns.append(self._name)


def share(room: Room, *names: str, linger: float = 2.0, longest: float = 1800.0) -> Card:
    card = Card(linger=linger, longest=longest)
    for name in names:
        card.add(name, room.sleeper(name))
    return card


STORY = (*["chat"] * 4, "painter", "viewer", "chat", "painter", "viewer")
"""What one sample asks, one after another: texts, a picture, a look at it, a rewrite, and again."""


async def live(card: Card, room: Room, story: Sequence[str], seconds: Callable[[], float]) -> None:
    for name in story:
        async with card.turn(name):
            await room.compute(name, seconds())
        await asyncio.sleep(0.01)  # what came is written down before the next is asked


@pytest.mark.parametrize("samples", [1, 7, 64])
def test_a_batch_takes_a_turn_for_each_phase_however_many_samples_it_has(samples: int) -> None:
    room = Room(switch=20.0)
    took = itertools.cycle([1.0, 0.5, 3.0, 0.1])

    async def build() -> None:
        card = share(room, "chat", "painter", "viewer")
        await asyncio.gather(*(live(card, room, STORY, lambda: next(took)) for _ in range(samples)))

    run(build())
    assert room.turns == ["chat", "painter", "viewer", "chat", "painter", "viewer"]


def test_a_moment_without_requests_does_not_end_a_turn_and_a_longer_one_does() -> None:
    room = Room()

    async def build(pause: float) -> None:
        card = share(room, "chat", "painter", linger=2.0)

        async def talk() -> None:
            for _ in range(3):
                async with card.turn("chat"):
                    await room.compute("chat", 1.0)
                await asyncio.sleep(pause)

        async def draw() -> None:
            await asyncio.sleep(0.5)
            async with card.turn("painter"):
                await room.compute("painter", 1.0)

        await asyncio.gather(talk(), draw())

    run(build(1.9))
    assert room.turns == ["chat", "painter"]
    room.turns.clear()
    run(build(2.1))
    assert room.turns == ["chat", "painter", "chat"]


def test_nobody_starves_beside_one_who_hardly_ever_ends() -> None:
    room = Room()
    waits: list[float] = []

    async def build() -> None:
        card = share(room, "chat", "painter", "viewer", longest=100.0)

        async def talk() -> None:
            for _ in range(500):  # far longer than the others are asked
                async with card.turn("chat"):
                    await room.compute("chat", 7.0)

        async def ask(name: str) -> None:
            for _ in range(3):
                since = asyncio.get_running_loop().time()
                async with card.turn(name):
                    waits.append(asyncio.get_running_loop().time() - since)
                    await room.compute(name, 1.0)

        talkers = [asyncio.create_task(talk()) for _ in range(4)]
        await asyncio.sleep(1)
        await asyncio.gather(ask("painter"), ask("viewer"))
        for talker in talkers:
            talker.cancel()
        await asyncio.gather(*talkers, return_exceptions=True)

    run(build())
    assert len(waits) == 6
    assert max(waits) <= 100 + 7 + 3 * 2 + 2


def test_a_model_that_has_the_card_alone_never_gives_it_back() -> None:
    room = Room()

    async def build() -> None:
        card = share(room, "chat", "painter", longest=10.0)
        for _ in range(50):
            await live(card, room, ["chat"], lambda: 5.0)

    run(build())
    assert room.turns == ["chat"]


def test_those_who_are_cancelled_leave_the_card_to_others() -> None:
    room = Room(switch=5.0)

    async def build() -> None:
        card = share(room, "chat", "painter")
        for moment in (0.0, 1.0, 5.0, 10.0, 11.0):
            chats = [asyncio.create_task(live(card, room, ["chat"], lambda: 3.0)) for _ in range(3)]
            await asyncio.sleep(moment)
            for chat in chats:
                chat.cancel()
            await asyncio.gather(*chats, return_exceptions=True)
            room.computing.clear()
            await live(card, room, ["painter", "chat"], lambda: 1.0)

    run(build())
    assert room.loaded == {"chat"}


def test_one_who_is_let_in_and_cancelled_in_the_same_moment_does_not_keep_the_card() -> None:
    room = Room()

    async def build() -> None:
        card = share(room, "chat", "painter")
        await live(card, room, ["chat"], lambda: 1.0)

        async def draw() -> None:
            async with card.turn("painter"):
                pass

        async def cancel() -> None:
            async with card.turn("painter"):
                drawing.cancel()

        cancelling = asyncio.create_task(cancel())
        await asyncio.sleep(0)
        drawing = asyncio.create_task(draw())
        await asyncio.gather(cancelling, drawing, return_exceptions=True)
        assert drawing.cancelled()
        await live(card, room, ["chat"], lambda: 1.0)

    run(build())
    assert room.turns == ["chat", "painter", "chat"]


def test_what_does_not_wake_is_told_to_all_who_wait_and_others_go_on() -> None:
    room = Room()
    errors = [TransientError("out of memory"), None]

    async def build() -> None:
        card = share(room, "painter")
        card.add("chat", room.sleeper("chat", fails=lambda: errors.pop(0) if errors else None))
        talks = [live(card, room, ["chat"], lambda: 1.0) for _ in range(3)]
        told = await asyncio.gather(*talks, live(card, room, ["painter"], lambda: 1.0), return_exceptions=True)
        assert [str(each) for each in told] == ["out of memory"] * 3 + ["None"]
        await live(card, room, ["chat"], lambda: 1.0)

    run(build())
    assert room.turns == ["painter", "chat"]


def test_one_that_is_gone_when_it_is_to_sleep_holds_no_memory() -> None:
    room = Room()

    async def build() -> None:
        card = share(room, "painter")
        card.add("chat", room.sleeper("chat", fails=lambda: NobodyThere("connection refused")))
        await live(card, room, ["painter"], lambda: 1.0)

    run(build())
    assert room.turns == ["painter"]


def test_while_one_does_not_sleep_no_other_is_woken_beside_it() -> None:
    room = Room()
    errors: list[Exception | None] = [TransientError("answered 500"), TransientError("no answer"), None]

    async def build() -> None:
        card = share(room, "painter")
        card.add("chat", room.sleeper("chat", fails=lambda: errors.pop(0) if errors else None))
        for words in ("answered 500", "no answer"):
            with pytest.raises(TransientError, match=words):
                await live(card, room, ["painter"], lambda: 1.0)
        await live(card, room, ["painter"], lambda: 1.0)

    run(build())
    assert room.turns == ["painter"] and room.loaded == {"painter"}


def test_a_card_is_free_after_a_rest_and_who_comes_then_has_its_turn() -> None:
    room = Room()

    async def build() -> None:
        card = Card()
        for name in ("chat", "painter"):
            card.add(name, room.sleeper(name))
            await card.rest()
            assert not room.loaded, "the next one cannot be loaded"
        await live(card, room, STORY[:5], lambda: 1.0)
        assert room.loaded
        await card.rest()
        assert not room.loaded
        await live(card, room, ["painter"], lambda: 1.0)

    run(build())
    assert room.turns == ["chat", "painter", "painter"]


def test_one_that_cannot_sleep_stops_those_who_wait() -> None:
    room = Room()

    async def build() -> None:
        card = share(room, "painter")
        card.add("chat", room.sleeper("chat", fails=lambda: TerminalError("it was started without sleep mode")))
        with pytest.raises(TerminalError, match="without sleep mode"):
            await live(card, room, ["painter"], lambda: 1.0)

    run(build())


def test_wrapped_models_answer_as_they_do_alone_and_take_their_turns_by_themselves() -> None:
    room = Room()

    async def build() -> None:
        card = share(room, "fake-chat", "fake-painter")
        chat, painter = SharedChat(FakeChat(), card), SharedPainter(FakePainter(), card)
        assert chat.identity == FakeChat().identity and painter.at_once == FakePainter().at_once
        request = plain_request("Hello")
        assert await chat.chat(request) == await FakeChat().chat(request)
        async with turn_of(chat):  # who has the turn already asks at once
            assert (await chat.chat(request)).text

    run(build())
    assert room.turns == ["fake-chat"]


def test_a_model_without_a_card_has_its_turn_at_once() -> None:
    async def build() -> None:
        assert not isinstance(FakeChat(), OnCard)
        async with turn_of(FakeChat()):
            pass

    run(build())


def test_a_judge_that_waits_for_its_card_is_not_late() -> None:
    room = Room()

    async def build() -> None:
        card = share(room, "fake-chat", "fake-painter")
        judge = Punctual(model=SharedChat(FakeChat(), card), seconds=1.0)
        async with asyncio.TaskGroup() as group, card.turn("fake-painter"):
            asking = group.create_task(ask_in_turn(judge))
            await asyncio.sleep(5)
            assert not asking.done()

    async def ask_in_turn(judge: Punctual) -> None:
        async with turn_of(judge):
            assert (await judge.chat(plain_request("Hello"))).text

    run(build())


def test_the_engine_takes_the_turn_before_a_call_is_timed() -> None:
    """Or the seconds of a call would count what it waited for the card."""
    inside: list[str] = []

    class Watched(Card):
        def turn(self, name: str) -> Any:
            inside.append(name)
            return super().turn(name)

    card = Watched()
    card.add("fake-chat", Room().sleeper("fake-chat"))
    chat = SharedChat(FakeChat(), card)
    request: ChatRequest = plain_request("Hello")

    async def send() -> Answer:
        assert inside == ["fake-chat"], "the turn comes first"
        reply: ChatReply = await chat.chat(request)
        return Answer(response={"text": reply.text})

    sending: Callable[[], Awaitable[Answer]] = send
    with Engine() as engine:
        assert engine.submit(engine.ask(chat, sending)).result().response["text"]
    assert inside == ["fake-chat"], "and once"
