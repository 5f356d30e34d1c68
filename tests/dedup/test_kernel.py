"""Every path of the kernel finds what plain nested loops over whole numbers find."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import kernel
from dedup.kernel import (
    HEADS,
    LIMIT,
    MOST_TAIL,
    TILE_ROWS,
    Bytes,
    Counts,
    KernelPath,
    Pairs,
    Side,
    as_rows,
    as_tiles,
    paths,
    screen,
)

HEAD = HEADS[-1]
HIGHEST = 1 << 21
"""No floor of a sketch is above it: half a square of 256 bytes."""


@pytest.fixture(params=["vnni", "avx2", "numpy"])
def path(request: pytest.FixtureRequest) -> KernelPath:
    """Each path; where the processor or the build lacks it, the quickest one that is there."""
    wanted: KernelPath = request.param
    if wanted in paths():
        return wanted
    print(f"{wanted} cannot be gone here, {paths()[0]} is tried instead")  # noqa: T201
    return paths()[0]


def side(values: Bytes, floors: Counts, full: Counts, head: int = HEAD) -> Side:
    return Side(heads=values[:, :head].copy(), tails=values[:, head:].copy(), floors=floors, full=full)


def tiled(rows: Side) -> Side:
    return replace(rows, heads=as_tiles(rows.heads))


def looped(queries: Side, kept: Side) -> set[tuple[int, int]]:
    """The meaning of `screen`, by Python's own whole numbers; `kept` has its heads row by row."""

    def product(a: list[int], b: list[int]) -> int:
        return sum(x * y for x, y in zip(a, b, strict=True))

    found: set[tuple[int, int]] = set()
    for query in range(len(queries.heads)):
        for row in range(len(kept.heads)):
            head = product(queries.heads[query].tolist(), kept.heads[row].tolist())
            whole = head + product(queries.tails[query].tolist(), kept.tails[row].tolist())
            heads_reach = head >= int(queries.floors[query]) + int(kept.floors[row])
            if heads_reach and whole >= int(queries.full[query]) + int(kept.full[row]):
                found.add((query, row))
    return found


def in_set(pairs: Pairs | None) -> set[tuple[int, int]]:
    """The pairs, each of which must be there once."""
    assert pairs is not None
    assert pairs.dtype == np.int64
    found = {(query, row) for query, row in pairs.tolist()}
    assert len(found) == len(pairs)
    return found


def some_values(source: np.random.Generator, rows: int, tail: int, shape: str) -> Bytes:
    size = (rows, HEAD + tail)
    match shape:
        case "spread":
            return source.integers(-127, 128, size=size).astype(np.int8)
        case "extreme":
            return source.choice(np.array([-127, 127], dtype=np.int8), size=size)
        case "all alike":
            return np.repeat(source.choice(np.array([-127, 127], dtype=np.int8), size=(rows, 1)), size[1], axis=1)
        case _:
            return source.integers(-1, 2, size=size).astype(np.int8)


def some_floors(source: np.random.Generator, rows: int, shape: str) -> Counts:
    match shape:
        case "near":
            return source.integers(-60_000, 60_000, size=rows, dtype=np.int32)
        case "limits":
            return source.choice(np.array([-LIMIT, 0, LIMIT], dtype=np.int32), size=rows)
        case "far":
            return source.integers(-LIMIT, LIMIT, size=rows, endpoint=True, dtype=np.int32)
        case "as high as sketches":
            return source.choice(np.array([-LIMIT, -5_000_000, -HIGHEST, HIGHEST], dtype=np.int32), size=rows)
        case _:
            return np.zeros(rows, dtype=np.int32)


VALUES = st.sampled_from(["spread", "extreme", "all alike", "small"])
FLOORS = st.sampled_from(["near", "limits", "far", "as high as sketches", "none"])


