"""The refinement operator: how many drafts, how many critiques, and where it stops."""

import asyncio
from collections.abc import Sequence

import pytest

from flows.seir.loop import Remark, Round, Stage, refine


def run(suggestions: Sequence[str | None], rewrites: int) -> tuple[list[Round[str]], list[str]]:
    """Rounds of a stage whose critic makes these suggestions in turn, and the acts in their order."""
    acts: list[str] = []

    async def draft() -> str:
        acts.append("draft")
        return "d0"

    async def critique(number: int, text: str) -> Remark:
        acts.append(f"critique {number} of {text}")
        return Remark(suggestions[number], "critic")

    async def rewrite(number: int, text: str, suggestion: str) -> str:
        acts.append(f"rewrite {number} of {text}: {suggestion}")
        return f"d{number}"

    async def collect() -> list[Round[str]]:
        return [done async for done in refine(Stage(draft=draft, critique=critique, rewrite=rewrite), rewrites)]

    return asyncio.run(collect()), acts


def test_a_content_critic_stops_the_stage_at_once() -> None:
    rounds, acts = run([None], 3)
    assert acts == ["draft", "critique 0 of d0"]
    assert [(r.number, r.draft, r.stopped) for r in rounds] == [(0, "d0", "satisfied")]


def test_every_rewrite_is_told_the_critique_of_the_draft_it_rewrites() -> None:
    rounds, acts = run(["shorter", "livelier", None], 3)
    assert acts == [
        "draft",
        "critique 0 of d0",
        "rewrite 1 of d0: shorter",
        "critique 1 of d1",
        "rewrite 2 of d1: livelier",
        "critique 2 of d2",
    ]
    assert [r.stopped for r in rounds] == [None, None, "satisfied"]


@pytest.mark.parametrize("rewrites", [0, 1, 3, 10])
def test_spent_rewrites_end_with_an_uncriticised_draft(rewrites: int) -> None:
    rounds, acts = run(["more"] * 10, rewrites)
    assert [r.number for r in rounds] == list(range(rewrites + 1))
    assert rounds[-1].stopped == "rounds_spent"
    assert rounds[-1].remark is None
    assert sum(act.startswith("critique") for act in acts) == rewrites
