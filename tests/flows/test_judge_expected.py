"""Expected values: what a judge's tokens say of each score, how they are asked for, and a server that tells none."""

import asyncio
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.asked import BuildOptions
from flows.judge.candidate import Candidate, DirectLine, Verdict
from flows.judge.expected import LITTLE_MASS, NO_TOKEN, TOP_LOGPROBS, expect_scores
from flows.judge.model_judge import ModelJudge
from flows.judge_settings import JudgeEntry
from flows.regenerate.rebuilding import rebuild
from models.chat import ChatRequest, Token
from models.errors import TerminalError
from models.fake_behaviour import Say
from models.fake_server import FakeServer
from models.fakes import FakeChat, fake_tokens
from models.server_chat import ServerChat, ServerSource
from models.server_wire import request_body
from storage.canonical import canonical_text
from storage.records import CallRow, VerdictRow
from tests.flows.casts import fake_lake, grow
from tests.flows.test_judge import SAMPLING
from tests.flows.test_judge_lake import Chamber, assert_replays, judge

WORDS = Candidate(question="Why?", answer="Because.", picture=None)


def token(text: str, **others: float) -> Token:
    """A token of probability 1 - the rest, with others, all by their probability."""
    shares = {text: 1 - sum(others.values()), **{name.removeprefix("_"): share for name, share in others.items()}}
    likeliest = tuple((each, math.log(share)) for each, share in shares.items() if share > 0)
    return Token(text, likeliest[0][1], likeliest)


def sure(text: str) -> Token:
    return Token(text, 0.0, ((text, 0.0),))


def test_a_score_is_the_mean_of_its_levels_by_the_probabilities_in_its_own_place() -> None:
    tokens = [sure('{"tcc": '), token("4", _3=0.3, _5=0.1), sure(', "icc": '), token("1", _0=0.5), sure("}")]
    found = expect_scores('{"tcc": 4, "icc": 1}', tokens, ["tcc", "icc"])
    assert [found[name].value for name in ("tcc", "icc")] == [3.8, 0.5]
    assert found["tcc"].mass == 1.0


def test_what_is_no_level_is_left_out_and_the_rest_adds_up_to_one() -> None:
    tokens = [sure('{"tcc":'), token("4", _2=0.2, _7=0.1, x=0.1), sure("}<|end|>")]
    (found,) = expect_scores('{"tcc":4}', tokens, ["tcc"]).values()
    assert found.value == pytest.approx((4 * 0.6 + 2 * 0.2) / 0.8, abs=1e-6)
    assert found.mass == 0.8


def test_a_digit_with_its_space_is_the_same_level() -> None:
    spaced = Token(" 4", math.log(0.4), ((" 4", math.log(0.4)), ("4", math.log(0.2)), (" 2", math.log(0.4))))
    (found,) = expect_scores('{"tcc": 4}', [sure('{"tcc":'), spaced, sure("}")], ["tcc"]).values()
    assert found.value == 3.2


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        ([sure('{"tcc": 4}')], NO_TOKEN),
        ([sure("something else")], NO_TOKEN),
        ([], NO_TOKEN),
        ([sure('{"tcc": '), token("4", x=0.6), sure("}")], LITTLE_MASS),
    ],
)
def test_where_no_token_tells_the_score_is_unknown_with_its_reason(tokens: list[Token], reason: str) -> None:
    (found,) = expect_scores('{"tcc": 4}', tokens, ["tcc"]).values()
    assert (found.value, found.reason) == (None, reason)


@given(st.lists(st.integers(0, 5), min_size=4, max_size=4))
def test_an_expected_value_lies_among_the_levels_whatever_was_said(levels: list[int]) -> None:
    names = ["tcc", "icc", "iq", "its"]
    text = json.dumps(dict(zip(names, levels, strict=True)))
    found = expect_scores(text, fake_tokens(text, TOP_LOGPROBS), names)
    for name, level in zip(names, levels, strict=True):
        value = found[name].value
        assert value is not None
        assert 0 <= value <= 5 and abs(value - level) < 1