@settings(max_examples=250, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    queries=st.integers(0, 6),
    tiles=st.integers(0, 2),
    tail=st.sampled_from([0, 32, 96, MOST_TAIL - 16]),
    head=st.sampled_from(HEADS),
    values=VALUES,
    floors=st.tuples(FLOORS, FLOORS, FLOORS, FLOORS),
)
def test_all_paths_find_what_nested_loops_find(
    *, seed: int, queries: int, tiles: int, tail: int, head: int, values: str, floors: tuple[str, str, str, str]
) -> None:
    source = np.random.default_rng(seed)
    rows = tiles * TILE_ROWS
    mine = side(
        some_values(source, queries, tail, values),
        some_floors(source, queries, floors[0]),
        some_floors(source, queries, floors[1]),
        head,
    )
    theirs = side(
        some_values(source, rows, tail, values),
        some_floors(source, rows, floors[2]),
        some_floors(source, rows, floors[3]),
        head,
    )
    true = looped(mine, theirs)
    for way in paths():
        assert in_set(screen(mine, tiled(theirs), room=len(true), path=way)) == true, way
        assert not true or screen(mine, tiled(theirs), room=len(true) - 1, path=way) is None, way


@pytest.mark.parametrize("tail", [0, 32, 96, MOST_TAIL])
def test_a_product_at_the_floor_is_found_and_one_below_is_not(path: KernelPath, tail: int) -> None:
    source = np.random.default_rng(tail)
    mine, theirs = some_values(source, 5, tail, "spread"), some_values(source, 32, tail, "spread")
    wide = mine.astype(np.int32), theirs.astype(np.int32)
    heads, wholes = wide[0][:, :HEAD] @ wide[1][:, :HEAD].T, wide[0] @ wide[1].T
    lowest = np.full(32, -LIMIT, dtype=np.int32)
    for over in (0, 1):
        for query, row in ((0, 0), (3, 15), (4, 16), (4, 31)):
            half = np.full(32, 1000, dtype=np.int32)
            at_head = np.full(5, heads[query, row] - 1000 + over, dtype=np.int32)
            at_whole = np.full(5, wholes[query, row] - 1000 + over, dtype=np.int32)
            by_head = screen(side(mine, at_head, lowest[:5]), tiled(side(theirs, half, lowest)), room=160, path=path)
            by_whole = screen(side(mine, lowest[:5], at_whole), tiled(side(theirs, lowest, half)), room=160, path=path)
            assert in_set(by_head) == {(q, r) for q, r in np.argwhere(heads >= heads[query, row] + over).tolist()}
            assert in_set(by_whole) == {(q, r) for q, r in np.argwhere(wholes >= wholes[query, row] + over).tolist()}


@pytest.mark.parametrize("signs", [(127, 127), (127, -127), (-127, -127)])
@pytest.mark.parametrize("tail", [0, MOST_TAIL])
def test_the_greatest_products_overflow_nowhere(path: KernelPath, signs: tuple[int, int], tail: int) -> None:
    def all_of(rows: int, value: int, floor: int) -> Side:
        floors = np.full(rows, floor, dtype=np.int32)
        return side(np.full((rows, HEAD + tail), value, dtype=np.int8), floors, floors)

    product = signs[0] * signs[1]
    everything = {(query, row) for query in range(5) for row in range(16)}
    for floors, reached in (
        ((-LIMIT, -LIMIT), True),
        ((-LIMIT, LIMIT), product > 0),
        ((LIMIT, -LIMIT), product > 0),
        ((LIMIT, LIMIT), False),
    ):
        found = screen(all_of(5, signs[0], floors[0]), tiled(all_of(16, signs[1], floors[1])), room=80, path=path)
        assert in_set(found) == (everything if reached else set())


@pytest.mark.parametrize("queries", [0, 1, 3, 4, 5])
def test_what_queries_are_padded_with_takes_no_room(path: KernelPath, queries: int) -> None:
    lowest = np.full(16, -LIMIT, dtype=np.int32)
    kept = tiled(side(np.zeros((16, 64), dtype=np.int8), lowest, lowest))
    floors = np.zeros(queries, dtype=np.int32)
    found = screen(side(np.zeros((queries, 64), dtype=np.int8), floors, floors), kept, room=16 * queries, path=path)
    assert in_set(found) == {(query, row) for query in range(queries) for row in range(16)}


def test_a_low_floor_meets_a_high_one_on_every_path(path: KernelPath) -> None:
    """A sum of floors within reach though one of them alone is not: -5e6 + 2e6 against a product of -2.6e6."""
    values = np.full((16, HEAD + MOST_TAIL), -127, dtype=np.int8)
    values[:, 162:] = 0
    low, lowest = np.array([-5_000_000], dtype=np.int32), np.full(16, -LIMIT, dtype=np.int32)
    mine = side(np.full((1, HEAD + MOST_TAIL), 127, dtype=np.int8), lowest[:1], low)
    kept = tiled(side(values, lowest, np.full(16, 2_000_000, dtype=np.int32)))
    assert len(in_set(screen(mine, kept, room=16, path=path))) == 16


