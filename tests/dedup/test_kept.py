"""Kept turns: sketched or not, stored or added, in memory or in a file, what is decided is the same."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import kept as kept_module
from dedup import kernel
from dedup.decide import Decision, Policy, Thresholds, decide
from dedup.kept import KeptTurns, Kind
from dedup.kernel import KernelPath, paths
from dedup.screen import Matrix, Rows
from dedup.similarity import Vector
from dedup.sketches import Basis, SketchIndex
from dedup.turns import TurnRows, TurnVectors, in_order
from dedup.vectors import SpilledVectors, fetch_rows
from tests.dedup.oracle import Verdict, judge, unit
from tests.dedup.test_decide import at, named, turn
from tests.dedup.test_decide_properties import POLICIES, Stream, flat, split, streams

KINDS: tuple[Kind, ...] = ("image", "text")
Batches = Sequence[Sequence[TurnVectors]]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 16 sketches, and spans of two of them, so that few turns fill many."""
    monkeypatch.setattr(kept_module, "BLOCK_ROWS", 16)
    monkeypatch.setattr(kept_module, "SPAN_BLOCKS", 2)


@pytest.fixture
def often_refitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The basis is fitted anew whenever there are twice as many turns."""
    monkeypatch.setattr(kept_module, "REFIT_SEEN", 0)
    monkeypatch.setattr(kept_module, "WANTED", -1.0)


def sketched(threads: int = 1) -> KeptTurns:
    """As `KeptTurns` of many thousand turns: sketches from the first turn on, vectors in a file."""
    return KeptTurns(encoder="clip", vectors=SpilledVectors(16), sketch_from=1, threads=threads)


def plain() -> KeptTurns:
    return KeptTurns(encoder="clip")


def run(kept: KeptTurns, batches: Batches, thresholds: Thresholds, block: int = 1024) -> list[Decision]:
    """Decide batch after batch, each one's keepers being added before the next."""
    decisions: list[Decision] = []
    for batch in batches:
        decisions.append(decide(kept, batch, thresholds, block=block))
        kept.add(decisions[-1].keepers, encoder="clip")
    return decisions


def judged(batches: Batches, thresholds: Thresholds) -> list[Verdict]:
    """What the oracle says of batch after batch."""
    verdicts: list[Verdict] = []
    kept: list[TurnVectors] = []
    for batch in batches:
        verdicts.append(judge(kept, batch, thresholds))
        by_name = {(turn.sample_id, turn.turn): turn for turn in batch}
        kept += [by_name[name] for name in verdicts[-1].keepers]
    return verdicts


def drifting(seed: int, dims: int = 24, samples: int = 80, batches: int = 4) -> list[list[TurnVectors]]:
    """Batches that each lie elsewhere than those before, about centres of which some are those of the batch before."""
    source = np.random.default_rng(seed)
    centres = source.standard_normal((batches + 2, dims))

    def vector(batch: int) -> Vector:
        return unit(*(centres[batch + source.integers(3)] + source.choice([0.02, 0.3, 1.0]) * source.normal(size=dims)))

    return [
        [
            TurnVectors(sample_id=f"{batch}-{number:03}", turn=part, image=vector(batch), text=vector(batch))
            for number in range(samples // batches)
            for part in range(int(source.integers(1, 3)))
        ]
        for batch in range(batches)
    ]


@settings(max_examples=80, deadline=None)
@given(
    stream=streams(),
    block=st.integers(1, 9),
    threads=st.sampled_from([1, 3]),
    way=st.sampled_from(paths()),
    data=st.data(),
)
def test_decisions_by_sketches_are_the_oracles(
    *, stream: Stream, block: int, threads: int, way: KernelPath, data: st.DataObject
) -> None:
    batches = split(data, stream.turns)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kernel, "paths", lambda: [way])
        decisions = run(sketched(threads), batches, stream.thresholds, block)
    assert [flat(decision) for decision in decisions] == judged(batches, stream.thresholds)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("threads", [1, 3])
