"""Sketches rule no true pair out: whatever the vectors, the basis, the threshold, the span and the batch."""

import io
import math
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.kernel import HEADS, MOST_TAIL, Pairs, paths
from dedup.screen import Matrix, Rows
from dedup.similarity import cosine
from dedup.sketches import DIMS, LEAST_STEP, MOST, MOST_STRETCH, Basis, Sketches, SketchIndex, refine
from tests.dedup.oracle import unit

THRESHOLDS = [-1.0, 0.0, 0.5, 0.95, 1.0]
SHAPES = ["isotropic", "clustered", "outlier", "equal", "one ulp apart", "antipodal", "sparse", "lattice"]
BASES = ["own", "of others", "of one point", "any"]
LATTICE = [(99, 0, 0), (44, 44, 77), (11, 44, 88), (18, 54, 81)]
"""Whole numbers of length 99: with a step of 1/99 rounding leaves nothing over, so the bounds are tight."""


def some_vectors(source: np.random.Generator, rows: int, dims: int, shape: str) -> Matrix:
    noise = source.standard_normal((rows, dims))
    centre = source.standard_normal(dims)
    match shape:
        case "clustered":
            noise = source.standard_normal((3, dims))[source.integers(3, size=rows)] + 0.2 * noise
        case "outlier":
            noise = np.concatenate([centre + 1e-3 * noise[1:], -centre[np.newaxis]])
        case "equal" | "one ulp apart":
            noise = np.tile(centre, (rows, 1))
        case "antipodal":
            noise = noise * 0.05 + centre * source.choice([-1.0, 1.0], size=(rows, 1))
        case "sparse":
            noise[source.random((rows, dims)) < 0.9] = 0.0
            noise[np.arange(rows), source.integers(dims, size=rows)] = 1.0
        case "lattice":
            noise = np.stack([on_the_lattice(source, dims) for _ in range(rows)])
    found = np.stack([unit(*row) for row in noise])
    if shape == "one ulp apart":
        entries = np.arange(rows), source.integers(dims, size=rows)
        found[entries] = np.nextafter(found[entries], np.float32(np.inf))
    return found


def on_the_lattice(source: np.random.Generator, dims: int) -> Matrix:
    values = np.zeros(dims, dtype=np.float32)
    numbers = LATTICE[source.integers(len(LATTICE))] if dims > 2 else LATTICE[0][:dims]
    values[source.permutation(dims)[: len(numbers)]] = numbers * source.choice([-1, 1], size=len(numbers))
    return values


def some_basis(source: np.random.Generator, vectors: Matrix, kind: str, threshold: float) -> Basis:
    dims = vectors.shape[1]
    match kind:
        case "own":
            return Basis.fit(Rows.of(vectors), threshold)
        case "of others":
            return Basis.fit(Rows.of(some_vectors(source, 30, dims, "clustered")), threshold)
        case "of one point":
            return Basis.fit(Rows.of(some_vectors(source, 1, dims, "isotropic")), threshold)
        case "lattice":
            return Basis.of(matrix=np.eye(64, dims), mean=np.zeros(dims), step=1 / 99, head=int(source.choice(HEADS)))
        case _:
            head = int(source.choice(HEADS))
            matrix = source.standard_normal((head + int(source.choice([0, 7, 32, MOST_TAIL])), dims))
            matrix *= source.choice([1e-3, 0.7, 0.99 * MOST_STRETCH]) / np.linalg.norm(matrix, ord=2)
            mean = source.standard_normal(dims)
            mean *= source.choice([0.0, 1.0, 0.99 * MOST_STRETCH]) / np.linalg.norm(mean)
            step = float(10.0 ** source.uniform(math.log10(LEAST_STEP), 0))
            return Basis.of(matrix=matrix, mean=mean, step=step, head=head)


def index_of(basis: Basis, kept: Matrix, block_rows: int = 32) -> SketchIndex:
    index = SketchIndex(basis, block_rows)
    index.append(basis.sketch(Rows.of(kept)))
    return index


def listed(pairs: Pairs | None) -> list[tuple[int, int]]:
    assert pairs is not None
    found = [(query, place) for query, place in pairs.tolist()]
    assert found == sorted(set(found))
    return found


def near(index: SketchIndex, new: Matrix, threshold: float, span: tuple[int, int] | None = None) -> Pairs:
    queries, span = index.basis.sketch(Rows.of(new)), span or (0, len(index))
    pairs = index.near(queries, threshold, span, room=len(new) * len(index))
    assert pairs is not None
    return pairs


