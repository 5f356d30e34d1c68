"""Judging while a lake is built: every turn of a finished dialogue, and whether it lies below a floor.

A sample that does is rejected before duplicates are looked for: it is compared with nobody, and nobody with it. What is
unknown lies below no floor.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from flows.judge.asked import JUDGE, Subject, hear
from flows.judge.choosing import candidate_of
from flows.judge.docket import hearings_of
from flows.judge.seating import Bench
from flows.judge_settings import Floors
from flows.recorder import Recorder
from flows.seir.dialogue import Failure
from flows.seir.prompts import PastTurn
from storage.canonical import Json, canonical_text
from storage.records import VerdictRow


async def hear_dialogue(
    sample_id: str, turns: Sequence[PastTurn], bench: Bench, recorder: Recorder
) -> tuple[VerdictRow, ...]:
    """The verdicts on all turns of a dialogue, one after another; errors of models pass through."""
    verdicts: list[VerdictRow] = []
    for place in range(len(turns)):
        candidate = candidate_of(turns[place], turns[:place])
        for hearing in hearings_of(bench, Subject(sample_id=sample_id, turn=place + 1)):
            verdicts.append(await hear(hearing, candidate, recorder))
    return tuple(verdicts)


def find_rejection(verdicts: Sequence[VerdictRow], floors: Floors) -> Failure | None:
    """Why a sample is rejected: the first turn, and there the first score, whose mean lies below its floor.

    `evidence` tells of all scores of that turn.
    """
    for turn in sorted({row.turn for row in verdicts}):
        rows = [row for row in verdicts if row.turn == turn]
        scores = mean_scores(rows)
        below = [
            name for name, floor in floors.given().items() if (value := scores[name]) is not None and value < floor
        ]
        if below:
            return Failure(
                stage=JUDGE,
                reason=f"floor:{below[0]}",
                evidence=canonical_text(dict(_evidence(turn, rows, scores, floors))),
                outcome="rejected",
            )
    return None


def mean_scores(rows: Sequence[VerdictRow]) -> dict[str, float | None]:
    """By score the mean of the verdicts that know it, None where none does."""
    known = {name: [v for row in rows if (v := getattr(row, name)) is not None] for name in Floors.model_fields}
    return {name: fmean(values) if values else None for name, values in known.items()}


def _evidence(
    turn: int, rows: Sequence[VerdictRow], scores: Mapping[str, float | None], floors: Floors
) -> Iterator[tuple[str, Json]]:
    yield "turn", turn
    yield "judge", rows[0].judge
    yield "judge_sha256", rows[0].judge_sha256
    yield "rubric_sha256", rows[0].rubric_sha256
    yield "verdicts", len(rows)
    yield "scores", dict(scores)
    yield "floors", dict(floors.given())