def test_sketches_in_many_blocks_change_no_decision(policy: Policy, threads: int) -> None:
    for seed, threshold in ((1, 0.95), (2, 0.6), (3, -0.2)):
        batches, thresholds = drifting(seed), Thresholds(image=threshold, text=threshold - 0.1, policy=policy)
        wanted = run(plain(), batches, thresholds)
        assert any(decision.duplicates for decision in wanted)
        for block in (2, 1024):
            assert run(sketched(threads), batches, thresholds, block) == wanted


@pytest.mark.usefixtures("small_blocks", "often_refitted")
@pytest.mark.parametrize("policy", POLICIES)
def test_a_basis_fitted_anew_changes_no_decision(policy: Policy) -> None:
    first, *others = drifting(4)
    batches, thresholds = [first[:3], first[3:], *others], Thresholds(image=0.9, text=0.8, policy=policy)
    kept = sketched()
    kind: Kind = "text" if policy == "text" else "image"
    seen: list[SketchIndex] = []
    for batch, wanted in zip(batches, run(plain(), batches, thresholds), strict=True):
        assert run(kept, [batch], thresholds) == [wanted]
        found = kept.sketches(kind)
        if found is not None and all(found is not other for other in seen):
            seen.append(found)
    assert len(seen) > 1


@pytest.mark.usefixtures("small_blocks")
def test_a_basis_is_not_fitted_anew_as_long_as_it_rules_enough_out() -> None:
    kept, thresholds = sketched(), Thresholds(image=0.9, text=0.9)
    run(kept, drifting(5)[:2], thresholds)
    first = kept.sketches("image")
    run(kept, drifting(5)[2:], thresholds)
    assert first is not None
    assert kept.sketches("image") is first


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("adopted", [0, 5, 16, 61])
def test_sketches_that_somebody_kept_change_no_decision_whatever_their_basis(adopted: int) -> None:
    first, second = drifting(6, batches=2)
    thresholds, kept = Thresholds(image=0.9, text=0.7, policy="either"), sketched()
    kept.add(first, encoder="clip")
    elsewhere = Rows.of(np.stack([turn.text for turn in second[:20]]))
    for kind in KINDS:
        vectors = np.stack([turn.image if kind == "image" else turn.text for turn in in_order(first)[: adopted + 1]])
        basis = Basis.fit(elsewhere, 0.9)
        index = SketchIndex(basis, 48)
        index.append(basis.sketch(Rows.of(vectors)))
        kept.adopt(kind, index)
    reference = plain()
    reference.add(first, encoder="clip")
    assert run(kept, [second], thresholds) == run(reference, [second], thresholds)
    for kind in KINDS:
        assert len(kept.sketches(kind) or ()) == len(first)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_store_that_came_filled_equals_one_that_was_added_to(policy: Policy) -> None:
    first, second = drifting(7, batches=2)
    thresholds, store, added = Thresholds(image=0.9, text=0.7, policy=policy), SpilledVectors(16), plain()
    ordered = in_order(first)
    store.append(TurnRows.of(ordered))
    stored = KeptTurns(encoder="clip", vectors=store, sketch_from=1)
    stored.add_stored([turn.key for turn in ordered])
    added.add(first, encoder="clip")
    assert len(stored) == len(added) == len(first)
    for place in (0, 17, len(first) - 1):
        mine, theirs = stored.turn(place), added.turn(place)
        assert mine.key == theirs.key
        assert np.array_equal(mine.image, theirs.image)
        assert np.array_equal(mine.text, theirs.text)
    assert run(stored, [second], thresholds) == run(added, [second], thresholds)
    with pytest.raises(ValueError, match="the store has"):
        stored.add_stored([turn.key for turn in ordered])


