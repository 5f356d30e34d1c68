"""The inner loop of the screen, compiled from kernel.c where that was done (`make kernel`), else in numpy.

Every path counts in whole numbers and finds the same pairs. Decides nothing and knows no proof: see `dedup.sketches`.
"""

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

Bytes: TypeAlias = NDArray[np.int8]
Counts: TypeAlias = NDArray[np.int32]
Pairs: TypeAlias = NDArray[np.int64]
KernelPath: TypeAlias = Literal["vnni", "avx2", "numpy"]

HEADS = (16, 32)
"""Bytes that a head may have."""
TILE_ROWS = 16
LIMIT = 1 << 27
"""No floor lies beyond it: two of them and a product still fit into 32 bits. Floors beyond it may be moved to it."""

MOST_TAIL = 224

LIBRARY = Path(__file__).with_name("libkernel.so")
_NUMBERS: dict[KernelPath, int] = {"vnni": 2, "avx2": 1}
_QUERIES_AT_ONCE = 4
_NUMPY_ROWS = 2048
_SLICE_ROWS = 64
_SMALL = 2**18
"""How many multiplications OpenBLAS does in the thread that asks for them."""
_MOST_PRODUCT = 1 << 22
_NEAR_MOST = 1 << 21


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """Sketches of one side, split into heads and tails, each with what a product must reach; int8 in [-127, 127].

    heads: (rows, head), head being one of HEADS, or for kept rows tiles of shape (rows / 16, head / 4, 16, 4).
    tails: (rows, at most MOST_TAIL). floors, full: (rows,), within LIMIT.
    """

    heads: Bytes
    tails: Bytes
    floors: Counts
    full: Counts


def paths() -> list[KernelPath]:
    """The paths that can be gone here, the quickest first; `numpy` always can."""
    library = _library()
    compiled = [name for name, number in _NUMBERS.items() if library and library.interlake_can(number)]
    return [*compiled, "numpy"]


def screen(queries: Side, kept: Side, *, room: int, path: KernelPath | None = None) -> Pairs | None:
    """Every (query, row) with head . head >= both floors and the whole product >= both `full`, in no certain order.

    None when there are more than `room`. The quickest path, unless one is named.
    """
    path = path or paths()[0]
    if path not in get_args(KernelPath):
        raise ValueError(f"a path is one of {', '.join(get_args(KernelPath))}, not {path!r}")
    if queries.heads.shape[1] not in HEADS or kept.heads.shape[1] * 4 != queries.heads.shape[1]:
        raise ValueError(f"heads are of 16 or 32 bytes, not {queries.heads.shape} beside {kept.heads.shape}")
    if path == "numpy":
        return _screen_in_numpy(queries, kept, room)
    return _screen_compiled(queries, kept, room, _NUMBERS[path])