def assert_none_is_lost(source: np.random.Generator, dims: int, shape: str, kind: str, threshold: float | None) -> None:
    """At a given threshold, or at one that some pair just reaches or just misses."""
    vectors = some_vectors(source, 35, dims, shape)
    new, kept = vectors[:5], vectors[5:]
    new[0] = kept[source.integers(len(kept))]
    cosines = np.array([[cosine(a, b) for b in kept] for a in new])
    if threshold is None:
        tie = float(source.choice(cosines.ravel()))
        threshold = max(-1.0, min(1.0, math.nextafter(tie, float(source.choice([tie, math.inf, -math.inf])))))
    index = index_of(some_basis(source, kept, kind, threshold), kept)
    pairs = near(index, new, threshold)
    true = set(map(tuple, np.argwhere(cosines >= threshold).tolist()))
    assert true <= set(listed(pairs))
    rows = Rows.of(new)
    could = pairs[refine(Rows(new[pairs[:, 0]], rows.norms[pairs[:, 0]]), kept[pairs[:, 1]], threshold)]
    assert true <= set(listed(could))
    assert (cosines[could[:, 0], could[:, 1]] >= threshold - 2e-9).all()


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dims=st.sampled_from([1, 2, 9, 31, 32, 33, 64, 100]),
    shape=st.sampled_from(SHAPES),
    kind=st.sampled_from(BASES),
    threshold=st.sampled_from([*THRESHOLDS, None, None, None]),
)
def test_no_true_pair_is_lost(*, seed: int, dims: int, shape: str, kind: str, threshold: float | None) -> None:
    assert_none_is_lost(np.random.default_rng(seed), dims, shape, kind, threshold)


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("shape", ["isotropic", "outlier", "one ulp apart", "sparse"])
def test_no_true_pair_is_lost_among_long_vectors(shape: str, kind: str) -> None:
    assert_none_is_lost(np.random.default_rng(5), 512, shape, kind, None)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dims=st.sampled_from([3, 32, 40, 64]))
def test_no_true_pair_is_lost_where_the_bounds_have_nothing_to_spare(seed: int, dims: int) -> None:
    assert_none_is_lost(np.random.default_rng(seed), dims, "lattice", "lattice", None)


@pytest.mark.parametrize("rotation", [0, 20])
def test_floors_are_rounded_down(rotation: int) -> None:
    """0.96 = 15000 / 125^2: floors of 7187.5 and 7812.5 add up to the product, rounded up they lie one above it."""
    pair = np.roll(np.stack([unit(75, 100, *[0] * 38), unit(100, 75, *[0] * 38)]), rotation + 12, axis=1)
    basis = Basis.of(matrix=np.eye(64, 40), mean=np.zeros(40), step=1 / 125, head=32)
    assert listed(near(index_of(basis, pair[1:]), pair[:1], cosine(pair[0], pair[1]))) == [(0, 0)]


@pytest.mark.parametrize("dims", [32, 64])
@pytest.mark.parametrize(("base", "mine", "theirs"), [(100.5, 0.003, -0.003), (100, 0, 0.504), (100, 0.504, 0)])
def test_what_rounding_leaves_counts_on_both_sides(dims: int, base: float, mine: float, theirs: float) -> None:
    """Entries that are all but alike fall to different whole numbers, by rounding of both vectors or of either."""
    signs = np.resize([1.0, -1.0], dims)
    pair = np.stack([unit(*(base + off * signs)) for off in (mine, theirs)])
    basis = Basis.of(matrix=np.eye(64, dims), mean=np.zeros(dims), step=1 / (base * math.sqrt(dims)), head=16)
    assert len(np.unique(basis.sketch(Rows.of(pair)).values[:, :dims], axis=0)) == 2
    assert listed(near(index_of(basis, pair[1:]), pair[:1], cosine(pair[0], pair[1]))) == [(0, 0)]


def test_what_lies_beyond_the_step_is_cut_off_and_found_nevertheless() -> None:
    source = np.random.default_rng(3)
    usual, centre = some_vectors(source, 200, 64, "clustered"), unit(*source.standard_normal(64))
    far = np.stack([centre, unit(*(centre + 1e-3 * source.standard_normal(64))), -centre])
    basis = Basis.fit(Rows.of(np.stack([unit(*(usual[0] + 1e-3 * row)) for row in usual])), 0.95)
    sketched = basis.sketch(Rows.of(far))
    assert np.abs(sketched.values.astype(int)).max() == MOST
    assert (sketched.errors > 0.1).all()
    assert {(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)} <= set(listed(near(index_of(basis, far), far, 0.95)))