def test_fewer_names_than_the_store_has_turns_are_refused() -> None:
    store = SpilledVectors(16)
    store.append(TurnRows.of([turn("a", 0, 0), turn("b", 0, 1)]))
    with pytest.raises(ValueError, match=r"the store has 2 turns, 0 \+ 1 are named"):
        KeptTurns(encoder="clip", vectors=store).add_stored([turn("a", 0, 0).key])


OTHER_DIMS = TurnVectors(sample_id="c", turn=0, image=unit(1, 0, 0), text=unit(1, 0, 0))


@pytest.mark.parametrize(
    ("message", "turns", "encoder"),
    [
        ("in the index already", [turn("a", 0, 5), turn("c", 0, 9)], "clip"),
        ("in the index already", [turn("c", 1, 5), turn("b", 2, 9)], "clip"),
        ("given twice", [turn("c", 0, 5), turn("c", 0, 9)], "clip"),
        ("has 3 dims, others have 2", [OTHER_DIMS], "clip"),
        ("re-embed", [turn("c", 0, 5)], "siglip"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(message: str, turns: list[TurnVectors], encoder: str) -> None:
    store = SpilledVectors(2)
    kept = KeptTurns(encoder="clip", vectors=store, sketch_from=1)
    kept.add([turn("a", 0, 0), turn("b", 2, 40), turn("b", 1, 80)], encoder="clip")
    thresholds = Thresholds(image=0.9, text=0.9)
    newcomers = [turn("x", 0, 5), turn("y", 0, 120)]
    before = decide(kept, newcomers, thresholds)
    with pytest.raises(ValueError, match=message):
        kept.add(turns, encoder=encoder)
    assert len(kept) == len(store) == 3
    assert "c" not in kept
    assert decide(kept, newcomers, thresholds) == before
    kept.add([turn("a", 1, 5), turn("b", 0, 9)], encoder="clip")
    assert len(kept) == len(store) == 5


def test_a_chain_is_broken_where_its_middle_is_no_keeper() -> None:
    """a is near b, and b near c, but c not near a: b repeats a and goes, so c stays."""
    thresholds = Thresholds(image=0.93, text=0.93)
    a, b, c, d = (turn(name, 0, degrees) for name, degrees in (("a", 0), ("b", 15), ("c", 30), ("d", 45)))
    for batches in ([[a, b, c, d]], [[a], [b], [c], [d]], [[a, b], [c, d]], [[a], [b, c, d]]):
        decisions = run(sketched(), batches, thresholds)
        assert [name for decision in decisions for name in decision.kept_samples] == ["a", "c"]
        assert [name for decision in decisions for name in named(decision)] == [("b", 0, "a", 0), ("d", 0, "c", 0)]


@pytest.mark.parametrize("dims", [1, 2, 40])
def test_equal_vectors_all_repeat_the_first(dims: int) -> None:
    same = unit(*range(1, dims + 1))
    batches = [
        [TurnVectors(sample_id=f"{batch}{number:02}", turn=0, image=same, text=same) for number in range(20)]
        for batch in range(3)
    ]
    for block in (1, 1024):
        first, *others = run(sketched(), batches, Thresholds(image=1.0, text=1.0), block)
        assert first.kept_samples == ("000",)
        assert all(len(other.dropped_samples) == 20 for other in others)
        assert {found.kept_sample_id for other in others for found in other.duplicates} == {"000"}


@pytest.mark.usefixtures("small_blocks")
def test_vectors_far_from_each_other_are_all_kept() -> None:
    corners = np.eye(60, dtype=np.float32)
    turns = [TurnVectors(sample_id=f"{row:02}", turn=0, image=corners[row], text=corners[row]) for row in range(60)]
    decisions = run(
        sketched(), [turns[:25], turns[25:26], turns[26:]], Thresholds(image=0.01, text=0.01, policy="either")
    )
    assert sum(len(decision.kept_samples) for decision in decisions) == 60


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_turns_far_from_all_that_a_basis_was_fitted_to_are_compared_one_place_at_a_time(batch: int) -> None:
    """The basis is that of one point, so nothing is ruled out, and a block of 1 leaves room for one place."""
    source = np.random.default_rng(8)
    vectors = np.stack([unit(*row) for row in source.standard_normal((40 + batch, 64))])
    turns = [TurnVectors(sample_id=f"{row:02}", turn=0, image=v, text=v) for row, v in enumerate(vectors)]
    kept, thresholds = sketched(), Thresholds(image=0.9, text=0.9)
    decisions = run(kept, [turns[:1], turns[1:2], turns[2:40], turns[40:]], thresholds, block=1)
    assert sum(len(decision.kept_samples) for decision in decisions) == len(turns)


def test_nothing_and_one_turn_are_decided_without_sketches_and_with_them() -> None:
    kept, thresholds = sketched(), Thresholds(image=0.9, text=0.9)
    assert kept.dims is None
    assert run(kept, [[], []], thresholds) == [Decision(), Decision()]
    assert list(kept.spans(1, 1024)) == []
    only = turn("a", 0, 0)
    assert run(kept, [[only], [], [turn("b", 0, 1)]], thresholds)[2].dropped_samples == ("b",)


def test_vectors_that_are_no_numbers_are_refused_wherever_they_come_from() -> None:
    nothing = np.full(2, np.nan, dtype=np.float32)
    with pytest.raises(ValueError, match="image vector of turn 0 of sample a: holds NaN"):
        TurnVectors(sample_id="a", turn=0, image=nothing, text=at(0))
    store, spoilt = SpilledVectors(16), TurnRows.of([turn("a", 0, 0)])
    spoilt.images.vectors[0] = np.nan
    store.append(spoilt)
    for sketch_from in (1, 100):
        kept = KeptTurns(encoder="clip", vectors=store, sketch_from=sketch_from)
        kept.add_stored([turn("a", 0, 0).key])
        with pytest.raises(ValueError, match="norm nan"):
            decide(kept, [turn("b", 0, 0)], Thresholds(image=0.9, text=0.9))


def some_rows(source: np.random.Generator, rows: int, dims: int) -> TurnRows:
    def side() -> Matrix:
        return np.stack([unit(*row) for row in source.standard_normal((rows, dims))])

    return TurnRows(images=Rows.of(side()), texts=Rows.of(side()))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_spilled_vectors_come_back_bit_for_bit(seed: int, sizes: list[int]) -> None:
    source, store = np.random.default_rng(seed), SpilledVectors(16)
    pieces = [some_rows(source, size, 5) for size in sizes]
    for piece in pieces:
        store.append(piece)
    images, texts = (
        np.concatenate([piece.images.vectors for piece in pieces]),
        np.concatenate([piece.texts.vectors for piece in pieces]),
    )
    assert (len(store), store.dims) == (sum(sizes), 5)
    places = source.integers(len(store), size=50)
    for some in (np.arange(len(store)), places, places[:0]):
        found = store.fetch(some)
        assert found[0].tobytes() == images[some].tobytes()
        assert found[1].tobytes() == texts[some].tobytes()
        assert found[0].dtype == np.float32
    *full, newest = store._blocks
    assert len(full) == (len(store) - 1) // 16
    assert all(isinstance(block, np.memmap) for block in full)
    assert not isinstance(newest, np.memmap)


def test_what_is_added_and_what_is_fetched_are_copies() -> None:
    store, rows = SpilledVectors(4), some_rows(np.random.default_rng(9), 10, 3)
    wanted = rows.images.vectors.copy()
    store.append(rows)
    rows.images.vectors[:] = 0
    store.fetch(np.arange(10))[0][:] = 0
    assert np.array_equal(fetch_rows(store, np.arange(10)).images.vectors, wanted)
    assert fetch_rows(SpilledVectors(4), np.arange(0)).images.vectors.shape == (0, 0)
