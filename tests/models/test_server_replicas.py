"""Several servers as one: what each bears, which one is next, and what becomes of the requests of one that fails."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from models.chat import ChatReply
from models.errors import TerminalError, TransientError
from models.fake_behaviour import Answer, Behaviour, Drop, Half, Never, NoJson, Status, WrongShape
from models.fake_server import FakeServer
from models.fakes import FakeChat
from models.identity import Json, canonical_sha256
from models.server_chat import ServerChat
from models.server_replicas import LONGEST_REST, START, Limit, Replica, choose_replica, total_room
from models.server_wire import request_body
from tests.models.servers import ask, behave_in_turn, repeated, settled, source_of, until


@dataclass(slots=True)
class Clock:
    """A time that passes when it is told to."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float) -> float:
        """Let time pass; the time then."""
        self.now += seconds
        return self.now


def replica_of(clock: Clock, *, most: int = 64) -> Replica:
    return Replica(limit=Limit(most=most), clock=clock)


def test_a_limit_starts_small_and_doubles_with_each_round_until_something_is_too_much() -> None:
    limit = Limit(most=200)
    rounds = [limit.value]
    for _ in range(4):
        for _ in range(int(limit.value)):
            limit.grow(active=int(limit.value))
        rounds.append(limit.value)
    assert rounds == [START, 2 * START, 4 * START, 200, 200]
    assert Limit(most=2).value == 2


def test_a_limit_is_halved_once_for_all_complaints_of_one_round_and_then_grows_by_one_a_round() -> None:
    limit = Limit(most=64)
    limit.value = 16
    for started in (1.0, 2.0, 3.0):
        limit.cut(started, now=10.0)
    assert limit.value == 8
    limit.cut(11.0, now=12.0)
    assert limit.value == 4
    for _ in range(4):
        limit.grow(active=4)
    assert 4.8 < limit.value < 5.0
    for started in range(20, 30):
        limit.cut(float(started), now=started + 0.5)
    assert limit.value == 1


