"""Decisions by hand: who is dropped, who is flagged, who is named, and what is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest

from dedup.decide import Decision, DuplicateTurn, Policy, Thresholds, decide
from dedup.kept import KeptTurns
from dedup.similarity import Vector, cosine
from dedup.turns import TurnKey, TurnVectors
from dedup.vectors import BLOCK_ROWS
from tests.dedup.oracle import unit

CLOSE = Thresholds(image=0.95, text=0.95)


def at(degrees: float) -> Vector:
    """A direction in the plane; the cosine of two is that of the angle between them."""
    return unit(math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))


def turn(sample_id: str, number: int, image: float, text: float | None = None) -> TurnVectors:
    """A turn whose vectors point at these angles; the text's is the image's unless given."""
    return TurnVectors(sample_id=sample_id, turn=number, image=at(image), text=at(image if text is None else text))


def index(*turns: TurnVectors) -> KeptTurns:
    kept = KeptTurns(encoder="clip")
    kept.add(turns, encoder="clip")
    return kept


def named(decision: Decision) -> list[tuple[str, int, str, int]]:
    return [(d.sample_id, d.turn, d.kept_sample_id, d.kept_turn) for d in decision.duplicates]


def test_nothing_in_nothing_out() -> None:
    assert decide(index(), [], CLOSE) == Decision()
    assert decide(index(turn("a", 0, 0)), [], CLOSE) == Decision()


def test_one_turn_is_kept_and_is_a_keeper() -> None:
    only = turn("a", 0, 0)
    assert decide(index(), [only], CLOSE) == Decision(kept_samples=("a",), keepers=(only,))


def test_of_equal_samples_the_smallest_id_is_kept_and_named() -> None:
    decision = decide(index(), [turn(name, 0, 10) for name in "dbca"], CLOSE)
    assert (decision.kept_samples, decision.dropped_samples) == (("a",), ("b", "c", "d"))
    assert decision.duplicates[0] == DuplicateTurn(
        sample_id="b", turn=0, kept_sample_id="a", kept_turn=0, image_similarity=1.0, text_similarity=1.0
    )
    assert named(decision) == [("b", 0, "a", 0), ("c", 0, "a", 0), ("d", 0, "a", 0)]


def test_distinct_samples_are_all_kept() -> None:
    decision = decide(index(), [turn("a", 0, 0), turn("b", 0, 45), turn("c", 0, 90)], CLOSE)
    assert decision.kept_samples == ("a", "b", "c")
    assert not decision.duplicates


def test_in_a_chain_the_middle_goes_and_cannot_take_the_end_with_it() -> None:
    decision = decide(index(), [turn("c", 0, 30), turn("b", 0, 15), turn("a", 0, 0)], CLOSE)
    assert (decision.kept_samples, named(decision)) == (("a", "c"), [("b", 0, "a", 0)])


def test_in_a_chain_that_starts_in_the_middle_both_ends_go() -> None:
    decision = decide(index(), [turn("a", 0, 15), turn("b", 0, 0), turn("c", 0, 30)], CLOSE)
    assert (decision.kept_samples, named(decision)) == (("a",), [("b", 0, "a", 0), ("c", 0, "a", 0)])


def test_a_sample_with_some_duplicate_turns_is_kept_and_those_are_no_keepers() -> None:
    newcomers = [turn("a", 0, 0), turn("b", 0, 15), turn("b", 1, 90), turn("c", 0, 30), turn("d", 0, 90)]
    decision = decide(index(), newcomers, CLOSE)
    assert (decision.kept_samples, decision.dropped_samples) == (("a", "b", "c"), ("d",))
    assert named(decision) == [("b", 0, "a", 0), ("d", 0, "b", 1)]
    assert [k.key for k in decision.keepers] == [
        TurnKey(sample_id="a", turn=0),
        TurnKey(sample_id="b", turn=1),
        TurnKey(sample_id="c", turn=0),
    ]


def test_a_dropped_sample_leaves_no_keeper() -> None:
    decision = decide(index(turn("a", 0, 0), turn("a", 1, 90)), [turn("b", 0, 15), turn("b", 1, 75)], CLOSE)
    assert decision.dropped_samples == ("b",)
    assert named(decision) == [("b", 0, "a", 0), ("b", 1, "a", 1)]
    assert decision.keepers == ()


def test_turns_of_one_sample_are_not_compared_with_each_other() -> None:
    decision = decide(index(), [turn("a", 0, 0), turn("a", 1, 0), turn("b", 0, 0)], CLOSE)
    assert (decision.kept_samples, named(decision)) == (("a",), [("b", 0, "a", 0)])


def test_the_keeper_named_is_the_first_and_not_the_nearest() -> None:
    kept = index(turn("z", 0, 10))
    kept.add([turn("a", 1, 0), turn("a", 0, 5)], encoder="clip")
    assert named(decide(kept, [turn("n", 0, 0)], CLOSE)) == [("n", 0, "z", 0)]
    assert named(decide(kept, [turn("n", 0, -8.5)], CLOSE)) == [("n", 0, "a", 0)]


def test_a_kept_turn_comes_before_any_newcomer_whatever_the_ids() -> None:
    decision = decide(index(turn("z", 0, 0)), [turn("a", 0, 15), turn("b", 0, 16), turn("c", 0, 30)], CLOSE)
    assert named(decision) == [("a", 0, "z", 0), ("b", 0, "z", 0)]
    assert decision.kept_samples == ("c",)


@pytest.mark.parametrize("block", [1, 2, 100])
def test_a_turn_like_a_kept_one_and_like_a_newcomer_names_the_kept_one(block: int) -> None:
    decision = decide(index(turn("z", 0, 0)), [turn("a", 0, 30), turn("b", 0, 15)], CLOSE, block=block)
    assert (decision.kept_samples, named(decision)) == (("a",), [("b", 0, "z", 0)])


@pytest.mark.parametrize(
    ("policy", "flagged"),
    [
        ("both", ["same"]),
        ("image", ["image", "same"]),
        ("text", ["same", "text"]),
        ("either", ["image", "same", "text"]),
    ],
)
def test_the_policy_says_which_similarity_counts_and_both_are_recorded(policy: Policy, flagged: list[str]) -> None:
    newcomers = [turn("image", 0, 0, 180), turn("text", 0, 180, 0), turn("same", 0, 0, 0), turn("unlike", 0, 90, 90)]
    decision = decide(index(turn("kept", 0, 0)), newcomers, Thresholds(image=0.9, text=0.9, policy=policy))
    assert list(decision.dropped_samples) == flagged
    similarities = {d.sample_id: (d.image_similarity, d.text_similarity) for d in decision.duplicates}
    recorded = {"image": (1.0, -1.0), "text": (-1.0, 1.0), "same": (1.0, 1.0)}
    assert similarities == {name: recorded[name] for name in flagged}


def test_a_similarity_equal_to_the_threshold_is_a_duplicate_and_one_ulp_below_is_not() -> None:
    source = np.random.default_rng(3)
    for _ in range(100):
        a, b = unit(*source.standard_normal(512)), unit(*source.standard_normal(512))
        kept = index(TurnVectors(sample_id="a", turn=0, image=a, text=a))
        newcomer = TurnVectors(sample_id="b", turn=0, image=b, text=b)
        tie = cosine(a, b)
        above = math.nextafter(tie, 1.0)
        assert len(decide(kept, [newcomer], Thresholds(image=tie, text=tie)).duplicates) == 1
        assert not decide(kept, [newcomer], Thresholds(image=above, text=above)).duplicates


def test_at_one_only_the_identical_go() -> None:
    vector = unit(*np.random.default_rng(4).standard_normal(512))
    nudged = vector.copy()
    nudged[0] *= np.float32(1.001)
    newcomers = [
        TurnVectors(sample_id=name, turn=0, image=image, text=vector)
        for name, image in (("a", vector), ("b", nudged), ("c", vector.copy()))
    ]
    assert decide(index(), newcomers, Thresholds(image=1.0, text=1.0)).dropped_samples == ("c",)


def test_deciding_changes_nothing_in_the_index() -> None:
    kept = index(turn("a", 0, 0))
    first = decide(kept, [turn("b", 0, 40)], CLOSE)
    assert len(kept) == 1
    assert decide(kept, [turn("c", 0, 40)], CLOSE).kept_samples == ("c",)
    kept.add(first.keepers, encoder="clip")
    assert (len(kept), "b" in kept) == (2, True)
    assert decide(kept, [turn("c", 0, 40)], CLOSE).dropped_samples == ("c",)


def test_the_index_keeps_its_own_copy_and_gives_turns_back_bit_for_bit() -> None:
    source = np.random.default_rng(8)
    turns = [
        TurnVectors(sample_id=f"{n:03}", turn=0, image=unit(*source.standard_normal(9)), text=at_nine(source))
        for n in range(70)
    ]
    before = [(t.image.tobytes(), t.text.tobytes()) for t in turns]
    kept = KeptTurns(encoder="clip")
    for start in range(0, 70, 7):
        kept.add(turns[start : start + 7], encoder="clip")
    for t in turns:
        t.image[:] = 0.0
    assert [(kept.turn(n).image.tobytes(), kept.turn(n).text.tobytes()) for n in range(70)] == before


def test_an_index_of_several_blocks_finds_a_turn_in_each_of_them() -> None:
    source = np.random.default_rng(9)
    turns = [
        TurnVectors(sample_id=f"{n:05}", turn=0, image=at_nine(source), text=at_nine(source))
        for n in range(BLOCK_ROWS + 100)
    ]
    kept = KeptTurns(encoder="clip")
    for start, end in ((0, 100), (100, 100), (100, BLOCK_ROWS - 50), (BLOCK_ROWS - 50, len(turns))):
        kept.add(turns[start:end], encoder="clip")
    places = (0, 99, BLOCK_ROWS - 1, BLOCK_ROWS, len(turns) - 1)
    again = [replace(turns[place], sample_id=f"x{place:05}") for place in places]
    for block in (7, 1024):
        found = decide(kept, again, Thresholds(image=1.0, text=1.0), block=block).duplicates
        assert [flag.kept_sample_id for flag in found] == [turns[place].sample_id for place in places]


def at_nine(source: np.random.Generator) -> Vector:
    return unit(*source.standard_normal(9))


def test_vectors_of_another_encoder_are_refused_and_nothing_is_added() -> None:
    kept = index(turn("a", 0, 0))
    with pytest.raises(ValueError, match="encoder other cannot be compared with those of clip"):
        kept.add([turn("b", 0, 0)], encoder="other")
    with pytest.raises(ValueError, match="re-embed"):
        kept.require_encoder("other")
    kept.require_encoder("clip")
    assert len(kept) == 1


def test_other_dims_are_refused_among_newcomers_and_against_the_index() -> None:
    plane = turn("a", 0, 0)
    space = TurnVectors(sample_id="b", turn=2, image=unit(1, 0, 0), text=unit(1, 0, 0))
    with pytest.raises(ValueError, match="turn 2 of sample b has 3 dims, others have 2"):
        decide(index(), [space, plane], CLOSE)
    with pytest.raises(ValueError, match="turn 2 of sample b has 3 dims, others have 2"):
        decide(index(plane), [space], CLOSE)
    with pytest.raises(ValueError, match="3 dims"):
        index(plane).add([space], encoder="clip")
    with pytest.raises(ValueError, match="image has 2 dims, text 3"):
        TurnVectors(sample_id="c", turn=0, image=unit(1, 0), text=unit(1, 0, 0))


@pytest.mark.parametrize(
    ("vector", "reason"),
    [
        (np.array([np.nan, 1.0], dtype=np.float32), "NaN"),
        (np.array([np.inf, 1.0], dtype=np.float32), "infinity"),
        (np.zeros(2, dtype=np.float32), "all zero"),
        (np.array([1.0, 1.0], dtype=np.float32), "norm"),
    ],
)
def test_a_turn_with_an_unfit_vector_is_refused_by_name(vector: Vector, reason: str) -> None:
    with pytest.raises(ValueError, match=f"image vector of turn 3 of sample a: .*{reason}"):
        TurnVectors(sample_id="a", turn=3, image=vector, text=at(0))
    with pytest.raises(ValueError, match=f"text vector of turn 3 of sample a: .*{reason}"):
        TurnVectors(sample_id="a", turn=3, image=at(0), text=vector)


def test_a_vector_spoiled_after_the_turn_was_made_is_still_refused() -> None:
    spoiled = turn("b", 0, 0)
    spoiled.text[0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        decide(index(turn("a", 0, 0)), [spoiled], CLOSE)


def test_a_turn_given_twice_and_a_sample_decided_before_are_refused() -> None:
    with pytest.raises(ValueError, match="turn 0 of sample a is given twice"):
        decide(index(), [turn("a", 0, 0), turn("a", 0, 90)], CLOSE)
    with pytest.raises(ValueError, match="sample a was kept before"):
        decide(index(turn("a", 0, 0)), [turn("a", 1, 90)], CLOSE)
    kept = index(turn("a", 0, 0))
    with pytest.raises(ValueError, match="is in the index already"):
        kept.add([turn("b", 0, 0), turn("a", 0, 90)], encoder="clip")
    assert len(kept) == 1


@pytest.mark.parametrize("value", [math.nan, 1.01, -1.01])
def test_thresholds_that_are_no_similarities_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"image threshold: .*\[-1, 1\]"):
        Thresholds(image=value, text=0.9)
    with pytest.raises(ValueError, match=r"text threshold: .*\[-1, 1\]"):
        Thresholds(image=0.9, text=value)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="policy is one of both, image, text, either"):
        Thresholds(image=0.9, text=0.9, policy="neither")  # type: ignore[arg-type]


def test_a_sample_is_no_duplicate_of_those_it_is_excused_from_and_still_one_of_others() -> None:
    kept, again = index(turn("a", 0, 0)), [turn("b", 0, 0), turn("c", 0, 0)]
    alone = decide(kept, again[:1], CLOSE, excused={"b": ["a"]})
    assert (alone.kept_samples, alone.duplicates) == (("b",), ())
    both = decide(kept, again, CLOSE, excused={"b": ["a"], "c": ["a"]})
    assert (both.kept_samples, named(both)) == (("b",), [("c", 0, "b", 0)])
    one_way = decide(kept, again, CLOSE, excused={"a": ["b"]})
    assert one_way.dropped_samples == ("b", "c")
