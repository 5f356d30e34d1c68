"""What a made-up lake has besides samples that were kept: topics of many kinds, scores, samples that were dropped."""

from collections.abc import Iterator
from pathlib import Path

from storage.lake import Lake
from storage.packages import PackageDraft
from storage.records import DecisionRow, VerdictRow
from tests.benchmarks.growing import found_lake
from tests.benchmarks.synthetic import Synthesis

AT_ONCE = 10_000
SCORED = 2
"""One of so many samples has scores."""
DROPPED = 10
"""One of so many samples is rejected."""


def found(path: Path) -> Lake:
    """An empty lake with topics."""
    return found_lake(path)


def sample_id(number: int) -> str:
    """The id of a sample by its number."""
    return Synthesis(run_id="", dims=1).slot(number).sample_id


def furnish(lake: Lake, samples: int) -> None:
    """Score samples and reject some, a version for so many at once."""
    with lake.lock(purpose="furnishing", timeout=1):
        for first in range(0, samples, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, samples))
            rows = [*_verdicts(numbers), *_rejections(numbers)]
            if rows:
                lake.commit([PackageDraft("judge", rows)])


def _verdicts(numbers: range) -> Iterator[VerdictRow]:
    for number in numbers:
        if number % SCORED == 0:
            yield VerdictRow(
                verdict_id=f"{number:032x}",
                sample_id=sample_id(number),
                turn=1,
                stage=None,
                round=None,
                judge="bench",
                judge_sha256="0" * 64,
                rubric_sha256="0" * 64,
                repeat=0,
                model_id=None,
                tcc=number % 11 / 2,
                icc=number % 7 / 1.5,
                iq=number % 5 * 1.0,
                its=number % 13 / 3,
                unknown="{}",
                evidence="{}",
            )


def _rejections(numbers: range) -> Iterator[DecisionRow]:
    for number in numbers:
        if number % DROPPED == 0:
            yield DecisionRow(
                decision_id=f"{number:032x}",
                sample_id=sample_id(number),
                turn=None,
                kind="judge",
                outcome="rejected",
                stage="judge",
                reason="low_score",
                evidence='{"its": 1.0}',
                encoder=None,
            )