def test_answers_while_half_of_the_limit_is_idle_do_not_raise_it() -> None:
    limit = Limit(most=64)
    limit.grow(active=START // 2 - 1)
    assert limit.value == START
    limit.grow(active=START // 2)
    assert limit.value == START + 1


def test_a_failing_replica_rests_longer_each_time_and_failures_together_are_one() -> None:
    clock = Clock()
    replica = replica_of(clock)
    rests = []
    for _ in range(8):
        started = clock.tick(1000)
        for _ in range(5):
            clock.tick(0.01)
            replica.failed(started)
        rests.append(round(replica.aside_until - replica.warned_at))
    assert rests == [1, 2, 4, 8, 16, 32, LONGEST_REST, LONGEST_REST]


def test_a_failed_replica_is_tried_with_one_request_before_it_gets_its_share_again() -> None:
    clock = Clock()
    replica = replica_of(clock)
    replica.failed(clock())
    clock.tick(0.5)
    replica.failed(clock())
    assert total_room((replica,)) == 1
    assert replica.aside_until == clock() + 2
    started = clock.tick(3)
    assert (replica.in_use, replica.room) == (True, 1)
    clock.tick(1)
    replica.answered(started)
    assert (replica.in_use, replica.room) == (True, START)


def test_an_answer_from_before_the_bad_news_does_not_take_it_back() -> None:
    clock = Clock()
    replica = replica_of(clock)
    early = clock()
    late = clock.tick(1)
    clock.tick(1)
    replica.overloaded(late, rest=5.0)
    in_use = []
    for started in (early, clock.tick(1)):
        replica.answered(started)
        in_use.append(replica.in_use)
    assert in_use == [False, True]


def test_a_replica_that_hangs_bears_half_and_is_set_aside() -> None:
    clock = Clock()
    replica = replica_of(clock)
    replica.hung(clock())
    assert replica.limit.value == START / 2
    assert not replica.in_use


def test_the_next_request_goes_where_least_is_done_for_what_is_borne() -> None:
    clock = Clock()
    weak, strong = replica_of(clock, most=2), replica_of(clock, most=4)
    given = []
    with ExitStack() as stack:
        for _ in range(6):
            given.append(choose_replica((weak, strong)))
            stack.enter_context(given[-1].occupied())
    assert (given.count(weak), given.count(strong)) == (2, 4)


def test_equal_replicas_take_turns() -> None:
    replicas = tuple(replica_of(Clock()) for _ in range(3))
    given = []
    for _ in range(6):
        chosen = choose_replica(replicas)
        with chosen.occupied():
            given.append(chosen)
    assert given == [*replicas, *replicas]
    assert [replica.active for replica in replicas] == [0, 0, 0]


def test_when_all_are_set_aside_the_one_whose_rest_ends_first_is_asked() -> None:
    clock = Clock()
    first, second = replica_of(clock), replica_of(clock)
    assert total_room((first, second)) == 2 * START
    first.overloaded(clock(), rest=9.0)
    assert total_room((first, second)) == START
    second.overloaded(clock(), rest=3.0)
    assert total_room((first, second)) == 1
    assert choose_replica((first, second)) is second


def test_it_gives_a_server_more_while_that_answers_and_half_when_it_is_overloaded() -> None:
    busy = behave_in_turn(*[Answer(after=0.05)] * 2 * START, Status(429), Answer())

    async def run() -> list[int]:
        with FakeServer(behave=busy) as server:
            async with ServerChat(source_of(server.url, at_once=256)) as chat:
                found = [chat.at_once]
                for _ in range(2):
                    await asyncio.gather(*(chat.chat(ask("Hello", seed=seed)) for seed in range(START)))
                    found.append(chat.at_once)
                with pytest.raises(TransientError):
                    await chat.chat(ask("Hello"))
                return [*found, chat.at_once]

    start, grown, more, halved = asyncio.run(run())
    assert start < grown <= more
    assert halved == more // 2


def test_a_replica_that_dies_midway_leaves_its_requests_to_the_others() -> None:
    dying = behave_in_turn(*[Answer()] * 5, *[Never()] * 1000)
    requests = [ask("Hello", seed=seed) for seed in range(40)]

    async def run() -> list[ChatReply]:
        with FakeServer(behave=dying) as first, FakeServer() as second:
            async with ServerChat(source_of(first.url, second.url)) as chat:
                tasks = {
                    canonical_sha256(request_body(request, "vllm")): asyncio.create_task(repeated(chat, request))
                    for request in requests
                }

                def has_been_heard_out() -> bool:
                    answered = [asked.key for asked in first.asked if asked.outcome == "answered"]
                    return len(first.asked) > 5 and len(answered) == 5 and all(tasks[key].done() for key in answered)

                await until(has_been_heard_out)
                await asyncio.to_thread(first.stop)
                replies = await asyncio.gather(*tasks.values())
            await settled(first, second)
            answers = Counter(asked.key for asked in (*first.asked, *second.asked) if asked.outcome == "answered")
            assert set(answers.values()) == {1}
            assert len(answers) == len(requests)
            assert sum(asked.outcome == "answered" for asked in first.asked) == 5
            return replies

    assert len({reply.text for reply in asyncio.run(run())}) == len(requests)


def test_a_replica_that_is_down_is_looked_at_when_it_comes_back() -> None:
    with FakeServer() as gone:
        port = int(gone.url.split(":")[2].removesuffix("/v1"))

    async def run(brain: FakeChat) -> list[bool]:
        with FakeServer() as first:
            async with ServerChat(source_of(first.url, gone.url)) as chat:
                with FakeServer(brain=brain, port=port) as second:
                    first.stop()
                    await repeated(chat, ask("Hello"))
                    await settled(second)
                    return [asked.outcome == "answered" for asked in second.asked]

    assert asyncio.run(run(FakeChat())) == [True]
    with pytest.raises(TerminalError, match="serves llama, not fake-chat"):
        asyncio.run(run(FakeChat(name="llama")))


def test_a_replica_that_only_fails_does_not_draw_all_requests_to_itself() -> None:
    async def run() -> int:
        with FakeServer(behave=lambda _number, _body: Status(500)) as broken, FakeServer() as sound:
            async with ServerChat(source_of(broken.url, sound.url)) as chat:
                for seed in range(30):
                    await repeated(chat, ask("Hello", seed=seed))
            return len(broken.asked)

    assert asyncio.run(run()) < 10


def test_no_call_is_lost_or_paid_twice_by_a_server_that_misbehaves_in_every_way() -> None:
    misdeeds: list[Behaviour] = [
        Drop(), Half(), Status(500), Status(429, retry_after="1"), Status(503), Never(), NoJson(), WrongShape(),
    ]  # fmt: skip
    requests = [ask("Hello", seed=seed) for seed in range(24)]

    def behave(number: int, _body: Mapping[str, Json]) -> Behaviour:
        return misdeeds[number // 2 % len(misdeeds)] if number % 2 else Answer()

    async def run() -> tuple[list[ChatReply], Counter[str]]:
        with FakeServer(behave=behave) as server:
            async with ServerChat(source_of(server.url, timeout=1.0)) as chat:
                replies = await asyncio.gather(*(repeated(chat, request) for request in requests))
            await settled(server)
            return replies, Counter(asked.key for asked in server.asked if asked.outcome == "answered")

    replies, answers = asyncio.run(run())
    assert len({reply.text for reply in replies}) == len(requests)
    assert (len(answers), set(answers.values())) == (len(requests), {1})
