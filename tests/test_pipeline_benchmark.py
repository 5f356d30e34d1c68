"""What the benchmark of the pipeline reckons with: schedules, shares of time, latencies that follow from a request."""

import asyncio
import json
import math
import statistics
import sys
from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.seir.checks import check_answer, check_question, only_repeats
from flows.seir.prompts import critique_question, draft_answer, draft_question, rewrite_caption
from flows.seir.replies import AnswerReply, CaptionReply, Critique, QuestionReply, Reply, parse_reply, schema_of
from models.chat import Message
from tests.benchmarks.peers.chain import STEPS, fill
from tests.benchmarks.pipeline import slow_server
from tests.benchmarks.pipeline.ideal import lower_bound, schedule
from tests.benchmarks.pipeline.latencies import CAP, dice_of, latency_of
from tests.benchmarks.pipeline.sampled import group_of, kind_of
from tests.benchmarks.pipeline.slow_replies import reply_to
from tests.benchmarks.pipeline.slow_server import MODEL, Manners, listen, serve
from tests.benchmarks.pipeline.traffic import Call, busy_share, by_window, first_full, levels, summarise


def call(arrived: float, left: float) -> Call:
    return Call(arrived=arrived, began=arrived, left=left, latency=left - arrived, seed=-1, row=-1, step=-1)


def test_a_schedule_gives_each_free_server_the_next_chain_of_the_plan() -> None:
    made = schedule([[1, 1], [3], [1], [2, 2]], servers=2)
    assert list(made.begins) == [0, 0, 2, 3]
    assert list(made.ends) == [2, 3, 3, 7]
    assert made.wall == 7
    assert made.first(3) == 3
    assert lower_bound([[1, 1], [3], [1], [2, 2]], 2) == 5


def test_without_chains_a_schedule_takes_no_time() -> None:
    assert schedule([], servers=3).wall == 0


@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), max_size=12),
    st.integers(1, 5),
)
def test_a_schedule_is_that_of_a_simulation_call_by_call(chains: Sequence[Sequence[int]], servers: int) -> None:
    made = schedule(chains, servers)
    assert list(made.ends) == simulate(chains, servers)
    assert lower_bound(chains, servers) <= made.wall <= lower_bound(chains, servers) * 2


def simulate(chains: Sequence[Sequence[int]], servers: int) -> list[int]:
    """Second by second: each free server takes the next call of the earliest chain that has one to be made."""
    done, left, at_work, ends = [0] * len(chains), [0] * len(chains), set[int](), [0] * len(chains)
    now = 0
    while any(made < len(chain) for made, chain in zip(done, chains, strict=True)):
        for place, chain in enumerate(chains):
            if len(at_work) < servers and place not in at_work and done[place] < len(chain):
                at_work.add(place)
                left[place] = chain[done[place]]
        now += 1
        for place in tuple(at_work):
            left[place] -= 1
            if left[place] == 0:
                at_work.remove(place)
                done[place] += 1
                ends[place] = now
    return ends


def test_the_busy_share_counts_what_lies_between_two_moments() -> None:
    calls = [call(0, 4), call(1, 3), call(6, 8)]
    assert busy_share(calls, since=2, until=7, servers=2) == pytest.approx((2 + 1 + 1) / 10)
    assert math.isnan(busy_share(calls, since=2, until=2, servers=2))
    assert first_full(calls, 2) == 1
    assert first_full(calls, 3) is None
    assert by_window(calls, seconds=2, servers=2) == pytest.approx([3 / 4, 3 / 4, 0, 2 / 4, 0])


def test_a_call_that_ends_when_another_begins_is_not_under_way_beside_it() -> None:
    assert list(levels([call(0, 1), call(1, 2)])) == [(0, 1), (1, 1), (2, 0)]
    assert summarise([call(0, 1), call(1, 2)])["peak"] == 1


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0.01, 9)), min_size=1, max_size=20), st.floats(0.1, 7))
def test_windows_hold_all_the_time_that_calls_took(spans: Sequence[tuple[float, float]], seconds: float) -> None:
    calls = [call(arrived, arrived + length) for arrived, length in spans]
    whole = sum(each.left - each.arrived for each in calls)
    assert sum(by_window(calls, seconds=seconds, servers=3)) * 3 * seconds == pytest.approx(whole)


def test_latencies_are_lognormal_with_the_mean_that_was_asked_for() -> None:
    drawn = [latency_of((place + 0.5) / 20_000, 1.0) for place in range(20_000)]
    assert statistics.fmean(drawn) == pytest.approx(1.0, abs=0.005)
    assert statistics.median(drawn) == pytest.approx(math.exp(-(0.9**2) / 2), abs=0.001)
    assert latency_of(1 - 1e-16, 2.0) == 2 * CAP
    assert latency_of(0.5, 0.0) == 0.0


def test_equal_requests_have_equal_dice_and_others_have_others() -> None:
    def dice(**body: object) -> bytes:
        return dice_of(orjson.dumps(body), body).reply

    ask = [{"role": "user", "content": "Topic: kites"}]
    assert dice(messages=ask, seed=1) == dice(seed=1, messages=ask, temperature=0.3)
    assert dice(messages=ask, seed=1) != dice(messages=ask, seed=2)
    assert dice(messages=ask, seed=1) != dice(messages=[*ask, *ask], seed=1)


def test_a_request_that_names_its_row_and_step_has_the_dice_of_these_alone() -> None:
    def dice(text: str) -> tuple[float, int, int]:
        body = {"messages": [{"role": "user", "content": text}]}
        found = dice_of(orjson.dumps(body), body)
        return found.chance, found.row, found.step

    assert dice("Ask. (row 7, step 2)") == dice("(row 7, step 2) Ask in another way.")
    assert dice("Ask. (row 7, step 2)")[1:] == (7, 2)
    assert dice("Ask. (row 7, step 2)")[0] != dice("Ask. (row 7, step 3)")[0]


