"""The screen loses no true pair, whatever the vectors, and holds little."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.screen import Matrix, candidates, margin
from dedup.similarity import cosine
from tests.dedup.oracle import unit


def screened(new: Matrix, kept: Matrix, threshold: float, *, block: int = 1024) -> list[tuple[int, int]]:
    return sorted(
        (row, place) for part in candidates(new, kept, threshold, block=block) for row, place in part.tolist()
    )


def true_pairs(new: Matrix, kept: Matrix, threshold: float) -> list[tuple[int, int]]:
    return [(i, j) for i, a in enumerate(new) for j, b in enumerate(kept) if cosine(a, b) >= threshold]


def directions(source: np.random.Generator, rows: int, dims: int, shape: str) -> Matrix:
    """Unit rows: spread out, huddled around a few centres, all but parallel, or on a coarse grid full of ties."""
    noise = source.standard_normal((rows, dims))
    match shape:
        case "isotropic":
            points = noise
        case "clustered":
            points = source.standard_normal((4, dims))[source.integers(4, size=rows)] + 0.2 * noise
        case "parallel":
            points = source.standard_normal(dims) + 1e-7 * noise
        case _:
            points = np.where(noise > 0.4, 1.0, -1.0)
    return np.stack([unit(*row) for row in points])


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dims=st.sampled_from([1, 2, 3, 8, 64, 513]),
    shape=st.sampled_from(["isotropic", "clustered", "parallel", "grid"]),
    nudge=st.sampled_from([-1.0, 0.0, 1.0]),
    block=st.integers(1, 20),
)
def test_no_true_pair_is_lost_at_a_threshold_that_a_pair_just_reaches(
    seed: int, dims: int, shape: str, nudge: float, block: int
) -> None:
    source = np.random.default_rng(seed)
    new, kept = directions(source, 6, dims, shape), directions(source, 12, dims, shape)
    threshold = cosine(new[source.integers(6)], kept[source.integers(12)])
    threshold = max(-1.0, min(1.0, float(np.nextafter(threshold, threshold + nudge))))
    assert set(true_pairs(new, kept, threshold)) <= set(screened(new, kept, threshold, block=block))


@pytest.mark.parametrize("dims", [64, 512, 2048])
def test_pairs_within_one_ulp_of_the_threshold_are_kept_though_blas_rounds_below_it(dims: int) -> None:
    # At these dims the computed norms come out low far more often than high, so quotients lie too far from zero: it is
    # at negative similarities that a screen without a margin loses pairs.
    source = np.random.default_rng(dims)
    lost_without_margin = 0
    for sign in (1.0, -1.0) * 60:
        a = unit(*source.standard_normal(dims))
        b = unit(*(sign * a + source.uniform(0.0, 2.0) * source.standard_normal(dims) / math.sqrt(dims)))
        exact = cosine(a, b)
        for threshold in (exact, math.nextafter(exact, -1.0), math.nextafter(exact, 1.0)):
            assert screened(a[None], b[None], threshold) == [(0, 0)]
        wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
        product = wide_a @ wide_b / (np.sqrt(wide_a @ wide_a) * np.sqrt(wide_b @ wide_b))
        lost_without_margin += product < exact
        assert abs(product - exact) <= margin(dims)
    assert lost_without_margin > 0


def test_the_margin_covers_a_sum_in_the_worst_order_with_cancellation() -> None:
    source = np.random.default_rng(5)
    for _ in range(20):
        a, b = unit(*source.standard_normal(512)), unit(*source.standard_normal(512))
        terms = sorted((a.astype(np.float64) * b.astype(np.float64)).tolist())
        norm = math.sqrt(math.fsum(float(v) ** 2 for v in a) * math.fsum(float(v) ** 2 for v in b))
        total = 0.0
        for term in terms:
            total += term
        assert abs(total / norm - cosine(a, b)) <= margin(512)


def test_the_margin_lets_hardly_any_other_pair_through() -> None:
    source = np.random.default_rng(6)
    new, kept = directions(source, 20, 512, "clustered"), directions(source, 60, 512, "clustered")
    assert margin(512) < 1e-12
    assert screened(new, kept, 0.9) == true_pairs(new, kept, 0.9)


def test_equal_vectors_are_candidates_at_one() -> None:
    rows = directions(np.random.default_rng(7), 40, 512, "isotropic")
    assert screened(rows, rows, 1.0) == [(row, row) for row in range(40)]


def test_every_pair_is_a_candidate_at_minus_one() -> None:
    rows = np.stack([unit(1, 2), unit(-1, -2), unit(2, -1)])
    assert len(screened(rows, rows, -1.0)) == 9


def test_pairs_come_block_by_block_in_order() -> None:
    rows = np.stack([unit(1, 0)] * 5)
    parts = [part.tolist() for part in candidates(rows[:2], rows, 0.5, block=2)]
    assert parts == [
        [[0, 0], [0, 1], [1, 0], [1, 1]],
        [[0, 2], [0, 3], [1, 2], [1, 3]],
        [[0, 4], [1, 4]],
    ]


def test_no_rows_give_no_pairs() -> None:
    rows, none = np.stack([unit(1, 0)]), np.empty((0, 2), dtype=np.float32)
    assert screened(none, rows, 0.5) == screened(rows, none, 0.5) == screened(none, none, 0.5) == []


def test_memory_is_that_of_a_block_and_not_of_all_kept_rows() -> None:
    kept = np.tile(unit(*range(1, 17)), (100_000, 1))
    new = -kept[:4]
    tracemalloc.start()
    try:
        assert sum(len(part) for part in candidates(new, kept, 0.9, block=512)) == 0
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < kept.nbytes / 8


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_a_row_that_is_zero_or_not_finite_is_refused_on_either_side(bad: float) -> None:
    good = np.stack([unit(1, 0), unit(0, 1)])
    rows = good.copy()
    rows[1] = bad
    for new, kept in ((good, rows), (rows, good)):
        with pytest.raises(ValueError, match="row 1 is zero or not finite"):
            screened(new, kept, 0.5)


@pytest.mark.parametrize("threshold", [math.nan, 1.0001, -1.5, math.inf])
def test_a_threshold_that_is_no_similarity_is_refused(threshold: float) -> None:
    rows = np.stack([unit(1, 0)])
    with pytest.raises(ValueError, match=r"lies in \[-1, 1\]"):
        screened(rows, rows, threshold)


def test_no_block_other_dims_and_other_dtypes_are_refused() -> None:
    rows = np.stack([unit(1, 0)])
    with pytest.raises(ValueError, match="at least one row"):
        screened(rows, rows, 0.5, block=0)
    with pytest.raises(ValueError, match="equal dims"):
        screened(rows, np.stack([unit(1, 0, 0)]), 0.5)
    with pytest.raises(ValueError, match="not float16"):
        screened(rows.astype(np.float16), rows, 0.5)