def as_tiles(heads: Bytes) -> Bytes:
    """Heads (rows, head) as the kernel wants the kept ones: (rows / 16, head / 4, 16, 4); rows is a multiple of 16."""
    tiles = heads.reshape(-1, TILE_ROWS, heads.shape[1] // 4, 4).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(tiles)


def as_rows(tiles: Bytes) -> Bytes:
    """The inverse of `as_tiles`."""
    return np.ascontiguousarray(tiles.transpose(0, 2, 1, 3)).reshape(-1, 4 * tiles.shape[1])


class _Screen(ctypes.Structure):
    """`Screen` of kernel.c."""

    _fields_ = [
        *[(name, ctypes.c_void_p) for name in ("query_heads", "query_tails", "query_floors", "query_full")],
        *[(name, ctypes.c_void_p) for name in ("query_starts", "tiles", "tails", "row_floors", "row_full")],
        *[(name, ctypes.c_int64) for name in ("queries", "tile_count", "head", "tail")],
        ("found", ctypes.c_void_p),
        ("room", ctypes.c_int64),
    ]


@cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(str(LIBRARY))
    except OSError:  # not built, or for another machine
        return None
    library.interlake_screen.restype = ctypes.c_int64
    return library


def _screen_compiled(queries: Side, kept: Side, room: int, number: int) -> Pairs | None:
    library = _library()
    if library is None or not library.interlake_can(number):
        raise ValueError("this path of the kernel cannot be gone here: 'make kernel', or another processor")
    padded = _padded(queries)
    starts: Counts = -padded.floors - 128 * padded.heads.sum(axis=1, dtype=np.int32)
    found: Pairs = np.empty((room, 2), dtype=np.int64)
    sides: tuple[Bytes | Counts, ...] = (padded.heads, padded.tails, padded.floors, padded.full, starts)
    sides += (kept.heads, kept.tails, kept.floors, kept.full)
    arrays = [np.ascontiguousarray(array) for array in sides]
    sizes = [len(padded.heads), len(kept.heads), padded.heads.shape[1], kept.tails.shape[1]]
    asked = _Screen(*[array.ctypes.data for array in arrays], *sizes, found.ctypes.data, room)
    count = library.interlake_screen(ctypes.byref(asked), number)
    if count > room:
        return None
    return found[:count][found[:count, 0] < len(queries.heads)]


def _padded(queries: Side) -> Side:
    """With as many more as the kernel takes at once, which nothing reaches, not even a row whose floor is -LIMIT."""
    more = -len(queries.heads) % _QUERIES_AT_ONCE
    if not more:
        return queries
    floors = np.full(more, 2 * LIMIT, dtype=np.int32)
    return Side(
        heads=np.pad(queries.heads, ((0, more), (0, 0))),
        tails=np.pad(queries.tails, ((0, more), (0, 0))),
        floors=np.concatenate([queries.floors, floors]),
        full=np.concatenate([queries.full, floors]),
    )


def _screen_in_numpy(queries: Side, kept: Side, room: int) -> Pairs | None:
    """By products of whole sketches in float32, `full` being two more dims: exact, since all is whole, 2^24 at most.

    What that finds is asked for its heads and for the whole `full` then; heads first would find too much.
    """
    heads = as_rows(kept.heads)
    mine = _with_dims(queries.heads, queries.tails, -_near_zero(queries.full), -1)
    theirs = _with_dims(heads, kept.tails, 1, _near_zero(kept.full))
    parts: list[Pairs] = []
    left = room
    few = max(1, _SMALL // (_SLICE_ROWS * mine.shape[1]))
    for start in range(0, len(heads), _NUMPY_ROWS):
        for first in range(0, len(mine), few):
            above = _reached(mine[first : first + few], theirs[start : start + _NUMPY_ROWS])
            pairs = above + np.array([first, start])
            rows, places = pairs[:, 0], pairs[:, 1]
            by_head = np.einsum("pd,pd->p", queries.heads[rows], heads[places], dtype=np.int32)
            whole = by_head + np.einsum("pd,pd->p", queries.tails[rows], kept.tails[places], dtype=np.int32)
            reached = by_head >= queries.floors[rows] + kept.floors[places]
            parts.append(pairs[reached & (whole >= queries.full[rows] + kept.full[places])])
            left -= len(parts[-1])
            if left < 0:
                return None
    return np.concatenate(parts) if parts else np.empty((0, 2), dtype=np.int64)


def _reached(mine: NDArray[np.float32], theirs: NDArray[np.float32]) -> Pairs:
    """Pairs with a product of at least 0, by products so small that a BLAS shares none of them out to threads.

    Those would wait for each other where the machine is busy otherwise: it took six times as long.
    """
    whole = len(theirs) - len(theirs) % _SLICE_ROWS
    slices = theirs[:whole].reshape(-1, _SLICE_ROWS, theirs.shape[1])
    above = np.concatenate(
        [
            np.flatnonzero(np.matmul(slices, mine.T) >= 0),
            np.flatnonzero(theirs[whole:] @ mine.T >= 0) + whole * len(mine),
        ]
    )
    places, rows = np.divmod(above, len(mine))
    return np.stack([rows, places], axis=1)


def _near_zero(floors: Counts) -> Counts:
    """Floors so near zero that float32 holds their sum with a product, and that lose no pair.

    One that is moved down loses none. One that is moved up, to -2^22 - 2^21, is reached by every product whatever the
    other floor, since that is 2^21 at most then, and a product is above -2^22.
    """
    return np.clip(floors, -_MOST_PRODUCT - _NEAR_MOST, _NEAR_MOST)


def _with_dims(heads: Bytes, tails: Bytes, first: Counts | int, second: Counts | int) -> NDArray[np.float32]:
    wide = np.empty((len(heads), heads.shape[1] + tails.shape[1] + 2), dtype=np.float32)
    wide[:, : heads.shape[1]], wide[:, heads.shape[1] : -2] = heads, tails
    wide[:, -2], wide[:, -1] = first, second
    return wide