@given(st.binary(min_size=24, max_size=24), st.sampled_from(["a red kite", "boats on a lake", "ants"]))
def test_replies_fit_their_shapes_and_the_checks_find_nothing_wrong_with_them(dice: bytes, topic: str) -> None:
    def reply(shape: type[Reply], messages: Sequence[Message]) -> Reply:
        form = {"type": "json_schema", "json_schema": {"schema": schema_of(shape)}}
        said = [{"role": "user", "content": message.parts[0].text} for message in messages if message.parts]  # type: ignore[union-attr]
        text = reply_to({"messages": said, "response_format": form}, dice, content=0)["content"]
        return parse_reply(shape, text, "stop")

    question = reply(QuestionReply, draft_question(topic, "Ask.", ()))
    assert isinstance(question, QuestionReply)
    assert check_question(topic, question.question, ()) is None
    answer = reply(AnswerReply, draft_answer(topic, question.question, ()))
    assert isinstance(answer, AnswerReply)
    assert check_answer(topic, question.question, answer.answer, answer.caption, ()) is None
    critique = reply(Critique, critique_question(topic, question.question, ()))
    assert isinstance(critique, Critique)
    assert critique.suggestion
    assert not only_repeats(critique.suggestion, f"{question.question} {answer.answer} {answer.caption}")
    assert reply(CaptionReply, rewrite_caption("Q", "A", "C", "S", ()))


def test_the_slow_server_answers_over_one_connection_and_keeps_a_log() -> None:
    async def ask() -> tuple[list[dict[str, object]], list[list[float]], dict[str, float]]:
        listening, ready = listen(0), asyncio.Event()
        serving = asyncio.create_task(serve(listening, Manners(mean=0.001, content=0.5, places=1), ready.set))
        await ready.wait()
        reader, writer = await asyncio.open_connection(*listening.getsockname())

        async def send(method: str, target: str, body: bytes = b"") -> object:
            head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            for part in (head.encode(), body[:7], body[7:]):  # as it may come in pieces
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
            told = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(told.lower().split("content-length:")[1].split("\r\n")[0])
            return json.loads(await reader.readexactly(length))

        try:
            asked = json.dumps(
                {"model": MODEL, "messages": [{"role": "user", "content": "Hm (row 3, step 1)"}]}
            ).encode()
            replies = [await send("POST", "/v1/chat/completions", asked) for _ in range(2)]
            await send("POST", "/v1/chat/completions", b"{}")
            log, stats = await send("GET", "/log"), await send("GET", "/stats")
            await send("POST", "/reset?mean=0")
            assert await send("GET", "/log") == []
        finally:
            writer.close()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
        return replies, log, stats  # type: ignore[return-value]

    replies, log, stats = asyncio.run(ask())
    first, second = (reply["choices"] for reply in replies)
    assert first == second
    assert [cells[5:] for cells in log] == [[3, 1], [3, 1]]
    assert all(left - began >= latency > 0 for _, began, left, latency, *_ in log)
    assert (stats["calls"], stats["peak"], stats["under_way"]) == (2, 1, 0)
    assert slow_server.CARD["id"] == MODEL


def test_a_server_with_too_many_calls_lets_the_later_ones_wait_in_their_order() -> None:
    async def ask() -> list[Call]:
        listening, ready = listen(0), asyncio.Event()
        manners = Manners(mean=0.01, content=0.5, places=2)
        serving = asyncio.create_task(serve(listening, manners, ready.set))
        await ready.wait()
        lines = [await asyncio.open_connection(*listening.getsockname()) for _ in range(5)]
        for number, (_, writer) in enumerate(lines):
            asked = json.dumps({"messages": [{"role": "user", "content": f"(row {number}, step 1)"}]}).encode()
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(asked), asked))
            await writer.drain()
            while manners.under_way + len(manners.waiting) + len(manners.calls) <= number:
                await asyncio.sleep(0)
        for reader, _ in lines:
            await reader.readuntil(b"\r\n\r\n")
        for _, writer in lines:
            writer.close()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        return manners.calls

    calls = sorted(asyncio.run(ask()), key=lambda call: call.row)
    assert [call.row for call in calls] == [0, 1, 2, 3, 4]
    assert summarise(calls)["peak"] <= 2
    assert [call.began for call in calls] == sorted(call.began for call in calls)
    assert all(
        later.began >= min(one.left, two.left) for one, two, later in zip(calls, calls[1:], calls[2:], strict=False)
    )


def test_the_chain_of_the_peers_tells_each_step_what_came_before_and_marks_it() -> None:
    row: dict[str, object] = {"row": 12}
    for number, name in enumerate(STEPS, start=1):
        prompt = fill(name, row)
        assert prompt.endswith(f"(row 12, step {number})")
        assert "{{" not in prompt
        row[name] = f"reply {number}"
    assert "reply 1" in fill("question_critique", row)
    assert "reply 3" in fill("answer", row)
    assert all(f"reply {number}" in fill("answer_rewrite", row) for number in (3, 4, 5))


def test_a_sampled_frame_counts_for_the_nearest_caller_that_is_known() -> None:
    seen: list[str] = []

    class Curious(str):
        def split(self, *_: object, **__: object) -> list[str]:
            seen.append(group_of(sys._getframe()))
            return ["a"]

    check_question("ants", Curious("What are ants like? Draw a picture."), ())
    assert set(seen) == {"checks of the loop"}
    assert group_of(sys._getframe()) == "other"
    assert kind_of("interlake-engine") == "interlake-engine"
    assert kind_of("asyncio_3") == kind_of("asyncio_4")