def test_identical_vectors_are_found_at_one_and_few_others() -> None:
    vectors = some_vectors(np.random.default_rng(1), 300, 64, "isotropic")
    pairs = listed(near(index_of(Basis.fit(Rows.of(vectors), 1.0), vectors), vectors, 1.0))
    assert {(row, row) for row in range(300)} <= set(pairs)
    assert len(pairs) < 310


def test_more_dims_are_sketched_where_fewer_let_too_much_through() -> None:
    source = np.random.default_rng(2)
    easy = np.stack([unit(*row) for row in source.standard_normal((400, 256)) * 0.7 ** np.arange(256)])
    basis = Basis.fit(Rows.of(easy), 0.99)
    assert (basis.head, basis.tail) == (16, 48)
    basis = Basis.fit(Rows.of(some_vectors(source, 400, 256, "isotropic")), 0.2)
    assert (basis.head, len(basis.matrix)) == (32, DIMS[-1])


@pytest.fixture(scope="module")
def case() -> tuple[SketchIndex, Matrix, Matrix]:
    """100 kept vectors in blocks of 32, and 9 new ones, of which each has many near it at 0.5."""
    vectors = some_vectors(np.random.default_rng(4), 109, 40, "clustered")
    return index_of(Basis.fit(Rows.of(vectors[:50]), 0.9), vectors[9:]), vectors[:9], vectors[9:]


Case = tuple[SketchIndex, Matrix, Matrix]


def test_a_span_begins_and_ends_anywhere(case: Case) -> None:
    index, new, _ = case
    everything = listed(near(index, new, 0.5))
    for first in range(0, 101, 3):
        for last in {first, first + 1, first + 15, first + 16, first + 40, 100}:
            wanted = [(query, place) for query, place in everything if first <= place < last]
            assert listed(near(index, new, 0.5, (first, last))) == wanted


@pytest.mark.parametrize("queries", [0, 1, 3, 4, 5])
def test_a_batch_of_any_size_loses_nothing(case: Case, queries: int) -> None:
    index, new, kept = case
    found = set(listed(near(index, new[:queries], 0.9)))
    true = {(q, p) for q in range(queries) for p in range(100) if cosine(new[q], kept[p]) >= 0.9}
    assert len(true) >= queries
    assert true <= found


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 40), max_size=8), block_rows=st.sampled_from([1, 16, 17, 48, 4096]))
def test_blocks_that_fill_bit_by_bit_equal_those_filled_at_once(case: Case, sizes: list[int], block_rows: int) -> None:
    index, new, kept = case
    pieces, sketched = SketchIndex(index.basis, block_rows), index.basis.sketch(Rows.of(kept))
    everything = listed(near(index, new, 0.7))
    for size in [*sizes, 100]:
        part = slice(len(pieces), len(pieces) + size)
        pieces.append(Sketches(values=sketched.values[part], errors=sketched.errors[part]))
        assert listed(near(pieces, new, 0.7)) == [pair for pair in everything if pair[1] < len(pieces)]


def test_floors_are_those_of_the_rows_and_the_queries_that_are_there() -> None:
    """They are kept for the next batch: more rows, or queries with greater errors, want others."""
    vectors = some_vectors(np.random.default_rng(7), 80, 8, "isotropic")
    vectors = vectors[np.argsort(np.abs(vectors).max(axis=1))]
    index = SketchIndex(basis := Basis.of(matrix=np.eye(64, 8), mean=np.zeros(8), step=1 / 250, head=16), 128)
    for end in (1, 30, 50, 80):
        index.append(basis.sketch(Rows.of(vectors[len(index) : end])))
        for new in (vectors[:9], vectors[55:], vectors[:9]):
            assert listed(near(index, new, 0.7)) == listed(near(index_of(basis, vectors[:end]), new, 0.7))


