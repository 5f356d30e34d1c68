"""A judge that is a model with eyes: asked by the rubric, read strictly; what it does not say is unknown."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from flows.cards import turn_of
from flows.judge.candidate import Candidate, Line, Scores, Verdict
from flows.judge.edition import NEWEST, Edition
from flows.judge.expected import TOP_LOGPROBS, expect_scores, expected_json
from flows.judge.lenient import REFUSED
from flows.judge.prompts import judge_messages, prompts_json
from flows.judge.reply import MAX_TOKENS, UnusableReply, read_scores, schema_of
from flows.judge.rubric import rubric_sha256
from models.chat import ChatModel, ChatReply, ChatRequest, Sampling
from models.errors import ContentError
from models.identity import Json, ModelIdentity
from storage.canonical import content_sha256

NO_ANSWER = "no_answer"
"""Reason of a verdict whose judge did not answer in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Punctual:
    """A chat model that has so many seconds for a reply; one that takes longer gave none (ContentError)."""

    model: ChatModel
    seconds: float

    @property
    def identity(self) -> ModelIdentity:
        return self.model.identity

    @property
    def at_once(self) -> int:
        return self.model.at_once

    def turn(self) -> AbstractAsyncContextManager[None]:
        """The model's turn on a card that it may share; waiting for it is no part of the seconds."""
        return turn_of(self.model)

    async def chat(self, request: ChatRequest) -> ChatReply:
        try:
            async with asyncio.timeout(self.seconds):
                return await self.model.chat(request)
        except TimeoutError as error:
            raise ContentError(NO_ANSWER, f"the judge did not answer within {self.seconds:g} seconds") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelJudge:
    """A `Judge` over a vision model. It asks once, for the scores that are not decided without it.

    Where it `expects`, scores are expected values over the tokens' probabilities (`flows.judge.expected`), and the
    whole numbers that it said stand in the evidence.
    """

    name: str
    model: ChatModel
    sampling: Sampling
    expects: bool = False
    edition: Edition = NEWEST

    @property
    def sha256(self) -> str:
        who = self.model.identity
        return content_sha256(
            {
                "kind": "model",
                "model": {"name": who.name, "revision": who.revision},
                "sampling": self.sampling.canonical(),
                "prompts": prompts_json(self.edition),
                "rubric": rubric_sha256(),
                **({"expected_value": expected_json()} if self.expects else {}),
            }
        )

    @property
    def rubric_sha256(self) -> str:
        return rubric_sha256()

    @property
    def roles(self) -> Mapping[str, ModelIdentity]:
        return {"model": self.model.identity}

    @property
    def is_seeded(self) -> bool:
        return True

    async def judge(self, candidate: Candidate, seed: int, line: Line) -> Verdict:
        """The verdict; errors other than unusable content pass through."""
        decided = candidate.decided(self.edition)
        names = [name for name in Scores.__slots__ if name not in decided]
        if not names:
            return Verdict(scores=Scores(**decided))
        try:
            reply = await line.chat(self.model, self._request(candidate, names, seed), "scores")
            said = read_scores(reply.text, reply.finish_reason, names)
        except (ContentError, UnusableReply) as error:
            told: dict[str, Json] = {"refused": str(error)} if error.reason == REFUSED else {}
            return Verdict(scores=Scores(**decided), unknown=dict.fromkeys(names, error.reason), evidence=told)
        return self._expect(decided, said, reply) if self.expects else Verdict(scores=Scores(**decided, **said))

    def _expect(self, decided: Mapping[str, float], said: Mapping[str, int], reply: ChatReply) -> Verdict:
        """The verdict by expected values; a score that has none is unknown, whatever was said."""
        found = expect_scores(reply.text, reply.tokens or (), list(said))
        return Verdict(
            scores=Scores(**decided, **{name: each.value for name, each in found.items()}),
            unknown={name: each.reason for name, each in found.items() if each.reason is not None},
            evidence={"said": dict(said), "mass": {name: each.mass for name, each in found.items()}},
        )

    def _request(self, candidate: Candidate, names: Sequence[str], seed: int) -> ChatRequest:
        who = self.model.identity
        return ChatRequest(
            model=who.name,
            revision=who.revision,
            messages=judge_messages(candidate, names, self.edition),
            sampling=self.sampling,
            schema=schema_of(names),
            seed=seed,
            top_logprobs=TOP_LOGPROBS if self.expects else None,
        )


def sampling_with_room(sampling: Mapping[str, float | int]) -> Sampling:
    """The sampling of a judge's settings, with the tokens that a reply takes."""
    return Sampling(
        temperature=sampling["temperature"],
        top_p=sampling["top_p"],
        top_k=int(sampling["top_k"]),
        min_p=sampling["min_p"],
        repeat_penalty=sampling["repeat_penalty"],
        max_tokens=MAX_TOKENS,
    )
