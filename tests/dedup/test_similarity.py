"""Similarity is exact, symmetric, and refuses what is no unit vector."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedup.similarity import Vector, check_vector, cosine
from tests.dedup.oracle import exact_cosine, unit

components = st.floats(-1.0, 1.0, width=32)


@st.composite
def unit_pairs(draw: st.DrawFn) -> tuple[Vector, Vector]:
    dims = draw(st.integers(1, 12))
    rows = st.lists(components, min_size=dims, max_size=dims).filter(lambda row: math.hypot(*row) > 1e-3)
    return unit(*draw(rows)), unit(*draw(rows))


def test_cosine_is_that_of_the_numbers_by_hand() -> None:
    a, b = np.array([0.6, 0.8], dtype=np.float32), np.array([1.0, 0.0], dtype=np.float32)
    assert cosine(a, b) == pytest.approx(0.6, abs=1e-7)
    assert cosine(b, np.array([0.0, -1.0], dtype=np.float32)) == 0.0
    assert cosine(b, -b) == -1.0


@given(unit_pairs())
def test_cosine_equals_the_one_by_fractions_and_is_symmetric(pair: tuple[Vector, Vector]) -> None:
    assert cosine(*pair) == exact_cosine(*pair) == cosine(*reversed(pair))


@given(unit_pairs())
def test_cosine_is_within_five_roundings_of_the_true_value(pair: tuple[Vector, Vector]) -> None:
    x, y = ([Fraction(float(v)) for v in vector] for vector in pair)
    dot = sum((p * q for p, q in zip(x, y, strict=True)), Fraction(0))
    squares = sum((p * p for p in x), Fraction(0)) * sum((q * q for q in y), Fraction(0))
    with localcontext() as context:
        context.prec = 80
        norms = (Decimal(squares.numerator) / Decimal(squares.denominator)).sqrt()
        true = Decimal(dot.numerator) / Decimal(dot.denominator) / norms
        assert abs(Decimal(cosine(*pair)) - true) <= abs(true) * 5 * Decimal(2) ** -53


@given(unit_pairs())
def test_equal_vectors_are_exactly_one(pair: tuple[Vector, Vector]) -> None:
    vector, _ = pair
    assert cosine(vector, vector.copy()) == 1.0
    assert cosine(vector, -vector) == -1.0


def test_equal_vectors_are_exactly_one_at_512_dims_though_their_norms_are_not() -> None:
    rows = np.random.default_rng(1).standard_normal((200, 512))
    for row in rows:
        vector = unit(*row)
        assert cosine(vector, vector.copy()) == 1.0


def test_order_of_the_components_does_not_matter() -> None:
    source = np.random.default_rng(2)
    a, b = unit(*source.standard_normal(512)), unit(*source.standard_normal(512))
    for _ in range(20):
        order = source.permutation(512)
        assert cosine(a[order], b[order]) == cosine(a, b)


def test_a_strided_view_is_as_good_as_a_copy() -> None:
    wide = np.stack([unit(1, 2, 3), unit(3, 2, 1)], axis=1)
    assert cosine(wide[:, 0], wide[:, 1]) == cosine(unit(1, 2, 3), unit(3, 2, 1))


@pytest.mark.parametrize(
    ("vector", "reason"),
    [
        (np.array([np.nan, 1.0], dtype=np.float32), "NaN"),
        (np.array([np.inf, 0.0], dtype=np.float32), "infinity"),
        (np.array([-np.inf, 0.0], dtype=np.float32), "infinity"),
        (np.zeros(2, dtype=np.float32), "all zero"),
        (np.array([1.0, 0.05], dtype=np.float32), "norm is 1.00125"),
        (np.array([0.998, 0.0], dtype=np.float32), "norm is 0.998"),
        (np.array([[1.0, 0.0]], dtype=np.float32), "shape"),
        (np.array([], dtype=np.float32), "shape"),
        (np.array([1.0, 0.0], dtype=np.float64), "float64"),
        (np.array([1.0, 0.0], dtype=np.float16), "float16"),
        (np.array([1, 0], dtype=np.int64), "int64"),
    ],
)
def test_what_is_no_unit_vector_is_refused_with_the_reason(vector: Vector, reason: str) -> None:
    good = unit(1, 0)
    with pytest.raises(ValueError, match=f"first vector: .*{reason}"):
        cosine(vector, good)
    with pytest.raises(ValueError, match=f"second vector: .*{reason}"):
        cosine(good, vector)


def test_norms_within_a_thousandth_pass_and_divide_out() -> None:
    long, short = np.array([1.0009, 0.0], dtype=np.float32), np.array([0.9991, 0.0], dtype=np.float32)
    check_vector(long)
    check_vector(short)
    assert cosine(long, short) == pytest.approx(1.0, abs=1e-15)


def test_other_dims_are_refused() -> None:
    with pytest.raises(ValueError, match="2 and 3 dims"):
        cosine(unit(1, 0), unit(1, 0, 0))