def test_errors_are_at_least_what_rounding_leaves_over() -> None:
    vectors = some_vectors(np.random.default_rng(8), 400, 40, "isotropic")
    basis = Basis.of(matrix=np.eye(64, 40), mean=np.zeros(40), step=1 / 512, head=32)
    sketched, rows = basis.sketch(Rows.of(vectors)), Rows.of(vectors)
    left = (rows.vectors / rows.norms[:, np.newaxis]) - sketched.values[:, :40] * basis.step
    for column, dims in enumerate((basis.head, 40)):
        assert (sketched.errors[:, column].astype(np.float64) > np.linalg.norm(left[:, :dims], axis=1)).all()


def test_threads_and_paths_change_nothing(case: Case) -> None:
    index, new, _ = case
    queries, wanted = index.basis.sketch(Rows.of(new)), listed(near(index, new, 0.7))
    for threads in (1, 3):
        for path in paths():
            found = index.near(queries, 0.7, (0, 100), room=900, threads=threads, path=path)
            assert listed(found) == wanted, (threads, path)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("span", [(0, 100), (0, 1), (5, 9), (31, 33), (30, 97)])
def test_too_many_for_the_room_are_none_and_never_a_part(case: Case, span: tuple[int, int], threads: int) -> None:
    index, new, _ = case
    queries, everything = index.basis.sketch(Rows.of(new)), listed(near(index, new, -1.0, span))
    assert len(everything) == 9 * (span[1] - span[0])
    for path in paths():
        for room in (0, 1, len(everything) // 2, len(everything) - 1):
            assert index.near(queries, -1.0, span, room=room, threads=threads, path=path) is None
        found = index.near(queries, -1.0, span, room=len(everything), threads=threads, path=path)
        assert listed(found) == everything


@pytest.mark.parametrize("queries", [1, 2, 3, 4, 5])
def test_one_place_always_has_room_however_far_off_the_basis_is(queries: int) -> None:
    """Floors as low as they get, on either side: what queries are padded with must not take the room."""
    source = np.random.default_rng(6)
    vectors = some_vectors(source, 40, 64, "isotropic")
    index = index_of(some_basis(source, vectors, "of one point", 0.9), vectors)
    sketched = index.basis.sketch(Rows.of(vectors[:queries]))
    for path in paths():
        for place in (0, 15, 16, 39):
            found = index.near(sketched, 0.9, (place, place + 1), room=queries, path=path)
            assert listed(found) == [(query, place) for query in range(queries)]


def test_a_span_that_goes_on_after_the_last_row_ends_there(case: Case) -> None:
    index, new, _ = case
    assert listed(near(index, new, -1.0, (90, 128))) == listed(near(index, new, -1.0, (90, 100)))


@pytest.mark.parametrize("threshold", [math.nan, 1.0001, -1.5, math.inf])
def test_a_threshold_that_is_no_similarity_is_refused(case: Case, threshold: float) -> None:
    with pytest.raises(ValueError, match=r"lies in \[-1, 1\]"):
        near(case[0], case[1], threshold)


def test_vectors_of_other_dims_are_refused(case: Case) -> None:
    with pytest.raises(ValueError, match="a basis for 40 dims cannot sketch vectors of 41"):
        case[0].basis.sketch(Rows.of(some_vectors(np.random.default_rng(0), 2, 41, "isotropic")))


@pytest.mark.parametrize("rows", [0, 1, 30])
def test_sketches_packed_are_unpacked_bit_for_bit(case: Case, rows: int) -> None:
    index, _, kept = case
    sketched = index.basis.sketch(Rows.of(kept[:rows]))
    packed = sketched.packed()
    assert packed.dtype == np.uint8
    assert packed.shape == (rows, index.basis.head + index.basis.tail + 8)
    again = Sketches.unpacked(packed)
    assert np.array_equal(again.values, sketched.values)
    assert np.array_equal(again.errors, sketched.errors)
    assert again.values.dtype == np.int8
    assert again.errors.dtype == np.float32


def test_sketches_can_be_taken_out_of_an_index_again(case: Case) -> None:
    index, _, kept = case
    sketched = index.basis.sketch(Rows.of(kept))
    for first, last in ((0, 100), (0, 1), (31, 33), (32, 64), (99, 100), (5, 90)):
        part = index.part(first, last)
        assert np.array_equal(part.values, sketched.values[first:last])
        assert np.array_equal(part.errors, sketched.errors[first:last])


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as parts:
        for name, data in members.items():
            parts.writestr(name, data)
    return file.getvalue()


def archive(**members: object) -> bytes:
    files = {f"{name}.npy": io.BytesIO() for name in members}
    for file, member in zip(files.values(), members.values(), strict=True):
        np.save(file, np.asarray(member))
    return zipped({name: file.getvalue() for name, file in files.items()})


def test_a_basis_comes_back_from_its_bytes(case: Case) -> None:
    basis = case[0].basis
    again = Basis.from_bytes(basis.to_bytes())
    assert np.array_equal(again.matrix, basis.matrix)
    assert np.array_equal(again.mean, basis.mean)
    assert (again.step, again.stretch, again.head) == (basis.step, basis.stretch, basis.head)
    assert again.tail == basis.tail


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",
        b"rubbish",
        b"PK\x03\x04 and no more",
        pickle.dumps({"matrix": 1}),
        zipped({"matrix": b"no array"}),
        zipped({"matrix.npy": b"\x93NUMPY\x01\x00\x08\x00{'descr'"}),
        archive(matrix=np.eye(64)),
        archive(matrix=np.eye(64), mean=np.zeros(64), step="wide"),
        archive(matrix=np.eye(64), mean=np.zeros(64), step=[1.0, 2.0], head=32),
        archive(matrix=np.eye(64), mean=np.zeros(64), step=0.01),
    ],
)
def test_bytes_that_are_no_basis_are_refused(rubbish: bytes) -> None:
    with pytest.raises(ValueError, match="these bytes are no basis"):
        Basis.from_bytes(rubbish)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_torn_basis_is_refused_and_a_spoilt_one_at_most_another_basis(case: Case, data: st.DataObject) -> None:
    whole = case[0].basis.to_bytes()
    with pytest.raises(ValueError, match="these bytes are no basis"):
        Basis.from_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    spoilt = bytearray(whole)
    near_an_end = st.integers(0, 200) | st.integers(len(whole) - 400, len(whole) - 1)
    spoilt[data.draw(near_an_end)] ^= data.draw(st.integers(1, 255))
    try:
        assert Basis.from_bytes(bytes(spoilt)).stretch <= MOST_STRETCH
    except ValueError as error:
        assert "these bytes are no basis" in str(error)


