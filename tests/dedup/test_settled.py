"""What somebody else decided comes before the thresholds; and kept turns that fall a little short are found."""

from dedup.decide import DuplicateTurn, Thresholds, decide, near_misses
from tests.dedup.test_decide import CLOSE, index, named, turn

NEAR = Thresholds(image=0.9, text=0.9)


def test_a_spared_turn_is_no_duplicate_and_a_keeper_for_what_follows() -> None:
    spared = turn("b", 1, 0)
    decision = decide(index(turn("a", 1, 0)), [spared, turn("c", 1, 0), turn("d", 1, 0)], CLOSE, spared={spared.key})
    assert decision.kept_samples == ("b",)
    assert decision.keepers == (spared,)
    assert named(decision) == [("c", 1, "a", 1), ("d", 1, "a", 1)]
    beside = decide(index(), [turn("a", 1, 0), turn("b", 1, 15), turn("c", 1, 30)], CLOSE, spared={spared.key})
    assert named(beside) == [("c", 1, "b", 1)]


def test_what_is_told_to_be_a_duplicate_is_one_however_far_away_and_no_keeper() -> None:
    far = turn("b", 1, 90)
    pair = DuplicateTurn(
        sample_id="b", turn=1, kept_sample_id="a", kept_turn=1, image_similarity=0.0, text_similarity=0.0
    )
    newcomers = [turn("a", 1, 0), far, turn("b", 2, 45), turn("c", 1, 90)]
    decision = decide(index(), newcomers, CLOSE, told={far.key: pair})
    assert decision.duplicates == (pair,)
    assert decision.kept_samples == ("a", "b", "c")
    assert [keeper.key for keeper in decision.keepers] == [turn("a", 1, 0).key, turn("b", 2, 45).key, newcomers[3].key]
    assert decide(index(), [newcomers[0], far], CLOSE, told={far.key: pair}).dropped_samples == ("b",)


def test_keepers_near_an_earlier_one_of_another_sample_are_found_whole_chains_of_them() -> None:
    chain = [turn("b", 1, 20), turn("b", 2, 40), turn("c", 1, 60), turn("d", 1, 120)]
    found = near_misses(index(turn("a", 1, 0)), chain, NEAR)
    assert [(each.sample_id, each.turn, each.kept_sample_id, each.kept_turn) for each in found] == [
        ("b", 1, "a", 1),
        ("c", 1, "b", 2),
    ]
    assert near_misses(index(turn("a", 1, 0)), chain, NEAR, excused={"b": {"a"}}) == found[1:]
    assert near_misses(index(turn("a", 1, 0)), chain, NEAR, block=1) == found
    assert near_misses(index(), [], NEAR) == ()