def ask(server: FakeServer) -> Verdict:
    async def judge() -> Verdict:
        source = ServerSource(
            model="fake-chat", revision="as-served", licence="MIT", urls=(server.url,), at_once=1, timeout=30,
            api_key=None, dialect="vllm",
        )  # fmt: skip
        async with ServerChat(source) as chat:
            asked = ModelJudge(name="j", model=chat, sampling=SAMPLING, expects=True)
            return await asked.judge(WORDS, 1, DirectLine())

    return asyncio.run(judge())


def test_a_server_is_asked_for_log_probabilities_and_its_answer_is_read() -> None:
    with FakeServer(brain=FakeChat(script=lambda _: '{"tcc": 3}')) as server:
        verdict = ask(server)
        (asked,) = server.asked
    assert (asked.body["logprobs"], asked.body["top_logprobs"]) == (True, TOP_LOGPROBS)
    assert verdict.scores.tcc == pytest.approx((3 * 0.6 + 4 * 0.25 + 2 * 0.1) / 0.95, abs=1e-6)
    assert verdict.evidence == {"said": {"tcc": 3}, "mass": {"tcc": 0.95}}


def test_a_server_that_tells_none_stops_whoever_asks_in_one_sentence() -> None:
    with (
        FakeServer(behave=lambda _number, _body: Say('{"tcc": 3}')) as server,
        pytest.raises(TerminalError, match=r"tells no log-probabilities.* leave expected_value out of the settings"),
    ):
        ask(server)


def plain_request(top_logprobs: int | None = None) -> ChatRequest:
    return ChatRequest(
        model="fake-chat", revision="1", messages=(), sampling=SAMPLING, schema=None, seed=1, top_logprobs=top_logprobs
    )


def test_log_probabilities_are_part_of_a_requests_key_only_where_they_are_asked_for() -> None:
    assert plain_request().key() != plain_request(20).key()
    before = {"kind", "model", "revision", "messages", "sampling", "schema", "seed"}
    assert set(dict(plain_request().canonical())) == before  # type: ignore[arg-type]
    assert not {"logprobs", "top_logprobs"} & set(request_body(plain_request(), "vllm"))


def test_a_recorded_request_for_log_probabilities_is_rebuilt_with_them() -> None:
    for request in (plain_request(), plain_request(20)):
        assert rebuild(canonical_text(request.canonical()), request.key(), {}) == request


@pytest.mark.parametrize("backend", ["signals", "vllm"])
def test_a_judge_without_tokens_is_refused_in_the_settings(backend: str) -> None:
    model = {"model": "a/b", "licence": "MIT"} if backend == "vllm" else {}
    with pytest.raises(ValueError, match="expected_value"):
        JudgeEntry.model_validate({"name": "j", "backend": backend, "expected_value": True, **model})


def test_expected_values_are_another_judges_are_recorded_and_replay(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path / "lake")
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1, turns=1))
    judge(lake)
    file = lake.path / "interlake.toml"
    file.write_text(file.read_text().replace('name = "stand-in"\n', 'name = "stand-in"\nexpected_value = true\n'))
    say = '{"tcc": 3, "icc": 0, "iq": 5, "its": 3}'
    assert judge(lake, Chamber(say=lambda _: say)).verdicts == 1, "another judge by its hash"
    row = list(lake.rows(VerdictRow, lake.version()))[-1]
    assert [row.tcc, row.icc, row.iq] == pytest.approx([3 / 0.95, 0.25 / 0.85, 3.4 / 0.7], abs=1e-6)
    assert json.loads(row.evidence)["said"] == {"tcc": 3, "icc": 0, "iq": 5, "its": 3}
    calls = [call for call in lake.rows(CallRow, lake.version()) if call.stage == "judge"]
    assert ["tokens" in json.loads(call.response) for call in calls] == [False, True]
    assert_replays(lake)
