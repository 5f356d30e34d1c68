"""Decisions over random streams: equal to the oracle's, whatever the order, the batches and the blocks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.decide import Decision, Policy, Thresholds, decide
from dedup.kept import KeptTurns
from dedup.similarity import Vector
from dedup.turns import TurnVectors
from tests.dedup.oracle import Verdict, exact_cosine, judge, unit

POLICIES: tuple[Policy, ...] = ("both", "image", "text", "either")


@dataclass(frozen=True)
class Stream:
    """Turns in order of sample id and turn, and thresholds that some pair of them just reaches or just misses."""

    turns: list[TurnVectors]
    thresholds: Thresholds


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    """Up to 12 samples of up to 3 turns; vectors come from a small pool, so that ties and identical ones abound."""
    dims = draw(st.integers(1, 4))
    row = st.lists(st.integers(-3, 3), min_size=dims, max_size=dims).filter(any)
    pool = [unit(*values) for values in draw(st.lists(row, min_size=1, max_size=5))]
    vector = st.sampled_from(pool)
    ids = draw(st.lists(st.text("abc", min_size=1, max_size=3), max_size=12, unique=True))
    turns = [
        TurnVectors(sample_id=name, turn=number, image=draw(vector), text=draw(vector))
        for name in sorted(ids)
        for number in range(draw(st.integers(1, 3)))
    ]
    image, text = draw(near_ties(pool)), draw(near_ties(pool))
    return Stream(turns, Thresholds(image=image, text=text, policy=draw(st.sampled_from(POLICIES))))


@st.composite
def near_ties(draw: st.DrawFn, pool: Sequence[Vector]) -> float:
    """The similarity of a pair of the pool, or a neighbouring number of it on either side, within [-1, 1]."""
    tie = exact_cosine(draw(st.sampled_from(pool)), draw(st.sampled_from(pool)))
    towards = draw(st.sampled_from([tie, math.inf, -math.inf]))
    return max(-1.0, min(1.0, math.nextafter(tie, towards)))


def index(*versions: Sequence[TurnVectors]) -> KeptTurns:
    kept = KeptTurns(encoder="clip")
    for version in versions:
        kept.add(version, encoder="clip")
    return kept


def flat(decision: Decision) -> Verdict:
    return Verdict(
        list(decision.kept_samples),
        list(decision.dropped_samples),
        [
            (d.sample_id, d.turn, d.kept_sample_id, d.kept_turn, d.image_similarity, d.text_similarity)
            for d in decision.duplicates
        ],
        [(k.sample_id, k.turn) for k in decision.keepers],
    )


def split(data: st.DataObject, turns: Sequence[TurnVectors]) -> list[list[TurnVectors]]:
    """Whole samples, in their order, cut into batches at random; some are empty."""
    batches: list[list[TurnVectors]] = [[]]
    for _, sample in groupby(turns, key=lambda turn: turn.sample_id):
        batches += [[] for _ in range(data.draw(st.sampled_from([0, 0, 1, 2])))]
        batches[-1] += sample
    return batches


@settings(max_examples=600, deadline=None)
@given(stream=streams(), block=st.integers(1, 9), data=st.data())
def test_decisions_equal_the_oracles_over_versions(stream: Stream, block: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(stream.turns)))
    ids = [turn.sample_id for turn in stream.turns]
    late = [turn for turn in stream.turns if cut == len(ids) or turn.sample_id < ids[cut]]
    early = [turn for turn in stream.turns if turn not in late]
    first = decide(index(), early, stream.thresholds, block=block)
    assert flat(first) == judge([], early, stream.thresholds)
    second = decide(index(first.keepers), late, stream.thresholds, block=block)
    assert flat(second) == judge(first.keepers, late, stream.thresholds)


@settings(max_examples=300, deadline=None)
@given(stream=streams(), data=st.data())
def test_neither_the_order_of_the_turns_nor_the_block_size_matters(stream: Stream, data: st.DataObject) -> None:
    whole = decide(index(), stream.turns, stream.thresholds)
    shuffled = data.draw(st.permutations(stream.turns))
    assert decide(index(), iter(shuffled), stream.thresholds, block=data.draw(st.integers(1, 40))) == whole


@settings(max_examples=300, deadline=None)
@given(stream=streams(), data=st.data())
def test_a_stream_at_once_equals_the_stream_in_batches_with_adds_between(stream: Stream, data: st.DataObject) -> None:
    whole = flat(decide(index(), stream.turns, stream.thresholds))
    kept, parts = index(), Verdict([], [], [], [])
    for batch in split(data, stream.turns):
        decision = decide(kept, batch, stream.thresholds)
        kept.add(reversed(decision.keepers), encoder="clip")
        part = flat(decision)
        parts.kept += part.kept
        parts.dropped += part.dropped
        parts.flags += part.flags
        parts.keepers += part.keepers
    assert parts == whole


@settings(max_examples=200, deadline=None)
@given(stream=streams())
def test_no_two_keepers_of_different_samples_reach_the_thresholds(stream: Stream) -> None:
    decision = decide(index(), stream.turns, stream.thresholds)
    for place, later in enumerate(decision.keepers):
        for earlier in decision.keepers[:place]:
            if earlier.sample_id != later.sample_id:
                image, text = exact_cosine(later.image, earlier.image), exact_cosine(later.text, earlier.text)
                assert not stream.thresholds.are_reached(image=image, text=text)
    assert {turn.key for turn in stream.turns} == {turn.key for turn in decision.keepers} | {
        key for key in (turn.key for turn in stream.turns) if (key.sample_id, key.turn) in flagged(decision)
    }


def flagged(decision: Decision) -> set[tuple[str, int]]:
    return {(duplicate.sample_id, duplicate.turn) for duplicate in decision.duplicates}
