"""How near turns come to each other, against nested loops: nearest ones, histograms, examples, whatever the blocks."""

from collections.abc import Iterator

import numpy as np
import pytest

from dedup.decide import Policy, Thresholds
from dedup.nearness import NOBODY, Histogram, Nearness, Turns, distance, measure, near_edges
from dedup.similarity import cosine

NEAR = 0.05
EVERY = 10_000


def made(count: int = 90, *, seed: int = 0) -> Turns:
    """Turns of two a group in a few clusters, with noise from none to much; two of three are keepers."""
    rng = np.random.default_rng(seed)

    def vectors() -> "np.typing.NDArray[np.float32]":
        centres = rng.normal(size=(4, 6))
        loose = centres[rng.integers(0, 4, count)] + rng.normal(size=(count, 6)) * rng.choice([0, 0.1, 0.6], (count, 1))
        unit: np.typing.NDArray[np.float32] = (loose / np.linalg.norm(loose, axis=1, keepdims=True)).astype(np.float32)
        return unit

    return Turns(
        images=vectors(),
        texts=vectors(),
        groups=np.arange(count, dtype=np.int64) // 2,
        are_keepers=rng.random(count) < 0.66,
    )


def all_pairs(turns: Turns, *, once: bool) -> Iterator[tuple[int, int, float, float]]:
    for row in range(len(turns)):
        for keeper in range(len(turns)):
            if not turns.are_keepers[keeper] or turns.groups[row] == turns.groups[keeper]:
                continue
            if once and turns.are_keepers[row] and keeper > row:
                continue
            image, text = cosine(turns.images[row], turns.images[keeper]), cosine(turns.texts[row], turns.texts[keeper])
            yield row, keeper, image, text


def away(thresholds: Thresholds, image: float, text: float) -> float:
    return float(distance(thresholds, np.array([image]), np.array([text]))[0])


@pytest.mark.parametrize("policy", ["both", "image", "text", "either"])
def test_all_that_is_found_is_what_nested_loops_find(policy: Policy) -> None:
    turns, thresholds = made(), Thresholds(image=0.97, text=0.9, policy=policy)
    found = measure(turns, thresholds, near=NEAR, examples=EVERY, block=16)
    pairs = list(all_pairs(turns, once=True))
    repeats = [pair for pair in pairs if thresholds.are_reached(image=pair[2], text=pair[3])]
    short = [pair for pair in pairs if -NEAR <= away(thresholds, pair[2], pair[3]) < 0]
    assert found.repeats == len(repeats) > 5
    assert sorted(shown(found, "beyond")) == sorted(repeats)
    assert short
    assert [pair for pair in shown(found, "short") if away(thresholds, pair[2], pair[3]) >= -NEAR] == sorted(
        short, key=lambda pair: (-away(thresholds, pair[2], pair[3]), pair[0], pair[1])
    )
    for kind, place in (("image", 2), ("text", 3)):
        histogram: Histogram = getattr(found, kind)
        assert (
            histogram.repeats.tolist() == np.histogram([pair[place] for pair in repeats], histogram.edges)[0].tolist()
        )
        every = np.histogram([pair[place] for pair in pairs], histogram.edges)[0]
        assert (histogram.repeats + histogram.others).tolist() == every.tolist()


def shown(found: Nearness, side: str) -> list[tuple[int, int, float, float]]:
    pairs = found.beyond if side == "beyond" else found.short
    return list(zip(*(each.tolist() for each in (pairs.rows, pairs.keepers, pairs.images, pairs.texts)), strict=True))


def test_the_nearest_of_each_turn_is_the_one_of_nested_loops() -> None:
    turns, thresholds = made(), Thresholds(image=0.97, text=0.9)
    found = measure(turns, thresholds, near=NEAR, examples=3, block=16)
    pairs = list(all_pairs(turns, once=False))
    for row in range(len(turns)):
        mine = [pair for pair in pairs if pair[0] == row]
        assert found.by_image.images[row] == pytest.approx(max(pair[2] for pair in mine), abs=2e-5)
        assert found.by_text.texts[row] == pytest.approx(max(pair[3] for pair in mine), abs=2e-5)
        nearest = away(thresholds, found.by_policy.images[row], found.by_policy.texts[row])
        assert nearest == pytest.approx(max(away(thresholds, *pair[2:]) for pair in mine), abs=2e-5)
        keeper = int(found.by_policy.keepers[row])
        assert found.by_policy.images[row] == cosine(turns.images[row], turns.images[keeper])


def test_blocks_change_nothing_but_which_of_equals_is_named() -> None:
    turns, thresholds = made(seed=3), Thresholds(image=0.97, text=0.9)
    small, large = (measure(turns, thresholds, near=NEAR, examples=7, block=block) for block in (5, 256))
    assert shown(small, "beyond") == shown(large, "beyond")
    assert len(shown(small, "beyond")) == 7
    assert small.image.others.tolist() == large.image.others.tolist()
    assert np.array_equal(small.by_image.images, large.by_image.images)


def test_a_pair_at_the_very_threshold_is_a_repeat() -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8]], dtype=np.float32)
    limit = cosine(vectors[0], vectors[1])
    turns = Turns(images=vectors, texts=vectors, groups=np.arange(3), are_keepers=np.array([True, False, False]))
    found = measure(turns, Thresholds(image=limit, text=limit), near=0.3, examples=9)
    assert [pair[:2] for pair in shown(found, "beyond")] == [(1, 0)]
    assert [pair[:2] for pair in shown(found, "short")] == [(2, 0)]


def test_one_turn_has_no_nearest_and_none_at_all_are_no_failure() -> None:
    vectors = np.array([[1, 0]], dtype=np.float32)
    alone = Turns(images=vectors, texts=vectors, groups=np.zeros(1, dtype=np.int64), are_keepers=np.ones(1, dtype=bool))
    found = measure(alone, Thresholds(image=0.9, text=0.9), near=NEAR, examples=3)
    assert found.by_policy.keepers.tolist() == [NOBODY]
    assert np.isnan(found.by_policy.images).all()
    assert len(found.beyond) == len(found.short) == 0
    empty = Turns(images=vectors[:0], texts=vectors[:0], groups=alone.groups[:0], are_keepers=alone.are_keepers[:0])
    assert len(measure(empty, Thresholds(image=0.9, text=0.9), near=NEAR, examples=3).by_image) == 0


@pytest.mark.parametrize("limit", [-1.0, -0.98, 0.0, 0.5, 0.94, 0.999, 1.0])
@pytest.mark.parametrize("near", [0.0001, 0.05, 1.0])
def test_the_threshold_is_an_edge_and_the_bins_end_at_one(limit: float, near: float) -> None:
    edges = near_edges(limit, near)
    assert limit in edges.tolist()
    assert edges[0] == pytest.approx(max(-1.0, limit - near))
    assert edges[-1] == 1.0
    assert len(edges) <= 80
    assert (np.diff(edges) > 0).all()