def test_many_rows_and_queries_are_found_whole(path: KernelPath) -> None:
    """More than numpy's path takes at a time, either way; by a product of matrices of whole numbers."""
    source = np.random.default_rng(8)
    mine, theirs = some_values(source, 203, 32, "spread"), some_values(source, 4096 + 48, 32, "spread")
    products = mine.astype(np.int64) @ theirs.astype(np.int64).T
    heads = mine[:, :HEAD].astype(np.int64) @ theirs[:, :HEAD].astype(np.int64).T
    rows, queries = np.full(len(theirs), -500, dtype=np.int32), np.full(len(mine), 90_500, dtype=np.int32)
    true = np.argwhere((heads >= 60_000) & (products >= 90_000))
    assert len(true) > 100
    found = screen(side(mine, queries - 30_000, queries), tiled(side(theirs, rows, rows)), room=len(true), path=path)
    assert in_set(found) == {(query, row) for query, row in true.tolist()}


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), tiles=st.integers(0, 5))
def test_rows_become_tiles_and_rows_again(seed: int, tiles: int) -> None:
    heads = some_values(np.random.default_rng(seed), tiles * TILE_ROWS, 0, "spread")
    found = as_tiles(heads)
    assert found.shape == (tiles, HEAD // 4, TILE_ROWS, 4)
    assert np.array_equal(as_rows(found), heads)
    for row in range(0, len(heads), 7):
        assert np.array_equal(found[row // TILE_ROWS, :, row % TILE_ROWS].ravel(), heads[row])


def one() -> tuple[Side, Side]:
    floors = np.zeros(16, dtype=np.int32)
    ones = np.ones((16, 64), dtype=np.int8)
    return side(ones[:1], floors[:1], floors[:1]), tiled(side(ones, floors, floors))


@pytest.fixture
def unbuilt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A checkout in which `make kernel` was not run."""
    monkeypatch.setattr(kernel, "LIBRARY", tmp_path / "libkernel.so")
    kernel._library.cache_clear()
    yield
    monkeypatch.undo()
    kernel._library.cache_clear()


@pytest.mark.usefixtures("unbuilt")
def test_without_the_library_numpy_finds_the_same() -> None:
    assert paths() == ["numpy"]
    assert in_set(screen(*one(), room=16)) == {(0, row) for row in range(16)}


@pytest.mark.usefixtures("unbuilt")
@pytest.mark.parametrize("gone", ["vnni", "avx2"])
def test_a_path_that_cannot_be_gone_is_refused(gone: KernelPath) -> None:
    with pytest.raises(ValueError, match="cannot be gone here: 'make kernel', or another processor"):
        screen(*one(), room=16, path=gone)


def test_a_library_for_another_machine_is_as_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library = tmp_path / "libkernel.so"
    library.write_bytes(b"\x7fELF of some other machine")
    with monkeypatch.context() as patched:
        patched.setattr(kernel, "LIBRARY", library)
        kernel._library.cache_clear()
        assert paths() == ["numpy"]
    kernel._library.cache_clear()


def test_a_path_that_there_is_not_is_refused() -> None:
    unknown: KernelPath = "sse9"  # type: ignore[assignment]
    with pytest.raises(ValueError, match="a path is one of vnni, avx2, numpy, not 'sse9'"):
        screen(*one(), room=16, path=unknown)


def test_heads_of_other_lengths_are_refused(path: KernelPath) -> None:
    floors = np.zeros(16, dtype=np.int32)
    values = np.zeros((16, 64), dtype=np.int8)
    with pytest.raises(ValueError, match="heads are of 16 or 32 bytes"):
        screen(side(values, floors, floors, 24), tiled(side(values, floors, floors, 24)), room=1, path=path)
    with pytest.raises(ValueError, match="heads are of 16 or 32 bytes"):
        screen(side(values, floors, floors, 16), tiled(side(values, floors, floors, 32)), room=1, path=path)
