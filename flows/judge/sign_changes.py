"""p values of paired differences by changes of signs: exact where that can be had, else by draws, more for many tests.

If two systems are the same, each difference could as well have had the other sign. Pure numpy; knows no judge.
"""

from collections.abc import Iterator
from math import ceil

import numpy as np

from flows.judge.agreement import Floats

EXACT = 14
"""Clusters up to which every change of signs is tried: 16,384 of them."""
DRAWS = 2000
MOST_DRAWS = 100_000
DRAWS_A_COMPARISON = 400
"""With so many for each of the comparisons that are made at once, the least p is a twentieth of what Holm lets pass."""
UNLIKELY = 0.05
"""What is above after DRAWS is not drawn for any longer: no correction makes it less."""
_PARTS = 240
"""The finest grid that is looked for: differences of means of up to 20 whole scores mostly lie on one of these."""
_STEPS = 250_000_000
"""Additions that an exact distribution may take; about half a second."""
_CELLS = 4_000_000
"""Signs that are held at a time; 32 MB."""


def p_of_signs(sums: Floats, *, seed: int, comparisons: int = 1) -> tuple[float, float]:
    """The two-sided p value of the total of `sums` if each sign is a matter of chance, and the least there could be.

    `comparisons` is how many are corrected together. Up to EXACT sums all changes are tried; sums on a grid (whole
    scores, and means of a few) are counted exactly, however many; others are drawn by chance, the more the more
    comparisons there are. Equal sums, seed and number give equal values.
    """
    scale = abs(float(sums.sum())) * (1 - 1e-12) - 1e-12
    if len(sums) <= EXACT:
        return _try_all(sums, scale), _least(len(sums))
    grid = _on_grid(sums)
    if grid is not None:
        return _count(grid), _least(len(sums))
    return _draw(sums, scale, seed, min(MOST_DRAWS, max(DRAWS, DRAWS_A_COMPARISON * comparisons)))


def _least(count: int) -> float:
    return min(1.0, 2.0 / 2.0**count)


def _try_all(sums: Floats, scale: float) -> float:
    count = len(sums)
    signs = 1.0 - 2.0 * (np.arange(2**count)[:, None] >> np.arange(count) & 1)
    reached = np.abs(signs @ sums) >= scale
    return float(np.count_nonzero(reached) / 2.0**count)


def _on_grid(sums: Floats) -> np.typing.NDArray[np.int64] | None:
    """The sums in whole parts of the coarsest grid that holds them all; None without one, or where it is too fine."""
    for parts in range(1, _PARTS + 1):
        scaled = sums * parts
        whole = np.rint(scaled)
        if np.abs(scaled - whole).max() < 1e-9 * parts:
            fits = float(np.abs(whole).sum()) * len(sums) <= _STEPS
            return whole.astype(np.int64) if fits else None
    return None


def _count(sums: np.typing.NDArray[np.int64]) -> float:
    """The exact p value: the distribution of the total, made by adding one sum after another."""
    sizes = np.sort(np.abs(sums[sums != 0])).tolist()
    chances, reach = np.ones(1), 0
    for size in sizes:
        wider = np.zeros(len(chances) + 2 * size)
        wider[2 * size :] += chances / 2
        wider[: len(chances)] += chances / 2
        chances, reach = wider, reach + size
    away = abs(int(sums.sum()))
    return min(1.0, 2 * float(chances[reach + away :].sum())) if away else 1.0


def _draw(sums: Floats, scale: float, seed: int, most: int) -> tuple[float, float]:
    """By chance: DRAWS of them, and up to `most` where it is not plain by then that the p value is no small one."""
    reached = drawn = 0
    for signs in _random_signs(len(sums), most, seed):
        reached += int((np.abs(signs @ sums) >= scale).sum())
        drawn += len(signs)
        if drawn >= DRAWS and (1 + reached) / (1 + drawn) > UNLIKELY:
            break
    return (1 + reached) / (1 + drawn), 1 / (1 + most)


def _random_signs(count: int, most: int, seed: int) -> Iterator[Floats]:
    """Blocks of shape (draws, count), the same whatever is held at a time; the first ends at DRAWS."""
    random = np.random.default_rng(seed)
    for size in _blocks(most, max(1, _CELLS // count)):
        yield 1.0 - 2.0 * random.integers(2, size=(size, count)).astype(np.float64)


def _blocks(most: int, block: int) -> Iterator[int]:
    """Sizes that come to `most` and pass DRAWS at the end of one."""
    for part in (min(DRAWS, most), max(0, most - DRAWS)):
        for number in range(ceil(part / block)):
            yield min(block, part - number * block)