@pytest.mark.parametrize(
    "parts",
    [
        {"matrix": np.eye(64) * 5},
        {"matrix": np.full((64, 64), 1.0)},
        {"matrix": np.eye(64) * np.nan},
        {"matrix": np.eye(64) * 1e200},
        {"matrix": np.eye(64, dtype=np.float32)},
        {"matrix": np.eye(HEADS[-1] - 1, 64)},
        {"matrix": np.eye(HEADS[-1] + MOST_TAIL + 1, 64)},
        {"matrix": np.eye(64, 63)},
        {"mean": np.full(64, 1.0)},
        {"mean": np.full(64, np.inf)},
        {"mean": np.zeros((64, 1))},
        {"step": 0.0},
        {"step": 1e-300},
        {"step": math.inf},
        {"step": math.nan},
        {"step": -1.0},
        {"head": 24},
        {"head": -32},
    ],
)
def test_numbers_that_the_proof_does_not_cover_are_refused(parts: dict[str, object]) -> None:
    good = {"matrix": np.eye(64), "mean": np.zeros(64), "step": 0.01, "head": 32}
    assert Basis.from_bytes(archive(**good)).tail == 32
    with pytest.raises(ValueError, match="no basis of sketches"):
        Basis.from_bytes(archive(**(good | parts)))


def test_the_head_is_short_where_that_rules_out_enough_and_both_lose_nothing() -> None:
    source = np.random.default_rng(3)
    clustered, isotropic = (some_vectors(source, 600, 100, shape) for shape in ("clustered", "isotropic"))
    assert Basis.fit(Rows.of(isotropic), 0.5).head == 32
    heads = {Basis.fit(Rows.of(vectors), 0.99).head for vectors in (clustered, isotropic)}
    assert heads <= set(HEADS)
    for head in HEADS:
        fitted = Basis.fit(Rows.of(clustered), 0.9)
        basis = Basis.of(matrix=fitted.matrix, mean=fitted.mean, step=fitted.step, head=head)
        pairs = set(listed(near(index_of(basis, clustered[20:60]), clustered[:20], 0.9)))
        true = np.argwhere([[cosine(a, b) >= 0.9 for b in clustered[20:60]] for a in clustered[:20]])
        assert set(map(tuple, true.tolist())) <= pairs
