"""The screen loses no true pair, whatever the vectors, and holds little."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.screen import MOST_DIMS, Matrix, Rows, close_pairs, margin
from dedup.similarity import Vector, cosine
from tests.dedup.oracle import unit


def screened(new: Matrix, kept: Matrix, threshold: float, *, block: int = 1024) -> list[tuple[int, int]]:
    directions, rows = Rows.of(new).directions(), Rows.of(kept)
    return sorted(
        (row, start + place)
        for start in range(0, len(kept), block)
        for row, place in close_pairs(directions, rows.part(start, start + block), threshold).tolist()
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


def stretched(source: np.random.Generator, rows: Matrix) -> Matrix:
    """The rows with norms that are off by as much as is let through, and more."""
    return (rows * source.uniform(0.6, 1.8, size=(len(rows), 1))).astype(np.float32)


def scaled_cosine(a: Vector, b: Vector) -> float:
    """As `cosine`, for vectors of any norm."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    norms = math.fsum((x * x).tolist()) * math.fsum((y * y).tolist())
    return max(-1.0, min(1.0, math.fsum((x * y).tolist()) / math.sqrt(norms)))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dims=st.sampled_from([1, 2, 3, 8, 64, 128, 513]),
    shape=st.sampled_from(["isotropic", "clustered", "parallel", "grid"]),
    nudge=st.sampled_from([-1.0, 0.0, 1.0]),
    block=st.integers(1, 20),
    stretch=st.booleans(),
)
def test_no_true_pair_is_lost_at_a_threshold_that_a_pair_just_reaches(
    *, seed: int, dims: int, shape: str, nudge: float, block: int, stretch: bool
) -> None:
    source = np.random.default_rng(seed)
    new, kept = directions(source, 6, dims, shape), directions(source, 12, dims, shape)
    if stretch:
        new, kept = stretched(source, new), stretched(source, kept)
    threshold = scaled_cosine(new[source.integers(6)], kept[source.integers(12)])
    threshold = max(-1.0, min(1.0, float(np.nextafter(threshold, threshold + nudge))))
    true = {(i, j) for i, a in enumerate(new) for j, b in enumerate(kept) if scaled_cosine(a, b) >= threshold}
    assert true <= set(screened(new, kept, threshold, block=block))


@pytest.mark.parametrize("dims", [64, 512, 2048])
def test_pairs_within_one_ulp_of_the_threshold_are_kept_though_blas_rounds_below_it(dims: int) -> None:
    source = np.random.default_rng(dims)
    lost_without_margin = 0
    for sign in (1.0, -1.0) * 60:
        a = unit(*source.standard_normal(dims))
        b = unit(*(sign * a + source.uniform(0.0, 2.0) * source.standard_normal(dims) / math.sqrt(dims)))
        exact = cosine(a, b)
        for threshold in (exact, math.nextafter(exact, -1.0), math.nextafter(exact, 1.0)):
            assert screened(a[None], b[None], threshold) == [(0, 0)]
        new, kept = Rows.of(a[None]), Rows.of(b[None])
        product = float((kept.vectors @ new.directions())[0, 0]) / float(kept.norms[0])
        lost_without_margin += product < exact
        assert abs(product - exact) <= margin(dims)
    assert lost_without_margin > 0


@pytest.mark.parametrize("dims", [128, 512, 4096])
def test_the_margin_covers_a_float32_sum_in_the_worst_order_with_cancellation(dims: int) -> None:
    source = np.random.default_rng(5)
    for _ in range(20):
        a, b = unit(*source.standard_normal(dims)), unit(*source.standard_normal(dims))
        new, kept = Rows.of(a[None]), Rows.of(b[None])
        total = np.float32(0.0)
        for term in np.sort(new.directions()[:, 0] * b):
            total += term
        assert abs(float(total) / float(kept.norms[0]) - cosine(a, b)) <= margin(dims)


def test_the_margin_covers_entries_so_small_that_their_products_vanish() -> None:
    source = np.random.default_rng(11)
    for exponent in (-20, -30, -38, -44):
        small = source.standard_normal((2, 64)) * 10.0**exponent
        small[:, 0] = 1.0
        a, b = (row.astype(np.float32) for row in small)
        assert screened(a[None], b[None], cosine(a, b)) == [(0, 0)]


def test_the_margin_lets_hardly_any_other_pair_through() -> None:
    source = np.random.default_rng(6)
    new, kept = directions(source, 20, 512, "clustered"), directions(source, 60, 512, "clustered")
    assert margin(128) < 8.2e-6
    assert margin(512) < 3.2e-5
    assert screened(new, kept, 0.9) == true_pairs(new, kept, 0.9)


def test_equal_vectors_are_candidates_at_one() -> None:
    rows = directions(np.random.default_rng(7), 40, 512, "isotropic")
    assert screened(rows, rows, 1.0) == [(row, row) for row in range(40)]


def test_every_pair_is_a_candidate_at_minus_one() -> None:
    rows = np.stack([unit(1, 2), unit(-1, -2), unit(2, -1)])
    assert len(screened(rows, rows, -1.0)) == 9


def test_pairs_come_in_order() -> None:
    rows = np.stack([unit(1, 0)] * 3)
    pairs = close_pairs(Rows.of(rows[:2]).directions(), Rows.of(rows), 0.5)
    assert pairs.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]


@pytest.mark.parametrize("kept_rows", [1, 31, 32, 33, 64, 100])
def test_pairs_are_found_in_every_slice_of_the_kept_rows(kept_rows: int) -> None:
    rows = directions(np.random.default_rng(3), kept_rows, 128, "isotropic")
    assert screened(rows[:64], rows, 0.99) == [(row, row) for row in range(min(64, kept_rows))]


def test_no_rows_give_no_pairs() -> None:
    rows, none = np.stack([unit(1, 0)]), np.empty((0, 2), dtype=np.float32)
    assert screened(none, rows, 0.5) == screened(rows, none, 0.5) == screened(none, none, 0.5) == []


def test_comparing_copies_no_kept_rows() -> None:
    kept = Rows.of(np.tile(unit(*range(1, 17)), (100_000, 1)))
    new = Rows.of(-kept.vectors[:4]).directions()
    tracemalloc.start()
    try:
        assert sum(len(close_pairs(new, kept.part(at, at + 512), 0.9)) for at in range(0, len(kept), 512)) == 0
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < kept.vectors.nbytes / 100


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, 3.0, 0.1])
def test_a_row_that_is_no_unit_vector_is_refused(bad: float) -> None:
    rows = np.stack([unit(1, 0), unit(0, 1)])
    rows[1] = bad
    with pytest.raises(ValueError, match=r"row 1 has norm .*: zero, not finite or far from 1"):
        Rows.of(rows)


@pytest.mark.parametrize("threshold", [math.nan, 1.0001, -1.5, math.inf])
def test_a_threshold_that_is_no_similarity_is_refused(threshold: float) -> None:
    rows = np.stack([unit(1, 0)])
    with pytest.raises(ValueError, match=r"lies in \[-1, 1\]"):
        screened(rows, rows, threshold)


def test_other_dims_other_dtypes_and_what_no_proof_covers_are_refused() -> None:
    rows = np.stack([unit(1, 0)])
    with pytest.raises(ValueError, match="equal dims"):
        screened(rows, np.stack([unit(1, 0, 0)]), 0.5)
    with pytest.raises(ValueError, match="not float16"):
        Rows.of(rows.astype(np.float16))
    with pytest.raises(ValueError, match=f"at most {MOST_DIMS} dims"):
        Rows.of(np.full((1, MOST_DIMS + 1), 1 / 256, dtype=np.float32))
