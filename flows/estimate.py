"""What a build will take, from what past samples of the same recipe took, with an error range. Numbers in, ranges out.

A range is the 95 % prediction interval for a sum over new samples: mean of the past ones, Student's t, the spread of
single samples and the error of the mean both in it. Seconds and bytes are known by batch alone; there the mean is a
ratio (Cochran, Sampling Techniques, 1977, chapter 6) and a batch the unit. Samples are taken for independent draws.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from storage.spent import Spent

CONFIDENCE = 0.95
FEWEST_SAMPLES = 10
FEWEST_BATCHES = 3
"""From how many on a range is told: with 10 skewed samples it held in 93 of 100 trials, with 5 in 84."""

Basis = Literal["history", "settings", "unknown"]
Unit = tuple[int, float]
"""A sample or a batch: how many samples it has, and what it took."""

QUANTITIES = ("calls", "prompt_tokens", "completion_tokens", "pictures", "seconds", "bytes")

_T = {1: 12.706, 2: 4.303, 3: 3.182}
_Z = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """From `low` to `high`. From `history`: what is expected, and bounds that hold in 95 of 100 such builds, null where
    too few batches tell the spread. From `settings`: bounds that always hold when every first attempt is usable."""

    low: float | None = None
    expected: float | None = None
    high: float | None = None
    basis: Basis = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the settings allow for a sample: calls and pictures, at least and at most."""

    calls: tuple[int, int]
    pictures: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What `slots` samples will take, as far as `samples` past ones in `batches` batches tell.

    `seconds` are those between commits: wall time with models that are loaded, at the concurrency of the past runs.
    `bytes` are those of the whole lake, what is made once shared out, so that a small lake says too much.
    """

    slots: int
    samples: int
    batches: int
    calls: Range
    prompt_tokens: Range
    completion_tokens: Range
    pictures: Range
    seconds: Range
    bytes: Range

    def line(self) -> str:
        """Where the figures come from, in a sentence."""
        if self.calls.basis == "settings":
            few = f"{self.samples} samples of this recipe so far, {FEWEST_SAMPLES} tell more" if self.samples else ""
            return (
                f"estimate: bounds from the settings, no range from history ({few or 'no sample of this recipe yet'})"
            )
        return (
            f"estimate from {self.samples} samples in {self.batches} batches of this recipe: "
            f"mean and {100 * CONFIDENCE:.0f} % prediction interval (Student's t)"
        )

    def json(self) -> dict[str, object]:
        return asdict(self) | {"confidence": CONFIDENCE, "method": "prediction interval, Student's t"}


def estimate(spent: Spent, slots: int, bounds: Bounds) -> Estimate:
    """What so many new samples will take."""

    def by_sample(value: Callable[..., int]) -> Range:
        return predict([(1, value(sample)) for sample in spent.samples], slots)

    tells = len(spent.samples) >= FEWEST_SAMPLES
    return Estimate(
        slots=slots,
        samples=len(spent.samples),
        batches=len(spent.batches),
        calls=by_sample(lambda sample: sample.calls) if tells else _bounded(bounds.calls, slots),
        prompt_tokens=by_sample(lambda sample: sample.prompt_tokens) if tells else Range(),
        completion_tokens=by_sample(lambda sample: sample.completion_tokens) if tells else Range(),
        pictures=by_sample(lambda sample: sample.pictures) if tells else _bounded(bounds.pictures, slots),
        seconds=_by_batch([(each.samples, each.seconds) for each in spent.batches], slots),
        bytes=_bytes(spent, slots),
    )


def _bounded(bounds: tuple[int, int], slots: int) -> Range:
    low, high = bounds
    return Range(low=low * slots, high=high * slots, basis="settings")


def _by_batch(batches: Sequence[tuple[int, float | None]], slots: int) -> Range:
    return predict([(samples, value) for samples, value in batches if value is not None], slots)


def _bytes(spent: Spent, slots: int) -> Range:
    """The lake's bytes a sample, with the relative error of the batches' packages."""
    if spent.bytes_per_sample is None:
        return Range()
    expected = spent.bytes_per_sample * slots
    weights = [(each.samples, each.bytes) for each in spent.batches]
    packages, each_weighs = _by_batch(weights, slots), _by_batch(weights, 1).expected
    if packages.low is None or packages.high is None or not each_weighs:
        return Range(expected=expected, basis="history")
    share = spent.bytes_per_sample / each_weighs
    return Range(low=packages.low * share, expected=expected, high=packages.high * share, basis="history")


def predict(units: Sequence[Unit], count: int) -> Range:
    """What `count` new samples take in all; without bounds where too few samples or batches are known.

    With units of one sample: count * mean ± t * s * sqrt(count + count² / units).
    """
    size = sum(samples for samples, _ in units)
    if not size:
        return Range()
    mean = sum(value for _, value in units) / size
    expected = count * mean
    if len(units) < FEWEST_BATCHES or size < FEWEST_SAMPLES:
        return Range(expected=expected, basis="history")
    spread = sum((value - mean * samples) ** 2 for samples, value in units) / (len(units) - 1)
    new = count * len(units) / size
    error = students_t(len(units) - 1) * math.sqrt(spread * (new + new**2 / len(units)))
    return Range(low=max(0.0, expected - error), expected=expected, high=expected + error, basis="history")


def students_t(freedom: int) -> float:
    """The 97.5 % quantile; from 4 degrees on by an expansion (Abramowitz and Stegun 26.7.5), at most 0.3 % off."""
    if freedom in _T:
        return _T[freedom]
    z, v = _Z, freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )
